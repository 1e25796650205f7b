"""Golden pairs: what a record of each kind becomes, to the letter.

``tests/golden/cloudtrail/NAME.in.json`` is one record, written by us after AWS's documentation of the fields;
``NAME.out.json`` is its document with ``_index`` and ``_id``. After a change that is meant to change documents:
``pytest tests/unit/logtypes/test_cloudtrail_golden.py --write-golden``, then read the difference.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loader.logtypes.cloudtrail import CLOUDTRAIL, _fast
from loader.logtypes.cloudtrail_complete import render
from loader.logtypes.cloudtrail_identity import USER_TYPES
from loader.logtypes.cloudtrail_parts import origin_of
from loader.logtypes.leaves import UNUSUAL
from loader.logtypes.model import ObjectContext, Rendered
from tests.unit.logtypes.conformance import missing, problems, read_mapping

FOLDER = Path(__file__).resolve().parents[2] / "golden" / "cloudtrail"
NAMES = sorted(path.name.removesuffix(".in.json") for path in FOLDER.glob("*.in.json"))
CONTEXT = ObjectContext(
    bucket="example-trail",
    key="AWSLogs/111122223333/CloudTrail/us-east-1/2024/05/14/"
    "111122223333_CloudTrail_us-east-1_20240514T0915Z_AbCdEfGhIjKlMnOp.json.gz",
    ingested="2024-05-14T09:16:02.003Z",
)
#: What is unusual enough for the complete path; everything else must not need it.
COMPLETE = {
    "form-addendum-delayed",
    "form-addendum-updated",
    "form-address-list",
    "kind-insight-lake-end",
    "kind-insight-lake-start",
}


@cache
def raw_of(name: str) -> bytes:
    return msgspec.json.format((FOLDER / f"{name}.in.json").read_bytes(), indent=-1)


def pretty(rendered: Rendered) -> bytes:
    """The document as the golden file has it: every number as it is written."""
    head = b'{"_index":"%b","_id":"%b",' % (CLOUDTRAIL.index(rendered.day).encode(), rendered.id.encode())
    return msgspec.json.format(head + rendered.body[1:], indent=2) + b"\n"


@cache
def document(name: str) -> dict[str, Any]:
    """The golden document itself."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.out.json").read_bytes())
    return found


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str, request: pytest.FixtureRequest) -> None:
    raw = raw_of(name)
    rendered = CLOUDTRAIL.normalise(raw, CONTEXT, False)
    golden = FOLDER / f"{name}.out.json"
    if request.config.getoption("--write-golden"):
        golden.write_bytes(pretty(rendered))
    assert pretty(rendered).decode() == golden.read_text(encoding="utf-8")
    assert CLOUDTRAIL.normalise(raw, CONTEXT, True) == rendered, "the complete path says something else"
    assert render(raw, origin_of(CONTEXT), carefully=True) == rendered, "the careful path says something else"
    assert CLOUDTRAIL.normalise((FOLDER / f"{name}.in.json").read_bytes(), CONTEXT, False) == rendered, "pretty-printed"
    assert problems(rendered.body, read_mapping()) == []
    assert missing(raw, rendered.body) == []


def test_only_what_is_unusual_needs_the_complete_path() -> None:
    slow = set()
    for name in NAMES:
        try:
            _fast(raw_of(name), origin_of(CONTEXT))
        except UNUSUAL:
            slow.add(name)
    assert slow == COMPLETE


def test_each_golden_pair_is_a_pair() -> None:
    assert {path.name.removesuffix(".out.json") for path in FOLDER.glob("*.out.json")} == set(NAMES)


def test_there_is_a_pair_of_each_kind() -> None:
    records = [json.loads(raw_of(name)) for name in NAMES]
    identities = {record["userIdentity"].get("type") if "userIdentity" in record else "none" for record in records}
    assert identities == {*USER_TYPES, None, "none"}
    assert {record.get("eventType") for record in records} == {
        *("AwsApiCall", "AwsConsoleSignIn", "AwsConsoleAction", "AwsServiceEvent", "AwsVpceEvent"),
        *("AwsCloudTrailInsight", None),
    }
    assert {record.get("eventCategory") for record in records} == {
        *("Management", "Data", "NetworkActivity", "Insight", None),
    }
    assert {record["awsRegion"].split("-")[0] for record in records} == {"us", "cn"}
    assert {"us-gov-west-1", "cn-north-1"} <= {record["awsRegion"] for record in records}
    keys = {key for record in records for key in record}
    assert {"addendum", "edgeDeviceDetails", "eventContext", "tlsDetails", "sharedEventID", "insightState"} <= keys


def test_an_insight_s_start_and_end_are_a_pair() -> None:
    for form in ("kind-insight", "kind-insight-lake"):
        start, end = document(f"{form}-start"), document(f"{form}-end")
        trail, other = start["aws"]["cloudtrail"], end["aws"]["cloudtrail"]
        assert trail["shared_event_id"] == other["shared_event_id"]
        assert (trail["insight"]["state"], other["insight"]["state"]) == ("Start", "End")
        assert start["event"]["start"] == end["event"]["start"], "the end knows when it began, by its duration"
        assert end["event"]["end"] == end["@timestamp"]
        assert trail["insight"]["ratio"] == other["insight"]["ratio"]
        assert start["event"]["action"] == trail["insight"]["event_name"] == other["insight"]["event_name"]
        assert start["event"]["provider"] == trail["insight"]["event_source"]
        assert start["event"]["outcome"] == "unknown"
        assert start["related"]["user"] == end["related"]["user"], "whom AWS names as its cause"
