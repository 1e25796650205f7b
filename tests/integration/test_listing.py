"""Listing a trail in S3: only the days, accounts and regions asked for, organisation trails and prefixes too."""

from __future__ import annotations

import uuid
from datetime import date
from typing import Any

import pytest

from loader.errors import SourceError
from loader.ingest.backfill import enqueue_all
from loader.ingest.notification import parse_notification
from loader.source.listing import Range, list_prefix, list_trail, parse_s3_uri

pytestmark = pytest.mark.integration

KEYS = [
    f"{prefix}AWSLogs/{organisation}{account}/{kind}/{region}/2026/11/{day:02d}/f{day}.json.gz"
    for prefix in ("", "trail/", "111111111111/")
    for organisation in ("", "o-ab12/")
    for account in ("111111111111", "222222222222")
    for kind in ("CloudTrail", "CloudTrail-Insight", "CloudTrail-Aggregated", "CloudTrail-Digest", "vpcflowlogs")
    for region in ("eu-west-1", "us-east-1")
    for day in (1, 2, 3)
]


@pytest.fixture(scope="module")
def bucket(aws: Any) -> str:
    aws.s3.create_bucket(Bucket="listing")
    for key in KEYS:
        aws.s3.put_object(Bucket="listing", Key=key, Body=b"x")
    return "listing"


def wanted(prefix: str, organisations: tuple[str, ...], **narrow: Any) -> set[str]:
    accounts = narrow.get("accounts", ("111111111111", "222222222222"))
    regions = narrow.get("regions", ("eu-west-1", "us-east-1"))
    return {
        f"{prefix}AWSLogs/{organisation}{account}/{kind}/{region}/2026/11/{day:02d}/f{day}.json.gz"
        for organisation in organisations
        for account in accounts
        for kind in narrow.get("kinds", ("CloudTrail", "CloudTrail-Insight", "CloudTrail-Aggregated"))
        for region in regions
        for day in narrow.get("days", (1, 2))
    }


SPAN = Range(date(2026, 11, 1), date(2026, 11, 2))


@pytest.mark.parametrize(
    ("uri", "span", "expected"),
    [
        ("s3://listing", SPAN, wanted("", ("", "o-ab12/"))),
        ("s3://listing/", SPAN, wanted("", ("", "o-ab12/"))),
        ("s3://listing/trail", SPAN, wanted("trail/", ("", "o-ab12/"))),
        ("s3://listing/trail/AWSLogs/o-ab12/", SPAN, wanted("trail/", ("o-ab12/",))),
        ("s3://listing/AWSLogs/111111111111/", SPAN, wanted("", ("",), accounts=("111111111111",))),
        (
            "s3://listing",
            Range(date(2026, 11, 3), date(2026, 11, 3), frozenset({"222222222222"}), frozenset({"eu-west-1"})),
            wanted("", ("", "o-ab12/"), accounts=("222222222222",), regions=("eu-west-1",), days=(3,)),
        ),
        ("s3://listing", Range(date(2025, 1, 1), date(2025, 1, 2)), set()),
        # Of a long time only what is there is asked for, be it as long as can be.
        ("s3://listing", Range(date(2025, 12, 24), date(2026, 11, 2)), wanted("", ("", "o-ab12/"))),
        ("s3://listing", Range(date.min, date.max), wanted("", ("", "o-ab12/"), days=(1, 2, 3))),
        # Twelve digits are an account only behind AWSLogs/.
        ("s3://listing/111111111111", SPAN, wanted("111111111111/", ("", "o-ab12/"))),
        (
            "s3://listing/111111111111/AWSLogs/222222222222",
            SPAN,
            wanted("111111111111/", ("",), accounts=("222222222222",)),
        ),
        # Below an account as well, as far as people copy it from somewhere.
        (
            "s3://listing/AWSLogs/o-ab12/111111111111/CloudTrail",
            SPAN,
            wanted("", ("o-ab12/",), accounts=("111111111111",)),
        ),
        (
            "s3://listing/AWSLogs/111111111111/CloudTrail/us-east-1/",
            SPAN,
            wanted("", ("",), accounts=("111111111111",), kinds=("CloudTrail",), regions=("us-east-1",)),
        ),
        (
            "s3://listing/AWSLogs/111111111111/CloudTrail/us-east-1/2026/11/02/f2",
            Range(date(2026, 1, 1), date(2026, 11, 30)),
            wanted("", ("",), accounts=("111111111111",), kinds=("CloudTrail",), regions=("us-east-1",), days=(2,)),
        ),
        ("s3://listing/AWSLogs/111111111111/CloudTrail/us-east-1/2026/11/03/", SPAN, set()),
        ("s3://listing/AWSLogs/111111111111/CloudTrail-Digest/", SPAN, set()),
    ],
)
def test_only_what_was_asked_for_is_listed(aws: Any, bucket: str, uri: str, span: Range, expected: set[str]) -> None:
    listed = list(list_trail(aws.s3, uri, span))
    assert {ref.key for ref in listed} == expected
    assert len(listed) == len(expected)
    assert all(ref.size == 1 and ref.etag for ref in listed)


def test_a_place_without_a_trail_says_so(aws: Any, bucket: str) -> None:
    with pytest.raises(SourceError, match="no AWSLogs"):
        list(list_trail(aws.s3, "s3://listing/nowhere", SPAN))
    with pytest.raises(SourceError, match="no AWSLogs") as raised:
        list(list_trail(aws.s3, "s3://listing//trail", SPAN))
    assert "one slash behind the bucket" in str(raised.value.hint)
    with pytest.raises(SourceError, match="NoSuchBucket"):
        list(list_trail(aws.s3, "s3://no-such-bucket-here", SPAN))


@pytest.mark.parametrize("uri", ["listing/AWSLogs", "http://listing/", "s3:///x", "s3://", "s3:/listing"])
def test_what_is_no_s3_uri_is_refused(uri: str) -> None:
    with pytest.raises(SourceError, match="not an S3 URI"):
        list(list_prefix(None, uri))


@pytest.mark.parametrize("key", ["a#b/x.json", "a?b/x.json", "a%23b/x.json", "/x.json", "//x.json"])
def test_a_prefix_is_taken_as_it_is(aws: Any, bucket: str, key: str) -> None:
    for other in (key, "a", "x.json"):
        aws.s3.put_object(Bucket=bucket, Key=other, Body=b"x")
    prefix = key.removesuffix(".json")
    assert [ref.key for ref in list_prefix(aws.s3, f"s3://{bucket}/{prefix}")] == [key]


@pytest.mark.parametrize("prefix", ["", "a#b", "a?b=c", "/", "//a", "a\nb", "a%20b"])
def test_what_stands_behind_the_bucket_is_the_prefix(prefix: str) -> None:
    assert parse_s3_uri(f"s3://listing/{prefix}") == ("listing", prefix)
    assert parse_s3_uri("s3://listing") == ("listing", "")


def test_announced_objects_are_read_back_as_they_are(aws: Any, bucket: str) -> None:
    url = aws.sqs.create_queue(QueueName=f"listing-{uuid.uuid4().hex[:12]}")["QueueUrl"]
    refs = [ref for ref in list_prefix(aws.s3, "s3://listing/trail/") if "eu-west-1/2026/11/03" in ref.key]
    odd = "a b+c%20ü.json.gz"
    aws.s3.put_object(Bucket="listing", Key=odd, Body=b"x")
    refs += list(list_prefix(aws.s3, "s3://listing/a b"))
    sent: list[int] = []
    assert enqueue_all(aws.sqs, url, refs, sent.append) == len(refs) == sent[-1]
    found = []
    while messages := aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            found += parse_notification(message["Body"]).objects
    told = [{(ref.key, ref.etag, ref.size, ref.delivered) for ref in side} for side in (found, refs)]
    assert told[0] == told[1]
    assert all(ref.delivered for ref in found), "a worker measures its lag by it"
    assert odd in {ref.key for ref in found}
