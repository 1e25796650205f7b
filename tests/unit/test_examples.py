"""The pre-commit hooks and the workflow example: valid, their commands exist, and the hooks stop a bad rule."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from loader.cli.main import main

ROOT = Path(__file__).parents[2]
HOOKS = ROOT / ".pre-commit-hooks.yaml"
CONFIG = ROOT / "docs" / "examples" / ".pre-commit-config.yaml"
WORKFLOW = ROOT / "docs" / "examples" / "github-actions.yml"
BIN = Path(sys.executable).parent

RULE = {
    "title": "Trail stopped",
    "id": "1f0c0c6e-3f0f-4c1b-8c43-0a7a8fd4a111",
    "name": "aws_trail_stopped",
    "status": "test",
    "description": "Somebody stopped a trail.",
    "references": ["https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_StopLogging.html"],
    "author": "somebody",
    "date": "2026-11-24",
    "level": "high",
    "tags": ["attack.t1562.008", "attack.defense-evasion"],
    "logsource": {"product": "aws", "service": "cloudtrail"},
    "detection": {
        "selection": {"eventSource": "cloudtrail.amazonaws.com", "eventName": "StopLogging"},
        "condition": "selection",
    },
    "falsepositives": ["Nobody."],
    "license": "Apache-2.0",
    "siem": {
        "suppress": {"by": ["userIdentity.arn"], "for": "1h"},
        "blind_spots": ["A trail may be deleted instead."],
        "runbook": "Ask who did it.",
    },
}


def record(name: str) -> dict[str, Any]:
    return {
        "eventVersion": "1.11", "eventTime": "2026-03-02T10:00:00Z", "eventSource": "cloudtrail.amazonaws.com",
        "eventName": name, "awsRegion": "eu-central-1", "eventID": "5e1a3a8e-0000-4000-8000-000000000000",
        "sourceIPAddress": "198.51.100.7", "userAgent": "x", "eventType": "AwsApiCall",
        "recipientAccountId": "111122223333",
        "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/a", "userName": "a"},
    }  # fmt: skip


def commands() -> Iterator[list[str]]:
    for hook in yaml.safe_load(HOOKS.read_text(encoding="utf-8")):
        yield [*shlex.split(hook["entry"]), *hook["args"]]
    steps = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["rules"]["steps"]
    yield from (shlex.split(step["run"]) for step in steps if step.get("run", "").startswith("siem "))


def test_their_commands_exist() -> None:
    found = list(commands())
    assert sorted(" ".join(one[:3]) for one in found) == ["siem rules check"] * 2 + ["siem rules test"] * 2
    for program, *words in found:
        assert program == "siem"
        command: click.Command = main
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)] if words[0] in command.commands else _lazy(command, words.pop(0))
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options


def _lazy(group: click.Group, name: str) -> click.Command:
    command = group.get_command(click.Context(group), name)
    assert command is not None, name
    return command


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "pre_commit", "validate-manifest", str(HOOKS)],
        ["-m", "pre_commit", "validate-config", str(CONFIG)],
        ["-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(WORKFLOW)],
    ],
    ids=["hooks", "config", "workflow"],
)
def test_they_are_valid(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_names_the_hooks() -> None:
    known = {hook["id"] for hook in yaml.safe_load(HOOKS.read_text(encoding="utf-8"))}
    (used,) = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["repos"]
    assert {hook["id"] for hook in used["hooks"]} == known


def test_the_hooks_let_a_good_rule_pass_and_stop_a_bad_one(tmp_path: Path) -> None:
    """As hooks of the repository itself, so that nothing is installed: what pre-commit makes of ``language: python``
    besides is a virtual environment with this project in it."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "SIEM_", "PRE_COMMIT"))},
        "PRE_COMMIT_HOME": str(tmp_path / "home"),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    repository = tmp_path / "repository"
    (repository / "rules").mkdir(parents=True)
    hooks = [{**hook, "language": "system"} for hook in yaml.safe_load(HOOKS.read_text(encoding="utf-8"))]
    config = {"repos": [{"repo": "local", "hooks": hooks}]}
    (repository / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=repository, env=environment, capture_output=True, text=True, timeout=240, check=False
        )

    def hook(rule: dict[str, Any], events: dict[str, Any]) -> str:
        (repository / "rules" / "aws_trail_stopped.yml").write_text(yaml.safe_dump(rule), encoding="utf-8")
        (repository / "rules" / "aws_trail_stopped.test.json").write_text(json.dumps(events), encoding="utf-8")
        assert run("git", "add", "-A").returncode == 0
        done = run(sys.executable, "-m", "pre_commit", "run", "--all-files", "--color", "never")
        return f"{done.returncode}\n{done.stdout}{done.stderr}"

    assert run("git", "init", "-q").returncode == 0
    good = {"match": [record("StopLogging")], "near_miss": [record("StartLogging")]}
    answer = hook(RULE, good)
    assert answer.startswith("0\n"), answer
    assert answer.count("Passed") == 2
    answer = hook(RULE, {"match": [record("StartLogging")], "near_miss": [record("StartLogging")]})
    assert answer.startswith("1\n")
    assert "match[0] does not match" in answer
    wrong = {**RULE, "detection": {"selection": {"eventNam": "StopLogging"}, "condition": "selection"}}
    answer = hook(wrong, good)
    assert answer.startswith("1\n")
    assert "aws_trail_stopped.yml:" in answer
    assert "eventNam" in answer
