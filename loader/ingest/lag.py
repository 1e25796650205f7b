"""How old something is: the differences between times as texts. Pure."""

from __future__ import annotations

from datetime import datetime


def parse(text: str | None) -> datetime | None:
    """Return the moment that an RFC 3339 text names, aware; ``None`` if it names none."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def seconds_between(earlier: str | None, later: str | datetime) -> float | None:
    """Return the seconds from ``earlier`` to ``later`` (negative if it is the other way round), ``None`` if unknown."""
    begin, end = parse(earlier), parse(later) if isinstance(later, str) else later
    return None if begin is None or end is None else round((end - begin).total_seconds(), 3)
