"""Narrowed queries find every event that may matter, and little else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from loader.detection.correlation import Group, Tree
from loader.detection.intervals import Ranges, is_inside, union
from loader.detection.model import CompiledCorrelation, CompiledRule, Condition, CorrelationRule, Rule
from loader.detection.narrowing import narrowed, slabs, stretches

_HEAD: dict[str, Any] = {
    "title": "t",
    "level": "low",
    "status": "test",
    "path": Path("r.yml"),
    "line": 1,
    "content_hash": "0",
}
BASE = CompiledRule(Rule("", "a", **_HEAD), "log-*", {"term": {"event.action": "a"}})
MINUTE, DAY = 60_000, 86_400_000


def tree(**more: Any) -> Tree:
    how: dict[str, Any] = {"group_by": ("user.name",), "condition": Condition({"gte": 5})} | more
    return Tree(CompiledCorrelation(CorrelationRule("", "c", **_HEAD), "event_count", {"a": BASE}, 600, **how))


def user(name: str | int | None) -> Group:
    return (("user.name", name),)


SPANS = st.lists(
    st.tuples(st.integers(-(10**10), 10**10), st.integers(0, 10**8)).map(lambda pair: (pair[0], sum(pair))),
    min_size=1,
    max_size=6,
).map(union)
WANTED: st.SearchStrategy[dict[Group | None, Ranges]] = st.dictionaries(
    st.sampled_from("abcdefgh").map(user), SPANS, min_size=1
)


@given(WANTED, st.integers(0, 10**7), st.integers(1, 5))
def test_what_is_wanted_is_in_a_stretch_with_its_group(
    wanted: dict[Group | None, Ranges], before: int, most: int
) -> None:
    found = stretches(wanted, before, most)
    assert len(found) <= most
    for group, spans in wanted.items():
        inside = union((part.first, part.last) for part in found if group in part.groups)
        for first, last in spans:
            assert any(start <= first - before and last <= end for start, end in inside)


def test_groups_that_need_the_same_times_share_a_stretch_and_others_do_not() -> None:
    early, late = (DAY, DAY + 5), (9 * DAY, 9 * DAY + 5)
    found = stretches({user("a"): (early,), user("b"): (early, late), user("c"): (late,)}, 0)
    assert [part.groups for part in found] == [(user("a"), user("b")), (user("b"), user("c"))]
    assert all(part.last - part.first < 2 * MINUTE for part in found)


@given(WANTED)
def test_pieces_of_work_are_the_whole_work(wanted: dict[Group | None, Ranges]) -> None:
    pieces = slabs(tree(), wanted)
    assert {group: union(*(piece.get(group, ()) for piece in pieces)) for group in wanted} == wanted


def test_days_on_which_little_was_touched_are_one_piece() -> None:
    wanted: dict[Group | None, Ranges] = {user(str(day)): ((day * DAY, day * DAY),) for day in range(30)}
    assert len(slabs(tree(), wanted)) == 1
    whole: dict[Group | None, Ranges] = {user("a"): ((0, 10 * DAY),)}
    assert len(slabs(tree(), whole)) > 5


def test_one_stretch_is_narrowed_by_group_alone_and_several_by_time_too() -> None:
    one = tree()
    (query,) = narrowed(one, BASE.query_hash, {user("Alice"): ((0, 5),)}, 0)
    assert query["bool"]["should"] == [{"bool": {"filter": [{"terms": {"user.name": ["Alice", "alice"]}}]}}]
    (query,) = narrowed(one, BASE.query_hash, {user("a"): ((0, 5),), user("b"): ((DAY, DAY),)}, 0)
    first, second = query["bool"]["should"]
    assert first["bool"]["filter"][0]["range"]["@timestamp"]["lte"] < DAY
    assert second["bool"]["filter"][0]["range"]["@timestamp"]["gte"] <= DAY
    assert second["bool"]["filter"][1]["bool"]["should"][0]["bool"]["filter"] == [{"terms": {"user.name": ["b"]}}]


def test_clauses_stay_below_what_a_search_may_have() -> None:
    many = tuple(f"f{number}" for number in range(40))
    wanted: dict[Group | None, Ranges] = {
        tuple((name, str(day)) for name in many): ((day * DAY, day * DAY),) for day in range(90)
    }
    (query,) = narrowed(tree(group_by=many), BASE.query_hash, wanted, 0)
    assert str(query).count("'terms'") + 2 * str(query).count("'range'") <= 400


def test_groups_that_cannot_be_asked_for_are_not() -> None:
    absent: dict[Group | None, Ranges] = {user(None): ((0, 5),), user("a"): ((0, 5),)}
    assert narrowed(tree(), BASE.query_hash, absent, 0) == []
    everything: dict[Group | None, Ranges] = {None: ((0, 5),)}
    assert narrowed(tree(), BASE.query_hash, everything, 0) == []
    payload = "aws.cloudtrail.flattened.request_parameters.userName"
    hidden = tree(group_by=("who",), aliases={"who": {"a": payload}})
    assert narrowed(hidden, BASE.query_hash, {(("who", "x"),): ((0, 5),)}, 0) == []


@given(SPANS, st.integers(-(10**10), 10**10))
def test_inside(spans: Ranges, number: int) -> None:
    assert is_inside(number, spans) == any(first <= number <= last for first, last in spans)
