"""What comes through a pipe, kept: when something is retried, an object is read again, and a pipe cannot be."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from typing import IO

from loader.errors import SourceError
from loader.source.fetch import CHUNK_BYTES
from loader.source.objects import LOCAL_BUCKET, PIPED, ObjectRef

#: As in the ids of documents: enough that no two contents share it.
_DIGEST_BYTES = 16


class Piped:
    """The bytes that came through a pipe, in a file without a name: nothing is left of it, whatever ends the process.

    ``ref`` is derived from the content alone, ``stdin:`` and its BLAKE2b-128: the same bytes are the same object,
    through whatever pipe they come.
    """

    def __init__(self, stream: IO[bytes], *, where: str) -> None:
        """Copy ``stream`` to its end.

        Raises:
            SourceError: it cannot be read, or there is no room for it.
        """
        digest, size = hashlib.blake2b(digest_size=_DIGEST_BYTES), 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # `close` closes it
        try:
            while chunk := stream.read(CHUNK_BYTES):
                self._file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            self._file.flush()
        except OSError as error:
            self._file.close()
            raise SourceError(
                f"cannot be read, or kept, to its end: {error.strerror or error}",
                kind="unspooled",
                where=where,
                hint=f"It is kept in {tempfile.gettempdir()} (TMPDIR) while it is loaded: is there room?",
            ) from None
        except BaseException:
            self._file.close()
            raise
        self.ref = ObjectRef(LOCAL_BUCKET, f"{PIPED}{digest.hexdigest()}", size=size)

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes. Any number of threads may do so at a time."""
        at = 0
        while chunk := os.pread(self._file.fileno(), CHUNK_BYTES, at):
            yield chunk
            at += len(chunk)

    def close(self) -> None:
        """Give back the room."""
        self._file.close()
