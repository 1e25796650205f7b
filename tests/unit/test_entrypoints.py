"""The Lambda handler: partial batch failures, the time budget, and no work at import."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from loader.entrypoints import lambda_handler
from loader.ingest.messages import Handled, Message


class Context:
    """Lambda's context object, of which only the clock is used (AWS itself cannot run here)."""

    aws_request_id = "request-1"

    def __init__(self, *remaining: int) -> None:
        self._remaining = list(remaining)

    def get_remaining_time_in_millis(self) -> int:
        return self._remaining.pop(0)


class Handler:
    def __init__(self) -> None:
        self.seen: list[str] = []
        self.bodies: list[str] = []
        self.receives: list[int] = []
        self.takes_subscriptions = True

    def handle(self, message_id: str, body: str) -> bool:
        self.seen.append(message_id)
        self.bodies.append(body)
        return self.takes_subscriptions

    def handle_together(self, messages: list[Message], *, go_on: Callable[[], bool]) -> list[Handled]:
        return [self._one(message) if go_on() else Handled.NOT_BEGUN for message in messages]

    def _one(self, message: Message) -> Handled:
        self.seen.append(message.id)
        self.receives.append(message.receives)
        return Handled.DONE if message.body == "good" else Handled.AGAIN


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


def test_how_often_a_message_came_is_passed_on(handler: Handler) -> None:
    batch = event(("1", "good"))
    batch["Records"][0]["attributes"] = {"ApproximateReceiveCount": "7"}
    lambda_handler.handler(batch, Context(60_000))
    assert handler.receives == [7]


def test_a_subscription_is_handed_on_whole(handler: Handler) -> None:
    sent = {"awslogs": {"data": "H4sI"}}
    assert lambda_handler.handler(sent, Context()) == {"batchItemFailures": []}
    assert handler.seen == ["request-1"]
    assert json.loads(handler.bodies[0]) == sent


def test_a_subscription_that_fails_raises_so_that_lambda_tries_again(handler: Handler) -> None:
    handler.takes_subscriptions = False
    with pytest.raises(lambda_handler.NotLoadedError, match="request-1"):
        lambda_handler.handler({"awslogs": {"data": "H4sI"}}, Context())


def test_nothing_is_done_at_import() -> None:
    code = (
        "import sys; import loader.entrypoints.lambda_handler; "
        "print([name for name in ('boto3', 'opensearchpy', 'msgspec', 'pydantic') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
