"""The content of an object → raw records. Fast when the file is whole, patient when it is not.

Taken are CloudTrail's own form ``{"Records": [...]}``, a bare array, single records, CloudTrail that went through
CloudWatch Logs (subscription envelopes, and exports with a time before each record) or EventBridge, records wrapped as
``{"aws": {"cloudtrail": {...}}}``, and any sequence of these one after the other (JSON lines, several documents in a
row).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from loader.errors import SourceError
from loader.source.decompress import decompress
from loader.source.objects import Broken, FetchError, Limits, Piece
from loader.source.patient import Splitter
from loader.source.scan import MARK
from loader.source.whole import split_whole

#: Content is taken to be so many times as large as what is stored of it: log files are eight to fifteen times as large.
_GROWTH = 3


def read_pieces(
    chunks: Iterable[bytes], limits: Limits, *, members: bool = False, stored: int | None = None
) -> Iterator[Piece | Broken]:
    """Split an object, given as stored, into raw records and into stretches that are none.

    ``members`` allows several gzip members, as Firehose writes them; CloudTrail's own files have one. ``stored`` is
    the object's size as stored, where that is known: of one that will not fit the buffer, the buffer is not filled.

    Every byte that is not white space or JSON punctuation between records ends up in a :class:`Piece` or is reported
    as :class:`Broken`. Objects up to ``limits.buffer`` uncompressed bytes are split in one buffer; both ways give the
    same pieces.
    """
    content = decompress(chunks, members=members)
    following: Iterator[bytes] | None = content
    buffer = bytearray()
    trouble: SourceError | None = None
    is_large = stored is not None and stored * _GROWTH > limits.buffer
    try:
        for chunk in content:
            buffer += chunk
            is_large = is_large or len(buffer) > limits.buffer
            if is_large:
                break
        else:
            following = None
    except FetchError:
        raise
    except SourceError as error:
        trouble, following = error, None
    if trouble is None and not is_large:
        if buffer.startswith(MARK):
            del buffer[: len(MARK)]
        whole = split_whole(buffer, limits)
        if whole is not None:
            yield from whole
            return
    yield from Splitter(limits).run(buffer, following, trouble)
