"""Fault injection: after any schedule each record is exactly once in OpenSearch or in the dead letters.

A short schedule runs with the other tests. ``SIEM_CHAOS_FAULTS=1000`` (``make chaos``) runs a long one on a node of its
own, which is stopped and started as well. ``SIEM_CHAOS_SEED`` chooses another schedule.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos_harness import Harness, Plan, Verdict

from loader.config import Settings
from loader.index.client import make_client
from loader.index.templates import apply, plan, read_templates
from loader.local.stack import LocalStack

_SEED = int(os.environ.get("SIEM_CHAOS_SEED", "20230710"))
_FAULTS = int(os.environ.get("SIEM_CHAOS_FAULTS", "0"))


@pytest.fixture
def own_stack() -> Iterator[LocalStack]:
    stack = LocalStack(f"chaos-{os.getpid()}", settings=Settings())
    try:
        stack.up()
        yield stack
    finally:
        stack.down(delete_data=True)


def _say(verdict: Verdict, log_dir: Path) -> None:
    """Print the account of the run: pytest shows it with -s, and when the test fails."""
    lines = [
        (
            f"{verdict.faults.total()} faults in {verdict.seconds:.0f} s: {verdict.files} files,"
            f" {verdict.records} records, {verdict.messages} messages -> {verdict.indexed} indexed,"
            f" {verdict.dead_lettered} dead letters, {len(verdict.problems)} problems"
        ),
        *(f"{count:5d}  {name}" for name, count in sorted(verdict.faults.items())),
        *(f"PROBLEM {problem}" for problem in verdict.problems[:50]),
        f"the workers' log: {log_dir / 'workers.log'}",
    ]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")


@pytest.mark.integration
@pytest.mark.timeout(420)
def test_a_short_schedule_loses_nothing_and_doubles_nothing(
    templates: object, opensearch_url: str, aws_endpoint: str, tmp_path: Path
) -> None:
    short = Plan(_SEED, faults=60, deadline_s=180, pause_s=(1.5, 4.0))
    verdict = Harness(short, node_url=opensearch_url, aws_url=aws_endpoint, log_dir=tmp_path).run()
    _say(verdict, tmp_path)
    assert verdict.problems == []
    assert verdict.faults.total() >= 40
    assert verdict.indexed > 0
    assert verdict.dead_lettered > 0


@pytest.mark.integration
@pytest.mark.skipif(not _FAULTS, reason="the long schedule runs with SIEM_CHAOS_FAULTS=1000 (make chaos)")
@pytest.mark.timeout(3600)
def test_a_long_schedule_on_a_node_that_is_stopped_and_started(own_stack: LocalStack, tmp_path: Path) -> None:
    status = own_stack.status()
    assert status.node.url is not None
    assert status.aws.url is not None
    client = make_client(Settings(cluster_url=status.node.url))
    apply(client, plan(client, read_templates()))
    client.close()

    def stop_node() -> None:
        own_stack.node.stop()
        own_stack.up()

    long = Plan(
        _SEED,
        faults=_FAULTS,
        deadline_s=max(300.0, _FAULTS * 3.0),
        files_a_round=30,
        records_a_file=100,
        workers=3,
        rate=0.15,  # fewer at once, so that more files, kills and stops share the run
        pause_s=(1.0, 5.0),
    )
    verdict = Harness(
        long, node_url=status.node.url, aws_url=status.aws.url, log_dir=tmp_path, stop_node=stop_node
    ).run()
    _say(verdict, tmp_path)
    assert verdict.problems == []
    assert verdict.faults.total() >= _FAULTS * 0.9
