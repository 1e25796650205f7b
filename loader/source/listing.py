"""Which objects in S3 a backfill reads: by day of delivery, or whatever is below a prefix."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from loader.aws_errors import aws_error, code_of
from loader.clock import rfc3339
from loader.errors import ConfigError, SourceError
from loader.source.objects import ObjectRef

_S3_URI = re.compile(r"[Ss]3://([^/]+)(?:/(.*))?", re.DOTALL)
_ACCOUNT = re.compile(r"\d{12}")
_ORGANISATION = re.compile(r"o-[a-z0-9]+")
#: The folder of an account: only behind AWSLogs/ twelve digits are one, a trail's own prefix may be called anything.
_ACCOUNT_FOLDER = re.compile(r"(?:.*/)?AWSLogs/(?:o-[a-z0-9]+/)?\d{12}/", re.DOTALL)
_HINTS = {
    **dict.fromkeys(("AccessDenied", "403", "AllAccessDisabled"), "s3:ListBucket on the bucket is needed."),
    "NoSuchBucket": "Is its name right? Those of this account are told by: aws s3 ls.",
}
#: Of so many days each is asked for; of more, only those of which there is a folder.
_FEW_DAYS = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Range:
    """What to list. Days are inclusive, in UTC, and those of delivery: CloudTrail files events by it."""

    first: date
    last: date
    accounts: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()

    def days(self) -> Iterator[str]:
        """Yield every day, as CloudTrail names its folder: ``2026/11/01``."""
        for number in range(self.first.toordinal(), self.last.toordinal() + 1):
            yield _folder_of(date.fromordinal(number))

    def holds(self, folder: str) -> bool:
        """Tell whether a year, a month or a day, as CloudTrail names folders, has to do with these days."""
        return _folder_of(self.first)[: len(folder)] <= folder <= _folder_of(self.last)[: len(folder)]

    @property
    def is_short(self) -> bool:
        """Tell whether asking for every day costs less than looking which days are there."""
        return self.last - self.first < _FEW_DAYS


def _folder_of(day: date) -> str:
    return day.isoformat().replace("-", "/")


def parse_s3_uri(uri: str) -> tuple[str, str]:
    """Return bucket and prefix of ``s3://bucket/prefix``. Everything behind the bucket is the prefix, as it is.

    Raises:
        SourceError: it is no such URI.
    """
    match = _S3_URI.fullmatch(uri)
    if match is None:
        raise SourceError("not an S3 URI", kind="bad_uri", where=uri, hint="Write it as s3://bucket/prefix.")
    return match[1], match[2] or ""


def list_trail(client: Any, uri: str, span: Range) -> Iterator[ObjectRef]:
    """Yield the log files below ``uri`` that were delivered within ``span``, account by account, day by day.

    ``uri`` may end anywhere: at the bucket, at a trail's own prefix, at ``AWSLogs/``, at an organisation's folder, at
    an account, at a Region or a day below one. Only the days asked for are listed: terabytes of other days cost
    nothing. What is no record is listed as well if CloudTrail puts it where records are, so that it is counted, like
    what a queue announces; digests are not, the validator reads those. ``client`` is a boto3 S3 client.

    Raises:
        SourceError: S3 refuses to list, or there is no trail below ``uri``.
        ConfigError: there are no credentials to ask with.
    """
    bucket, prefix = parse_s3_uri(uri)
    folders = _Folders(client, bucket, prefix)
    found = False
    for account in folders.accounts():
        found = True
        if span.accounts and _name(account) not in span.accounts:
            continue
        for region in folders.regions(account, span):
            for day in folders.days(region, span):
                yield from _objects(client, bucket, max(day, prefix, key=len))
    if not found:
        hint = "Give the bucket or the trail's prefix."
        if prefix.startswith("/"):
            hint = "Its keys would have to begin with a slash: write one slash behind the bucket."
        raise SourceError("no AWSLogs/<account>/ is below it", kind="no_trail", where=uri, hint=hint)


def list_prefix(client: Any, uri: str) -> Iterator[ObjectRef]:
    """Yield every object below ``uri``, whatever its key looks like.

    Raises:
        SourceError: S3 refuses to list.
        ConfigError: there are no credentials to ask with.
    """
    bucket, prefix = parse_s3_uri(uri)
    yield from _objects(client, bucket, prefix)


class _Folders:
    """The folders of trails at, above or below a prefix. Where the prefix names one, nobody is asked for it."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def accounts(self) -> Iterator[str]:
        """Yield the folders of accounts."""
        prefix = self._prefix if self._prefix.endswith("/") or not self._prefix else f"{self._prefix}/"
        if match := _ACCOUNT_FOLDER.match(prefix):
            yield match[0]
            return
        start = prefix if "AWSLogs" in prefix.split("/") else f"{prefix}AWSLogs/"
        for folder in self._listed(start):
            if _ACCOUNT.fullmatch(_name(folder)):
                yield folder
            elif _ORGANISATION.fullmatch(_name(folder)):
                yield from (inner for inner in self._listed(folder) if _ACCOUNT.fullmatch(_name(inner)))

    def regions(self, account: str, span: Range) -> Iterator[str]:
        """Yield the folders of Regions that CloudTrail has put something into for an account."""
        for kind in self._below(account):
            # Whatever kind of events comes next has a folder of this name, and the queue's worker would load it.
            if _name(kind).startswith("CloudTrail") and _name(kind) != "CloudTrail-Digest":
                yield from (one for one in self._below(kind) if not span.regions or _name(one) in span.regions)

    def days(self, region: str, span: Range) -> Iterator[str]:
        """Yield the folders of days."""
        if span.is_short:
            for day in span.days():
                folder = f"{region}{day}/"
                if self._agrees(folder):
                    yield folder
            return
        found = [region]
        for _ in ("year", "month", "day"):
            below = [inner for folder in found for inner in self._below(folder)]
            found = [folder for folder in below if span.holds(folder[len(region) : -1])]
        yield from found

    def _below(self, folder: str) -> Iterator[str]:
        name, slash, _ = self._prefix.removeprefix(folder).partition("/")
        if self._prefix.startswith(folder) and slash:
            yield f"{folder}{name}/"
        else:
            yield from filter(self._agrees, self._listed(folder))

    def _agrees(self, folder: str) -> bool:
        return folder.startswith(self._prefix) or self._prefix.startswith(folder)

    def _listed(self, folder: str) -> Iterator[str]:
        for page in _pages(self._client, self._bucket, folder, delimiter="/"):
            for entry in page.get("CommonPrefixes", []):
                yield entry["Prefix"]


def _name(folder: str) -> str:
    return folder.rstrip("/").rsplit("/", 1)[-1]


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
    where = f"s3://{bucket}/{prefix}"
    try:
        yield from client.get_paginator("list_objects_v2").paginate(**request)
    except (ClientError, BotoCoreError) as error:
        hint = _HINTS.get(code_of(error)) if isinstance(error, ClientError) else None
        told = aws_error(error, where=where, hint=hint)
        if isinstance(told, ConfigError):
            raise told from None
        raise SourceError(told.message, kind="unlisted", where=where, hint=told.hint) from None
