"""Which objects a backfill reads: by date prefix in S3, or local files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from loader.clock import rfc3339
from loader.errors import SourceError
from loader.source.objects import LOCAL_BUCKET, ObjectRef

_ACCOUNT = re.compile(r"^\d{12}$")
_ORGANISATION = re.compile(r"^o-[a-z0-9]+$")
#: Folders below an account that hold records. Digests are read by the validator.
_RECORD_FOLDERS = ("CloudTrail", "CloudTrail-Insight", "CloudTrail-NetworkActivity")
_LOG_NAME = re.compile(r"\.(json|json\.gz|gz|ndjson|jsonl)$")


@dataclass(frozen=True, slots=True)
class Range:
    """What to list. Days are inclusive, in UTC, and those of delivery: CloudTrail files events by it."""

    first: date
    last: date
    accounts: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()

    def days(self) -> Iterator[date]:
        """Yield every day."""
        day = self.first
        while day <= self.last:
            yield day
            day += timedelta(days=1)


def parse_s3_uri(uri: str) -> tuple[str, str]:
    """Return bucket and prefix of ``s3://bucket/prefix``.

    Raises:
        SourceError: it is no such URI.
    """
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise SourceError("not an S3 URI", kind="bad_uri", where=uri, hint="Write it as s3://bucket/prefix.")
    return parts.netloc, parts.path.lstrip("/")


def list_trail(client: Any, uri: str, span: Range) -> Iterator[ObjectRef]:
    """Yield the log files below ``uri`` that were delivered within ``span``, account by account, day by day.

    ``uri`` may end anywhere at or above an account: at the bucket, at a trail's own prefix, at ``AWSLogs/``, at an
    organisation's folder. Only the days asked for are listed: terabytes of other days cost nothing. ``client`` is a
    boto3 S3 client.

    Raises:
        SourceError: S3 refuses to list, or there is no trail below ``uri``.
    """
    bucket, prefix = parse_s3_uri(uri)
    found = False
    for account in _accounts(client, bucket, prefix):
        found = True
        if span.accounts and account.rstrip("/").rsplit("/", 1)[-1] not in span.accounts:
            continue
        for region in _regions(client, bucket, account, span):
            for day in span.days():
                yield from _objects(client, bucket, f"{region}{day:%Y/%m/%d}/")
    if not found:
        raise SourceError(
            "no AWSLogs/<account>/ is below it",
            kind="no_trail",
            where=uri,
            hint="Give the bucket or the trail's prefix.",
        )


def list_prefix(client: Any, uri: str) -> Iterator[ObjectRef]:
    """Yield every object below ``uri``, whatever its key looks like."""
    bucket, prefix = parse_s3_uri(uri)
    yield from _objects(client, bucket, prefix)


def list_files(paths: list[Path]) -> Iterator[ObjectRef]:
    """Yield local files, folders walked to any depth, in order.

    Raises:
        SourceError: a path does not exist.
    """
    for path in paths:
        if path.is_dir():
            below = sorted(entry for entry in path.rglob("*") if entry.is_file() and _LOG_NAME.search(entry.name))
        elif path.exists():
            below = [path]
        else:
            raise SourceError("no such file or folder", kind="missing", where=str(path))
        for entry in below:
            yield ObjectRef(LOCAL_BUCKET, str(entry.resolve()), size=entry.stat().st_size)


def _accounts(client: Any, bucket: str, prefix: str) -> Iterator[str]:
    """Yield the prefixes of accounts at or below ``prefix``."""
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    last = prefix.rstrip("/").rsplit("/", 1)[-1]
    if _ACCOUNT.match(last):
        yield prefix
        return
    start = prefix
    if "AWSLogs" not in prefix.split("/"):
        start = f"{prefix}AWSLogs/"
    for folder in _folders(client, bucket, start):
        name = folder.rstrip("/").rsplit("/", 1)[-1]
        if _ACCOUNT.match(name):
            yield folder
        elif _ORGANISATION.match(name):
            yield from (inner for inner in _folders(client, bucket, folder) if _ACCOUNT.match(inner.split("/")[-2]))


def _regions(client: Any, bucket: str, account: str, span: Range) -> Iterator[str]:
    for kind in _RECORD_FOLDERS:
        for region in _folders(client, bucket, f"{account}{kind}/"):
            if not span.regions or region.split("/")[-2] in span.regions:
                yield region


def _folders(client: Any, bucket: str, prefix: str) -> Iterator[str]:
    for page in _pages(client, bucket, prefix, delimiter="/"):
        for entry in page.get("CommonPrefixes", []):
            yield entry["Prefix"]


def _objects(client: Any, bucket: str, prefix: str) -> Iterator[ObjectRef]:
    for page in _pages(client, bucket, prefix):
        for entry in page.get("Contents", []):
            yield ObjectRef(
                bucket,
                entry["Key"],
                etag=entry["ETag"].strip('"'),
                size=entry["Size"],
                delivered=rfc3339(entry["LastModified"]),
            )


def _pages(client: Any, bucket: str, prefix: str, **options: str) -> Iterator[dict[str, Any]]:
    request = {"Bucket": bucket, "Prefix": prefix}
    if options:
        request["Delimiter"] = options["delimiter"]
    try:
        yield from client.get_paginator("list_objects_v2").paginate(**request)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        hint = "s3:ListBucket is needed." if code in ("AccessDenied", "403") else None
        raise SourceError(f"S3 answered {code}", kind="unlisted", where=f"s3://{bucket}/{prefix}", hint=hint) from None
    except BotoCoreError as error:
        raise SourceError(str(error), kind="unlisted", where=f"s3://{bucket}/{prefix}") from None
