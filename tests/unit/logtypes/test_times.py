"""Times as AWS and its callers write them."""

from __future__ import annotations

import pytest

from loader.logtypes.times import MISDATED, believable, delivery, index_day, parse_time

T = "2023-07-10T11:45:00Z"


@pytest.mark.parametrize(
    ("text", "moment", "day", "exact"),
    [
        (T, T, "2023.07.10", True),
        ("2023-07-10T11:45:00.123Z", "2023-07-10T11:45:00.123Z", "2023.07.10", True),
        ("2023-07-10T11:45:00.123456789Z", "2023-07-10T11:45:00.123456789Z", "2023.07.10", True),
        ("20230710T114500Z", T, "2023.07.10", False),
        ("2023-07-10 11:45:00", T, "2023.07.10", False),
        ("2023-07-10t11:45:00z", T, "2023.07.10", False),
        ("2023-07-10T11:45:00+00:00", T, "2023.07.10", False),
        ("2023-07-10T13:45:00+02:00", T, "2023.07.10", False),
        ("2023-07-10T01:30:00+0200", "2023-07-09T23:30:00Z", "2023.07.09", False),
        ("2023-07-10T23:30:00-01:00", "2023-07-11T00:30:00Z", "2023.07.11", False),
        ("2023-07-10T11:45:00.1234567891Z", "2023-07-10T11:45:00.123456789Z", "2023.07.10", False),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z", "2024.02.29", True),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001.01.01", True),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "9999.12.31", True),
    ],
)
def test_times(text: str, moment: str, day: str, exact: bool) -> None:
    found = parse_time(text)
    assert found is not None
    assert (found.text, found.day, found.exact) == (moment, day, exact)


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "1688989500", "2023-07-10", "2023-02-29T00:00:00Z", "2023-13-01T00:00:00Z"),
        *("2023-07-10T24:00:00Z", "2023-07-10T11:60:00Z", "2023-07-10T11:45:60Z", "0000-01-01T00:00:00Z"),
        *("0001-01-01T00:00:00+02:00", "9999-12-31T23:59:59-02:00", "٢٠٢٣-07-10T11:45:00Z", f"{T}\n", f" {T}"),
    ],
)
def test_no_times(text: str) -> None:
    assert parse_time(text) is None


@pytest.mark.parametrize(
    ("key", "moment"),
    [
        ("AWSLogs/1/CloudTrail/us-east-1/2023/07/10/1_CloudTrail_us-east-1_20230710T1145Z_Ab.json.gz", T),
        ("x_20230710T1145Z_.json", T),
        ("x_20230710T1145Z_/y.json", None),
        ("x_20231310T1145Z_y.json", None),
        ("records.json", None),
        ("", None),
    ],
)
def test_delivery(key: str, moment: str | None) -> None:
    found = delivery(key)
    assert (found.text if found else None) == moment


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2023-07-03T11:44:59.999999999Z", MISDATED),
        ("2023-07-03T11:45:00Z", "2023.07.03"),
        ("2023-07-03T11:45:00.000000001Z", "2023.07.03"),
        ("2023-07-10T12:45:00Z", "2023.07.10"),
        ("2023-07-10T12:45:00.999999999Z", "2023.07.10"),
        ("2023-07-10T12:45:01Z", MISDATED),
        ("0001-01-01T00:00:00Z", MISDATED),
        ("9999-12-31T23:59:59Z", MISDATED),
    ],
)
def test_seconds_decide_what_is_believed(text: str, day: str) -> None:
    moment, delivered = parse_time(text), parse_time(T)
    assert moment is not None
    assert delivered is not None
    assert index_day(moment, believable(delivered)) == day


def test_what_is_believed_is_from_seven_days_before_to_an_hour_after() -> None:
    delivered = parse_time(T)
    assert delivered is not None
    window = believable(delivered)
    assert (window.first, window.last) == ("2023-07-03T11:45:00", "2023-07-10T12:45:00~")
    for text, first, last in (
        ("0001-01-02T00:00:00Z", "0001-01-01T00:00:00", "0001-01-02T01:00:00~"),
        ("9999-12-31T23:59:00Z", "9999-12-24T23:59:00", "9999-12-31T23:59:59~"),
    ):
        edge = parse_time(text)
        assert edge is not None
        assert (believable(edge).first, believable(edge).last) == (first, last)
