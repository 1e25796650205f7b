"""A trail to load: generated log files, and notifications that come twice, late and in any order."""

from __future__ import annotations

import gzip
import random
import uuid
from dataclasses import dataclass, field
from typing import Any

import orjson

from loader.errors import RecordError
from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import ObjectContext

_SERVICES = ("ec2", "iam", "s3", "sts", "kms", "lambda", "logs", "cloudtrail")
_VERBS = ("Describe", "Get", "List", "Create", "Delete", "Put", "Update", "Assume")
_NOUNS = ("Instances", "Role", "Bucket", "Key", "Function", "Trail", "User", "Policy", "Object")
_BAD: tuple[bytes, ...] = (b"17", b"null", b'{"eventVersion":"1.08"}', b"{}", b'["x"]')


def record(dice: random.Random) -> dict[str, Any]:
    """A CloudTrail management event that no other one equals."""
    user, account = f"user{dice.randrange(20)}", f"{dice.randrange(3) + 111111111111}"
    service = dice.choice(_SERVICES)
    failed = dice.random() < 0.1
    made: dict[str, Any] = {
        "eventVersion": "1.08",
        "userIdentity": {
            "type": "IAMUser",
            "principalId": f"AIDA{dice.randrange(10**6):06d}",
            "arn": f"arn:aws:iam::{account}:user/{user}",
            "accountId": account,
            "accessKeyId": f"AKIA{dice.randrange(10**12):012d}EXAM",
            "userName": user,
        },
        "eventTime": f"2023-07-{dice.randrange(10, 13)}T{dice.randrange(24):02d}:{dice.randrange(60):02d}:00Z",
        "eventSource": f"{service}.amazonaws.com",
        "eventName": dice.choice(_VERBS) + dice.choice(_NOUNS),
        "awsRegion": dice.choice(("us-east-1", "eu-west-1")),
        "sourceIPAddress": f"203.0.113.{dice.randrange(256)}",
        "userAgent": f"aws-cli/2.{dice.randrange(20)}.0 Python/3.11.4 Linux/5.10 exe/x86_64",
        "requestParameters": {
            "maxResults": dice.randrange(1000),
            "filterSet": {"items": [{"name": f"tag:{dice.randrange(50)}", "valueSet": [dice.choice(_NOUNS)]}]},
        },
        "responseElements": {"requestId": f"{dice.getrandbits(64):016x}"} if dice.random() < 0.5 else None,
        "requestID": str(uuid.UUID(int=dice.getrandbits(128))),
        "eventID": str(uuid.UUID(int=dice.getrandbits(128))),
        "readOnly": dice.random() < 0.7,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": account,
        "eventCategory": "Management",
    }
    if failed:
        made |= {"errorCode": "AccessDenied", "errorMessage": f"User {user} is not authorized"}
    return made


@dataclass
class Expected:
    """What must be true of one record in the end."""

    key: str
    number: int
    #: The derived id, or ``None`` for a record that no document can be made of.
    id: str | None


@dataclass
class LogFile:
    key: str
    body: bytes
    records: list[Expected] = field(default_factory=list)


def log_file(dice: random.Random, bucket: str, number: int, *, records: int, bad_share: float = 0.02) -> LogFile:
    """Make one log file. A few records are bad: they must become dead letters whatever else goes wrong."""
    name = f"123456789012_CloudTrail_us-east-1_20230710T{number // 60 % 24:02d}{number % 60:02d}Z_{number:016d}.json.gz"
    key = f"AWSLogs/123456789012/CloudTrail/us-east-1/2023/07/10/{name}"
    raw = [dice.choice(_BAD) if dice.random() < bad_share else orjson.dumps(record(dice)) for _ in range(records)]
    made = LogFile(key, gzip.compress(b'{"Records":[' + b",".join(raw) + b"]}", compresslevel=1, mtime=0))
    context = ObjectContext(bucket, key, "2023-07-10T12:00:00.000Z")
    for place, one in enumerate(raw, 1):
        try:
            identifier = CLOUDTRAIL.normalise(one, context, False).id
        except RecordError:
            identifier = None
        made.records.append(Expected(key, place, identifier))
    return made


def notification(bucket: str, files: list[LogFile]) -> str:
    """Return the message S3 sends about ``files``."""
    records = [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": bucket}, "object": {"key": file.key, "size": len(file.body)}},
        }
        for file in files
    ]
    return orjson.dumps({"Records": records}).decode()


def deliver(sqs: Any, queue_url: str, bucket: str, files: list[LogFile], dice: random.Random) -> int:
    """Announce each of ``files`` once to three times, shuffled, some late, some two to a message. Return how many."""
    announced = [file for file in files for _ in range(dice.choice((1, 1, 2, 3)))]
    dice.shuffle(announced)
    sent = 0
    while announced:
        together = [announced.pop() for _ in range(min(len(announced), dice.choice((1, 1, 1, 2))))]
        sqs.send_message(
            QueueUrl=queue_url,
            MessageBody=notification(bucket, together),
            DelaySeconds=dice.choice((0, 0, 0, 1, 2, 4)),
        )
        sent += 1
    return sent
