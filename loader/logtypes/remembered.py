"""What was made of a text once, kept for when the text comes again."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

Made = TypeVar("Made")

#: Letters of a text up to which what was made of it is kept. Memories are bounded in texts; whoever chooses the texts
#: must not choose how much memory that is.
LONGEST: Final = 512


class Remembered(Generic[Made]):
    """Up to ``most`` texts, as bytes, and what was made of them. Empty again when full: a caller chooses the texts.

    A text is kept when it comes for the second time. Most come once: to keep them all would push what comes often, and
    the memory that is in use, out of the processor's caches (a quarter of the cost of reading payloads).
    """

    __slots__ = ("_made", "_most", "_seen", "get")

    def __init__(self, most: int) -> None:
        self._made: dict[bytes, Made] = {}
        self._seen: set[int] = set()
        self._most = most
        #: What was made of a text, ``None`` if that is not known.
        self.get = self._made.get

    def keep(self, text: bytes, made: Made) -> None:
        """Take what was made of ``text``, which is not known yet."""
        mark = hash(text)
        if mark in self._seen:
            if len(self._made) >= self._most:
                self._made.clear()
            self._made[text] = made
        else:
            if len(self._seen) >= self._most:
                self._seen.clear()
            self._seen.add(mark)
