"""Generated CloudTrail records for the benchmarks: about 1.5 kB each, with the repetition real trails have.

Not a benchmark itself. The same seed gives the same records.
"""

from __future__ import annotations

import gzip
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson

from loader.source.fetch import LOCAL_BUCKET, file_fetch
from loader.source.objects import Limits, ObjectRef, Piece
from loader.source.split import read_pieces

_ACCOUNTS = ("111111111111", "222222222222", "333333333333")
_REGIONS = ("us-east-1", "us-east-1", "us-east-1", "eu-west-1", "eu-central-1")
_AGENTS = (
    "aws-cli/2.13.5 Python/3.11.4 Linux/5.10.0 exe/x86_64.amzn.2 prompt/off command/ec2.describe-instances",
    "Boto3/1.28.20 md/Botocore#1.31.20 ua/2.0 os/linux#5.10 md/arch#x86_64 lang/python#3.10.12",
    "APN/1.0 HashiCorp/1.0 Terraform/1.5.4 (+https://www.terraform.io) aws-sdk-go/1.44.122 (go1.20; linux; amd64)",
    "aws-sdk-java/1.12.500 Linux/5.10.184 OpenJDK_64-Bit_Server_VM/17.0.8 java/17.0.8",
    "console.amazonaws.com",
)
_CALLS = (
    ("ec2", "DescribeInstances", True),
    ("ec2", "DescribeSecurityGroups", True),
    ("ec2", "RunInstances", False),
    ("iam", "GetRole", True),
    ("iam", "PutRolePolicy", False),
    ("sts", "AssumeRole", True),
    ("kms", "Decrypt", True),
    ("s3", "GetBucketPolicy", True),
    ("lambda", "GetFunction20150331v2", True),
    ("logs", "CreateLogStream", False),
    ("dynamodb", "DescribeTable", True),
    ("ssm", "GetParameters", True),
)

_SESSION_MINUTES = 240


def records(count: int, *, seed: int = 1, days: int = 3) -> Iterator[bytes]:
    """Yield ``count`` records over ``days`` days, as JSON."""
    dice = random.Random(seed)
    for _ in range(count):
        yield orjson.dumps(_record(dice, days))


def log_file(raw: list[bytes], *, level: int = 6) -> bytes:
    """Return a log file of raw records, as CloudTrail delivers it."""
    return gzip.compress(b'{"Records":[' + b",".join(raw) + b"]}", compresslevel=level, mtime=0)


def real_records(folder: Path) -> Iterator[bytes]:
    """Yield the records of every CloudTrail file below ``folder``, in whatever form they are kept, compact."""
    for path in sorted(path for end in ("*.json.gz", "*.json", "*.log") for path in folder.rglob(end)):
        for piece in read_pieces(file_fetch(ObjectRef(LOCAL_BUCKET, str(path))), Limits()):
            if isinstance(piece, Piece) and b'"eventTime"' in piece.raw and b'"eventSource"' in piece.raw:
                yield msgspec.json.format(piece.raw, indent=-1)


def _record(dice: random.Random, days: int) -> dict[str, Any]:
    account, region = dice.choice(_ACCOUNTS), dice.choice(_REGIONS)
    service, name, reads = dice.choice(_CALLS)
    minute, second = dice.randrange(days * 1440), dice.randrange(60)
    made: dict[str, Any] = {
        "eventVersion": "1.08",
        "userIdentity": _identity(dice, account, minute),
        "eventTime": _time(minute, second),
        "eventSource": f"{service}.amazonaws.com",
        "eventName": name,
        "awsRegion": region,
        "sourceIPAddress": f"203.0.113.{int(dice.triangular(0, 255, 10))}",
        "userAgent": dice.choice(_AGENTS),
        "requestParameters": _request(dice, name),
        "responseElements": None if reads else _response(dice),
        "requestID": str(uuid.UUID(int=dice.getrandbits(128))),
        "eventID": str(uuid.UUID(int=dice.getrandbits(128))),
        "readOnly": reads,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": account,
        "eventCategory": "Management",
        "tlsDetails": {
            "tlsVersion": "TLSv1.3",
            "cipherSuite": "TLS_AES_128_GCM_SHA256",
            "clientProvidedHostHeader": f"{service}.{region}.amazonaws.com",
        },
    }
    if dice.random() < 0.05:
        made["errorCode"] = dice.choice(("AccessDenied", "Client.UnauthorizedOperation", "ThrottlingException"))
        made["errorMessage"] = f"User is not authorized to perform: {service}:{name} because of an explicit deny"
    return made


def _time(minute: int, second: int = 0) -> str:
    return f"2023-07-{10 + minute // 1440:02d}T{minute // 60 % 24:02d}:{minute % 60:02d}:{second:02d}Z"


def _identity(dice: random.Random, account: str, minute: int) -> dict[str, Any]:
    """Return who acts. A session keeps its key for four hours: in real trails, too, keys are used again."""
    session = minute // _SESSION_MINUTES
    person = int(dice.triangular(0, 200, 5))
    if dice.random() < 0.3:
        return {
            "type": "IAMUser",
            "principalId": f"AIDA{person:017d}",
            "arn": f"arn:aws:iam::{account}:user/user-{person}",
            "accountId": account,
            "accessKeyId": f"AKIA{person:016d}",
            "userName": f"user-{person}",
        }
    role = f"role-{person % 30}"
    return {
        "type": "AssumedRole",
        "principalId": f"AROA{person % 30:017d}:session-{person}",
        "arn": f"arn:aws:sts::{account}:assumed-role/{role}/session-{person}",
        "accountId": account,
        "accessKeyId": f"ASIA{account[:4]}{person:06d}{session:06d}",
        "sessionContext": {
            "sessionIssuer": {
                "type": "Role",
                "principalId": f"AROA{person % 30:017d}",
                "arn": f"arn:aws:iam::{account}:role/{role}",
                "accountId": account,
                "userName": role,
            },
            "webIdFederationData": {},
            "attributes": {"creationDate": _time(session * _SESSION_MINUTES), "mfaAuthenticated": "false"},
        },
    }


def _request(dice: random.Random, name: str) -> dict[str, Any]:
    if name == "RunInstances":
        return {
            "instancesSet": {"items": [{"imageId": f"ami-{dice.getrandbits(64):016x}", "minCount": 1, "maxCount": 1}]},
            "instanceType": dice.choice(("t3.micro", "m5.large", "c6i.xlarge")),
            "blockDeviceMapping": {},
            "monitoring": {"enabled": False},
            "disableApiTermination": False,
        }
    if name.startswith("Describe"):
        return {
            "maxResults": dice.choice((100, 500, 1000)),
            "filterSet": {
                "items": [{"name": "tag:team", "valueSet": {"items": [{"value": f"team-{dice.randrange(40)}"}]}}]
            },
        }
    return {
        "name": f"/application/{dice.randrange(100)}/{dice.choice(('key', 'secret', 'url'))}",
        "roleArn": f"arn:aws:iam::{dice.choice(_ACCOUNTS)}:role/role-{dice.randrange(30)}",
        "roleSessionName": f"session-{dice.getrandbits(32):08x}",
        "encryptionContext": {"aws:lambda:FunctionArn": f"function-{dice.randrange(100)}"},
    }


def _response(dice: random.Random) -> dict[str, Any]:
    return {
        "requestId": str(uuid.UUID(int=dice.getrandbits(128))),
        "reservationId": f"r-{dice.getrandbits(64):016x}",
        "ownerId": dice.choice(_ACCOUNTS),
        "groupSet": {},
        "instancesSet": {
            "items": [{"instanceId": f"i-{dice.getrandbits(64):016x}", "currentState": {"code": 0, "name": "pending"}}]
        },
    }
