"""A folder of public rules, written as SigmaHQ's are, beside the project's own: every command takes it as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loader.cli.main import main
from loader.project import rules_dir

_HEAD = """\
title: {title}
id: {id}
status: {status}
description: Detects {title}
references:
    - https://docs.aws.amazon.com/example
author: Somebody (@somebody), Somebody Else
date: 2020-01-21
modified: 2022-10-09
tags:
    - attack.defense-evasion
    - attack.t1562.001
logsource:
    product: {product}
    service: {service}
detection:
{detection}
falsepositives:
    - Unlikely
level: medium
"""
SEVERAL = """\
    selection_source:
        eventSource: iam.amazonaws.com
    selection_by_name:
        - eventName: CreateUser
        - eventName|startswith:
              - DeleteUser
              - UpdateUser
    filter_main_aws:
        userIdentity.arn|contains: ':assumed-role/AWSReserved'
    filter_optional_self:
        requestParameters.userName|fieldref: userIdentity.userName
    condition: all of selection_* and not 1 of filter_main_* and not 1 of filter_optional_*"""
PATTERN = """\
    selection:
        eventSource: 's3.amazonaws.com'
        eventName|re: '^(Put|Delete)Bucket(Policy|Website)$'
        errorCode: null
    keywords:
        - 'example-bucket'
    condition: selection and keywords"""
OLD_COUNT = """\
    selection:
        eventName: AttachRolePolicy
    timeframe: 10m
    condition: selection | count() by userIdentity.arn > 10"""
SIMPLE = "    selection:\n        eventName: CreateUser\n    condition: selection"
LISTED = "    selection:\n        userIdentity.arn|expand: '%allowed_people%'\n    condition: selection"


def public(folder: Path) -> Path:
    """Write the folder: three rules to run, one of them with a list, and three to be set aside."""
    folder.mkdir()
    for number, (name, detection, more) in enumerate(
        (
            ("aws_iam_user_changed", SEVERAL, {}),
            ("aws_s3_bucket_opened", PATTERN, {"status": "experimental"}),
            ("aws_iam_listed", LISTED, {}),
            ("aws_iam_many_attached", OLD_COUNT, {"status": "unsupported"}),
            ("azure_user_created", SIMPLE, {"product": "azure", "service": "auditlogs"}),
            ("win_user_created", SIMPLE, {"product": "windows", "service": "security"}),
        )
    ):
        head = {"title": name, "id": f"0d9c7c8e-6a0b-4b0a-9b55-0c5a1d2e3f4{number}", "status": "test",
                "product": "aws", "service": "cloudtrail", "detection": detection, **more}  # fmt: skip
        (folder / f"{name}.yml").write_text(_HEAD.format(**head), encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lists.yml").write_text("allowed_people: ['*:user/a', '*:user/b']\n", encoding="utf-8")
    monkeypatch.setenv("SIEM_RULE_VARIABLES", str(tmp_path / "lists.yml"))
    return public(tmp_path / "public")


def run(command: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["rules", command, *arguments])


def test_check_and_compile(folder: Path) -> None:
    result = run("check", "--rules", str(folder), "--foreign", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["rules"] == 5
    assert sorted((Path(one["where"].split(":")[0]).stem, one["severity"]) for one in told["problems"]) == [
        ("aws_iam_many_attached", "notice"), ("azure_user_created", "notice"), ("win_user_created", "notice"),
    ]  # fmt: skip
    compiled = run("compile", "--rules", str(folder))
    assert compiled.exit_code == 0, compiled.output
    found = {line["rule"]: line for line in map(json.loads, compiled.stdout.splitlines())}
    assert sorted(found) == ["aws_iam_listed", "aws_iam_user_changed", "aws_s3_bucket_opened"]
    # Comparing two fields is decided on the document.
    assert "verify" in found["aws_iam_user_changed"]


def test_a_list_that_nobody_has_is_told_with_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIEM_RULE_VARIABLES")
    result = run("check", "--rules", str(folder), "--foreign", "--json")
    assert result.exit_code == 1
    (problem,) = [one for one in json.loads(result.stdout)["problems"] if one["severity"] == "error"]
    assert "%allowed_people%" in problem["message"]
    assert "--variables" in problem["hint"]


def test_test_counts_those_that_bring_no_events(folder: Path) -> None:
    result = run("test", "--rules", str(folder), "--foreign")
    assert result.exit_code == 0, result.output
    assert "0 of 0 rules passed on 0 test events, 3 rules have no test events" in result.stdout
    held = run("test", "--rules", str(folder), "--json")
    assert held.exit_code == 1
    assert len(json.loads(held.stdout)["failed"]) == 3


def test_what_cannot_be_compiled_is_told_by_test_and_match_too(folder: Path, tmp_path: Path) -> None:
    (folder / "aws_typo.yml").write_text(
        _HEAD.format(title="t", id="1d9c7c8e-6a0b-4b0a-9b55-0c5a1d2e3f40", status="test", product="aws",
                     service="cloudtrail", detection=SIMPLE.replace("eventName", "eventNmae"))
    )  # fmt: skip
    result = run("test", "--rules", str(folder), "--foreign", "--json")
    assert result.exit_code == 1
    (problem,) = json.loads(result.stdout)["problems"]
    assert "eventNmae" in problem["message"]
    log = tmp_path / "log.json"
    log.write_text('{"Records": []}')
    result = run("match", "--rules", str(folder), str(log))
    assert result.exit_code == 1
    assert "aws_typo.yml:18" in result.stderr


def test_match_beside_our_own(folder: Path, tmp_path: Path) -> None:
    record = {
        "eventVersion": "1.08", "eventTime": "2026-03-02T10:00:00Z", "eventSource": "iam.amazonaws.com",
        "eventName": "CreateUser", "awsRegion": "us-east-1", "eventID": "e1", "eventType": "AwsApiCall",
        "sourceIPAddress": "198.51.100.1", "requestParameters": {"userName": "eve"},
        "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/a", "userName": "a"},
    }  # fmt: skip
    own = {**record, "requestParameters": {"userName": "A"}, "eventID": "e2"}
    log = tmp_path / "log.json"
    log.write_text(json.dumps({"Records": [record, own]}))
    result = run("match", "--rules", str(folder), "--rules", str(rules_dir()), str(log), "--json")
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["where"].rpartition("#")[2] for one in found if one["rule"] == "aws_iam_user_changed"] == ["1"]
    assert [one["level"] for one in found if one["rule"] == "aws_iam_user_changed"] == ["medium"]
