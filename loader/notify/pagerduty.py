"""PagerDuty's Events API v2: https://developer.pagerduty.com/docs/send-alert-event

Alerts trigger incidents, under the alert's key, so that sending one again changes nothing. They are acknowledged and
resolved by people only: a withdrawn alert does not end a page that somebody is already looking at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from loader.detection.model import Level
from loader.notify.channel import ChannelType, Option, Tools
from loader.notify.message import Message
from loader.notify.post import checked_url
from loader.notify.webhook import resolved

SEVERITY: dict[Level, str] = {
    "critical": "critical",
    "high": "error",
    "medium": "warning",
    "low": "info",
    "informational": "info",
}
_SUMMARY = 1024


class PagerDuty:
    """Triggers incidents of one service."""

    def __init__(self, options: Mapping[str, Any], tools: Tools) -> None:
        self._options = options
        self._tools = tools

    def send(self, message: Message) -> str | None:
        """Send ``message``."""
        url = checked_url(resolved(self._options["url"], self._tools))
        body = orjson.dumps(event(message, routing_key=self._tools.secrets.read(self._options["routing_key"])))
        self._tools.poster.post(url, body, {})
        return None


def event(message: Message, *, routing_key: str) -> dict[str, Any]:
    """Return the body of the request."""
    details: dict[str, Any] = {"What": message.text} | {fact.label: fact.value for fact in message.facts}
    if message.lines:
        details["Alerts"] = "\n".join(message.lines)
    if message.runbook:
        details["What to do"] = message.runbook
    if message.command:
        details["Command"] = message.command
    links = [{"href": message.link, "text": "Events in Discover"}] if message.link else []
    return {
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": message.key,
        "client": "cloudtrail-siem",
        "links": links,
        "payload": {
            "summary": message.subject[:_SUMMARY],
            "source": f"AWS account {message.account}" if message.account else "cloudtrail-siem",
            "severity": SEVERITY[message.level],
            "timestamp": message.time,
            "component": message.rule or message.kind,
            "group": message.account or "siem",
            "class": message.title,
            "custom_details": details,
        },
    }


PAGERDUTY = ChannelType(
    "pagerduty",
    {
        "routing_key": Option("secret", required=True),
        "url": Option("url", default="https://events.pagerduty.com/v2/enqueue"),
    },
    PagerDuty,
    takes=frozenset(("alert", "digest", "test")),
)
