"""A query is ruled out by what occurs only if no document can match it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.detection.evaluate import matches
from loader.detection.facets import Facets, can_match, read_facets
from loader.detection.fields import schema_of
from loader.detection.sources import AWS_CLOUDTRAIL

SEEN = Facets({"event.action": frozenset(("getobject", "createuser")), "event.provider": None}, ignored=False)
CREATE, DELETE = ({"term": {"event.action.lower": name}} for name in ("createuser", "deleteuser"))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (CREATE, True),
        (DELETE, False),
        ({"term": {"event.action": "CreateUser"}}, True),
        ({"term": {"event.action": {"value": "x", "case_insensitive": True}}}, True),
        ({"terms": {"event.action.lower": ["x", "getobject"]}}, True),
        ({"terms": {"event.action.lower": ["x", "y"]}}, False),
        ({"term": {"event.provider.lower": "nobody"}}, True),
        ({"term": {"user.name.lower": "nobody"}}, True),
        ({"wildcard": {"event.action.lower": {"value": "z*"}}}, True),
        ({"bool": {"filter": [CREATE, DELETE]}}, False),
        ({"bool": {"must": DELETE}}, False),
        ({"bool": {"must_not": [DELETE]}}, True),
        ({"bool": {"must_not": [CREATE]}}, True),
        ({"bool": {"should": [CREATE, DELETE]}}, True),
        ({"bool": {"should": [DELETE]}}, False),
        ({"bool": {"filter": [CREATE], "should": [DELETE]}}, True),
        ({"bool": {"filter": [CREATE], "should": [DELETE], "minimum_should_match": 1}}, False),
        ({"bool": {"filter": [{"exists": {"field": "_ignored"}}, CREATE]}}, False),
        ({"exists": {"field": "user.name"}}, True),
        ({"match_all": {}}, True),
    ],
)
def test_what_is_ruled_out(query: dict[str, Any], expected: bool) -> None:
    assert can_match(query, SEEN) is expected


def test_too_many_values_rule_nothing_out() -> None:
    whole = {"sum_other_doc_count": 0, "buckets": [{"key": "CreateUser", "doc_count": 1}]}
    cut = {"sum_other_doc_count": 7, "buckets": [{"key": "iam.amazonaws.com", "doc_count": 1}]}
    found = read_facets({"event.action": whole, "event.provider": cut, "_ignored": {"doc_count": 0}})
    assert found == Facets({"event.action": frozenset(("createuser",)), "event.provider": None}, ignored=False)


ACTIONS = st.sampled_from(
    ["CreateUser", "createuser", "DeleteUser", "İnvoke", "invoke", "\u017ftop", "stop", "ÄÖ", "äö"]
)
NAMES = st.sampled_from(("event.action", "event.action.lower"))
TERMS = st.one_of(
    st.builds(
        lambda name, value: {"term": {name: value}}, st.sampled_from(("event.action", "event.action.lower")), ACTIONS
    ),
    st.builds(lambda values: {"terms": {"event.action.lower": values}}, st.lists(ACTIONS, min_size=1, max_size=3)),
    st.builds(lambda value: {"term": {"user.name.lower": value}}, st.sampled_from(("alice", "bob"))),
    st.just({"exists": {"field": "event.action"}}),
)
QUERIES = st.recursive(
    TERMS,
    lambda inner: st.builds(
        lambda parts, least: {"bool": parts | ({"minimum_should_match": 1} if least and "should" in parts else {})},
        st.dictionaries(
            st.sampled_from(("filter", "should", "must_not")), st.lists(inner, min_size=1, max_size=3), min_size=1
        ),
        st.booleans(),
    ),
    max_leaves=8,
)
DOCUMENTS = st.lists(
    st.builds(
        lambda action, user: {"event": {"action": action} if action else {}, "user": {"name": user}},
        st.one_of(st.none(), ACTIONS),
        st.sampled_from(("alice", "bob")),
    ),
    min_size=1,
    max_size=4,
)


@given(QUERIES, DOCUMENTS)
def test_whatever_a_document_matches_is_not_ruled_out(query: dict[str, Any], documents: list[dict[str, Any]]) -> None:
    actions = [document["event"]["action"] for document in documents if "action" in document["event"]]
    told = {"sum_other_doc_count": 0, "buckets": [{"key": action} for action in actions]}
    nothing: dict[str, Any] = {"sum_other_doc_count": 0, "buckets": []}
    facets = read_facets({"event.action": told, "event.provider": nothing, "_ignored": {"doc_count": 0}})
    schema = schema_of(AWS_CLOUDTRAIL)
    if any(matches(query, document, schema) for document in documents):
        assert can_match(query, facets)
