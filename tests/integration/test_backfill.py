"""``siem load backfill`` as people and scripts see it: pipes, folders, what was not loaded, and how it is stopped."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch

from loader.cli import backfill
from loader.cli.main import main
from loader.local.aws import CREDENTIALS
from loader.source.files import LocalFiles
from loader.source.objects import ObjectRef
from tests.unit.logtypes.samples import dump, record

pytestmark = pytest.mark.integration

Run = Callable[..., Result]
SIEM = str(Path(sys.executable).with_name("siem"))
TRAIL = "AWSLogs/123456789012/CloudTrail{kind}/us-east-1/2026/11/01/{name}.json.gz"
SOON_S = 60


@pytest.fixture
def environment(servers: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables of this process, which are those of every other that is started."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    monkeypatch.setenv("SIEM_CLUSTER_URL", servers.opensearch_url)
    monkeypatch.setenv("SIEM_AWS_ENDPOINT_URL", servers.aws_endpoint_url)
    monkeypatch.setenv("SIEM_AWS_REGION", CREDENTIALS["AWS_REGION"])
    return dict(os.environ)


@pytest.fixture
def siem(templates: OpenSearch, environment: dict[str, str]) -> Run:
    def run(*words: str, **options: Any) -> Result:
        templates.indices.refresh(index="log-*,siem-*", params={"ignore_unavailable": "true"})
        return CliRunner().invoke(main, ["load", *words], **options)

    return run


@pytest.fixture
def shell(templates: OpenSearch, environment: dict[str, str]) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """A line of bash, with this project's ``siem``."""

    def run(line: str) -> subprocess.CompletedProcess[str]:
        path = f"{Path(SIEM).parent}:{environment['PATH']}"
        command = ["bash", "-c", line]
        return subprocess.run(
            command, env={**environment, "PATH": path}, capture_output=True, text=True, timeout=SOON_S
        )

    return run


@pytest.fixture
def bucket(aws: Any) -> str:
    name = f"backfill-{uuid.uuid4().hex[:12]}"
    aws.s3.create_bucket(Bucket=name)
    return name


def log_file(*numbers: object) -> bytes:
    return gzip.compress(dump({"Records": [record(eventID=str(number)) for number in numbers]}), mtime=0)


def as_json(result: Result, code: int = 0) -> Any:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


# --- pipes ----------------------------------------------------------------------------------------------------------


def test_what_comes_through_a_pipe_is_the_same_object_each_time(siem: Run, templates: OpenSearch) -> None:
    """Its records' ids never depended on its name; its dead letters' and its ledger entry's do."""
    content = b'{"Records":[' + dump(record()) + b',{"eventVersion":"1.08"},17]}'
    first = siem("backfill", "-", "--json", input=content)
    loaded = as_json(first)
    assert (loaded["indexed"], loaded["dead_lettered"]) == (1, 2)
    assert "What came through standard input" in first.stderr
    key = first.stderr.split(" is called ")[1].split()[0]
    assert key.startswith("stdin:")
    assert as_json(siem("backfill", "-", "--json", input=content))["duplicates"] == 1
    templates.indices.refresh(index="siem-*")
    assert templates.count(index="siem-dead-letters-*")["count"] == 2
    (entry,) = as_json(siem("find", key, "--json"))["objects"]
    assert (entry["key"], entry["loads"], entry["balanced"]) == (key, 2, True)
    assert as_json(siem("backfill", "-", "--json", input=content + b"\n"))["duplicates"] == 1
    templates.indices.refresh(index="siem-*")
    assert templates.count(index="siem-objects-*")["count"] == 2


@pytest.mark.parametrize(
    "line",
    [
        "siem load backfill <(zcat {file}) --json",
        "siem load backfill <(cat {file}) --json",
        "cat {file} | siem load backfill /dev/stdin --json",
        "siem load backfill - --json < {file}",
        "siem load backfill /dev/fd/3 --json 3< <(cat {file})",
        'siem load backfill /dev/stdin --json <<< "$(zcat {file})"',
    ],
)
def test_the_pipes_of_a_shell_are_read(shell: Any, tmp_path: Path, line: str) -> None:
    (tmp_path / "x.gz").write_bytes(log_file(1, 2))
    done = shell(line.format(file=tmp_path / "x.gz"))
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout)
    assert (loaded["indexed"], loaded["parked"]) == (2, {})
    assert "is called stdin:" in done.stderr


@pytest.mark.parametrize("target", ["-", "/dev/stdin"])
def test_a_closed_standard_input_is_a_usage_error(shell: Any, target: str) -> None:
    done = shell(f"siem load backfill {target} <&-")
    assert (done.returncode, "Standard input is closed" in done.stderr) == (2, True), done.stderr


def test_nothing_through_a_pipe_is_said(siem: Run) -> None:
    result = siem("backfill", "-", "--json", input=b"")
    assert (as_json(result)["objects"], "No log file in standard input" in result.stderr) == (0, True)


# --- folders --------------------------------------------------------------------------------------------------------


def test_a_folder_is_loaded_as_far_as_it_is_logs_and_the_rest_is_said(siem: Run, tmp_path: Path) -> None:
    digest = "123456789012_CloudTrail-Digest_us-east-1_trail_us-east-1_20261101T100000Z.json.gz"
    (tmp_path / "a.JSON.GZ").write_bytes(log_file(1))
    (tmp_path / "d.log").write_bytes(dump(record(eventID="2")) + b"\n" + dump(record(eventID="3")))
    (tmp_path / "stream-1-2026-11-01-10-00-00-0a1b").write_bytes(log_file(4))
    (tmp_path / digest).write_bytes(gzip.compress(b'{"awsAccountId":"123456789012","logFiles":[]}'))
    for name in "efgh":
        (tmp_path / f"{name}.txt").write_bytes(b"text")
    listed = as_json(siem("backfill", str(tmp_path), "--dry-run", "--json"))
    assert (listed["objects"], listed["passed_over"], listed["failed"]) == (4, 4, [])
    result = siem("backfill", str(tmp_path), "--json")
    loaded = as_json(result)
    assert (loaded["indexed"], loaded["dead_lettered"], loaded["skipped"]) == (4, 0, {"digest": 1})
    assert loaded["passed_over"] == 4
    said = result.stderr.replace("\n", "")
    assert f"4 other files were passed over in {tmp_path}: e.txt, f.txt, g.txt, …" in said


def test_what_cannot_be_looked_at_in_a_folder_is_not_loaded(siem: Run, tmp_path: Path) -> None:
    (tmp_path / "a.json.gz").write_bytes(log_file(1))
    (tmp_path / "loop.json").symlink_to("loop.json")
    for words in (("--json",), ("--json", "--dry-run")):
        told = as_json(siem("backfill", str(tmp_path), *words), code=1)
        assert [entry["object"] for entry in told["failed"]] == [f"s3://local/{tmp_path}/loop.json"]
    assert "loop.json" in siem("backfill", str(tmp_path), "--dry-run").stderr


# --- what is not loaded ---------------------------------------------------------------------------------------------


def test_what_is_parked_is_listed_and_ends_with_exit_code_1(siem: Run, aws: Any, bucket: str) -> None:
    for name in ("a", "b", "c"):
        aws.s3.put_object(Bucket=bucket, Key=f"{name}.json.gz", Body=log_file(name))
    resource = f"arn:aws:s3:::{bucket}/b*"
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": resource}
    policy = {"Version": "2012-10-17", "Statement": [deny]}
    aws.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    loaded = as_json(siem("backfill", f"s3://{bucket}", "--all", "--json"), code=1)
    assert (loaded["indexed"], loaded["parked"], loaded["failed"]) == (2, {"forbidden": 1}, [])
    assert loaded["parked_objects"] == [{"object": f"s3://{bucket}/b.json.gz", "reason": "forbidden"}]
    result = siem("backfill", f"s3://{bucket}", "--all")
    assert result.exit_code == 1
    assert f"parked: s3://{bucket}/b.json.gz: forbidden" in result.stderr.replace("\n", "")
    aws.s3.delete_bucket_policy(Bucket=bucket)
    again = as_json(siem("backfill", f"s3://{bucket}", "--all", "--json"))
    assert (again["parked_objects"], again["not_tried"]) == ([], 0)


def test_a_file_that_cannot_be_read_is_parked_and_told(siem: Run) -> None:
    """/proc/self/mem is a file that not even root reads from its beginning."""
    loaded = as_json(siem("backfill", "/proc/self/mem", "--json"), code=1)
    assert [entry["reason"] for entry in loaded["parked_objects"]] == ["forbidden"]


def test_a_long_list_of_what_is_not_loaded_is_cut(siem: Run, tmp_path: Path) -> None:
    for number in range(25):
        (tmp_path / f"{number:02d}.json").symlink_to(f"{number:02d}.json")
    result = siem("backfill", str(tmp_path))
    assert result.exit_code == 1
    assert result.stderr.count("not loaded: ") == 20
    assert "and 5 more" in result.stderr
    assert len(as_json(siem("backfill", str(tmp_path), "--json"), code=1)["failed"]) == 25


def test_aggregated_events_are_skipped_by_a_backfill_and_by_a_worker(siem: Run, aws: Any, bucket: str) -> None:
    aggregated = {
        "eventVersion": "1.0",
        "accountId": "123456789012",
        "eventId": "1",
        "eventCategory": "Aggregated",
        "eventType": "AwsAggregatedEvent",
        "timeWindow": {"windowStart": "2026-11-01T10:00:00Z", "windowEnd": "2026-11-01T10:05:00Z"},
    }
    body = gzip.compress(dump({"Records": [aggregated]}))
    aws.s3.put_object(Bucket=bucket, Key=TRAIL.format(kind="-Aggregated", name="x"), Body=body)
    aws.s3.put_object(Bucket=bucket, Key=TRAIL.format(kind="", name="x"), Body=log_file(1))
    days = ("--from", "2026-11-01")
    loaded = as_json(siem("backfill", f"s3://{bucket}", *days, "--json"))
    url = aws.sqs.create_queue(QueueName=bucket)["QueueUrl"]
    told = as_json(siem("backfill", f"s3://{bucket}", *days, "--queue", url, "--json"))
    assert told == {"announced": 2, "stopped": False}
    worked = as_json(siem("worker", "--drain", "--queue", url, "--log-level", "ERROR"))
    for totals in (loaded, worked):
        assert (totals["records"], totals["dead_lettered"], totals["skipped"]) == (1, 0, {"aggregated": 1})
    assert (loaded["indexed"], worked["duplicates"]) == (1, 1)
    (entry,) = as_json(siem("find", "CloudTrail-Aggregated", "--json"))["objects"]
    assert (entry["outcome"], entry["reason"]) == ("skipped", "aggregated")


# --- stopping -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_backfill_that_is_stopped_says_what_it_has_not_tried_and_goes_on_later(
    siem: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    for name in range(200):
        (tmp_path / f"{name:03d}.json.gz").write_bytes(log_file(name))
    fetch, asked = LocalFiles.fetch, []

    def interrupted(files: LocalFiles, ref: ObjectRef) -> Iterator[bytes]:
        asked.append(ref)
        if len(asked) == 20:
            os.kill(os.getpid(), number)
            time.sleep(0.5)
        return fetch(files, ref)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFiles, "fetch", interrupted)
        stopped = as_json(siem("backfill", str(tmp_path), "--json"), code=code)
        assert stopped["objects"] > 0
        assert stopped["not_tried"] == 200 - stopped["objects"] > 0
        assert (stopped["failed"], stopped["balanced"]) == ([], True)
        asked.clear()
        result = siem("backfill", str(tmp_path))
        assert result.exit_code == code
        assert "of 200 objects were not tried. Run the same command again to go on" in result.stderr.replace("\n", " ")
    again = as_json(siem("backfill", str(tmp_path), "--json"))
    assert (again["objects"], again["not_tried"], again["indexed"] + again["duplicates"]) == (200, 0, 200)


def test_a_signal_behind_the_last_object_changes_nothing(
    siem: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.json.gz").write_bytes(log_file(1))
    fetch = LocalFiles.fetch

    def interrupted(files: LocalFiles, ref: ObjectRef) -> Iterator[bytes]:
        os.kill(os.getpid(), signal.SIGTERM)
        return fetch(files, ref)

    monkeypatch.setattr(LocalFiles, "fetch", interrupted)
    assert as_json(siem("backfill", str(tmp_path), "--json"))["not_tried"] == 0


def test_announcing_is_stopped_between_two_requests(
    siem: Run, aws: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        aws.s3.put_object(Bucket=bucket, Key=f"{number:02d}.json", Body=b"{}")
    url = aws.sqs.create_queue(QueueName=bucket)["QueueUrl"]
    listed = backfill.list_remote

    def interrupted(*asked: Any) -> Iterator[ObjectRef]:
        for number, ref in enumerate(listed(*asked)):
            if number == 15:
                os.kill(os.getpid(), signal.SIGINT)
            yield ref

    monkeypatch.setattr(backfill, "list_remote", interrupted)
    result = siem("backfill", f"s3://{bucket}", "--all", "--queue", url, "--json")
    assert as_json(result, code=130) == {"announced": 20, "stopped": True}
    assert "Run the same command again" in result.stderr


@pytest.mark.parametrize(
    ("command", "number"), [("backfill", signal.SIGINT), ("backfill", signal.SIGTERM), ("worker", signal.SIGINT)]
)
def test_a_second_signal_does_not_wait(
    environment: dict[str, str], aws: Any, bucket: str, command: str, number: signal.Signals
) -> None:
    """The cluster is a stand-in that takes a request and never answers: no real node does so on demand."""
    aws.s3.put_object(Bucket=bucket, Key="a.json.gz", Body=log_file(1))
    url = aws.sqs.create_queue(QueueName=bucket)["QueueUrl"]
    event = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}
    event["s3"] = {"bucket": {"name": bucket}, "object": {"key": "a.json.gz"}}
    aws.sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"Records": [event]}))
    words = {"backfill": [f"s3://{bucket}", "--all"], "worker": ["--queue", url, "--log-level", "ERROR"]}[command]
    with socket.create_server(("127.0.0.1", 0)) as cluster:
        cluster.settimeout(SOON_S)
        process = subprocess.Popen(
            [SIEM, "load", command, *words],
            env={**environment, "SIEM_CLUSTER_URL": f"http://127.0.0.1:{cluster.getsockname()[1]}"},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            asking, _ = cluster.accept()
            assert process.stderr is not None
            process.send_signal(number)
            if command == "backfill":
                assert "Stopping" in process.stderr.readline()
            time.sleep(0.5)
            assert process.poll() is None, "what is in work is waited for"
            process.send_signal(number)
            assert process.wait(SOON_S) == -number
            asking.close()
        finally:
            process.kill()
            process.communicate()
