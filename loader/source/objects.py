"""What is read: the name of an object, and the pieces its bytes fall into."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Struct

from loader.errors import SourceError

#: ``bucket`` of an object that is a file on this machine.
LOCAL_BUCKET = "local"
#: ``key`` of what came through a pipe begins with it, in that bucket; no path is written so, they begin with a slash.
PIPED = "stdin:"
#: ``bucket`` of what CloudWatch Logs sent begins with it; no bucket in S3 has a colon in its name.
LOG_GROUP = "cloudwatch-logs:"


class FetchError(SourceError):
    """The bytes did not come. Says nothing about the object's content, and so is never a piece of it."""


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """An object in S3, a local file, or what a subscription of CloudWatch Logs sent.

    ``key`` is the real key, already decoded. ``size`` counts the bytes as stored; ``etag`` and ``version_id`` are those
    of the notification or the listing: an object that has another etag by now is another object. ``delivered`` is when
    it was written (RFC 3339). Of a file, ``bucket`` is ``local`` and ``key`` its path; of what came through a pipe,
    ``key`` is ``stdin:`` and the digest of its content. Of a subscription's message, ``bucket`` is ``cloudwatch-logs:``
    and the log group, ``key`` the log stream, the first event's day and id.
    """

    bucket: str
    key: str
    version_id: str | None = None
    etag: str | None = None
    size: int | None = None
    region: str | None = None
    delivered: str | None = field(default=None, compare=False)

    @property
    def uri(self) -> str:
        """Return ``s3://bucket/key``, or ``cloudwatch-logs:group/stream/…``: how errors and logs name the object."""
        return f"{self.bucket}/{self.key}" if ":" in self.bucket else f"s3://{self.bucket}/{self.key}"

    @property
    def can_be_read_again(self) -> bool:
        """Tell whether its bytes can be had another time: a subscription and a pipe give them only once."""
        return not self.bucket.startswith(LOG_GROUP) and not (
            self.bucket == LOCAL_BUCKET and self.key.startswith(PIPED)
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one object may ask of this process, in bytes.

    ``buffer``: uncompressed size up to which an object is split in one buffer; larger ones are split as they stream.
    ``record``: a longer record is refused. ``total``: reading stops there; the rest of the object is refused.
    """

    buffer: int = 64 * 2**20
    record: int = 10 * 2**20
    total: int = 8 * 2**30


#: Kinds of what is broken that say that nothing behind it was read.
UNREAD = frozenset({"too_dense", "object_too_large"})


class Piece(Struct, frozen=True, gc=False):
    """One raw record. ``number`` counts from 1 in the order of the file; ``event_id`` is CloudWatch Logs' own."""

    number: int
    raw: bytes
    event_id: str | None = None


class Broken(Struct, frozen=True, gc=False):
    """A stretch of the object that is no record. ``kind`` names why; ``raw`` is what was there.

    ``cut`` tells that it is only the beginning, or stands for what was not read at all.
    """

    number: int
    kind: str
    message: str
    raw: bytes
    event_id: str | None = None
    cut: bool = False
