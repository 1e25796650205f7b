"""Amazon SNS, standard and FIFO topics: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError
from botocore.exceptions import NoCredentialsError as NoAwsCredentialsError

from loader.notify.channel import ChannelType, Option, Tools
from loader.notify.errors import SendError
from loader.notify.message import Message
from loader.notify.webhook import message_body

TOPIC = re.compile(r"arn:aws[a-z-]*:sns:([a-z0-9-]+):\d{12}:([A-Za-z0-9_-]{1,256}(?:\.fifo)?)")
_SUBJECT = 100
_BODY_BYTES = 250_000
#: Errors of one message; any other concerns the topic, or our right to use it.
_THIS_ONE = ("InvalidParameter", "InvalidParameterValue", "ValidationException")
_NOT_SENT = (EndpointConnectionError, ConnectTimeoutError, NoAwsCredentialsError)


class Sns:
    """Publishes to one topic."""

    def __init__(self, options: Mapping[str, Any], tools: Tools) -> None:
        self._options = options
        self._tools = tools
        self._client: Any = None

    def send(self, message: Message) -> str | None:
        """Send ``message``."""
        topic = str(self._options["topic_arn"])
        match = TOPIC.fullmatch(topic)
        request: dict[str, Any] = {
            "TopicArn": topic,
            "Message": _text(message, self._options["format"]),
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": value} for name, value in _attributes(message).items()
            },
        }
        if topic.endswith(".fifo"):
            # One group: they arrive in the order in which they were sent.
            request |= {"MessageDeduplicationId": message.key, "MessageGroupId": "siem"}
        else:
            request["Subject"] = ascii_line(message.subject, _SUBJECT)
        try:
            if self._client is None:
                self._client = self._tools.aws("sns", match[1] if match else None)
            self._client.publish(**request)
        except ClientError as error:
            raise _refusal(error) from None
        except BotoCoreError as error:
            raise SendError(
                f"SNS cannot be asked: {type(error).__name__}", maybe_taken=not isinstance(error, _NOT_SENT)
            ) from None
        return None


def ascii_line(text: str, longest: int) -> str:
    """Return ``text`` as SNS takes a subject: printable ASCII, beginning with a letter, number or mark.

    >>> ascii_line("HIGH: Änderung", 100)
    'HIGH: ?nderung'
    """
    line = "".join(character if " " <= character <= "~" else "?" for character in text).strip()
    return line[:longest].strip() or "Alert"


def _attributes(message: Message) -> dict[str, str]:
    """Return what subscriptions can filter by."""
    found = {"kind": message.kind, "level": message.level, "rule": message.rule, "account": message.account}
    return {name: value for name, value in found.items() if value} | {"key": message.key}


def _text(message: Message, form: str) -> str:
    text = orjson.dumps(message_body(message), default=str).decode() if form == "json" else message.plain()
    if len(text.encode()) <= _BODY_BYTES:
        return text
    if form == "json":
        return orjson.dumps({**message_body(message, data=False), "cut": True}).decode()
    return text.encode()[:_BODY_BYTES].decode("utf-8", "ignore")


def _refusal(error: ClientError) -> SendError:
    code = str(error.response.get("Error", {}).get("Code", "an error"))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    hint = "The sender needs sns:Publish on the topic, and kms:GenerateDataKey if it is encrypted."
    return SendError(f"SNS answers {code}", maybe_taken=status >= 500, whole_channel=code not in _THIS_ONE, hint=hint)


def _check(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    if TOPIC.fullmatch(str(options["topic_arn"])):
        return []
    return [("topic_arn", "is no ARN of a topic, such as arn:aws:sns:eu-central-1:123456789012:alerts")]


SNS = ChannelType(
    "sns",
    {
        "topic_arn": Option(required=True),
        "format": Option("choice", default="text", choices=("text", "json")),
    },
    Sns,
    _check,
)
