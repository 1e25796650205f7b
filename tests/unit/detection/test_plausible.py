"""Which groups are left out before their events are read: only those that cannot have a trigger."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from loader.detection.correlation import Tree
from loader.detection.model import CompiledCorrelation, CompiledRule, Condition, CorrelationRule, Rule
from loader.detection.plausible import Least, least, plausible

_HEAD: dict[str, Any] = {
    "title": "t",
    "level": "low",
    "status": "test",
    "path": Path("r.yml"),
    "line": 1,
    "content_hash": "0",
}
A, B = (CompiledRule(Rule("", name, **_HEAD), "log-*", {"term": {"event.action": name}}) for name in "ab")
ALICE, BOB = ((("user.name", name),) for name in ("alice", "bob"))


def tree(kind: str, *bases: CompiledRule, **more: Any) -> Tree:
    rules = {base.rule.name: base for base in bases}
    return Tree(CompiledCorrelation(CorrelationRule("", "c", **_HEAD), kind, rules, 600, ("user.name",), **more))


@pytest.mark.parametrize(
    ("kind", "more", "expected"),
    [
        ("event_count", {"condition": Condition({"gte": 5})}, Least("events", 5, 600_000)),
        ("event_count", {"condition": Condition({"gt": 4.5})}, Least("events", 5, 600_000)),
        ("event_count", {"condition": Condition({"gte": 1})}, None),
        ("event_count", {"condition": Condition({"lte": 5})}, None),
        ("value_count", {"condition": Condition({"gte": 3}, ("cloud.region",))}, Least("values", 3, 600_000)),
        ("value_sum", {"condition": Condition({"gte": 3}, ("cloud.region",))}, None),
        ("temporal", {}, Least("rules", 2, 600_000)),
        ("temporal_ordered", {"condition": Condition({"gte": 1})}, None),
        ("temporal", {"condition": Condition(expression="a or b")}, None),
        ("spike", {"condition": Condition({"gte": 3}), "extra": {"baseline": "7d", "minimum": 30}},
         Least("events", 30, 600_000)),
        ("absence", {}, None),
    ],
)  # fmt: skip
def test_what_a_trigger_needs_at_least(kind: str, more: dict[str, Any], expected: Least | None) -> None:
    assert least(tree(kind, A, B, **more)) == expected


def test_nothing_is_said_about_chains() -> None:
    inner = tree("event_count", A, condition=Condition({"gte": 5})).root
    assert least(tree("event_count", inner, condition=Condition({"gte": 2}))) is None  # type: ignore[arg-type]


class _Counts:
    """Stands for the server: how many events of a rule each group has."""

    def __init__(self, **counts: dict[Any, int] | None) -> None:
        self.counts = counts
        self.asked: list[str] = []

    def count_groups(self, rule: CompiledRule, *_: Any, **__: Any) -> Counter[Any] | None:
        self.asked.append(rule.rule.name)
        found = self.counts[rule.rule.name]
        return None if found is None else Counter(found)


def _left(one: Tree, server: _Counts, *groups: Any, broad: dict[str, int] | None = None) -> set[Any]:
    slab = dict.fromkeys(groups, ((0, 1),))
    return set(plausible(one, server, slab, broad=broad or {}))  # type: ignore[arg-type]


def test_counts_of_all_base_rules_add_up() -> None:
    one = tree("event_count", A, B, condition=Condition({"gte": 5}))
    assert _left(one, _Counts(a={ALICE: 3, BOB: 4}, b={ALICE: 2}), ALICE, BOB) == {ALICE}


def test_the_rule_with_the_fewest_events_is_counted_first_and_may_settle_it() -> None:
    one = tree("temporal", A, B)
    server = _Counts(a={ALICE: 1000}, b={})
    assert _left(one, server, ALICE, BOB, broad={A.query_hash: 1000, B.query_hash: 1}) == set()
    assert server.asked == ["b"]
    assert _left(one, _Counts(a={ALICE: 1, BOB: 9}, b={ALICE: 1}), ALICE, BOB) == {ALICE}


def test_what_cannot_be_counted_is_looked_at() -> None:
    one = tree("event_count", A, condition=Condition({"gte": 5}))
    long = (("user.name", "x" * 9000),)
    absent = (("user.name", None),)
    assert _left(one, _Counts(a={}), ALICE, long, absent) == {long, absent}
    assert _left(one, _Counts(a=None), ALICE, BOB) == {ALICE, BOB}
    assert _left(one, _Counts(a={}), None) == {None}
