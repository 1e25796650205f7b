"""Rules that raise one alert an event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from loader.clock import Clock
from loader.detection.alert_store import AlertStore
from loader.detection.alerts import event_alert, linked
from loader.detection.evaluate import refused_by
from loader.detection.lateness import is_historic
from loader.detection.matches import SHOWN_PATHS, Match
from loader.detection.model import CompiledRule, digest
from loader.detection.plan import Slice, Subject
from loader.detection.report import RuleCount
from loader.detection.rule_handler import acceptor
from loader.detection.search import Question
from loader.discover import Link


class EventAlerts:
    """One rule during a cycle. Alerts are written page by page, while the slice is read."""

    deferred = False
    last = False

    def __init__(
        self,
        rule: CompiledRule,
        *,
        store: AlertStore,
        clock: Clock,
        historic_after: timedelta,
        step: Callable[[str], None],
        link: Link | None = None,
    ) -> None:
        self._rule = rule
        self._link = link
        self._store = store
        self._clock = clock
        self._historic_after = historic_after
        self._step = step
        self._accept = acceptor(rule)
        self.subject = Subject(rule_key(rule), rule.rule.uuid, rule.index)
        self.count = RuleCount(rule.rule.uuid, rule.rule.name, rule.rule.title, rule.rule.level)

    def begin(self, *, fresh: bool) -> None:
        """See :class:`RuleHandler`: each event is judged by itself."""

    def questions(self, piece: Slice) -> Sequence[Question]:
        """Ask the rule's query, and how many events its filters took out."""

        def sink(matches: Sequence[Match]) -> None:
            self._write(matches, historic=piece.historic)

        asked = [Question(self._rule.query, piece, [sink], accept=self._accept, fields=SHOWN_PATHS)]
        return [*asked, *filtered_questions(self._rule, piece, self.count)]

    def settle(self) -> None:
        """Nothing is kept back."""

    def _write(self, matches: Sequence[Match], *, historic: bool) -> None:
        now = self._clock.now()
        rule, late = self._rule.rule, self._historic_after
        alerts = [
            linked(event_alert(rule, match, now=now, historic=historic or is_historic(match, late)), self._link)
            for match in matches
        ]
        written = self._store.create(alerts)
        self._step("alerts written")
        self._store.announce(alerts)
        self.count.matches += len(matches)
        self.count.alerts_new += written.count("new")
        self.count.alerts_existing += written.count("existing")
        self._step("some alerts written")


def rule_key(rule: CompiledRule) -> str:
    """Return the name a rule's coverage is kept under: a rule that asks or raises something else is another one."""
    return digest([rule.rule.uuid, rule.query_hash, rule.suppress_by, rule.rule.suppression])[:32]


def filtered_questions(rule: CompiledRule, piece: Slice, count: RuleCount) -> list[Question]:
    """Return the question that counts what a rule's filters took out; none for a rule without filters."""
    if rule.unfiltered is None:
        return []
    names = [one.filter.name for one in rule.filters]

    def sink(matches: Sequence[Match]) -> None:
        count.filtered += len(matches)
        for match in matches:
            count.filtered_by.update(names[:1] if len(names) == 1 else refused_by(rule, match.source))

    kept, before = acceptor(rule), acceptor(_without_filters(rule))
    if kept is None:
        query = {"bool": {"filter": [rule.unfiltered], "must_not": [rule.query]}}
        # Which of several filters it was is told from the whole event.
        fields = () if before is None and len(names) == 1 else None
        return [Question(query, piece, [sink], accept=before, fields=fields, optional=True)]

    def accept(source: Mapping[str, Any]) -> bool:
        return (before is None or before(source)) and not kept(source)

    return [Question(rule.unfiltered, piece, [sink], accept=accept, fields=None, optional=True)]


def _without_filters(rule: CompiledRule) -> CompiledRule:
    return CompiledRule(rule.rule, rule.index, rule.unfiltered or rule.query, verify=rule.unfiltered_verify)
