"""How many messages a thread takes at a time."""

from __future__ import annotations

import pytest

from loader.ingest.worker import _Pace


def after(*taken: tuple[int, float]) -> int:
    pace = _Pace()
    for messages, seconds in taken:
        pace.took(messages, seconds)
    return pace.messages


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ((), 1),  # nobody knows how large they are
        (((1, 0.01),), 4),
        (((1, 0.01), (4, 0.1)), 10),
        (((1, 0.0),), 4),
        (((1, 30.0),), 1),
        (((1, 0.01), (4, 0.1), (10, 60.0)), 1),
        (((1, 0.5),), 4),
        (((1, 0.9),), 2),
        (((10, 4.0),), 4),
    ],
)
def test_as_many_as_are_dealt_with_in_a_moment(taken: tuple[tuple[int, float], ...], expected: int) -> None:
    assert after(*taken) == expected
