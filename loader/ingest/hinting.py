"""Who did it, written onto documents as they are loaded: a hint from what this process has seen, never more.

Normalisers stay pure and ids come from records alone, so what a hint says depends on the order in which files come; the
resolver (``loader.identity.resolve``) is what answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import msgspec
from msgspec import Struct

from loader.identity.hints import ActorHints, Hint
from loader.identity.model import Edge
from loader.index.bulk import Item

_KEPT: Final = 8192
#: A hint whose JSON is longer says more than anybody reads: forged names, not a chain of roles.
_LONGEST: Final = 16_384


class _Issuer(Struct, gc=False):
    type: str | None = None
    principal_id: str | None = None
    arn: str | None = None
    user_name: str | None = None


class _Context(Struct, gc=False):
    creation_date: str | None = None
    assumed_root: bool = False


class _IssuedContext(Struct, gc=False):
    session_issuer: _Issuer | None = None


class _Federated(Struct, gc=False):
    session_context: _IssuedContext | None = None


class _Behalf(Struct, gc=False):
    user_id: str | None = None


class _Identity(Struct, gc=False):
    """``aws.cloudtrail.user_identity`` of a document, as far as hints go by it."""

    type: str | None = None
    principal_id: str | None = None
    arn: str | None = None
    access_key_id: str | None = None
    on_behalf_of: _Behalf | None = None
    session_context: _Context | None = None


_decode: Final = msgspec.json.Decoder(_Identity).decode
_decode_federated: Final = msgspec.json.Decoder(_Federated).decode
_PREFIX: Final = b',"user_identity":'

_NO_CONTEXT: Final = _Context()


class Hinter:
    """Adds ``siem.actor`` and ``siem.session.chain`` to documents. Safe to share between threads."""

    def __init__(self, hints: ActorHints | None = None) -> None:
        self._hints = hints or ActorHints()
        self._questions: dict[bytes, Callable[[], Hint | None]] = {}

    def mark(self, items: list[Item], issued: Iterable[Edge]) -> None:
        """Take note of the edges of a batch, then mark its documents: the order inside a batch does not matter."""
        for edge in issued:
            self._hints.learn(edge)
        questions = self._questions
        for item in items:
            if item.identity:
                ask = questions.get(item.identity)
                if ask is None:
                    if len(questions) >= _KEPT:
                        questions.clear()
                    ask = questions[item.identity] = self._question(item.identity)
                hint = ask()
                if hint is not None:
                    item.body = add_hint(item.body, hint)

    def _question(self, identity: bytes) -> Callable[[], Hint | None]:
        """Return what to ask the hints about an identity: its answer may change, the question does not."""
        who = _decode(identity[len(_PREFIX) :])
        context = who.session_context or _NO_CONTEXT
        # Only of a federated user does the issuer say who he is.
        issuer = _issuer_of(identity) if who.type == "FederatedUser" else None
        return partial(
            self._hints.hint,
            who.type,
            who.access_key_id or None,
            who.principal_id or None,
            who.arn or None,
            context.creation_date,
            issuer,
            assumed_root=context.assumed_root,
            on_behalf_of=who.on_behalf_of.user_id if who.on_behalf_of else None,
        )


def _issuer_of(identity: bytes) -> tuple[str | None, str | None, str | None, str | None] | None:
    context = _decode_federated(identity[len(_PREFIX) :]).session_context
    issuer = context.session_issuer if context else None
    return (issuer.type, issuer.principal_id, issuer.arn, issuer.user_name) if issuer else None


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
