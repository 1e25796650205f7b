"""What an operator does: was this file loaded, what waits, try again after a fix."""

from __future__ import annotations

import gzip
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch

from loader.cli.main import main
from loader.clock import SystemClock
from loader.config import read_settings
from loader.errors import ConfigError
from loader.index.parked import DeadLetter
from loader.ingest.assemble import assemble
from loader.local.aws import CREDENTIALS
from loader.source.objects import ObjectRef
from tests.unit.logtypes.samples import real_files, real_records

pytestmark = pytest.mark.integration

Run = Callable[..., Result]
RECORD = {
    "eventVersion": "1.08",
    "eventTime": "2026-11-01T10:00:00Z",
    "eventSource": "iam.amazonaws.com",
    "eventName": "CreateUser",
    "awsRegion": "us-east-1",
    "sourceIPAddress": "198.51.100.7",
    "userIdentity": {"type": "Root", "accountId": "123456789012"},
    "eventID": "1",
    "recipientAccountId": "123456789012",
}


def log_file(*records: Any) -> bytes:
    return gzip.compress(json.dumps({"Records": records}, separators=(",", ":")).encode())


@pytest.fixture
def siem(templates: OpenSearch, servers: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``siem("load", "find", "x")``: the command line, against the run's servers."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SIEM_CLUSTER_URL", servers.opensearch_url)
    monkeypatch.setenv("SIEM_AWS_ENDPOINT_URL", servers.aws_endpoint_url)
    monkeypatch.setenv("SIEM_AWS_REGION", CREDENTIALS["AWS_REGION"])

    def run(*words: str, **options: Any) -> Result:
        templates.indices.refresh(index="log-*,siem-*", params={"ignore_unavailable": "true"})
        return CliRunner().invoke(main, list(words), **options)

    return run


@pytest.fixture
def bucket() -> str:
    """A name that no earlier run on the same servers has used."""
    return f"operations-{uuid.uuid4().hex[:12]}"


def as_json(result: Result) -> Any:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return json.loads(result.stdout)


def test_folders_files_and_standard_input_are_loaded_once(siem: Run, tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.json.gz").write_bytes(log_file(RECORD, {**RECORD, "eventID": "2"}))
    (tmp_path / "b.json").write_bytes(json.dumps({**RECORD, "eventID": "3"}).encode())
    first = as_json(siem("load", "backfill", str(tmp_path), "--json"))
    assert (first["objects"], first["records"], first["indexed"], first["balanced"]) == (2, 3, 3, True)
    piped = as_json(siem("load", "backfill", "-", "--json", input=gzip.decompress(log_file(RECORD))))
    assert (piped["records"], piped["duplicates"]) == (1, 1)


def test_an_s3_backfill_needs_days_and_loads_only_those(siem: Run, aws: Any, bucket: str) -> None:
    aws.s3.create_bucket(Bucket=bucket)
    for day in (1, 2, 3):
        folder = f"AWSLogs/123456789012/CloudTrail/us-east-1/2026/11/0{day}"
        key = f"{folder}/123456789012_CloudTrail_us-east-1_202611{day:02d}T1000Z_x.json.gz"
        body = log_file({**RECORD, "eventTime": f"2026-11-0{day}T09:55:00Z", "eventID": f"s3-{day}"})
        aws.s3.put_object(Bucket=bucket, Key=key, Body=body)
    assert siem("load", "backfill", f"s3://{bucket}").exit_code == 2
    listed = as_json(
        siem("load", "backfill", f"s3://{bucket}", "--from", "2026-11-01", "--to", "2026-11-02", "--dry-run", "--json")
    )
    assert listed["objects"] == 2
    loaded = as_json(siem("load", "backfill", f"s3://{bucket}", "--from", "2026-11-01", "--to", "2026-11-02", "--json"))
    assert (loaded["objects"], loaded["indexed"]) == (2, 2)
    found = as_json(
        siem("load", "find", f"s3://{bucket}/AWSLogs/123456789012/CloudTrail/us-east-1/2026/11/01/", "--json")
    )
    assert [(entry["outcome"], entry["read"], entry["indexed"], entry["balanced"]) for entry in found["objects"]] == [
        ("loaded", 1, 1, True)
    ]
    assert found["objects"][0]["first_event"] == "2026-11-01T09:55:00Z"
    assert siem("load", "find", "2026/11/03").exit_code == 1
    again = as_json(siem("load", "backfill", f"s3://{bucket}", "--from", "2026-11-01", "--to", "2026-11-02", "--json"))
    assert (again["indexed"], again["duplicates"]) == (0, 2)
    entry = as_json(siem("load", "find", "T1000Z_x", "--json"))["objects"][0]
    assert (entry["loads"], entry["indexed"], entry["latest"]["duplicates"]) == (2, 1, 1)


def test_a_place_without_log_files_is_named(siem: Run, aws: Any, bucket: str, tmp_path: Path) -> None:
    aws.s3.create_bucket(Bucket=bucket)
    (tmp_path / "there").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "there" / "a.json.gz").write_bytes(log_file(RECORD))
    result = siem("load", "backfill", str(tmp_path / "there"), str(tmp_path / "empty"), "--dry-run")
    assert f"No log file in {tmp_path / 'empty'}" in result.stderr.replace("\n", "")
    assert str(tmp_path / "there") not in result.stderr
    folder = "AWSLogs/123456789012/CloudTrail/us-east-1/2026/11/02"
    key = f"{folder}/123456789012_CloudTrail_us-east-1_20261102T1000Z_x.json.gz"
    aws.s3.put_object(Bucket=bucket, Key=key, Body=log_file(RECORD))
    result = siem("load", "backfill", f"s3://{bucket}", "--from", "2026-11-01", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    assert (json.loads(result.stdout)["objects"], f"No log file in s3://{bucket}" in result.stderr) == (0, True)


def test_a_missing_object_is_parked_shown_and_loaded_by_replay_once_it_is_there(
    siem: Run, aws: Any, bucket: str
) -> None:
    aws.s3.create_bucket(Bucket=bucket)
    url = aws.sqs.create_queue(QueueName=bucket)["QueueUrl"]
    event = {
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": "late.json.gz"}},
    }
    aws.sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"Records": [event]}))
    worked = as_json(siem("load", "worker", "--drain", "--queue", url, "--log-level", "ERROR"))
    assert (worked["parked"], worked["dead_lettered"], worked["balanced"]) == ({"missing": 1}, 1, True)
    status = siem("status")
    assert status.exit_code == 0
    assert f"s3://{bucket}/late.json.gz" in status.stdout
    assert as_json(siem("load", "replay", "--dry-run", "--json")) == {"waiting": {"missing": 1}}
    assert as_json(siem("load", "replay", "--json")) == {"done": {}, "left": {"missing": 1}}

    aws.s3.put_object(Bucket=bucket, Key="late.json.gz", Body=log_file({**RECORD, "eventID": "late"}))
    assert as_json(siem("load", "replay", "--json")) == {"done": {"object": 1}, "left": {}}
    assert as_json(siem("load", "replay", "--dry-run", "--json")) == {"waiting": {}}
    assert as_json(siem("load", "find", "late.json.gz", "--json"))["objects"][0]["outcome"] == "loaded"


def test_a_bad_record_stays_a_dead_letter_with_its_place(siem: Run, tmp_path: Path, templates: OpenSearch) -> None:
    (tmp_path / "mixed.json").write_bytes(
        b'{"Records":[' + json.dumps(RECORD).encode() + b',{"eventVersion":"1.08"},17]}'
    )
    loaded = as_json(siem("load", "backfill", str(tmp_path), "--json"))
    assert (loaded["records"], loaded["indexed"], loaded["dead_lettered"]) == (3, 1, 2)
    left = as_json(siem("load", "replay", "--json"))
    assert left["done"] == {}
    assert sum(left["left"].values()) == 2
    hits = templates.search(index="siem-dead-letters-*", body={"sort": ["record_number"]})["hits"]["hits"]
    assert [(hit["_source"]["record_number"], hit["_source"]["raw"]) for hit in hits] == [
        (2, '{"eventVersion":"1.08"}'),
        (3, "17"),
    ]


def test_a_file_whose_name_is_no_text_takes_nothing_along(siem: Run, tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff\x1b[31m.json.gz")).write_bytes(log_file(RECORD))
    except OSError:
        pytest.skip("this file system takes no such name")
    (tmp_path / "b.json.gz").write_bytes(log_file({**RECORD, "eventID": "good"}))
    result = siem("load", "backfill", str(tmp_path), "--json")
    loaded = as_json(result)
    assert (result.exit_code, loaded["indexed"]) == (1, 1)
    (failed,) = loaded["failed"]
    assert "no UTF-8" in failed["error"]
    assert "\x1b" not in siem("load", "backfill", str(tmp_path)).output


def test_what_the_splitter_has_learned_since_is_loaded_by_a_replay(siem: Run, templates: OpenSearch) -> None:
    """A letter of a stretch that held no record, as an older splitter wrote it; and one that nobody may load."""
    ref = ObjectRef("trail", "AWSLogs/123456789012/CloudTrail/us-east-1/2026/11/01/a.json.gz")
    wrapped = json.dumps({"Records": [{**RECORD, "eventID": "r1"}, {**RECORD, "eventID": "r2"}]}).encode()
    behind = json.dumps({**RECORD, "eventID": "forged"}).encode()
    assemble(read_settings()).dead_letters.write(
        [
            DeadLetter(ref, "split", "no_records", "a JSON object without Records", wrapped, 1),
            DeadLetter(ref, "split", "trailing_data", "bytes follow the end of the gzip member", behind, 2),
            DeadLetter(ref, "split", "truncated", "the file ends in the middle of a record", wrapped[:-20], 3),
        ]
    )
    shown = siem("load", "replay", "--dry-run").stdout
    assert f"s3://{ref.bucket}/{ref.key}#1" in shown.replace("\n", "")
    left = as_json(siem("load", "replay", "--json"))
    assert left == {"done": {"indexed": 1}, "left": {"trailing_data": 1, "truncated": 1}}
    templates.indices.refresh(index="log-*")
    found = templates.search(index="log-*")["hits"]["hits"]
    assert sorted(hit["_source"]["event"]["id"] for hit in found) == ["r1", "r2"]


def test_templates_are_planned_and_applied_once(siem: Run, has_wildcard_type: bool) -> None:
    if not has_wildcard_type:
        pytest.skip("this distribution of Elasticsearch has no wildcard type: its templates are not the project's own")
    planned = as_json(siem("mappings", "plan", "--json"))
    assert planned["applied"] is False
    assert set(planned["templates"].values()) == {"keep"}
    assert set(as_json(siem("mappings", "apply", "--json"))["templates"].values()) == {"keep"}


def test_a_cluster_that_is_away_is_said_plainly(siem: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIEM_CLUSTER_URL", "http://127.0.0.1:9")
    result = siem("mappings", "plan")
    assert result.exit_code == 1
    assert "127.0.0.1:9" in str(result.exception) or "template" in str(result.exception)


@pytest.mark.reference_data
def test_files_as_people_keep_them_are_loaded(siem: Run, templates: OpenSearch, reference_data: Path) -> None:
    """Documents in a row, bare records one a line, EventBridge's events: every record of the samples but invictus's."""
    files = [path for path in real_files(reference_data) if "invictus" not in str(path)]
    records = {raw for where, raw in real_records(reference_data) if not where.startswith("218007301253_")}
    counts = as_json(siem("load", "backfill", "--json", *map(str, files)))
    # No records: two braces too many, an event without a time, EventBridge's events of other services.
    assert counts["reasons"] == {"invalid_json": 2, "no_event_time": 1, "no_records": 10}
    assert (counts["indexed"], counts["balanced"]) == (len(records), True)
    templates.indices.refresh(index="log-aws-*")
    assert templates.count(index="log-aws-cloudtrail-*")["count"] == len(records)


def test_retention_shows_first_and_deletes_when_told_to(siem: Run, templates: OpenSearch) -> None:
    today = f"log-aws-cloudtrail-{SystemClock().now():%Y.%m.%d}"
    for name in ("log-aws-cloudtrail-2019.01.01", today, "log-aws-cloudtrail-misdated", "log-of-somebody-2019.01.01"):
        templates.indices.create(index=name)
    shown = as_json(siem("mappings", "retention", "--json"))
    assert (shown["would_delete"], shown["deleted"]) == (["log-aws-cloudtrail-2019.01.01"], [])
    assert shown["refused"] == ["log-aws-cloudtrail-misdated"]
    assert "Next: the same with --delete" in siem("mappings", "retention").stdout
    assert len(templates.indices.get(index="log-*")) == 4
    assert as_json(siem("mappings", "retention", "--delete", "--json"))["deleted"] == ["log-aws-cloudtrail-2019.01.01"]
    assert len(templates.indices.get(index="log-*")) == 3


def test_retention_does_not_delete_everything_by_a_wrong_clock(siem: Run, templates: OpenSearch) -> None:
    templates.indices.create(index="log-aws-cloudtrail-2019.01.01")
    refused = siem("mappings", "retention", "--delete")
    assert isinstance(refused.exception, ConfigError)
    assert "all 1 dated indices would be deleted" in str(refused.exception)
    assert templates.indices.exists(index="log-aws-cloudtrail-2019.01.01")
    assert as_json(siem("mappings", "retention", "--delete", "--everything", "--json"))["deleted"]


def test_an_index_made_before_the_leaves_were_stored_is_named(siem: Run, templates: OpenSearch) -> None:
    excluded = {"mappings": {"_source": {"excludes": ["aws.cloudtrail.leaves"]}}}
    templates.indices.create(index="log-aws-cloudtrail-2026.11.01", body=excluded)
    result = siem("mappings", "plan")
    assert result.exit_code == 1
    assert "log-aws-cloudtrail-2026.11.01: [_source] is {'excludes': ['aws.cloudtrail.leaves']}, should be absent." in (
        result.stdout.replace("\n", " ")
    )
