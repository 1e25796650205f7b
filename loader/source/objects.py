"""What is read: the name of an object, and the pieces its bytes fall into."""

from __future__ import annotations

from dataclasses import dataclass

from loader.errors import SourceError


class FetchError(SourceError):
    """The bytes did not come. Says nothing about the object's content, and so is never a piece of it."""


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """An object in S3, or a local file (``bucket`` is then ``local``, ``key`` the path as given).

    ``key`` is the real key, already decoded. ``size`` counts the bytes as stored.
    """

    bucket: str
    key: str
    version_id: str | None = None
    etag: str | None = None
    size: int | None = None
    region: str | None = None

    @property
    def uri(self) -> str:
        """Return ``s3://bucket/key``: how errors, logs and ``log.file.path`` name the object."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one object may ask of this process, in bytes.

    ``buffer``: uncompressed size up to which an object is split in one buffer; larger ones are split as they stream.
    ``record``: a longer record is refused. ``total``: reading stops there; the rest of the object is refused.
    """

    buffer: int = 64 * 2**20
    record: int = 10 * 2**20
    total: int = 8 * 2**30


@dataclass(frozen=True, slots=True)
class Piece:
    """One raw record. ``number`` counts from 1 in the order of the file."""

    number: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """A stretch of the object that is no record. ``kind`` names why; ``raw`` is what was there (cut to a limit)."""

    number: int
    kind: str
    message: str
    raw: bytes
