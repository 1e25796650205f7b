"""Links of messages, by today's settings; without, the ones that alerts were written with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loader.config import Settings
from loader.discover import AlertsLink, Link, alerts_link_maker, link_maker
from loader.notify.message import Subject, text_at


@dataclass(frozen=True, slots=True)
class Links:
    """Makes the link of one alert (to its events) and of many (to the alerts)."""

    link: Link | None = None
    alerts: AlertsLink | None = None

    @staticmethod
    def of(settings: Settings) -> Links:
        """Return what makes links by the settings.

        Raises:
            ConfigError: the screen's address cannot be one.
        """
        return Links(link_maker(settings), alerts_link_maker(settings))

    def one(self, subject: Subject) -> str | None:
        """Return the link to an alert's events."""
        made = self.link(subject.id, subject.body) if self.link else None
        return made or text_at(subject.body, "event.url") or None

    def many(self, subjects: Sequence[Subject]) -> str | None:
        """Return the link to alerts."""
        times = sorted(text_at(subject.body, "@timestamp") for subject in subjects)
        if self.alerts is None or not times:
            return None
        return self.alerts([subject.id for subject in subjects], times[0], times[-1])
