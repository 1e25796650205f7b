"""``siem rules new``: what it writes passes everything but the check that somebody filled it in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loader.cli.main import main

WORDS = ("aws_ec2_thing_changed", "--folder", "cloudtrail/impact", "--title", "Something: changed", "--event")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of rules in place of the project's own."""
    monkeypatch.setattr("loader.cli.rules_new.rules_dir", lambda: tmp_path)
    return tmp_path / "cloudtrail" / "impact"


def siem(*words: str) -> Result:
    return CliRunner().invoke(main, ["rules", *words])


def test_what_is_written_decides_its_events_and_only_lacks_words(folder: Path) -> None:
    assert siem("new", *WORDS, "ec2:EnableAddressTransfer").exit_code == 0
    path = str(folder / "aws_ec2_thing_changed.yml")
    tested = siem("test", "--rules", path)
    assert tested.exit_code == 0
    assert "1 of 1 rules passed on 2 test events" in tested.stdout
    problems = json.loads(siem("check", "--rules", path, "--json").stdout)["problems"]
    assert {problem["code"] for problem in problems} == {"template"}


def test_parameters_are_those_of_the_calls_model(folder: Path) -> None:
    siem("new", *WORDS, "iam:AttachUserPolicy")
    cases = json.loads((folder / "aws_ec2_thing_changed.test.json").read_text())
    assert set(cases["match"][0]["requestParameters"]) == {"userName", "policyArn"}
    assert "errorCode" not in cases["match"][0]
    assert cases["near_miss"][0]["errorCode"] == "AccessDenied"


def test_dated_names_of_lambda_are_known(folder: Path) -> None:
    siem("new", *WORDS, "lambda:AddPermission20150331v2")
    cases = json.loads((folder / "aws_ec2_thing_changed.test.json").read_text())
    assert "principal" in cases["match"][0]["requestParameters"]


def test_sign_in_events_have_no_model_and_no_parameters(folder: Path) -> None:
    siem("new", *WORDS, "signin:ConsoleLogin")
    assert json.loads((folder / "aws_ec2_thing_changed.test.json").read_text())["match"][0]["requestParameters"] is None


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ("iam:CreateUsers", "CreateUser"),
        ("iam", "SERVICE:CALL"),
        ("nosuch:Thing", "SERVICE:CALL"),
        ("iam:PassRole", "has no call PassRole"),
    ],
)
def test_a_call_that_does_not_exist_is_refused(folder: Path, event: str, said: str) -> None:
    refused = siem("new", *WORDS, event)
    assert refused.exit_code != 0
    assert said in f"{refused.output}{refused.exception}{getattr(refused.exception, 'hint', '')}"
    assert not folder.exists()


def test_a_rule_is_never_written_over(folder: Path) -> None:
    siem("new", *WORDS, "iam:CreateUser")
    path = folder / "aws_ec2_thing_changed.yml"
    path.write_text("mine")
    assert siem("new", *WORDS, "iam:CreateUser").exit_code != 0
    assert siem("new", *(word.replace("impact", "other") for word in WORDS), "iam:CreateUser").exit_code != 0
    assert path.read_text() == "mine"


def test_a_folder_outside_is_refused(folder: Path) -> None:
    words = [word.replace("cloudtrail/impact", "../elsewhere") for word in WORDS]
    assert siem("new", *words, "iam:CreateUser").exit_code != 0
    shutil.rmtree(folder.parents[2] / "elsewhere", ignore_errors=True)
