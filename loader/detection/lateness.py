"""How late an event came. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from loader.detection.matches import Match, first


def is_historic(match: Match, after: timedelta) -> bool:
    """Return whether the event was loaded more than ``after`` later than it happened (by ``event.ingested``)."""
    loaded = first(match.source, "event.ingested")
    if loaded is None:
        return False
    try:
        moment = datetime.fromisoformat(loaded.replace("Z", "+00:00"))
    except ValueError:
        return False
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp() * 1000 - match.time > after.total_seconds() * 1000
