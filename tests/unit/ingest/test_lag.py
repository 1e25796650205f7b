"""Differences between times as texts."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from loader.ingest.lag import seconds_between

NOW = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("earlier", "seconds"),
    [
        ("2026-11-24T11:59:00Z", 60.0),
        ("2026-11-24T11:59:59.500Z", 0.5),
        ("2026-11-24T13:00:00+01:00", 0.0),
        ("2026-11-24T12:00:05Z", -5.0),
        ("2026-11-24T11:59:00", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_seconds_are_counted_or_unknown(earlier: str | None, seconds: float | None) -> None:
    assert seconds_between(earlier, NOW) == seconds


def test_both_may_be_texts() -> None:
    assert seconds_between("2026-11-24T11:00:00Z", "2026-11-24T12:00:00Z") == 3600
    assert seconds_between("2026-11-24T11:00:00Z", "later") is None
