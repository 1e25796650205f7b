"""Records for tests: real ones from the public sample logs, and a plain one to change."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loader.logtypes.model import ObjectContext

CONTEXT = ObjectContext(
    bucket="example-trail",
    key="AWSLogs/111122223333/CloudTrail/us-east-1/2023/07/10/"
    "111122223333_CloudTrail_us-east-1_20230710T1200Z_AbCdEfGhIjKlMnOp.json.gz",
    ingested="2023-07-10T12:01:02.003Z",
)
NO_TIME = ObjectContext(bucket="local", key="records.json", ingested="2023-07-10T12:01:02.003Z")


def record(**changes: Any) -> dict[str, Any]:
    """A plain record, with ``changes``; a change to ``...`` takes the key away."""
    plain: dict[str, Any] = {
        "eventVersion": "1.08",
        "userIdentity": {
            "type": "IAMUser",
            "principalId": "AIDAEXAMPLEEXAMPLE001",
            "arn": "arn:aws:iam::111122223333:user/alice",
            "accountId": "111122223333",
            "accessKeyId": "AKIAEXAMPLEEXAMPLE01",
            "userName": "alice",
        },
        "eventTime": "2023-07-10T11:45:00Z",
        "eventSource": "iam.amazonaws.com",
        "eventName": "CreateUser",
        "awsRegion": "us-east-1",
        "sourceIPAddress": "192.0.2.10",
        "userAgent": "aws-cli/2.13.0 Python/3.11.4 Linux/5.15 exe/x86_64 prompt/off command/iam.create-user",
        "requestParameters": {"userName": "bob"},
        "responseElements": None,
        "requestID": "0a1b2c3d-0000-4000-8000-000000000001",
        "eventID": "0a1b2c3d-0000-4000-8000-000000000002",
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": "111122223333",
        "eventCategory": "Management",
    }
    plain.update(changes)
    return {key: value for key, value in plain.items() if value is not ...}


def dump(value: Any) -> bytes:
    """Compact JSON, as CloudTrail writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def real_files(folder: Path) -> list[Path]:
    """Every file of the public sample logs that has CloudTrail records in it."""
    catalog = folder / "opensearch-catalog/integrations/observability/aws_cloudtrail/data"
    return [
        *sorted((folder / "invictus-aws_dataset" / "CloudTrail").glob("*.json")),
        catalog / "samples-large.json",
        catalog / "raw-sample.json",
        folder / "clo-with-opensearch/source/constructs/lambda/pipeline/log-processor/test/datafile/cloudtrail.log",
        *[
            folder / "crowdsec-hub/.tests" / name / f"{name}.log"
            for name in ("aws-bf", "aws-cloudtrail", "aws-cloudtrail-postexploit", "aws-nwo-login")
        ],
        folder / "lambda-promtail/testdata/cloudtrail-log-file.json.gz",
        *sorted((folder / "cloud-custodian/tests/data/cwe").glob("event-*.json")),
    ]


def real_records(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every CloudTrail record of the public sample logs: where it is, and its JSON.

    Read by other code than the loader's, which is tested with it.
    """
    for path in real_files(folder):
        for value in file_values(path):
            yield from _records_of(path, value)


def file_values(path: Path) -> Iterator[Any]:
    """The JSON values in a file, packed or not."""
    content = path.read_bytes()
    yield from _values((gzip.decompress(content) if path.suffix == ".gz" else content).decode())


def _values(text: str) -> Iterator[Any]:
    """JSON values one after the other; what is no JSON between them is passed over."""
    decoder, position = json.JSONDecoder(), text.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(text, position)
        except ValueError:
            end = position + 1
        else:
            yield value
        position = text.find("{", end)


def _records_of(path: Path, value: Any) -> Iterator[tuple[str, bytes]]:
    if not isinstance(value, dict):
        return
    for name in ("aws", "cloudtrail", "detail"):
        if isinstance(value.get(name), dict):
            yield from _records_of(path, value[name])
            return
    records = value["Records"] if isinstance(value.get("Records"), list) else [value]
    for number, found in enumerate(records, 1):
        if "eventName" in found and "eventTime" in found:
            yield f"{path.name}#{number}", dump(found)
