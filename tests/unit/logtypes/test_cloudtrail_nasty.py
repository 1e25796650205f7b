"""Hand-made records that once broke loaders."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loader.errors import RecordError
from loader.logtypes.cloudtrail import CLOUDTRAIL
from tests.unit.logtypes.conformance import exactly, leaves, missing, problems, read_mapping, values_at
from tests.unit.logtypes.nasty import RECORDS, with_payload
from tests.unit.logtypes.samples import CONTEXT, dump, record

MAPPING = read_mapping()


def rendered(raw: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(CLOUDTRAIL.normalise(raw, CONTEXT, False).body)
    return document


@pytest.mark.parametrize("name", RECORDS)
def test_it_becomes_a_document_the_mapping_takes(name: str) -> None:
    result = CLOUDTRAIL.normalise(RECORDS[name], CONTEXT, False)
    assert problems(result.body, MAPPING) == []
    assert CLOUDTRAIL.normalise(RECORDS[name], CONTEXT, True) == result


@pytest.mark.parametrize(
    "name", [name for name in RECORDS if name not in {"half a character", "bytes that are no text"}]
)
def test_nothing_of_it_is_lost(name: str) -> None:
    body = CLOUDTRAIL.normalise(RECORDS[name], CONTEXT, False).body
    absent = missing(RECORDS[name], body)
    document = json.loads(body)
    truncated = document.get("siem", {}).get("truncated", [])
    if not truncated:
        assert absent == []
        return
    # What was cut is named, and whole in what is stored.
    kept = json.dumps(document["aws"]["cloudtrail"]["flattened"], ensure_ascii=False)
    for leaf in absent:
        value = leaf.partition("=")[2]
        assert json.dumps(value, ensure_ascii=False)[1:-1] in kept


def test_a_cut_leaf_is_named_and_a_prefix_of_the_whole() -> None:
    document = rendered(RECORDS["40,000 characters in an array"])
    trail = document["aws"]["cloudtrail"]
    assert document["siem"]["truncated"] == ["requestParameters.names"]
    assert trail["leaves"][0] == ("requestParameters.names=" + "a" * 40_000)[:32766]
    assert trail["flattened"]["request_parameters"]["names"][0] == "a" * 40_000


def test_a_leaf_of_exactly_a_term_is_not_cut() -> None:
    assert "truncated" not in rendered(RECORDS["a value of exactly a term"]).get("siem", {})
    assert rendered(RECORDS["a value of a term and one"])["siem"]["truncated"] == ["requestParameters.v"]


def test_long_texts_in_typed_fields_are_kept_whole_beside_them() -> None:
    document = rendered(RECORDS["long texts in typed fields"])
    overlong = document["aws"]["cloudtrail"]["flattened"]["overlong"]
    assert document["user_agent"]["original"] == ("agent " * 5000)[:8191]
    assert overlong["user_agent.original"] == "agent " * 5000
    assert overlong["aws.cloudtrail.error_message"] == "\u00fc" * 40_000
    assert set(overlong) == set(document["siem"]["truncated"])


def test_what_a_caller_writes_never_becomes_a_line() -> None:
    body = CLOUDTRAIL.normalise(RECORDS["a line for the bulk request"], CONTEXT, False).body
    assert b"\n" not in body
    assert b"\r" not in body


def test_numbers_keep_their_text() -> None:
    document = rendered(RECORDS["numbers as they are"])
    whole = '{"a":1.10,"b":1e400,"c":-0,"d":12345678901234567890123456789,"e":1E+2,"f":-0.0}'
    assert document["aws"]["cloudtrail"]["flattened"]["request_parameters"] == whole  # 1e400 is more than a double
    found = document["aws"]["cloudtrail"]["leaves"]
    assert [leaf for leaf in found if leaf.startswith("requestParameters")] == [
        f"requestParameters.{text}"
        for text in ("a=1.10", "b=1e400", "c=-0", "d=12345678901234567890123456789", "e=1E+2", "f=-0.0")
    ]


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a":1e400}',
        '{"a":[0.12345678901234567891]}',
        '{"a":{"b":{"c":1,"c":1}}}',
        '{"n":' + "7" * 1001 + "}",
        '{"' + "k" * 50_001 + '":1}',
        "[" * 20 + "]" * 20,
    ],
)
def test_what_strict_parsers_refuse_is_stored_as_text(text: str) -> None:
    document = rendered(with_payload(text))
    assert document["aws"]["cloudtrail"]["flattened"]["request_parameters"] == text


def test_every_leaf_of_a_doubled_key_is_listed() -> None:
    found = rendered(RECORDS["doubled keys"])["aws"]["cloudtrail"]["leaves"]
    assert [leaf for leaf in found if leaf.startswith("request")] == [
        "requestParameters.a=1",
        "requestParameters.a=2",
        "requestParameters.b.c=[]",
        "requestParameters.b.c={}",
    ]


def test_of_a_doubled_envelope_key_the_last_counts_and_the_first_is_kept() -> None:
    document = rendered(RECORDS["doubled envelope keys"])
    trail = document["aws"]["cloudtrail"]
    assert document["event"]["action"] == "DeleteUser"
    assert trail["user_identity"] == {"type": "Root"}
    assert "eventName=CreateUser" in trail["leaves"]
    assert "userIdentity.userName=alice" in trail["leaves"]
    assert trail["flattened"]["doubled"]["eventName"] == ["CreateUser"]


def test_half_a_character_is_spelled_out() -> None:
    document = rendered(RECORDS["half a character"])
    found = document["aws"]["cloudtrail"]["leaves"]
    assert document["tags"] == ["invalid_unicode"]
    assert found[:3] == [
        "requestParameters.a=\\ud800",
        "requestParameters.\\\\udfff=x\\ud83d",
        "requestParameters.ok=\U0001f512",
    ]


def test_bytes_that_are_no_text_are_spelled_out() -> None:
    assert rendered(RECORDS["bytes that are no text"])["user_agent"]["original"] == "\\udcff\\udcfe agent \\udcc3("


def test_odd_types_are_leaves_and_never_refused() -> None:
    document = rendered(RECORDS["odd types everywhere"])
    found = set(document["aws"]["cloudtrail"]["leaves"])
    assert {"readOnly=maybe", "errorCode=404", "eventSource", "requestID=[]", "userIdentity=nobody"} <= found
    assert document["event"]["outcome"] == "failure"
    assert document["aws"]["cloudtrail"]["flattened"]["other"]["recipientAccountId"] == 111122223333


def test_leaves_of_long_keys_have_a_limit_and_say_so() -> None:
    raw = RECORDS["long keys that repeat"]
    result = CLOUDTRAIL.normalise(raw, CONTEXT, False)
    document = json.loads(result.body)
    assert document["siem"]["truncated"] == ["aws.cloudtrail.leaves"]
    assert len(result.body) < 12 * len(raw) + 200_000


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"eventTime":"2023-07-10T11:45:00Z"', "invalid_json"),
        (b'{"eventTime":"2023-07-10T11:45:00Z","a":"\n"}', "invalid_json"),
        (b'{"eventTime":"2023-07-10T11:45:00Z","a":NaN}', "invalid_json"),
        (b"[]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"1", "not_an_object"),
        (b"null", "not_an_object"),
        (b"{}", "no_event_time"),
        (dump(record(eventTime=None)), "bad_event_time"),
        (dump(record(eventTime=5)), "bad_event_time"),
        (dump(record(eventTime="")), "bad_event_time"),
        (dump(record(eventTime="yesterday")), "bad_event_time"),
        (dump(record(eventTime="2023-02-30T00:00:00Z")), "bad_event_time"),
        (dump(record(eventTime="0000-01-01T00:00:00Z")), "bad_event_time"),
        (dump(record(eventTime="9999-12-31T23:59:59-01:00")), "bad_event_time"),
        (dump(record(eventTime="2" * 100_000)), "bad_event_time"),
        (with_payload("[" * 5000 + "]" * 5000), "too_deep"),
        (with_payload('{"a":' * 300 + "1" + "}" * 300), "too_deep"),
    ],
)
@pytest.mark.parametrize("complete", [False, True])
def test_what_can_never_be_a_document_is_named(raw: bytes, kind: str, complete: bool) -> None:
    with pytest.raises(RecordError) as caught:
        CLOUDTRAIL.normalise(raw, CONTEXT, complete)
    assert caught.value.kind == kind


def test_the_walker_of_this_test_sees_the_leaves_of_the_decision_record() -> None:
    """docs/adr/0002, its table, against the walker that all these tests trust."""
    value = exactly(
        '{"userName":"Bob","maxResults":10,"dryRun":true,"names":["a","b"],"policy":null,"e":"","o":{},"l":[],'
        '"a.b":1,"k=v":1,"c\\\\d":1}'
    )
    assert [path if text is None else f"{path}={text}" for path, text in leaves(value, "p")] == [
        *("p.userName=Bob", "p.maxResults=10", "p.dryRun=true", "p.names=a", "p.names=b", "p.policy"),
        *("p.e=", "p.o={}", "p.l=[]", "p.a.b=1", r"p.k\=v=1", r"p.c\\d=1"),
    ]
    assert values_at({"a": [{"b": True}, {"b": 1}]}, "a.b") == ["true", "1"]
