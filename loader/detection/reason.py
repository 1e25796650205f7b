"""Readable lines about events: what an analyst reads first. Pure.

Everything an event says was chosen by whoever caused the event. A line holds no control, format or line-separating
character (no new log line, no terminal sequence, no reversed text), and no value longer than :data:`LONGEST`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from loader.detection.matches import first

#: Characters of one value.
LONGEST = 200
#: Other (control, format, surrogate, private, unassigned) and line or paragraph separators.
_REMOVED = ("C", "Zl", "Zp")


def clean(text: object, longest: int = LONGEST) -> str:
    """Return ``text`` as one harmless piece of a line; what was removed is marked with ``�`` once per run."""
    text = str(text)
    if len(text) <= longest and text.isprintable():
        return text
    kept: list[str] = []
    for character in text:
        if unicodedata.category(character).startswith(_REMOVED):
            if not kept or kept[-1] != "�":
                kept.append("�")
        else:
            kept.append(character)
        if len(kept) > longest:
            return "".join(kept[: longest - 1]) + "…"
    return "".join(kept)


def describe_event(source: Mapping[str, Any]) -> str:
    """Return one line: ``Root used ConsoleLogin from 1.2.3.4 in us-east-1 (account 123456789012): success``."""
    action = first(source, "event.action")
    line = f"{actor(source)} used {clean(action)}" if action else f"{actor(source)} did something unnamed"
    if address := first(source, "source.address", "source.ip"):
        line += f" from {clean(address)}"
    if region := first(source, "cloud.region"):
        line += f" in {clean(region)}"
    if account := first(source, "cloud.account.id"):
        line += f" (account {clean(account)})"
    outcome, error = first(source, "event.outcome"), first(source, "aws.cloudtrail.error_code")
    if outcome or error:
        line += f": {clean(outcome or 'failure')}" + (f" ({clean(error)})" if error else "")
    return line


def actor(source: Mapping[str, Any]) -> str:
    """Return who did it, as short as it can be said."""
    if first(source, "aws.cloudtrail.user_identity.type") == "Root":
        return "Root"
    name = first(
        source,
        "siem.actor.name",
        "user.name",
        "aws.cloudtrail.user_identity.user_name",
        "aws.cloudtrail.user_identity.arn",
        "aws.cloudtrail.user_identity.invoked_by",
        "user.id",
    )
    return clean(name) if name else "Somebody unnamed"
