"""Times as people give them: a day, a time, or how long ago."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import click

from loader.clock import SystemClock
from loader.detection.load import timespan


class Moment(click.ParamType[datetime]):
    """A day, a time in RFC 3339, or an age such as 7d (also written now-7d)."""

    name = "time"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment, in UTC."""
        if isinstance(value, datetime):
            return value
        try:
            return SystemClock().now() - timedelta(seconds=timespan(value.removeprefix("now-")))
        except (ValueError, OverflowError):
            pass
        try:
            moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            self.fail(f"{value!r} is no time such as 2026-11-01, 2026-11-01T10:00:00Z or 7d", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
