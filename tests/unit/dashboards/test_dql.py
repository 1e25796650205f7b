from __future__ import annotations

from typing import Any

import pytest

from loader.dashboards.dql import Group, Is, Node, Range, conditions, parse, to_search
from loader.dashboards.fields import read_fields
from loader.errors import DashboardError

FIELDS = read_fields()["log-aws-cloudtrail-*"]


@pytest.mark.parametrize(
    ("query", "tree"),
    [
        ("", None),
        (" \n ", None),
        ("a: b", Is("a", "b", "literal")),
        ("a :b", Is("a", "b", "literal")),
        ('a: "b c"', Is("a", "b c", "phrase")),
        ('"a b": c', Is("a b", "c", "literal")),
        ("a: b c", Is("a", "b c", "literal")),
        ('a: "b \\"c\\""', Is("a", 'b "c"', "phrase")),
        ("a: b\\:c", Is("a", "b:c", "literal")),
        ("a: *", Is("a", "*", "wildcard")),
        ("a: b*c", Is("a", "b*c", "wildcard")),
        ("a: b\\*c", Is("a", "b*c", "literal")),
        ("a: true", Is("a", True, "literal")),
        ('a: "true"', Is("a", "true", "phrase")),
        ("a: null", Is("a", None, "literal")),
        ("a: 12", Is("a", 12, "literal")),
        ("a: -1.5", Is("a", -1.5, "literal")),
        ("a: 012", Is("a", "012", "literal")),
        ("a: 10.0.0.1", Is("a", "10.0.0.1", "literal")),
        ("bare", Is(None, "bare", "literal")),
        ("a >= 5", Range("a", "gte", 5)),
        ("a<b", Range("a", "lt", "b")),
        ("a: b and c: d", Group("and", (Is("a", "b", "literal"), Is("c", "d", "literal")))),
        ("a: b AND c: d", Group("and", (Is("a", "b", "literal"), Is("c", "d", "literal")))),
        ("a: b\nand c: d", Group("and", (Is("a", "b", "literal"), Is("c", "d", "literal")))),
        ("a: android", Is("a", "android", "literal")),
        ("a: b or c: d", Group("or", (Is("a", "b", "literal"), Is("c", "d", "literal")))),
        ("not a: b", Group("not", (Is("a", "b", "literal"),))),
        ("( a: b )", Is("a", "b", "literal")),
        ("a: (b or c)", Group("or", (Is("a", "b", "literal"), Is("a", "c", "literal")))),
        ("a: (b and not c)", Group("and", (Is("a", "b", "literal"), Group("not", (Is("a", "c", "literal"),))))),
        ("a: ((b))", Is("a", "b", "literal")),
        ("a: b and", Is("a", "b and", "literal")),  # without a blank after it, `and` belongs to the value
    ],
)
def test_it_reads_as_the_screen_does(query: str, tree: Node | None) -> None:
    assert parse(query) == tree


def test_and_binds_closer_than_or_and_brackets_closest() -> None:
    a, b, c = (Is(name, "x", "literal") for name in "abc")
    assert parse("a: x or b: x and c: x") == Group("or", (a, Group("and", (b, c))))
    assert parse("(a: x or b: x) and c: x") == Group("and", (Group("or", (a, b)), c))


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("a:", "a value"),
        ("a: (b", "`)`"),
        ("(a: b", "`)`"),
        ("a: b)", "the end"),
        (": b", "a field"),
        ('a: "b', "a value"),
        ("a: b and ", "a field"),
        ("a >", "a value"),
        ("not ", "a field"),
        ("a: { b: c }", "nested"),
    ],
)
def test_what_is_no_dql_says_what_was_expected_and_where(query: str, wanted: str) -> None:
    with pytest.raises(DashboardError, match="at character") as caught:
        parse(query)
    assert wanted in caught.value.message
    assert caught.value.where == query


def test_every_condition_is_found() -> None:
    found = list(conditions(parse("a: (b or not c) and (d >= 1 or e)")))
    assert [each.field for each in found] == ["a", "a", "d", None]
    assert list(conditions(None)) == []


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", {"match_all": {}}),
        ("event.action: A", {"match": {"event.action": "A"}}),
        ('event.action: "A"', {"match_phrase": {"event.action": "A"}}),
        ("event.action: *", {"exists": {"field": "event.action"}}),
        ("event.action: Get*", {"query_string": {"fields": ["event.action"], "query": "Get*"}}),
        (r"user.name: a\:b\*c*", {"query_string": {"fields": ["user.name"], "query": r"a\:b\*c*"}}),
        ("@timestamp: 2023-07-10", {"range": {"@timestamp": {"gte": "2023-07-10", "lte": "2023-07-10"}}}),
        ("@timestamp > now", {"range": {"@timestamp": {"gt": "now"}}}),
        ("bare", {"multi_match": {"type": "best_fields", "query": "bare", "lenient": True}}),
        ("not user.name: a", {"bool": {"must_not": [{"match": {"user.name": "a"}}]}}),
        (
            "user.name: a and user.id: b",
            {"bool": {"filter": [{"match": {"user.name": "a"}}, {"match": {"user.id": "b"}}]}},
        ),
        (
            "user.name: (a or b)",
            {
                "bool": {
                    "should": [{"match": {"user.name": "a"}}, {"match": {"user.name": "b"}}],
                    "minimum_should_match": 1,
                }
            },
        ),
    ],
)
def test_it_becomes_the_query_the_screen_sends(query: str, body: dict[str, Any]) -> None:
    assert to_search(parse(query), FIELDS) == body
