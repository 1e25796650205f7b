"""``siem rules check``, ``test``, ``match``, ``compile`` and ``list``: what they say, and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from loader.cli.main import main

RULE: dict[str, Any] = {
    "title": "Trail stopped",
    "id": "1f0c0c6e-3f0f-4c1b-8c43-0a7a8fd4a111",
    "name": "trail_stopped",
    "status": "test",
    "level": "high",
    "logsource": {"product": "aws", "service": "cloudtrail"},
    "detection": {"selection": {"eventName": "StopLogging"}, "condition": "selection"},
}
TWICE: dict[str, Any] = {
    "title": "Trail stopped twice",
    "id": "1f0c0c6e-3f0f-4c1b-8c43-0a7a8fd4a222",
    "name": "trail_stopped_twice",
    "status": "test",
    "level": "critical",
    "correlation": {
        "type": "event_count", "rules": ["trail_stopped"], "group-by": ["userIdentity.arn"], "timespan": "10m",
        "condition": {"gte": 2}, "generate": True,
    },
}  # fmt: skip


def record(name: str, minute: int = 0) -> dict[str, Any]:
    return {
        "eventVersion": "1.11", "eventTime": f"2026-03-02T10:{minute:02}:00Z", "eventName": name,
        "awsRegion": "eu-west-1", "eventSource": "cloudtrail.amazonaws.com", "eventID": f"e{minute}",
        "eventType": "AwsApiCall",
        "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/a"},
    }  # fmt: skip


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "trail.yml").write_text(yaml.safe_dump_all([RULE, TWICE]), encoding="utf-8")
    one = {"match": [record("StopLogging")], "near_miss": [record("StartLogging")]}
    two = {
        "match": [[record("StopLogging"), record("StopLogging", 9)]],
        "near_miss": [[record("StopLogging"), record("StopLogging", 11)]],
    }
    events = {"trail_stopped": one, "trail_stopped_twice": two}
    (folder / "trail.test.json").write_text(json.dumps(events), encoding="utf-8")
    return folder


def run(command: str, folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["rules", command, "--rules", str(folder), *arguments])


def test_check(rules: Path) -> None:
    result = run("check", rules, "--foreign", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rules"] == 2
    (rules / "wrong.yml").write_text(
        yaml.safe_dump({**RULE, "id": "x", "detection": {"selection": {"eventNam": "a"}, "condition": "selection"}}),
        encoding="utf-8",
    )
    result = run("check", rules, "--foreign", "--json")
    assert result.exit_code == 1
    (problem,) = [one for one in json.loads(result.stdout)["problems"] if "eventNam" in one["message"]]
    assert problem["where"].endswith(":4") or "wrong.yml:" in problem["where"]
    assert "eventName" in problem["hint"]
    assert "wrong.yml:" in run("check", rules, "--foreign").stdout


def test_test(rules: Path) -> None:
    result = run("test", rules)
    assert result.exit_code == 0, result.output
    assert "2 of 2 rules passed on 4 test events" in result.stdout
    events = json.loads((rules / "trail.test.json").read_bytes())
    events["trail_stopped_twice"]["near_miss"] = events["trail_stopped_twice"]["match"]
    (rules / "trail.test.json").write_text(json.dumps(events), encoding="utf-8")
    result = run("test", rules, "--json")
    assert result.exit_code == 1
    summary = json.loads(result.stdout)
    (failures,) = summary["failed"].values()
    assert (summary["passed"], failures) == (1, ["near_miss[0] matches"])


def test_match_finds_rules_and_correlations_in_raw_files(rules: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    log.write_text(json.dumps({"Records": [record("StopLogging"), record("StopLogging", 5), record("x", 6)]}))
    result = run("match", rules, str(log), "--json")
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["rule"], one["where"].rpartition("#")[2]) for one in found if "twice" not in one["rule"]] == [
        ("trail", "1"), ("trail", "2"),
    ]  # fmt: skip
    assert [one["@timestamp"] for one in found if "twice" in one["rule"]] == ["2026-03-02T10:05:00Z"]
    assert "2 of 2 rules fire on 3 records in 1 files" in run("match", rules, str(log)).stdout
    log.write_text('{"Records": [{"eventTime": "never"}]}')
    assert run("match", rules, str(log)).exit_code == 1


def test_compile_prints_rules_and_correlations(rules: Path) -> None:
    lines = [json.loads(line) for line in run("compile", rules).stdout.splitlines()]
    assert lines[0]["query"] == {"term": {"event.action.lower": "stoplogging"}}
    (top,) = [one for one in lines if "correlation" in one]
    assert (top["correlation"], top["seconds"], top["condition"]) == ("event_count", 600, {"bounds": {"gte": 2.0}})
    assert [below["query"] for below in top["rules"].values()] == [lines[0]["query"]]
    (only,) = run("compile", rules, TWICE["id"]).stdout.splitlines()
    assert json.loads(only) == top
    result = run("compile", rules, "nothing")
    assert result.exit_code != 0
    assert "no such rule: nothing" in str(result.exception)


def test_list(rules: Path) -> None:
    found = json.loads(run("list", rules, "--json").stdout)["rules"]
    assert [one["level"] for one in found] == ["critical", "high"]
    assert len(json.loads(run("list", rules, "--level", "high", "--json").stdout)["rules"]) == 1
    assert "2 rules" in run("list", rules).stdout
