"""Slack's incoming webhooks, in blocks. https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks

All that comes from an alert is in ``plain_text`` objects without emoji codes, which Slack does not read as markup; in
the line for notifications, which it does read, ``&``, ``<`` and ``>`` are escaped and parsing is off. The only markup
is ours: the link, percent-encoded by :mod:`loader.discover`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from loader.notify.channel import ChannelType, Option, Tools
from loader.notify.errors import SendError
from loader.notify.message import Message
from loader.notify.post import checked_url
from loader.notify.webhook import resolved

#: Slack's own limits: https://docs.slack.dev/reference/block-kit/blocks
_HEADER, _SECTION, _FIELD, _FIELDS = 150, 3000, 2000, 10
_LINK = re.compile(r"https?://[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")


def escaped(text: str) -> str:
    """Return ``text`` for a field that Slack parses: what would begin a mention or a link is an entity."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Slack:
    """Sends messages to one channel of Slack."""

    def __init__(self, options: Mapping[str, Any], tools: Tools) -> None:
        self._options = options
        self._tools = tools

    def send(self, message: Message) -> str | None:
        """Send ``message``."""
        url = checked_url(resolved(self._options["url"], self._tools))
        answer = self._tools.poster.post(url, orjson.dumps(payload(message)), {})
        if answer.strip() != "ok":
            raise SendError(f"this is not Slack: it answers {answer or 'nothing'}", maybe_taken=True)
        return None


def payload(message: Message) -> dict[str, Any]:
    """Return the body of the request."""
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(message.subject, _HEADER)},
        {"type": "section", "text": _plain(message.text, _SECTION)},
    ]
    if message.lines:
        blocks.append({"type": "section", "text": _plain("\n".join(message.lines), _SECTION)})
    if message.facts:
        fields = [_plain(f"{fact.label}\n{fact.value}", _FIELD) for fact in message.facts[:_FIELDS]]
        blocks.append({"type": "section", "fields": fields})
    if message.runbook:
        blocks.append({"type": "section", "text": _plain(f"What to do: {message.runbook}", _SECTION)})
    if message.link and _LINK.fullmatch(message.link) and len(message.link) < _SECTION - 100:
        link = f"<{escaped(message.link)}|Open in Discover>"
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": link, "verbatim": True}})
    if message.next_command:
        blocks.append({"type": "context", "elements": [_plain(message.next_command, _FIELD)]})
    return {
        "text": escaped(message.subject),
        "mrkdwn": False,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": blocks,
    }


def _plain(text: str, longest: int) -> dict[str, Any]:
    # Slack decodes entities here as well; a lone & or < stays what it is only if it is escaped.
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    while len(escaped(cut)) > longest:
        cut = cut[: -(len(escaped(cut)) - longest) - 1] + "…"
    return {"type": "plain_text", "text": escaped(cut), "emoji": False}


SLACK = ChannelType("slack", {"url": Option("secret url", required=True)}, Slack)
