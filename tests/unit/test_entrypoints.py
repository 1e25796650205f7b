"""The Lambda handler: partial batch failures, the time budget, and no work at import."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from loader.entrypoints import lambda_handler


class Context:
    """Lambda's context object, of which only the clock is used (AWS itself cannot run here)."""

    def __init__(self, *remaining: int) -> None:
        self._remaining = list(remaining)

    def get_remaining_time_in_millis(self) -> int:
        return self._remaining.pop(0)


class Handler:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def handle(self, message_id: str, body: str) -> bool:
        self.seen.append(message_id)
        return body == "good"


def event(*messages: tuple[str, str]) -> dict[str, Any]:
    return {"Records": [{"messageId": name, "body": body} for name, body in messages]}


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> Handler:
    made = Handler()
    monkeypatch.setattr(lambda_handler, "_handler", lambda: made)
    return made


def failures(answer: dict[str, Any]) -> list[str]:
    return [entry["itemIdentifier"] for entry in answer["batchItemFailures"]]


def test_only_the_messages_that_failed_come_again(handler: Handler) -> None:
    answer = lambda_handler.handler(event(("1", "good"), ("2", "bad"), ("3", "good")), Context(60_000, 60_000, 60_000))
    assert failures(answer) == ["2"]
    assert handler.seen == ["1", "2", "3"]


def test_what_there_is_no_time_for_is_given_back_untouched(handler: Handler) -> None:
    answer = lambda_handler.handler(event(("1", "good"), ("2", "good"), ("3", "good")), Context(60_000, 19_000, 500))
    assert failures(answer) == ["2", "3"]
    assert handler.seen == ["1"]


def test_nothing_is_done_at_import() -> None:
    code = (
        "import sys; import loader.entrypoints.lambda_handler; "
        "print([name for name in ('boto3', 'opensearchpy', 'msgspec', 'pydantic') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
