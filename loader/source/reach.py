"""How far a value goes that may be damaged: to its own end, or to where the next record begins."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice

from loader.source.scan import Patience, Unsound, Walk, skip_space, sound_end
from loader.source.starts import HEAD, LOOK_AHEAD, Start, starts

_OPENS_LIST, _COMMA = 0x5B, 0x2C
#: Bytes that may be looked at for nothing, beyond as many as there are before.
_MOST_WASTED = 2**20
#: Steps of walks in one object: as many as the largest object has bytes that is split in one buffer.
_MOST_STEPS = 2**26
_START_BYTES = 512
#: Places in one value that is no JSON where a record may begin; the first one counts if there are more.
_MOST_STARTS = 1_000


class Verdict(Enum):
    """What there is to say of a value. The position that goes with it is its end, or where it was left."""

    #: It ends.
    ENDS = auto()
    #: It ends, or seems to, but no comma and no end of the list follows: it is part of something else.
    STRAY = auto()
    #: It does not end before the next record begins.
    TORN = auto()
    #: It is longer than may be held, and no record begins in it.
    LARGE = auto()
    #: The content ends in it.
    OPEN = auto()
    #: More content has to come: the position is how many bytes from where the value begins make a difference.
    WAIT = auto()


@dataclass(slots=True)
class Content:
    """What is there of an object: bytes from ``gone`` on, and whether more will come."""

    data: bytearray
    gone: int = 0
    ended: bool = False


class Reach:
    """Finds where values end.

    Sound values are never torn, whatever is inside of them: the parser says where they end. Only what it refuses is
    walked through, and where a record seems to begin inside of that, it is torn if no JSON could go on there, or if
    what ends further on is no value. All is decided by the content alone, never by how it came in chunks: what is not
    sound is judged when as much of it is there as may be held.
    """

    def __init__(self, most: int) -> None:
        #: Bytes of a value that are waited for.
        self._most = most
        self._patience = Patience(_MOST_STEPS)
        self._wasted = 0
        #: Whether the last value is JSON, and whether a bracket of it was closed by one of the other kind.
        self.sound, self.crossed = False, False

    def is_hasty(self, content: Content, begin: int) -> bool:
        """Tell whether ends are not waited for any more: too much was looked at for nothing, again and again."""
        return self._wasted > _MOST_WASTED + content.gone + begin

    def of(self, content: Content, begin: int, *, listed: bool) -> tuple[Verdict, int]:
        """Tell how far the value at ``begin`` goes. ``listed``: it is an element of a list.

        Raises:
            DenseError: too much was walked through in this object.
        """
        self.sound, self.crossed = False, False
        data, waited = content.data, len(content.data) - begin
        is_all = content.ended or waited >= self._most + LOOK_AHEAD
        stop = self._stop(content, begin)
        if self.is_hasty(content, begin):
            if not is_all:
                return Verdict.WAIT, self._most + LOOK_AHEAD
            start = next(starts(data, begin + 1, stop), None)
            stop = start.position if start else stop
        end = sound_end(data, begin, stop)
        if not isinstance(end, Unsound):
            return self._judged(content, begin, end, listed)
        if not is_all:
            return Verdict.WAIT, 2 * waited if end is Unsound.TRUNCATED else self._most + LOOK_AHEAD
        if data[begin] not in b'{["':
            return Verdict.STRAY, begin
        if end is Unsound.DEEP and not self.is_hasty(content, begin):
            return self._deep(content, begin, listed)
        return self._walked(content, begin, listed)

    def _judged(self, content: Content, begin: int, end: int, listed: bool) -> tuple[Verdict, int]:
        """Judge a value that is sound: it may still have taken other records, and the end of the list, for its own."""
        self.sound = True
        data = content.data
        is_scalar = data[begin] not in b"{["
        if not listed and not is_scalar:
            return Verdict.ENDS, end
        following = skip_space(data, end)
        if self._is_followed(content, begin, end, listed=True):
            return Verdict.ENDS, end
        if not content.ended and following + LOOK_AHEAD > len(data) and following - begin < self._most:
            return Verdict.WAIT, following + LOOK_AHEAD - begin
        if is_scalar:
            return (Verdict.STRAY if listed else Verdict.ENDS), end
        if HEAD.match(data, following):  # only the comma is missing
            return Verdict.ENDS, end
        first = next((start for start in starts(data, begin + 1, end) if not _is_inner(start, listed)), None)
        return (Verdict.TORN, self._torn(first.position, end)) if first else (Verdict.ENDS, end)

    def _deep(self, content: Content, begin: int, listed: bool) -> tuple[Verdict, int]:
        """Judge a value that is deeper than the parser goes: it ends where its brackets do, if they match."""
        walk, stop = Walk(self._patience), self._stop(content, begin)
        end = walk.end(content.data, begin, stop)
        if end is not None and not walk.crossed and self._is_followed(content, begin, end, listed):
            return Verdict.ENDS, end
        self._wasted += (end or stop) - begin
        if end is None and next(starts(content.data, begin + 1, stop), None) is None:
            return self._endless(content, begin, stop)
        return self._walked(content, begin, listed)

    def _walked(self, content: Content, begin: int, listed: bool) -> tuple[Verdict, int]:
        """Judge a value that the parser refuses, by where its brackets and strings end."""
        data = content.data
        stop = self._stop(content, begin)
        walk, first = Walk(self._patience), 0
        end: int | None = None
        for start in islice(starts(data, begin + 1, stop), _MOST_STARTS):
            end = walk.end(data, begin, start.position)
            if end is not None:
                break
            if _is_inner(start, listed):
                continue
            # Each look at one costs as much as so many bytes.
            self._wasted += _START_BYTES if first else 0
            first = first or start.position
            torn = walk.in_string or walk.crossed or (start.before == _COMMA and walk.innermost != _OPENS_LIST)
            if torn or start.certain or self.is_hasty(content, begin):
                return Verdict.TORN, self._torn(first, start.position)
        if end is None:
            end = walk.end(data, begin, stop)
        if end is None:
            if first:
                return Verdict.TORN, self._torn(first, stop)
            self._wasted += stop - begin
            return self._endless(content, begin, stop)
        if first and (walk.crossed or not self._is_followed(content, begin, end, listed)):
            return Verdict.TORN, self._torn(first, end)
        self.crossed = walk.crossed
        return Verdict.ENDS, end

    def _endless(self, content: Content, begin: int, stop: int) -> tuple[Verdict, int]:
        is_open = stop == len(content.data) and stop < begin + self._most
        return (Verdict.OPEN if is_open else Verdict.LARGE), stop

    def _stop(self, content: Content, begin: int) -> int:
        return min(len(content.data), begin + self._most)

    def _is_followed(self, content: Content, begin: int, end: int, listed: bool) -> bool:
        """Tell whether an element of a list has behind it what it must have; what took the list's end has not."""
        following = skip_space(content.data, end)
        return not listed or (following < self._stop(content, begin) and content.data[following] in b",]")

    def _torn(self, position: int, looked: int) -> int:
        self._wasted += looked - position
        return position


def _is_inner(start: Start, listed: bool) -> bool:
    """Tell whether what begins there belongs to the value around it: a list inside of a record is none of records."""
    return listed and start.before == _OPENS_LIST and not start.line
