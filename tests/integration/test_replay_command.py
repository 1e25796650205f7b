"""``siem load replay`` as a script and an operator see it: what its exit code says, and that it can be stopped."""

from __future__ import annotations

import gzip
import json
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch

from loader.cli import replay
from loader.cli.main import main
from loader.config import Settings, read_settings
from loader.errors import ConfigError
from loader.index.parked import DeadLetter
from loader.ingest.assemble import assemble
from loader.local.aws import CREDENTIALS
from loader.source.fetch import Fetch, file_fetch, s3_fetch
from loader.source.objects import LOCAL_BUCKET, ObjectRef
from tests.unit.logtypes.samples import dump, record

pytestmark = pytest.mark.integration

Run = Callable[..., Result]


@pytest.fixture
def siem(templates: OpenSearch, servers: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    monkeypatch.setenv("SIEM_CLUSTER_URL", servers.opensearch_url)
    monkeypatch.setenv("SIEM_AWS_ENDPOINT_URL", servers.aws_endpoint_url)
    monkeypatch.setenv("SIEM_AWS_REGION", CREDENTIALS["AWS_REGION"])

    def run(*words: str) -> Result:
        templates.indices.refresh(index="log-*,siem-*", params={"ignore_unavailable": "true"})
        return CliRunner().invoke(main, ["load", *words])

    return run


@pytest.fixture
def bucket(aws: Any) -> str:
    name = f"replay-{uuid.uuid4().hex[:12]}"
    aws.s3.create_bucket(Bucket=name)
    return name


def log_file(number: int) -> bytes:
    return gzip.compress(dump({"Records": [record(eventID=str(number))]}), mtime=0)


def park(*refs: ObjectRef, reason: str = "missing") -> None:
    letters = [DeadLetter(ref, "fetch", reason, f"{ref.uri}: not there") for ref in refs]
    assemble(read_settings()).dead_letters.write(letters)


def test_nothing_waits(siem: Run) -> None:
    for words in ((), ("--dry-run",), ("--reason", "archived")):
        result = siem("replay", *words)
        assert (result.exit_code, "No dead letter waits" in result.stdout) == (0, True)


def test_what_stays_is_exit_code_1_and_what_is_done_already_is_none(
    siem: Run, aws: Any, bucket: str, templates: OpenSearch
) -> None:
    park(ObjectRef(bucket, "a.json.gz"))
    assert siem("replay").exit_code == 1
    result = siem("replay", "--reason", "missing", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, {"done": {}, "left": {"missing": 1}})

    aws.s3.put_object(Bucket=bucket, Key="a.json.gz", Body=log_file(1))
    result = siem("replay", "--reason", "missing", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"done": {"object": 1}, "left": {}})
    result = siem("replay", "--reason", "missing")
    assert (result.exit_code, result.stdout) == (0, "No dead letter waits with the reason missing.\n")
    result = siem("replay", "--reason", "missing", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"done": {}, "left": {}})
    park(ObjectRef(bucket, "b.json.gz"), reason="forbidden")
    # A slip is none of this, as long as there is something that may be meant.
    result = siem("replay", "--reason", "forbiden")
    assert isinstance(result.exception, ConfigError)
    assert result.exception.hint == "What waits has: forbidden."


def test_what_cannot_be_asked_for_now_is_said(
    siem: Run, bucket: str, templates: OpenSearch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    park(ObjectRef(bucket, "a.json.gz"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # A process has one session, which keeps the credentials that it has found once.
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    result = siem("replay")
    assert result.exit_code == 1
    assert "could not be read now (1): Unable to locate credentials" in result.stderr


def test_a_file_is_not_read_by_a_replay_but_done_once_a_backfill_has_loaded_it(
    siem: Run, aws: Any, templates: OpenSearch, tmp_path: Path
) -> None:
    """Whoever can put a message into a queue can name the bucket ``local``: no file is read for it."""
    file, other = tmp_path / "a.json.gz", tmp_path / "a.json.gz.old"
    file.write_bytes(log_file(1))
    other.write_bytes(log_file(2))
    park(ObjectRef(LOCAL_BUCKET, str(file)), ObjectRef(LOCAL_BUCKET, "stdin:00"), reason="forbidden")
    assert siem("backfill", str(other)).exit_code == 0
    result = siem("replay")
    assert (result.exit_code, "stays: forbidden  2" in result.stdout) == (1, True)
    assert "siem load backfill FILE" in result.stderr
    assert siem("find", str(file)).stdout.count("\n") == 2, "nothing but the other one, whose path begins so, is loaded"

    assert siem("backfill", str(file)).exit_code == 0
    result = siem("replay", "--json")
    assert json.loads(result.stdout) == {"done": {"object": 1}, "left": {"forbidden": 1}}


def test_the_cut_record_of_a_file_stays(siem: Run, tmp_path: Path) -> None:
    """Its file was loaded without it: that the ledger has the file says nothing of the record."""
    file = tmp_path / "a.json.gz"
    file.write_bytes(log_file(1))
    assert siem("backfill", str(file)).exit_code == 0
    letter = DeadLetter(ObjectRef(LOCAL_BUCKET, str(file)), "index", "too_long", "too long", b"{", 2, cut=True)
    assemble(read_settings()).dead_letters.write([letter])
    assert json.loads(siem("replay", "--json").stdout) == {"done": {}, "left": {"too_long": 1}}


def test_a_file_that_was_loaded_once_and_is_parked_since_is_not_done(
    siem: Run, servers: Any, templates: OpenSearch, tmp_path: Path
) -> None:
    file = tmp_path / "a.json.gz"
    file.write_bytes(log_file(1))
    assert siem("backfill", str(file)).exit_code == 0
    file.unlink()
    loader = assemble(Settings(cluster_url=servers.opensearch_url), fetch=file_fetch).loader
    assert loader.load(ObjectRef(LOCAL_BUCKET, str(file))).outcome == "parked"
    assert json.loads(siem("replay", "--json").stdout) == {"done": {}, "left": {"missing": 1}}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_replay_that_is_stopped_says_what_it_has_not_tried(
    siem: Run,
    aws: Any,
    bucket: str,
    templates: OpenSearch,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    code: int,
) -> None:
    for name in "abc":
        aws.s3.put_object(Bucket=bucket, Key=f"{name}.json.gz", Body=log_file(ord(name)))
    park(*(ObjectRef(bucket, f"{name}.json.gz") for name in "abc"))

    def interrupted(client: Any) -> Fetch:
        fetch = s3_fetch(client)

        def first_a_signal(ref: ObjectRef) -> Iterator[bytes]:
            os.kill(os.getpid(), number)
            return fetch(ref)

        return first_a_signal

    with monkeypatch.context() as patch:
        patch.setattr(replay, "s3_fetch", interrupted)
        result = siem("replay", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (code, {"done": {"object": 1}, "left": {}, "not_tried": 2})
    result = siem("replay", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"done": {"object": 2}, "left": {}})
