"""Chunks of an object as stored → chunks of its content, by magic bytes and never by name or header."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import cast

from isal import isal_zlib

from loader.errors import SourceError

# The stubs say that this is an instance.
_GZIP_ERROR = cast("type[Exception]", isal_zlib.error)
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WBITS = 31
_OUTPUT_STEP = 4 * 2**20
#: What follows a member is copied when the next one begins: of many small ones, not too much each time.
_MEMBERS_STEP = 2**14


class TrailingDataError(SourceError):
    """Bytes follow the first gzip member. CloudTrail never writes them, and a digest's hash does not cover them."""

    def __init__(self, rest: bytes) -> None:
        super().__init__(f"{len(rest)} or more bytes follow the end of the gzip member", kind="trailing_data")
        self.rest = rest


def decompress(chunks: Iterable[bytes], *, members: bool = False) -> Iterator[bytes]:
    """Yield the content of an object in pieces of at most 4 MiB.

    One gzip member is read (RFC 1952), the form CloudTrail delivers; anything that does not begin with gzip's magic
    bytes is passed on as it is. Whoever validates digests reads through here too, so both see the same bytes. With
    ``members``, further members are read as well: Firehose puts one after the other.

    Raises:
        SourceError: ``bad_gzip`` (damaged), ``truncated_gzip`` (ends early).
        TrailingDataError: the member was read whole and yielded, and more bytes follow.
    """
    source = iter(chunks)
    head = b""
    for chunk in source:
        head += chunk
        if len(head) >= len(_GZIP_MAGIC):
            break
    if not head.startswith(_GZIP_MAGIC):
        if head:
            yield head
        yield from source
        return
    if members:
        source = _in_steps(chain((head,), source))
        head = next(source)
    yield from _gunzip(head, source, members)


def _in_steps(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), _MEMBERS_STEP):
            yield chunk[start : start + _MEMBERS_STEP]


def _gunzip(head: bytes, source: Iterator[bytes], members: bool) -> Iterator[bytes]:
    machine = isal_zlib.decompressobj(wbits=_GZIP_WBITS)
    pending = head
    while True:
        try:
            content = machine.decompress(pending, _OUTPUT_STEP)
        except _GZIP_ERROR as error:
            raise SourceError(f"damaged gzip data: {error}", kind="bad_gzip") from None
        if content:
            yield content
        if machine.eof:
            pending = machine.unused_data or next(source, b"")
            if not pending:
                return
            if not members:
                raise TrailingDataError(pending[: 2**20])
            machine = isal_zlib.decompressobj(wbits=_GZIP_WBITS)
            continue
        pending = machine.unconsumed_tail
        # A full output buffer with no input left over: the machine may still hold content inside.
        if not pending and len(content) < _OUTPUT_STEP:
            following = next(source, None)
            if following is None:
                raise SourceError("the gzip data ends before its end mark", kind="truncated_gzip")
            pending = following
