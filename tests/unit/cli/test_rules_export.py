"""``siem rules export``: where it writes, what it says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from loader.cli.main import main

GOOD = {
    "title": "Trail stopped",
    "id": "5b4c0a0e-1d0f-4b3e-9d43-0a7a8fd4a111",
    "status": "test",
    "level": "high",
    "logsource": {"product": "aws", "service": "cloudtrail"},
    "detection": {"selection": {"eventName": "StopLogging"}, "condition": "selection"},
}
#: What no target but Athena can say: two fields of one event that differ.
CROSS: dict[str, Any] = {
    **GOOD,
    "title": "Between fields",
    "id": "5b4c0a0e-1d0f-4b3e-9d43-0a7a8fd4a222",
    "detection": {"selection": {"eventName|fieldref": "eventSource", "eventName": "x*"}, "condition": "selection"},
}


def export(tmp_path: Path, *arguments: str, rules: tuple[dict[str, Any], ...] = (GOOD, CROSS)) -> Result:
    folder = tmp_path / "rules"
    folder.mkdir(exist_ok=True)
    for number, rule in enumerate(rules):
        (folder / f"rule_{number}.yml").write_text(yaml.safe_dump(rule), encoding="utf-8")
    return CliRunner().invoke(main, ["rules", "export", "--rules", str(folder), *arguments])


@pytest.mark.parametrize(
    ("target", "name"),
    [("alerting", "rule_0.monitor.json"), ("kibana", "rule_0.ndjson"), ("athena", "rule_0.sql")],
)
def test_a_folder_that_ends_with_a_slash_gets_a_file_a_rule(tmp_path: Path, target: str, name: str) -> None:
    result = export(tmp_path, "--to", target, "--output", f"{tmp_path}/out/new/")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "new" / name).is_file()
    assert result.stdout == ""


def test_one_file_or_standard_output(tmp_path: Path) -> None:
    result = export(tmp_path, "--to", "kibana", "--output", f"{tmp_path}/rules.ndjson")
    assert result.exit_code == 0
    assert "1 rules exported" in result.stderr
    written = (tmp_path / "rules.ndjson").read_text(encoding="utf-8")
    assert [json.loads(line)["rule_id"] for line in written.splitlines()] == [GOOD["id"]]
    assert export(tmp_path, "--to", "kibana").stdout == written


def test_what_is_refused_is_told_with_its_place(tmp_path: Path) -> None:
    result = export(tmp_path, "--to", "alerting", "--json")
    (refused,) = json.loads(result.stdout)["refused"]
    assert refused["where"].endswith("rule_1.yml:1")
    assert "fieldref" in refused["reason"]
    assert "rule_1.yml:1: not exported to alerting" in result.stderr
    assert result.exit_code == 0
    assert export(tmp_path, "--to", "alerting", "--strict").exit_code == 1
    assert export(tmp_path, "--to", "athena", "--strict").exit_code == 0
    assert export(tmp_path, "--to", "alerting", rules=(CROSS, CROSS)).exit_code == 1


def test_json_holds_the_export_unless_it_was_written(tmp_path: Path) -> None:
    table = ("--location", "s3://logs", "--account", "111122223333")
    summary = json.loads(export(tmp_path, "--to", "athena", *table, "--json").stdout)
    assert [one["rule"] for one in summary["exported"]] == ["rule_0", "rule_1"]
    assert "CREATE EXTERNAL TABLE" in summary["preface"][0]["content"]
    assert summary["exported"][0]["notes"]
    written = export(tmp_path, "--to", "athena", *table, "--json", "--output", f"{tmp_path}/sql/")
    assert "content" not in json.loads(written.stdout)["exported"][0]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--to", "kibana", "--channel", "x"), "no --channel"),
        (("--to", "alerting", "--account", "111122223333"), "no --account"),
        (("--to", "athena", "--disabled"), "no --disabled"),
        (("--to", "athena", "--location", "s3://logs"), "needs --account"),
        (("--to", "athena", "--account", "111122223333"), "--location"),
        (("--to", "athena", "--location", "s3://a'b/", "--account", "111122223333"), "no place"),
        (("--to", "athena", "--table", "a.b.c"), "no name"),
        (("--to", "athena", "--lateness", "soon"), "soon"),
        (("--to", "logs-insights"), "needs --log-group"),
        (("--to", "logs-insights", "--log-group", "x", "--role", "arn", "--every", "7"), "no schedule"),
    ],
)
def test_options_that_do_not_fit_are_named(tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    result = export(tmp_path, *arguments)
    assert result.exit_code == 2, result.output
    assert reason in result.stderr


def test_options_reach_the_target(tmp_path: Path) -> None:
    line = json.loads(export(tmp_path, "--to", "kibana", "--every", "10", "--lateness", "1h", "--disabled").stdout)
    assert (line["interval"], line["from"], line["enabled"]) == ("10m", "now-4200s", False)
    monitor = json.loads(export(tmp_path, "--to", "alerting", "--disabled").stdout)
    assert monitor["enabled"] is False
    named = ("--to", "logs-insights", "--log-group", "trail", "--role", "arn:aws:iam::111122223333:role/x")
    query = json.loads(
        export(tmp_path, *named, "--every", "30", "--disabled", rules=(GOOD, GOOD)).stdout.splitlines()[0]
    )
    assert (query["scheduleExpression"], query["startTimeOffset"], query["endTimeOffset"], query["state"]) == (
        "cron(0/30 * * * ? *)", 2700, 900, "DISABLED",
    )  # fmt: skip
    text = export(tmp_path, "--to", "athena", "--table", "logs.trail", "--every", "15", "--lateness", "10m").stdout
    assert 'FROM "logs"."trail"' in text
    assert "- 600) / 900)" in text
