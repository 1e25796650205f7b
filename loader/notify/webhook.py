"""A webhook: JSON by POST, signed, under a key that stays the same when a message is sent again."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import orjson

from loader.notify.channel import ChannelType, Option, Tools
from loader.notify.errors import SecretError
from loader.notify.message import Message
from loader.notify.post import checked_url
from loader.notify.secret import Secret

SIGNATURE = "X-Siem-Signature"
KEY = "Idempotency-Key"


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """Return the signature's header: HMAC-SHA-256 over time, a dot and the body. The time keeps old ones from use."""
    digest = hmac.new(secret.encode(), b"%d." % timestamp + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


class Webhook:
    """Sends messages as JSON objects; docs/notifications.md describes them."""

    def __init__(self, options: Mapping[str, Any], tools: Tools) -> None:
        self._options = options
        self._tools = tools

    def send(self, message: Message) -> str | None:
        """Send ``message``."""
        body = orjson.dumps(message_body(message), default=str)
        headers = {KEY: message.key}
        for name, value in self._options["headers"].items():
            headers[name] = resolved(value, self._tools)
        if self._options["secret"] is not None:
            now = int(self._tools.clock.now().timestamp())
            headers[SIGNATURE] = signature(self._tools.secrets.read(self._options["secret"]), now, body)
        self._tools.poster.post(checked_url(resolved(self._options["url"], self._tools)), body, headers)
        return None


def resolved(value: str | Secret, tools: Tools) -> str:
    """Return ``value``, read if it is a secret; fit for a header line.

    Raises:
        SecretError: the secret is not there, or has a character that a header or an address cannot have.
    """
    if isinstance(value, str):
        return value
    text = tools.secrets.read(value)
    if not text.isascii() or not text.isprintable():
        raise SecretError(f"{value} holds characters that cannot be sent")
    return text


def message_body(message: Message, *, data: bool = True) -> dict[str, Any]:
    """Return the message as machines get it; without ``data`` what the cluster has is left out."""
    found = {
        "version": 1,
        "kind": message.kind,
        "key": message.key,
        "about": message.about,
        "level": message.level,
        "title": message.title,
        "text": message.text,
        "time": message.time,
        "facts": {fact.label: fact.value for fact in message.facts},
        "lines": list(message.lines),
        "runbook": message.runbook,
        "link": message.link,
        "command": message.command,
    }
    kept = {name: value for name, value in found.items() if value not in (None, "", [], {})}
    return kept | dict(message.data) if data else kept


WEBHOOK = ChannelType(
    "webhook",
    {
        "url": Option("url", required=True),
        "secret": Option("secret"),
        "headers": Option("headers", default={}),
    },
    Webhook,
)
