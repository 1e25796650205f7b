"""``siem load backfill`` as people and scripts see it: pipes, folders, what was not loaded, and how it is stopped."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch

from loader.cli.main import main
from loader.local.aws import CREDENTIALS
from tests.unit.logtypes.samples import dump, record

pytestmark = pytest.mark.integration

Run = Callable[..., Result]
SIEM = str(Path(sys.executable).with_name("siem"))
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
