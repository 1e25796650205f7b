"""Which channels an alert goes to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from loader.detection.matches import values
from loader.detection.model import Level
from loader.notify.message import text_at

#: What a route without ``levels`` is about: low and informational alerts wake nobody unless a route names them.
DEFAULT_LEVELS: frozenset[Level] = frozenset(("medium", "high", "critical"))


@dataclass(frozen=True, slots=True)
class Route:
    """Alerts for which everything said holds go to ``channels``; an empty set says nothing.

    ``rules`` are rules' names, ids or titles, with ``*`` and ``?``; ``tags`` are Sigma's, with ``*`` and ``?``.
    """

    levels: frozenset[Level] = DEFAULT_LEVELS
    rules: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()
    #: Alerts about old events, which a backfill brought, are sent only by routes that say so.
    historic: bool = False
    channels: tuple[str, ...] = ()

    def matches(self, alert: Mapping[str, Any]) -> bool:
        """Return whether ``alert`` (its document) goes this way."""
        if text_at(alert, "siem.level") not in self.levels:
            return False
        if not self.historic and next(iter(values(alert, "siem.historic")), False):
            return False
        names = [text_at(alert, path) for path in ("rule.id", "rule.uuid", "rule.name")]
        if self.rules and not _any_like(names, self.rules):
            return False
        if self.tags and not _any_like([str(tag) for tag in values(alert, "tags")], self.tags):
            return False
        return not self.accounts or bool(self.accounts & {str(each) for each in values(alert, "cloud.account.id")})


def channels_of(routes: Iterable[Route], alert: Mapping[str, Any]) -> list[str]:
    """Return the channels an alert goes to, each once."""
    return list(dict.fromkeys(name for route in routes if route.matches(alert) for name in route.channels))


def _any_like(texts: Iterable[str], patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(text, pattern) for text in texts for pattern in patterns)
