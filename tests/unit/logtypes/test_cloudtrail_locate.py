"""Where a document is, told by its record alone, is where rendering puts it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.cloudtrail_locate import locate
from loader.logtypes.model import ObjectContext
from tests.unit.logtypes.samples import CONTEXT, NO_TIME, dump, record

CONTEXTS = pytest.mark.parametrize("context", [CONTEXT, NO_TIME], ids=["delivered", "no delivery time"])


@CONTEXTS
@pytest.mark.parametrize(
    "time",
    [
        "2023-07-10T11:45:00Z",
        "2023-07-10T11:45:00.123Z",
        "2023-07-10T23:45:00+02:00",
        "20230710T114500Z",
        "2023-07-03T11:59:59Z",
        "2023-07-10T13:00:00Z",
        "2023-07-10T13:00:01Z",
        "1970-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
    ],
)
def test_index_and_id_are_those_of_the_document(time: str, context: ObjectContext) -> None:
    raw = dump(record(eventTime=time))
    made, place = CLOUDTRAIL.normalise(raw, context, False), locate(raw, context)
    assert place is not None
    assert (place.day, place.id, place.timestamp) == (made.day, made.id, made.timestamp)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers() | st.text(st.characters(codec="utf-8"))))
def test_whatever_else_is_in_the_record_the_place_is_that_of_the_document(payload: dict[str, object]) -> None:
    raw = dump(record(requestParameters=payload, **{f"x{key}": value for key, value in payload.items()}))
    made, place = CLOUDTRAIL.normalise(raw, CONTEXT, False), locate(raw, CONTEXT)
    assert place is not None
    assert (place.day, place.id, place.timestamp) == (made.day, made.id, made.timestamp)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"17",
        b"{}",
        b'{"eventTime":null}',
        b'{"eventTime":17}',
        b'{"eventTime":"yesterday"}',
        b'{"eventTime":"' + b"9" * 100_000 + b'"}',
        b'{"eventTime":"2023-07-10T11:45:00Z","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_cannot_be_placed_is_not_placed(raw: bytes) -> None:
    assert locate(raw, CONTEXT) is None


def test_a_record_that_is_not_compact_is_looked_for_where_it_is_not() -> None:
    loose = json.dumps(record()).encode()
    place = locate(loose, CONTEXT)
    assert place is not None
    assert place.id != CLOUDTRAIL.normalise(loose, CONTEXT, False).id
