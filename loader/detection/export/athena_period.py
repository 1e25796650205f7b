"""The period that one run of a statement examines, as SQL."""

from __future__ import annotations

from dataclasses import dataclass, field

from loader.detection.export.athena_table import Table

#: An event's time in milliseconds since 1970. A time that is none leaves the event out, as it does in an index.
TIME = "CAST(to_unixtime(try(from_iso8601_timestamp(eventtime))) * 1000 AS BIGINT)"


@dataclass(frozen=True)
class AthenaOptions:
    """``every`` is minutes between runs, ``lateness`` seconds; ``now`` SQL for the present, for tests and reruns."""

    every: int = 60
    lateness: int = 3600
    table: Table = field(default_factory=Table)
    now: str = "current_timestamp"

    @property
    def until(self) -> str:
        """Return the end of the period that is examined (not in it), in seconds since 1970."""
        period = self.every * 60
        return f"floor((to_unixtime({self.now}) - {self.lateness}) / {period}) * {period}"

    def begins(self) -> str:
        """Return the beginning of the period, in milliseconds."""
        return f"CAST(({self.until} - {self.every * 60}) * 1000 AS BIGINT)"

    def ends(self) -> str:
        """Return the end of the period, in milliseconds; it is not part of it."""
        return f"CAST(({self.until}) * 1000 AS BIGINT)"

    def scanned(self, back: int) -> str:
        """Return the bounds of a scan: partitions by day of delivery, and event times.

        ``back`` is how many milliseconds before the period events matter.
        """
        first = f"from_unixtime({self.until} - {self.every * 60 + -(-back // 1000) + 3600}) AT TIME ZONE 'UTC'"
        last = f"from_unixtime(to_unixtime({self.now})) AT TIME ZONE 'UTC'"
        return (
            f"\"day\" BETWEEN date_format({first}, '%Y/%m/%d') AND date_format({last}, '%Y/%m/%d')\n"
            f"  AND {TIME} >= {self.begins()} - {back}\n"
            f"  AND {TIME} < {self.ends()}"
        )
