"""The alert of the system's own that says a channel does not work: whoever relies on it has to know otherwise."""

from __future__ import annotations

from datetime import datetime, timedelta

from loader.detection.alerts import Alert
from loader.detection.reason import clean
from loader.detection.system_alerts import system_alert

#: Its rule; in no file, so that no mistake in one switches it off.
RULE_UUID = "c9a0a1c4-52d6-4b0c-8a37-0c1f3c5f7d42"
#: How long a channel fails before it is an alert.
TROUBLE_AFTER = timedelta(minutes=15)


def trouble_alert(channel: str, what: str, *, now: datetime) -> Alert:
    """Return the alert: one a day for each channel."""
    return system_alert(
        uuid=RULE_UUID,
        name="siem_channel_failing",
        title="A notification channel does not work",
        level="high",
        reason=f"Channel {clean(channel)} does not deliver: {clean(what, 500)}. See siem notify list and siem status",
        group={"channel": channel},
        now=now,
    )
