"""The Lambda handler: partial batch failures, the time budget, and no work at import."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from loader.entrypoints import lambda_handler
from loader.ingest.allowance import Allowance
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
        self.left: list[float] = []
        self.good = "good"

    def handle_together(self, messages: list[Message], allowance: Allowance) -> list[Handled]:
        self.left.append(allowance.left())
        return [self._one(message) if allowance.may_begin() else Handled.NOT_BEGUN for message in messages]

    def _one(self, message: Message) -> Handled:
        self.seen.append(message.id)
        self.bodies.append(message.body)
        self.receives.append(message.receives)
        return Handled.DONE if message.body in ("good", self.good) else Handled.AGAIN


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
    answer = lambda_handler.handler(
        event(("1", "good"), ("2", "bad"), ("3", "good")), Context(60_000, 60_000, 60_000, 60_000)
    )
    assert failures(answer) == ["2"]
    assert handler.seen == ["1", "2", "3"]


def test_what_there_is_no_time_for_is_given_back_untouched(handler: Handler) -> None:
    answer = lambda_handler.handler(
        event(("1", "good"), ("2", "good"), ("3", "good")), Context(60_000, 60_000, 19_000, 500)
    )
    assert failures(answer) == ["2", "3"]
    assert handler.seen == ["1"]


def test_how_often_a_message_came_is_passed_on(handler: Handler) -> None:
    batch = event(("1", "good"))
    batch["Records"][0]["attributes"] = {"ApproximateReceiveCount": "7"}
    lambda_handler.handler(batch, Context(60_000, 60_000))
    assert handler.receives == [7]


#: What calls a function without a queue between: S3, EventBridge, SNS, Kinesis, CloudWatch Logs, Lambda itself.
WITHOUT_QUEUE = [
    {"awslogs": {"data": "H4sI"}},
    {"source": "aws.s3", "detail-type": "Object Created", "detail": {}},
    {"Records": [{"eventSource": "aws:s3", "s3": {}}]},
    {"Records": [{"EventSource": "aws:sns", "Sns": {"Message": "{}"}}]},
    {"Records": [{"messageId": "1", "body": "good"}, {"eventSource": "aws:s3"}]},
    {"Records": [{"messageId": "1"}]},
    {"requestPayload": {"awslogs": {"data": "H4sI"}}},
    {"Records": {}},
    {},
    [],
]


@pytest.mark.parametrize("sent", WITHOUT_QUEUE)
def test_what_comes_without_a_queue_is_handed_on_whole(handler: Handler, sent: Any) -> None:
    handler.good = json.dumps(sent)
    assert lambda_handler.handler(sent, Context(60_000, 60_000)) == {"batchItemFailures": []}
    assert handler.seen == ["request-1"]
    assert [json.loads(body) for body in handler.bodies] == [sent]


@pytest.mark.parametrize("sent", WITHOUT_QUEUE)
def test_what_comes_without_a_queue_and_fails_raises_so_that_lambda_tries_again(handler: Handler, sent: Any) -> None:
    with pytest.raises(lambda_handler.NotLoadedError, match="request-1"):
        lambda_handler.handler(sent, Context(60_000, 60_000))
    with pytest.raises(lambda_handler.NotLoadedError, match="request-1"):
        lambda_handler.handler(sent, Context(60_000, 10_000))


def test_an_empty_batch_is_dealt_with(handler: Handler) -> None:
    assert lambda_handler.handler({"Records": []}, Context(60_000)) == {"batchItemFailures": []}


def test_requests_end_before_the_time_does(handler: Handler) -> None:
    lambda_handler.handler(event(("1", "good")), Context(63_000, 60_000))
    assert handler.left == [60.0]


def test_nothing_is_done_at_import() -> None:
    code = (
        "import sys; import loader.entrypoints.lambda_handler; "
        "print([name for name in ('boto3', 'opensearchpy', 'msgspec', 'pydantic') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
