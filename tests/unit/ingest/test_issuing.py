"""Records that issue credentials are told apart without parsing the others again: by their normaliser and by locate."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader.errors import RecordError
from loader.identity import extract
from loader.identity.extract import edges
from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.cloudtrail_locate import locate
from loader.logtypes.cloudtrail_taxonomy import ISSUING
from tests.unit.logtypes.nasty import RECORDS
from tests.unit.logtypes.samples import CONTEXT, dump, record
from tests.unit.logtypes.test_cloudtrail_properties import known, plausible, values

ISSUED = {
    "responseElements": {
        "credentials": {"accessKeyId": "ASIAONE00000000000001"},
        "roleCredentials": {"accessKeyId": "ASIAONE00000000000001"},
        "assumedRoleUser": {"assumedRoleId": "AROAONE:ci", "arn": "arn:aws:sts::111122223333:assumed-role/one/ci"},
        "federatedUser": {"federatedUserId": "111122223333:x"},
        "SwitchRole": "Success",
    },
    "additionalEventData": {"SwitchFrom": "arn:aws:iam::111122223333:user/alice"},
}


def hold(raw: bytes) -> None:
    """Whoever finds an edge in a record must have been told to look."""
    if not edges(raw):
        return
    for complete in (False, True):
        try:
            assert CLOUDTRAIL.normalise(raw, CONTEXT, complete).issuing
        except RecordError:
            return
    place = locate(raw, CONTEXT)
    assert place is None or place.issuing


def test_both_tables_name_the_same_calls() -> None:
    assert extract.ISSUING == ISSUING


@pytest.mark.parametrize(("service", "name"), sorted(ISSUING))
def test_no_call_that_issues_credentials_is_passed_over(service: str, name: str) -> None:
    raw = dump(record(eventSource=f"{service}.amazonaws.com", eventName=name, **ISSUED))
    assert edges(raw)
    hold(raw)


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_whatever_stands_in_a_record(name: str) -> None:
    hold(RECORDS[name])


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(ISSUING)), st.dictionaries(known, plausible | values, max_size=3), st.booleans())
def test_whatever_else_such_a_record_holds(call: tuple[str, str], changes: dict[str, Any], twice: bool) -> None:
    made = record(**{**ISSUED, **changes, "eventSource": f"{call[0]}.amazonaws.com", "eventName": call[1]})
    raw = dump(made)
    hold(b'{"eventName":"Other",' + raw[1:] if twice else raw)


@pytest.mark.parametrize("value", [..., None, 17, [], {}, ["AssumeRole"], {"a": []}])
def test_a_name_that_is_no_text_issues_nothing(value: Any) -> None:
    for key in ("eventName", "eventSource"):
        raw = dump(record(**{"eventSource": "sts.amazonaws.com", "eventName": "AssumeRole", **ISSUED, key: value}))
        place = locate(raw, CONTEXT)
        assert place is not None
        assert not place.issuing
        assert not CLOUDTRAIL.normalise(raw, CONTEXT, False).issuing
        assert edges(raw) == []
