"""An index that is being made has no shard for an instant: that is waited for, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from opensearchpy.exceptions import TransportError

from loader.index.patience import NoShardError, get_documents, patiently


class _Clock:
    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


NO_SHARD = TransportError(503, "no_shard_available_action_exception", {})
WITHIN = TransportError(503, "search_phase_execution_exception", {"root": "no_shard_available_action_exception"})
BUSY = TransportError(503, "unavailable", {})


def _answers(*answers: Any) -> Any:
    left = list(answers)

    def ask() -> Any:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


def test_it_is_asked_again_until_there_is_a_shard() -> None:
    clock = _Clock()
    assert patiently(_answers(NO_SHARD, WITHIN, NoShardError("x"), 7), clock=clock) == 7  # type: ignore[arg-type]
    assert clock.slept == [0.1, 0.2, 0.4]


def test_it_is_not_asked_for_ever_and_other_errors_are_told_at_once() -> None:
    clock = _Clock()
    with pytest.raises(TransportError):
        patiently(_answers(*[NO_SHARD] * 7), clock=clock)  # type: ignore[arg-type]
    assert len(clock.slept) == 6
    with pytest.raises(TransportError, match="unavailable"):
        patiently(_answers(BUSY), clock=_Clock())  # type: ignore[arg-type]


def test_a_document_without_a_shard_is_asked_for_again() -> None:
    gone = {"docs": [{"_index": "i", "_id": "1", "error": {"type": "no_shard_available_action_exception"}}]}
    there = {"docs": [{"_index": "i", "_id": "1", "found": True}]}

    ask = _answers(gone, there)

    class Client:
        mget = staticmethod(lambda **_: ask())

    clock = _Clock()
    found = get_documents(Client(), {"ids": ["1"]}, clock=clock, index="i")  # type: ignore[arg-type]
    assert found == there["docs"]
    assert clock.slept == [0.1]
