"""What a cycle did, in figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from loader.detection.model import Level


@dataclass(slots=True)
class RuleCount:
    """One rule's part. ``matches`` counts events; ``error`` says why a part of them was not examined."""

    uuid: str
    id: str
    title: str
    level: Level
    matches: int = 0
    alerts_new: int = 0
    alerts_existing: int = 0
    #: Alerts whose evidence grew or changed, and those that are no longer founded.
    alerts_revised: int = 0
    alerts_withdrawn: int = 0
    #: Events that exceptions (Sigma Filters) took out: all, and by the filter's name (one may take out several's).
    filtered: int = 0
    filtered_by: Counter[str] = field(default_factory=Counter)
    #: Triggers that suppression, or an alert's bucket, folded into an alert that was raised already.
    folded: int = 0
    #: Events that lack a field to group by.
    ungrouped: int = 0
    #: Matches (of new_terms: first appearances) that no alert was made of, since too little of the baseline is known.
    learning: int = 0
    error: str | None = None

    @property
    def alerts(self) -> int:
        """Return how many alerts this run raised or found to exist."""
        return self.alerts_new + self.alerts_existing


@dataclass(slots=True)
class RunReport:
    """One cycle. ``complete`` is true when every rule has now examined everything that could be read."""

    rules: list[RuleCount] = field(default_factory=list)
    #: Sequence numbers examined: documents, and the deletions and no-operations between them.
    examined: int = 0
    searches: int = 0
    seconds: float = 0.0
    complete: bool = True
    #: Shards that hold something unexamined and cannot be read now.
    unreadable: tuple[str, ...] = ()
    #: Rules that could not even be set up: why, by the rule's id.
    refused: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    #: Rules that lack a list or a geo database: what, by the rule's id. No error, but nothing they watch is watched.
    not_run: dict[str, str] = field(default_factory=dict)
    #: What could not be read or compiled and is not run either: why, by file and line.
    not_compiled: dict[str, str] = field(default_factory=dict)
    #: Indices that rules look into.
    patterns: tuple[str, ...] = ()

    @property
    def alerts_new(self) -> int:
        """Return how many alerts were raised."""
        return sum(count.alerts_new for count in self.rules)

    @property
    def filtered(self) -> int:
        """Return how many events exceptions took out."""
        return sum(count.filtered for count in self.rules)

    @property
    def filtered_by(self) -> dict[str, dict[str, int]]:
        """Return how many events each exception took out, by the rule's id; rules without any are left out."""
        return {count.id: dict(count.filtered_by) for count in self.rules if count.filtered_by}

    @property
    def folded(self) -> int:
        """Return how many triggers were folded into alerts that others had raised."""
        return sum(count.folded for count in self.rules)

    @property
    def learning(self) -> dict[str, int]:
        """Return what was not raised because too little of a baseline is known, by the rule's id."""
        return {count.id: count.learning for count in self.rules if count.learning}

    @property
    def errors(self) -> dict[str, str]:
        """Return what went wrong, by the rule's id."""
        return {count.id: count.error for count in self.rules if count.error} | self.refused

    def by_level(self) -> dict[str, int]:
        """Return the alerts, new and existing, by level; levels without any are left out."""
        totals: dict[str, int] = {}
        for count in self.rules:
            if count.alerts:
                totals[count.level] = totals.get(count.level, 0) + count.alerts
        return totals

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for ``--json``."""
        return {
            "examined": self.examined,
            "searches": self.searches,
            "seconds": round(self.seconds, 3),
            "complete": self.complete,
            "unreadable": list(self.unreadable),
            "refused": self.refused,
            "notes": self.notes,
            "not_run": self.not_run,
            "not_compiled": self.not_compiled,
            "filtered": self.filtered,
            "folded": self.folded,
            "learning": self.learning,
            "rules": {
                count.id: {
                    "uuid": count.uuid,
                    "title": count.title,
                    "level": count.level,
                    "matches": count.matches,
                    "alerts_new": count.alerts_new,
                    "alerts_existing": count.alerts_existing,
                    "alerts_revised": count.alerts_revised,
                    "alerts_withdrawn": count.alerts_withdrawn,
                    "filtered": count.filtered,
                    "filtered_by": dict(count.filtered_by),
                    "folded": count.folded,
                    "ungrouped": count.ungrouped,
                    "learning": count.learning,
                    **({"error": count.error} if count.error else {}),
                }
                for count in self.rules
            },
        }
