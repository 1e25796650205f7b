from __future__ import annotations

from pathlib import Path

import pytest

from loader.detection.load import load_rules, timespan
from loader.detection.model import Suppression
from loader.errors import RuleError

RULE = """\
title: Trail stopped
id: 0d9c7c8e-6a0b-4b0a-9b55-0c5a1d2e3f40
status: test
level: high
tags: [attack.defense-impairment, attack.t1562.008]
logsource:
    product: aws
    service: cloudtrail
detection:
    selection:
        eventName: StopLogging
    condition: selection
siem:
    suppress: {by: [userIdentity.arn], for: 1h}
    blind_spots: [none]
    runbook: Look.
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def anew(text: str, number: int) -> str:
    """Give a rule another id."""
    return text.replace("3f40", f"3f4{number}")


def test_a_rule_is_read_whole(tmp_path: Path) -> None:
    path = write(tmp_path, "deep/aws_cloudtrail_stop.yml", RULE)
    (rule,) = load_rules([tmp_path]).rules
    assert (rule.name, rule.level, rule.status, rule.where) == ("aws_cloudtrail_stop", "high", "test", f"{path}:1")
    assert rule.suppression == Suppression(("userIdentity.arn",), 3600)
    assert rule.runbook == "Look."
    assert rule.threat.tactics[0].id == "TA0112"
    assert rule.threat.techniques[0].subtechnique == "T1562.008"


def test_the_hash_is_of_the_content_and_not_of_its_form(tmp_path: Path) -> None:
    first = load_rules([write(tmp_path, "a.yml", RULE)]).rules[0]
    reordered = "level: high\n" + RULE.replace("level: high\n", "# a comment\n").replace("[none]", "\n        - none")
    assert load_rules([write(tmp_path, "b.yml", reordered)]).rules[0].content_hash == first.content_hash
    other = load_rules([write(tmp_path, "c.yml", RULE.replace("StopLogging", "DeleteTrail"))]).rules[0]
    assert other.content_hash != first.content_hash


def test_every_problem_is_reported_with_its_line_and_the_rest_is_read(tmp_path: Path) -> None:
    write(tmp_path, "a.yml", RULE)
    write(tmp_path, "b.yml", "title: x\n  bad: [\n")
    write(tmp_path, "c.yml", "# nothing\n\njust: a map\n")
    write(tmp_path, "d.yml", RULE.replace("level: high", "level: enormous"))
    write(tmp_path, "e.yml", anew(RULE, 1) + "---\ntitle: second\ndetection: no map\n")
    write(tmp_path, "f.yml", RULE.replace("    selection:\n", "    selection:\n        eventName: twice\n", 1))
    write(tmp_path, "g.yml", RULE.replace("for: 1h", "for: soon"))
    rules = load_rules([tmp_path])
    found = {problem.path.name: problem for problem in rules.problems}
    lines = {path: problem.line for path, problem in found.items()}
    assert lines == {"b.yml": 2, "c.yml": 3, "d.yml": 4, "e.yml": 19, "f.yml": 12, "g.yml": 14}
    assert "enormous" in found["d.yml"].message
    assert "twice" in found["f.yml"].message
    assert "soon" in found["g.yml"].message
    assert [rule.path.name for rule in rules.rules] == ["a.yml", "e.yml"]


def test_public_rules_are_taken_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, "a.yml", RULE.replace("status: test", "status: unsupported"))
    write(tmp_path, "b.yml", RULE + "custom_key: {anything: [1, 2]}\ndate: 2020/02/12\n")
    rules = load_rules([tmp_path])
    assert [rule.path.name for rule in rules.rules] == ["b.yml"]
    assert [(problem.code, problem.severity) for problem in rules.problems] == [("skipped", "notice")]


def test_several_documents_of_a_file_have_names_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, "a.yml", f"{RULE}---\n{anew(RULE, 1)}---\nname: third\n{anew(RULE, 2)}")
    assert [rule.name for rule in load_rules([tmp_path]).rules] == ["a", "a#1", "a#third"]


def test_two_rules_with_one_id_would_share_their_alerts(tmp_path: Path) -> None:
    write(tmp_path, "a.yml", RULE)
    path = write(tmp_path, "b.yml", RULE.replace("3f40", "3F40").replace("StopLogging", "DeleteTrail"))
    rules = load_rules([tmp_path])
    assert [rule.name for rule in rules.rules] == ["a"]
    (problem,) = rules.problems
    assert (problem.where, problem.code, problem.severity) == (f"{path}:2", "duplicate-id", "error")
    assert f"{tmp_path}/a.yml:1" in problem.message


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    path = write(tmp_path, "deep/a.yml", RULE)
    rules = load_rules([tmp_path, tmp_path / "deep", path, tmp_path / "deep" / ".." / "deep" / "a.yml"])
    assert len(rules.rules) == 1
    assert rules.problems == ()


def test_rules_without_an_id_have_one_that_stays(tmp_path: Path) -> None:
    public = RULE.replace("id: 0d9c7c8e-6a0b-4b0a-9b55-0c5a1d2e3f40\n", "")
    write(tmp_path, "a.yml", public)
    write(tmp_path, "b.yml", public + "---\n" + public)
    first = {rule.name: rule.uuid for rule in load_rules([tmp_path]).rules}
    assert len(set(first.values())) == 3
    write(tmp_path, "a.yml", public.replace("StopLogging", "DeleteTrail"))
    assert {rule.name: rule.uuid for rule in load_rules([tmp_path]).rules} == first
    write(tmp_path, "other/a.yml", public)
    (problem,) = load_rules([tmp_path]).problems
    assert "no id" in problem.message
    assert f"{tmp_path}/a.yml:1" in problem.message


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuleError) as caught:
        load_rules([tmp_path / "nowhere"])
    assert caught.value.where == str(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "seconds"), [("15s", 15), ("10m", 600), ("2h", 7200), ("7d", 604800), ("1M", 2629746)]
)
def test_time_spans(text: str, seconds: int) -> None:
    assert timespan(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "0s", "-1h", "1 hour", "1H"])
def test_other_time_spans_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time span"):
        timespan(text)
