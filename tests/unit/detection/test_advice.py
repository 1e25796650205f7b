"""What an engineer is told of a slip in a rule: the line it is in, and what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from loader.detection.compile import compile_rules
from loader.detection.lint import check
from loader.detection.load import load_rules
from loader.detection.model import Problem

from .test_lint import GOOD, TODAY


def problems(folder: Path, text: str) -> list[Problem]:
    (folder / "aws_cloudtrail_stop.yml").write_text(text)
    rules = load_rules([folder])
    return [one for one in check(rules, compile_rules(rules), today=TODAY, house=False) if one.severity == "error"]


@pytest.mark.parametrize(
    ("old", "new", "line", "said", "advised"),
    [
        ("eventName: Stop", "eventName|contain: Stop", 15, "'contain'", "contains"),
        ("eventName: Stop", "eventName|re: '(Stop", 15, "(Stop", None),
        ("eventName: StopLogging", "sourceIPAddress|cidr: 10.0.0.0/99", 15, "10.0.0.0/99", None),
        ("eventName: StopLogging", "eventNme: StopLogging", 15, "eventNme", "eventName"),
        ("eventName: StopLogging", "eventName: StopLoging", 15, "StopLoging", "StopLogging"),
        ("condition: selection", "condition: selektion", 16, "selektion", "selection"),
        ("condition: selection", "condition: selection and (", 16, "", None),
        ("condition: selection", "condition: selection | count() > 5", 16, "pipe", "event_count"),
        ("level: high", "level: hihg", 8, "hihg", None),
        ("for: 1h", "for: an hour", 18, "an hour", None),
        ("logsource: {product: aws, service: cloudtrail}", "logsource: aws", 11, "logsource", None),
        ("    selection:\n", "\tselection:\n", 13, "tab", None),
    ],
)
def test_a_slip_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, said: str, advised: str | None
) -> None:
    text = GOOD.replace(old, new, 1)
    if new.endswith("'(Stop"):
        text = text.replace("'(StopLogging", "'(StopLogging'")
    assert text != GOOD
    (problem,) = problems(tmp_path, text)
    assert (problem.line, said in problem.message) == (line, True), problem
    assert advised is None or advised in (problem.hint or ""), problem


def test_a_slip_in_a_list_of_maps_is_found_in_its_map(tmp_path: Path) -> None:
    several = "    selection:\n        - eventName: StartLogging\n        - eventName|startwith: Stop\n    other:\n"
    (problem,) = problems(
        tmp_path, GOOD.replace("    selection:\n", several).replace("condition: selection", "condition: 1 of them")
    )
    assert problem.line == 15
    assert "startswith" in (problem.hint or "")


def test_a_slip_in_a_filter_is_told_once_and_costs_the_filter_and_no_rule(tmp_path: Path) -> None:
    (tmp_path / "aws_any_filter.yml").write_text(
        "title: f\nid: 7f0f5b1e-3c8f-4b52-8f40-2f1f0a7b9d11\nlogsource: {product: aws, service: cloudtrail}\n"
        "filter:\n  rules: any\n  build:\n    userIdentity.arn|endwith: x\n  condition: not build\n"
        "siem: {owner: me, ticket: X-1, expires: 2026-12-31}\n"
    )
    (tmp_path / "aws_cloudtrail_stop.yml").write_text(GOOD)
    (tmp_path / "aws_cloudtrail_start.yml").write_text(GOOD.replace("3f40", "3f41"))
    rules = load_rules([tmp_path])
    pack = compile_rules(rules)
    (problem,) = pack.errors
    assert problem.where == f"{tmp_path / 'aws_any_filter.yml'}:7"
    assert [rule.filters for rule in pack.rules] == [(), ()]
    assert "endswith" in (problem.hint or "")
