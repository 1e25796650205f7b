"""What a stack makes of its state file. Starting real processes is for the integration tests."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from loader.config import Settings
from loader.errors import LocalStackError
from loader.local import process
from loader.local.aws import environment
from loader.local.distribution import ELASTICSEARCH
from loader.local.stack import LocalStack
from loader.local.state import StackState, load, save

STATE = StackState(
    flavour="opensearch",
    version="3.8.0",
    heap="1g",
    java="25.0.3 (/opt/java)",
    started_at="2026-11-24T01:02:03.456Z",
    node_port=9201,
    node_pid=os.getpid(),  # a living process, but not a server: as after a reboot
    aws_port=9202,
    aws_pid=os.getpid(),
)


@pytest.fixture
def stack(tmp_path: Path) -> LocalStack:
    stack = LocalStack("dev", settings=Settings(cache_dir=tmp_path))
    stack.run_dir.mkdir(parents=True)
    return stack


def test_state_survives_a_round_trip(tmp_path: Path) -> None:
    save(tmp_path, STATE)
    assert load(tmp_path) == STATE
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', '{"flavour": "opensearch"}'])
def test_an_unreadable_state_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    assert load(tmp_path) is None


def test_a_stack_never_started(stack: LocalStack) -> None:
    status = stack.status()
    assert not status.running
    assert status.version is None
    assert status.environment == {}
    assert status.log_files == ()


def test_stale_pids_are_recognised(stack: LocalStack) -> None:
    save(stack.run_dir, STATE)
    status = stack.status()
    assert not status.running
    assert (status.node.pid, status.node.url, status.aws.pid, status.aws.url) == (None, None, None, None)
    assert status.version == "3.8.0"
    assert any("without being stopped" in note for note in status.notes)


def test_down_on_a_stale_state_stops_nobody_and_cleans_it(stack: LocalStack) -> None:
    save(stack.run_dir, STATE)
    status = stack.down()
    assert not status.running
    assert load(stack.run_dir) == replace(STATE, node_pid=None, aws_pid=None)
    assert not any("without being stopped" in note for note in stack.status().notes)


def test_down_with_its_data_leaves_nothing(stack: LocalStack, tmp_path: Path) -> None:
    save(stack.run_dir, STATE)
    stack.down(delete_data=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["downloads", "run"]


def test_down_without_a_stack_is_no_error(tmp_path: Path) -> None:
    assert not LocalStack("never", settings=Settings(cache_dir=tmp_path)).down(delete_data=True).running


def test_a_living_process_of_the_folder_is_taken_over(stack: LocalStack) -> None:
    code = "import time; print('up', flush=True); time.sleep(60)"
    log = stack.run_dir / "log"
    pid = process.spawn([sys.executable, "-c", code, f"{stack.run_dir}/"], log=log, env={}, cwd=stack.run_dir)
    deadline = time.monotonic() + 20
    while "up" not in process.tail(log):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    save(stack.run_dir, replace(STATE, aws_pid=pid))
    status = stack.status()
    assert status.aws.running
    assert status.aws.url == "http://127.0.0.1:9202"
    assert status.environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9202"
    assert not status.running
    assert not stack.down().aws.running
    assert process.exit_code(pid) is not None


def test_another_servers_data_is_not_opened(tmp_path: Path) -> None:
    stack = LocalStack("dev", settings=Settings(cache_dir=tmp_path), distribution=ELASTICSEARCH)
    (stack.run_dir / "data" / "nodes").mkdir(parents=True)
    save(stack.run_dir, STATE)
    with pytest.raises(LocalStackError, match="has the data of opensearch"):
        stack.up()


def test_a_failed_start_leaves_no_state_and_says_why(tmp_path: Path) -> None:
    stack = LocalStack("dev", settings=Settings(cache_dir=tmp_path), heap="900000g")
    with pytest.raises(LocalStackError, match="not enough memory"):
        stack.up()
    assert load(stack.run_dir) is None


def test_the_state_file_is_plain_json(tmp_path: Path) -> None:
    save(tmp_path, STATE)
    assert json.loads((tmp_path / "state.json").read_text())["heap"] == "1g"


def test_loopback_is_out_of_a_proxys_reach() -> None:
    assert "NO_PROXY" not in environment("http://127.0.0.1:1", {})
    proxied = environment("http://127.0.0.1:1", {"HTTP_PROXY": "http://proxy", "NO_PROXY": "intern,127.0.0.1"})
    assert proxied["NO_PROXY"] == proxied["no_proxy"] == "intern,127.0.0.1"
