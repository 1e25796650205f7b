"""A trail's delivery on the local stack: a bucket, a queue, and the notification between them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from loader.errors import LocalStackError

# 123456789012_CloudTrail_us-east-1_20230710T1145Z_7xgocspSowgK0Gto.json.gz
_TRAIL_NAME = re.compile(
    r"(\d{12})_(CloudTrail(?:-[A-Za-z]+)?)_([a-z0-9-]+)_(\d{4})(\d{2})(\d{2})T\d{4}Z_[A-Za-z0-9]+\.json(?:\.gz)?$"
)
_SUFFIXES = (".json", ".json.gz")


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where the local trail delivers to."""

    bucket: str
    queue_url: str


def create_delivery(s3: Any, sqs: Any, *, bucket: str, queue: str, region: str) -> Delivery:
    """Create, or find, bucket and queue with the S3 → SQS notification. ``s3`` and ``sqs`` are boto3 clients."""
    placement = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    if bucket not in {entry["Name"] for entry in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=bucket, **placement)
    queue_url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "s3.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"}},
            }
        ],
    }
    sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"Policy": orjson.dumps(policy).decode()})
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
    )
    return Delivery(bucket, queue_url)


def find_log_files(folder: Path) -> list[Path]:
    """Return every ``.json`` and ``.json.gz`` below ``folder``, however deep, sorted.

    Raises:
        LocalStackError: there is no such folder, or no such file in it.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise LocalStackError(
            "no such folder", where=str(folder), hint="Give a folder of CloudTrail .json or .json.gz."
        )
    files = sorted(path for path in folder.rglob("*") if path.name.endswith(_SUFFIXES) and path.is_file())
    if not files:
        raise LocalStackError(
            "no .json or .json.gz file below this folder", where=str(folder), hint="CloudTrail writes .json.gz files."
        )
    return files


def keys_for(files: Sequence[Path], folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield each file with its key: CloudTrail's own if the name is CloudTrail's, else its path below ``folder``."""
    taken: set[str] = set()
    for path in files:
        match = _TRAIL_NAME.search(path.name)
        below = path.relative_to(folder).as_posix() if path != folder else path.name
        if match:
            account, kind, region, year, month, day = match.groups()
            key = f"AWSLogs/{account}/{kind}/{region}/{year}/{month}/{day}/{path.name}"
        else:
            key = below
        if key in taken:  # the same file name in two folders
            key = f"copies/{below}"
        taken.add(key)
        yield path, key
