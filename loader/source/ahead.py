"""Small objects fetched before their turn: S3 takes tens of milliseconds to answer, a small object one to be loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from loader.source.fetch import Fetch
from loader.source.objects import ObjectRef

#: Bytes as stored up to which an object is small.
_SMALL: Final = 2**20
#: Requests at the same time, of all threads that load; as many objects of each of them are held.
AT_A_TIME: Final = 8


class FetchAhead:
    """Fetches small objects of a group at the same time. Safe between threads."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._pool = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="fetch")

    @contextmanager
    def started(self, refs: Sequence[ObjectRef]) -> Iterator[Fetch]:
        """Give a fetcher for ``refs`` that is asked for them in this order, by one thread, each once.

        Small is what is known to be: an object whose size nobody said is fetched when its turn comes.
        """
        small = [ref for ref in refs if ref.size is not None and ref.size <= _SMALL]
        if len(small) < 2:
            yield self._fetch
            return
        coming = iter(small)
        fetched: dict[ObjectRef, Future[list[bytes] | None]] = {}

        def start() -> None:
            ref = next((ref for ref in coming if ref not in fetched), None)
            if ref is not None:
                fetched[ref] = self._pool.submit(self._whole, ref)

        def fetch(ref: ObjectRef) -> Iterator[bytes]:
            future = fetched.pop(ref, None)
            start()
            chunks = future.result() if future is not None else None
            return iter(chunks) if chunks is not None else self._fetch(ref)

        for _ in range(AT_A_TIME):
            start()
        try:
            yield fetch
        finally:
            for future in fetched.values():
                future.cancel()

    def _whole(self, ref: ObjectRef) -> list[bytes] | None:
        """Return an object's bytes; ``None`` if it is larger than was said.

        Raises:
            FetchError: as the fetcher does.
        """
        chunks, size = [], 0
        for chunk in self._fetch(ref):
            chunks.append(chunk)
            size += len(chunk)
            if size > _SMALL:
                return None
        return chunks
