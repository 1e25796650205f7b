"""Who did it, written onto documents as they are loaded: a hint from what this process has seen, never more.

Normalisers stay pure and ids come from records alone, so what a hint says depends on the order in which files come; the
resolver (``loader.identity.resolve``) is what answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from loader.identity.hints import ActorHints, Hint
from loader.identity.model import Edge
from loader.index.bulk import Item

#: A hint whose JSON is longer says more than anybody reads: forged names, not a chain of roles.
_LONGEST: Final = 16_384


class Hinter:
    """Adds ``siem.actor`` and ``siem.session.chain`` to documents. Safe to share between threads."""

    def __init__(self, hints: ActorHints | None = None) -> None:
        self._hints = hints or ActorHints()

    def mark(self, items: Iterable[Item], issued: Iterable[Edge]) -> None:
        """Take note of the edges of a batch, then mark its documents: the order inside a batch does not matter."""
        for edge in issued:
            self._hints.learn(edge)
        ask = self._hints.hint
        for item in items:
            if item.who is not None and (hint := ask(item.who)) is not None:
                item.body = add_hint(item.body, hint)


def add_hint(body: bytes, hint: Hint) -> bytes:
    """Return a document with a hint; ``siem`` is its last member, and ``session`` the last of ``siem``."""
    members = hint.members()
    if len(members) > _LONGEST:
        return body
    if body.endswith(b'"}}}'):  # {…,"siem":{…,"session":{"name":"…"}}}
        return b"".join((body[:-3], b",", members, b"}}"))
    if body.endswith(b"]}}}"):  # {…,"aws":{"cloudtrail":{…,"leaves":[…]}}}
        return b"".join((body[:-1], b',"siem":{"session":{', members, b"}}"))
    return b"".join((body[:-2], b',"session":{', members, b"}}"))
