"""What each form of payloads finds, and what hurts it. Not a benchmark itself: see payload_forms.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConnectionError as NodeGoneError
from opensearchpy.exceptions import TransportError
from payload_index import CONTEXT, FLAT, LEAVES, create_index

from loader.errors import RecordError
from loader.logtypes.cloudtrail import CLOUDTRAIL

#: The forms whose answers differ.
FORMS = ("leaves", "flat", "both")
_RECORD = (
    b'{"eventTime":"2023-07-10T11:45:00Z","eventSource":"iam.amazonaws.com","eventID":"%b","requestParameters":%b}'
)
_PAYLOADS: dict[str, Any] = {
    "Bob": {"userName": "Bob"},
    "bob": {"userName": "bob"},
    "Ä": {"userName": "ÄÖ"},
    "null": {"userName": None},
    "empty": {"userName": ""},
    "absent": {"other": "x"},
    "10": {"maxResults": 10},
    "9": {"maxResults": 9},
    "list": {"names": ["first", "second"]},
    "objects": {"items": [{"key": "first"}, {"key": "third"}]},
    "dots": {"a.b": "x"},
    "text": "HIDDEN",
}
_Query = dict[str, Any]


def _insensitive(kind: str, flat: str, value: str) -> dict[str, _Query]:
    """The same question of both: ``value`` at requestParameters.``flat``, in any case of letters."""
    more = {"case_insensitive": True}
    return {
        "flat": {kind: {f"{FLAT}.request_parameters{flat}": {"value": value, **more}}},
        "leaves": {kind: {LEAVES: {"value": f"requestParameters{flat}={value}", **more}}},
    }


_QUESTIONS: list[tuple[str, dict[str, _Query], set[str]]] = [
    ("term, any case", _insensitive("term", ".userName", "BOB"), {"Bob", "bob"}),
    ("term, any case, not ASCII", _insensitive("term", ".userName", "äö"), {"Ä"}),
    ("prefix", _insensitive("prefix", ".userName", "bo"), {"Bob", "bob"}),
    ("wildcard", _insensitive("wildcard", ".userName", "*O?"), {"Bob", "bob"}),
    ("regular expression", _insensitive("regexp", ".userName", "[a-c]ob"), {"Bob", "bob"}),
    ("in a list", _insensitive("term", ".names", "second"), {"list"}),
    ("in a list of objects", _insensitive("term", ".items.key", "third"), {"objects"}),
    ("a key with a dot", _insensitive("term", ".a.b", "x"), {"dots"}),
    ("a text where others have an object", _insensitive("term", "", "hidden"), {"text"}),
    ("empty text", _insensitive("term", ".userName", ""), {"empty"}),
    ("a number", _insensitive("term", ".maxResults", "10"), {"10"}),
    (
        "a number above 8",
        {
            "flat": {"range": {f"{FLAT}.request_parameters.maxResults": {"gt": "8"}}},
            "leaves": {"regexp": {LEAVES: {"value": "requestparameters\\.maxresults=(9|[1-9][0-9]+)(\\.[0-9]+)?"}}},
        },
        {"9", "10"},
    ),
    (
        "exists",
        {
            "flat": {"exists": {"field": f"{FLAT}.request_parameters.userName"}},
            "leaves": {"prefix": {LEAVES: "requestparameters.username="}},
        },
        {"Bob", "bob", "Ä", "empty"},
    ),
    (
        "is null",
        {
            "flat": {"term": {f"{FLAT}.request_parameters.userName": "null"}},
            "leaves": {"term": {LEAVES: "requestParameters.userName"}},
        },
        {"null"},
    ),
    (
        "a value anywhere",
        {"flat": {"term": {FLAT: "first"}}, "leaves": {"wildcard": {LEAVES: "*=first"}}},
        {"list", "objects"},
    ),
]


def behaviour(client: OpenSearch) -> dict[str, dict[str, str]]:
    """Return what each form answers to each question: ``yes``, or what is wrong with the answer."""
    for form in FORMS:
        index = create_index(client, form)
        for name, payload in _PAYLOADS.items():
            raw = _RECORD % (name.encode(), json.dumps(payload, ensure_ascii=False).encode())
            client.index(index=index, id=name, body=CLOUDTRAIL.normalise(raw, CONTEXT, False).body)
        client.indices.refresh(index=index)
    answers: dict[str, dict[str, str]] = {}
    for what, queries, expected in _QUESTIONS:
        asked = {"flat": queries["flat"], "leaves": queries["leaves"], "both": queries["leaves"]}
        answers[what] = {form: _ask(client, f"bench-{form}", asked[form], expected) for form in FORMS}
    answers["buckets of a leaf"] = {
        "flat": _buckets(client, "bench-flat", f"{FLAT}.request_parameters.names", {"first", "second"}),
        "leaves": _buckets(client, "bench-leaves", LEAVES, set()),
        "both": _buckets(client, "bench-both", f"{FLAT}.request_parameters.names", {"first", "second"}),
    }
    return answers


def _ask(client: OpenSearch, index: str, query: _Query, expected: set[str]) -> str:
    try:
        hits = client.search(index=index, body={"query": query, "size": 100})["hits"]["hits"]
    except TransportError as error:
        return f"refused ({error.error})"
    found = {hit["_id"] for hit in hits}
    wrong = [f"finds {name}" for name in sorted(found - expected)] + [f"misses {n}" for n in sorted(expected - found)]
    return ", ".join(wrong) or "yes"


def _buckets(client: OpenSearch, index: str, field: str, expected: set[str]) -> str:
    try:
        answer = client.search(index=index, body={"size": 0, "aggs": {"leaf": {"terms": {"field": field}}}})
    except TransportError as error:
        return f"refused ({error.error})"
    keys = {str(bucket["key"]) for bucket in answer["aggregations"]["leaf"]["buckets"]}
    return "yes" if keys == expected else f"wrong: {sorted(keys)}"[:80]


def _nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


_GONE = "**the node is gone**"
#: In this order: the last ones may end the node.
_HURTFUL: list[tuple[str, bytes]] = [
    ("a value of 40,000 characters", json.dumps({"v": "x" * 40_000}).encode()),
    ("the same in a list", json.dumps({"v": ["a", "x" * 40_000]}).encode()),
    ("5,000 distinct keys", json.dumps({f"key{number}": number for number in range(5000)}).encode()),
    ("a key of 40,000 characters", json.dumps({"k" * 40_000: 1}).encode()),
    ("a key twice", b'{"a":1,"a":2}'),
    ("a number of 1,500 digits", b'{"n":' + b"7" * 1500 + b"}"),
    ("25 levels", _nested(25)),
    ("150 levels", _nested(150)),
    ("900 levels", _nested(900)),
    ("5,000 levels", _nested(5000)),
]


def safety(client: OpenSearch) -> dict[str, dict[str, str]]:
    """Return what happens to each hurtful payload.

    ``leaves`` and ``both`` get the loader's documents, ``flat`` the payload as it is: what passing through means.
    """
    answers: dict[str, dict[str, str]] = {what: {} for what, _ in _HURTFUL}
    makers: dict[str, Callable[[bytes], bytes]] = {"leaves": _document, "both": _document, "flat": _as_it_is}
    for form, make in makers.items():
        index, alive = create_index(client, form), True
        for what, payload in _HURTFUL:
            try:
                body = make(payload)
            except RecordError as error:
                answers[what][form] = f"dead letter ({error.kind})"
                continue
            if alive:
                answers[what][form] = _send(client, index, body)
                alive = answers[what][form] != _GONE
            else:
                answers[what][form] = "(gone already)"
    return answers


def _document(payload: bytes) -> bytes:
    return CLOUDTRAIL.normalise(_RECORD % (b"1", payload), CONTEXT, False).body


def _as_it_is(payload: bytes) -> bytes:
    return (
        b'{"@timestamp":"2023-07-10T11:45:00Z","aws":{"cloudtrail":{"flattened":{"request_parameters":%b}}}}' % payload
    )


def _send(client: OpenSearch, index: str, body: bytes) -> str:
    try:
        client.transport.perform_request(
            "POST", f"/{index}/_doc", headers={"content-type": "application/json"}, body=body
        )
    except NodeGoneError:
        return _GONE
    except TransportError as error:
        return f"rejected ({error.error})"
    return "taken"
