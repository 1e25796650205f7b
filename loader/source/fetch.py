"""Bytes of an object, from S3 or from disk, as chunks; every refusal has a name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from loader.source.objects import LOCAL_BUCKET, FetchError, ObjectRef

__all__ = ["CHUNK_BYTES", "LOCAL_BUCKET", "Fetch", "TransientSourceError", "file_fetch", "s3_fetch"]

CHUNK_BYTES = 2**20

#: ``ObjectRef -> chunks of its bytes as stored``.
Fetch = Callable[[ObjectRef], Iterator[bytes]]

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_KINDS = {
    "InvalidObjectState": "archived",
    # The version that was announced is a delete marker.
    "MethodNotAllowed": "missing",
    # KMS, by way of S3, with status 400.
    "KMS.AccessDeniedException": "forbidden",
    "KMS.DisabledException": "forbidden",
    "KMS.InvalidKeyUsageException": "forbidden",
    "KMS.InvalidStateException": "forbidden",
    "KMS.KMSInvalidStateException": "forbidden",
    "KMS.NotFoundException": "forbidden",
}
_KINDS_OF_STATUS = {403: "forbidden", 404: "missing", 405: "missing", 412: "replaced"}
#: What is wrong with this process and not with the object: its credentials, its clock.
_OURS = frozenset(
    {
        *("AccountProblem", "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidSecurity"),
        *("InvalidToken", "NotSignedUp", "RequestExpired", "RequestTimeTooSkewed", "SignatureDoesNotMatch"),
        *("TokenRefreshRequired", "UnrecognizedClientException"),
    }
)
#: Parts of codes that speak of the moment, whatever their status. Throttling by KMS comes with status 400.
_PASSING = ("throttl", "slowdown", "internal", "timeout", "unavailable", "busy", "toomany", "limitexceeded", "conflict")
_PASSING_STATUS = frozenset({408, 409, 425, 429})
_HINTS = {
    "missing": "The object is gone (a lifecycle rule, or it was deleted): restore it, then replay.",
    "forbidden": "Give the loader's role s3:GetObject on the object and kms:Decrypt on its key, then replay.",
    "archived": "The object is in Glacier: restore it (s3:RestoreObject), then replay.",
    "replaced": "Another object was written under this key after the notification. Its own notification loads it; "
    "a replay loads what is there now. CloudTrail never does this: find out who did.",
    "refused": "S3 takes no request for such an object, today or tomorrow: look at its bucket's Region, its encryption "
    "and the name in the notification, then replay.",
}


class TransientSourceError(FetchError):
    """Reading failed in a way that trying again later may cure: the message goes back to the queue."""

    def __init__(self, message: str, *, where: str | None = None) -> None:
        super().__init__(message, kind="unavailable", where=where)


def _from_client_error(error: ClientError, ref: ObjectRef) -> FetchError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    kind = _kind_of(code, status if isinstance(status, int) else 0)
    if kind is None:
        return TransientSourceError(f"S3 answered {code or 'with an error'}", where=ref.uri)
    return FetchError(f"S3 answered {code or status}", kind=kind, where=ref.uri, hint=_HINTS[kind])


def _kind_of(code: str, status: int) -> str | None:
    """Return why an object cannot be read until somebody does something; ``None`` of what time may cure."""
    if code in _KINDS:
        return _KINDS[code]
    if code in _OURS or status in _PASSING_STATUS or any(part in code.lower() for part in _PASSING):
        return None
    if status in _KINDS_OF_STATUS:
        return _KINDS_OF_STATUS[status]
    return "refused" if 300 <= status < 500 else None


def s3_fetch(client: Any) -> Fetch:
    """Return a fetcher that streams objects from S3 with ``client``.

    A version that the notification names is the one that is read; an etag that it names must be the object's
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-reads.html). The fetcher raises, when iterated,
    :class:`FetchError` with ``missing``, ``forbidden``, ``archived``, ``replaced`` or ``refused`` (parked: a person has
    to act), or :class:`TransientSourceError` (the queue tries again).
    """

    def fetch(ref: ObjectRef) -> Iterator[bytes]:
        request: dict[str, Any] = {"Bucket": ref.bucket, "Key": ref.key}
        if ref.version_id:
            request["VersionId"] = ref.version_id
        if ref.etag:
            request["IfMatch"] = f'"{ref.etag}"'
        try:
            answer = client.get_object(**request)
        except ClientError as error:
            raise _from_client_error(error, ref) from None
        except (ParamValidationError, ValueError) as error:  # a name or an etag that cannot even be asked for
            raise FetchError(str(error), kind="refused", where=ref.uri, hint=_HINTS["refused"]) from None
        except BotoCoreError as error:
            raise TransientSourceError(str(error), where=ref.uri) from None
        expected, seen = answer.get("ContentLength"), 0
        body = answer["Body"]
        try:
            while chunk := body.read(CHUNK_BYTES):
                seen += len(chunk)
                yield chunk
        except (BotoCoreError, OSError) as error:
            raise TransientSourceError(f"the stream broke after {seen} bytes: {error}", where=ref.uri) from None
        finally:
            body.close()
        if expected is not None and seen != expected:
            raise TransientSourceError(f"the stream ended after {seen} of {expected} bytes", where=ref.uri)

    return fetch


def file_fetch(ref: ObjectRef) -> Iterator[bytes]:
    """Yield the bytes of a local file.

    Raises:
        FetchError: ``missing`` or ``forbidden``.
    """
    try:
        with Path(ref.key).open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk
    except FileNotFoundError:
        raise FetchError("no such file", kind="missing", where=ref.key) from None
    except OSError as error:
        raise FetchError(error.strerror or str(error), kind="forbidden", where=ref.key) from None
