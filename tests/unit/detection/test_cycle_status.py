"""What is kept of cycles: how much exceptions took out adds up."""

from __future__ import annotations

from collections import Counter

from loader.detection.cycle_status import add_up
from loader.detection.report import RuleCount, RunReport


def _report(**by_rule: dict[str, int]) -> RunReport:
    counts = [
        RuleCount("", name, name, "low", filtered=sum(taken.values()), filtered_by=Counter(taken))
        for name, taken in by_rule.items()
    ]
    return RunReport(rules=counts)


def test_exceptions_add_up_over_rules_and_cycles() -> None:
    first = add_up({}, _report(a={"build account": 3}, b={"build account": 1, "backup": 2}, c={}), "monday")
    assert first == {
        "build account": {"events": 4, "since": "monday", "last": "monday"},
        "backup": {"events": 2, "since": "monday", "last": "monday"},
    }
    second = add_up(first, _report(a={"backup": 5}), "tuesday")
    assert second["backup"] == {"events": 7, "since": "monday", "last": "tuesday"}
    assert second["build account"] == first["build account"]
    assert first["backup"]["events"] == 2, "what was kept is not changed in place"


def test_the_report_says_what_was_taken_out_folded_and_learned() -> None:
    report = _report(a={"backup": 2})
    report.rules[0].folded = 3
    report.rules[0].learning = 1
    told = report.as_dict()
    assert (told["filtered"], told["folded"], told["learning"]) == (2, 3, {"a": 1})
    assert told["rules"]["a"]["filtered_by"] == {"backup": 2}
