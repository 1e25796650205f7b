from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from loader.detection.compile import compile_rules
from loader.detection.event_names import is_source, names_of
from loader.detection.lint import check
from loader.detection.load import load_rules
from loader.detection.testing import run_tests
from loader.project import rules_dir

TODAY = date(2026, 11, 24)
GOOD = """\
title: Trail stopped
id: 0d9c7c8e-6a0b-4b0a-9b55-0c5a1d2e3f40
status: test
description: d
author: a
date: 2026-01-01
license: Apache-2.0
level: high
falsepositives: [x]
tags: [attack.defense-impairment, attack.t1562.008]
logsource: {product: aws, service: cloudtrail}
detection:
    selection:
        eventSource: cloudtrail.amazonaws.com
        eventName: StopLogging
    condition: selection
siem:
    suppress: {by: [userIdentity.arn], for: 1h}
    blind_spots: [none]
    runbook: Look.
"""
RECORD = {
    "eventTime": "2026-01-01T00:00:00Z",
    "eventName": "StopLogging",
    "eventSource": "cloudtrail.amazonaws.com",
    "userIdentity": {"type": "IAMUser", "accountId": "111122223333"},
}
CASES = {"match": [RECORD], "near_miss": [{**RECORD, "eventName": "StartLogging"}]}


def lint(folder: Path, text: str, cases: object = CASES, *, house: bool = True) -> list[tuple[int, str]]:
    (folder / "aws_cloudtrail_stop.yml").write_text(text)
    if cases is not None:
        (folder / "aws_cloudtrail_stop.test.json").write_text(json.dumps(cases))
    rules = load_rules([folder])
    return [(problem.line, problem.code) for problem in check(rules, compile_rules(rules), today=TODAY, house=house)]


def test_a_good_rule_has_no_problem(tmp_path: Path) -> None:
    assert lint(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("0d9c7c8e-6a0b-4b0a-9b55-0c5a1d2e3f40", "0d9c7c8e-6a0b-1b0a-9b55-0c5a1d2e3f40", (2, "id")),
        ("level: high\n", "", (1, "level")),
        ("falsepositives: [x]\n", "", (1, "falsepositives")),
        ("attack.defense-impairment", "attack.defence", (10, "attack")),
        ("attack.t1562.008", "attack.t15620", (10, "attack")),
        ("eventName: StopLogging", "eventName: StopTheLogging", (15, "event-name")),
        ("eventSource: cloudtrail.", "eventSource: cloudtrial.", (14, "event-source")),
        ("eventName: StopLogging", "eventNme: StopLogging", (15, "compile")),
        ("eventName: StopLogging", "userIdentity.accountId: 111122223333", (15, "account")),
        ("    condition", "    other: {eventName: x}\n    condition", (16, "unused")),
        ("    runbook: Look.\n", "", (17, "siem")),
        ("    blind_spots: [none]\n", "", (17, "blind-spots")),
        ("    suppress: {by: [userIdentity.arn], for: 1h}\n", "", (17, "siem")),
        ("by: [userIdentity.arn]", "by: [userIdentity.arm]", (18, "compile")),
        ("description: d\n", "", (1, "description")),
    ],
)
def test_each_lint(tmp_path: Path, old: str, new: str, expected: tuple[int, str]) -> None:
    assert old in GOOD
    assert expected in lint(tmp_path, GOOD.replace(old, new))


def test_old_and_new_names_of_tactics_are_known(tmp_path: Path) -> None:
    for tag in ("attack.defense-evasion", "attack.defense_evasion", "attack.stealth", "attack.TA0112", "attack.ta0005"):
        assert lint(tmp_path, GOOD.replace("attack.defense-impairment", tag)) == []


def test_tests_must_be_there(tmp_path: Path) -> None:
    assert (1, "tests") in lint(tmp_path, GOOD, None)
    assert (1, "tests") in lint(tmp_path, GOOD, {"match": [RECORD], "near_miss": []})
    assert (1, "tests") in lint(tmp_path, GOOD, {"match": ["text"], "near_miss": [RECORD]})


def test_public_rules_are_not_held_to_the_house(tmp_path: Path) -> None:
    public = GOOD[: GOOD.index("siem:")].replace("license: Apache-2.0\n", "")
    assert lint(tmp_path, public, None, house=False) == []


def test_ids_are_unique(tmp_path: Path) -> None:
    (tmp_path / "aws_cloudtrail_other.yml").write_text(GOOD)
    (tmp_path / "aws_cloudtrail_other.test.json").write_text(json.dumps(CASES))
    assert (2, "duplicate-id") in lint(tmp_path, GOOD)


FILTER = """\
title: the build account
id: 7f0f5b1e-3c8f-4b52-8f40-2f1f0a7b9d11
logsource: {product: aws, service: cloudtrail}
filter:
    rules: [0d9c7c8e-6a0b-4b0a-9b55-0c5a1d2e3f40]
    build: {userIdentity.accountId: '111122223333'}
    condition: not build
siem: {owner: me, ticket: X-1, expires: 2026-12-31}
"""


def test_filters_need_an_owner_a_ticket_and_a_date_that_has_not_passed(tmp_path: Path) -> None:
    filters = tmp_path / "filters"
    filters.mkdir()
    (filters / "build.yml").write_text(FILTER)
    assert lint(tmp_path, GOOD) == []
    (filters / "build.yml").write_text(FILTER.replace("2026-12-31", "2026-11-23").replace("owner: me, ", ""))
    assert lint(tmp_path, GOOD) == [(8, "expired"), (8, "filter")]


def test_a_filter_that_silences_a_rules_own_test_fails_it(tmp_path: Path) -> None:
    lint(tmp_path, GOOD)
    (tmp_path / "filter.yml").write_text(FILTER)
    (result,) = run_tests(compile_rules(load_rules([tmp_path])))
    assert result.failures == ("match[0] does not match: silenced by the filter the build account",)


def test_a_filter_that_silences_the_test_of_a_rule_with_lists_fails_it_too(tmp_path: Path) -> None:
    text = GOOD.replace("        eventName: StopLogging\n", "        eventName|expand: '%calls%'\n")
    lint(tmp_path, text, {**CASES, "variables": {"calls": ["StopLogging"]}})
    (result,) = run_tests(compile_rules(load_rules([tmp_path]), variables={"calls": []}))
    assert result.passed
    (tmp_path / "filter.yml").write_text(FILTER)
    (result,) = run_tests(compile_rules(load_rules([tmp_path]), variables={"calls": []}))
    assert result.failures == ("match[0] does not match: silenced by the filter the build account",)


def test_failing_cases_are_named(tmp_path: Path) -> None:
    lint(tmp_path, GOOD, {"match": CASES["near_miss"], "near_miss": [RECORD]})
    (result,) = run_tests(compile_rules(load_rules([tmp_path])))
    assert result.failures == ("match[0] does not match", "near_miss[0] matches")


def test_event_names() -> None:
    assert "CreateFunction" in (names_of("lambda.amazonaws.com") or ())
    assert "ConsoleLogin" in (names_of("signin.amazonaws.com") or ())
    assert "PutBucketPublicAccessBlock" in (names_of("s3.amazonaws.com") or ())
    assert "PassRole" not in (names_of("iam.amazonaws.com") or ())
    assert not is_source("route_53.amazonaws.com")
    assert is_source("monitoring.amazonaws.com")


def test_our_own_rules_are_clean_and_pass_their_tests() -> None:
    rules = load_rules([rules_dir()])
    pack = compile_rules(rules)
    problems = check(rules, pack, today=TODAY)
    assert [problem for problem in problems if problem.severity == "error"] == []
    assert [(result.rule.name, result.failures) for result in run_tests(pack) if not result.passed] == []
    assert len(pack.rules) >= 6


def test_a_name_that_yaml_reads_as_no_text_is_told(tmp_path: Path) -> None:
    text = GOOD.replace(
        "    condition: selection", "    off:\n        eventName: x\n    condition: selection and not off"
    )
    assert "detection" in {code for _, code in lint(tmp_path, text)}


def test_text_of_the_template_is_told(tmp_path: Path) -> None:
    text = GOOD.replace("description: d", "description: 'What happened, and why an intruder wants it: …'")
    assert "template" in {code for _, code in lint(tmp_path, text)}
