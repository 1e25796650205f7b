"""Correlations as trees: base rules' matches in, triggers out, groups kept apart. Pure.

A correlation's window (:mod:`loader.detection.window`) runs for each group of its ``group-by``; a chained correlation
consumes the triggers of the ones below it as if they were matches. A match without a group-by field belongs to no group
and is only counted. A field with several values puts the match into a group for each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import product
from math import isfinite
from typing import Any

import orjson

from loader.detection.intervals import union
from loader.detection.matches import Match, values
from loader.detection.model import CompiledCorrelation, CompiledRule
from loader.detection.places import Sighting
from loader.detection.window import Firing, Occurrence, Window, firings, in_order
from loader.detection.window_terms import window_of
from loader.errors import RuleError

#: A group's values by the names of its fields, as sorted pairs: hashable, and the same whatever the order in the rule.
Group = tuple[tuple[str, Any], ...]
Node = CompiledRule | CompiledCorrelation
#: Groups that one match may belong to; what is beyond is left out (a field with very many values).
_MOST_GROUPS = 64
DAY_MS = 86_400_000
_NUMERIC = ("value_sum", "value_avg", "value_percentile", "value_median")


@dataclass(eq=False, slots=True)
class Run:
    """One group's occurrences under one correlation, in the order of time, and what each was made of."""

    window: Window
    group: Group
    origins: list[Match | Trigger]
    times: list[int]


@dataclass(eq=False, slots=True)
class Trigger:
    """At ``time`` the condition was met. ``event`` is the event that met it."""

    time: int
    event: Match
    group: Group = ()
    firing: Firing | None = None
    run: Run | None = None


@dataclass(frozen=True)
class Tree:
    """One correlation, or one rule whose matches are folded, as it is evaluated.

    ``fold_by`` are the fields of an alert's group: the rule's ``suppress.by``, else its ``group-by``.
    """

    root: Node

    @cached_property
    def leaves(self) -> dict[str, CompiledRule]:
        """Return every base rule once, by what it asks."""
        return {leaf.query_hash: leaf for _, leaf in _leaves(self.root, ())}

    @cached_property
    def windows(self) -> dict[int, Window]:
        """Return the window of every correlation in the tree, by ``id()``.

        Raises:
            RuleError: a correlation's type or numbers cannot be honoured.
        """
        return {id(node): window_of(node) for node in _correlations(self.root)}

    @property
    def fold_by(self) -> tuple[str, ...]:
        """Return the fields that an alert's group consists of."""
        if self.root.suppress_by or isinstance(self.root, CompiledRule):
            return self.root.suppress_by
        return self.root.group_by

    @cached_property
    def lookback(self) -> int:
        """Return how many milliseconds before a trigger matches can matter."""
        return self._reach(self.root, delay=False)

    @cached_property
    def delay(self) -> int:
        """Return how many milliseconds after its last event a trigger can be."""
        return self._reach(self.root, delay=True)

    def _reach(self, node: Node, *, delay: bool) -> int:
        if isinstance(node, CompiledRule):
            return 0
        window = self.windows[id(node)]
        own = window.delay if delay else window.lookback
        return own + max(self._reach(child, delay=delay) for child in node.rules.values())

    @cached_property
    def monotone(self) -> bool:
        """Return whether a late match can only add triggers."""
        return all(window.monotone for window in self.windows.values())

    @cached_property
    def bucket(self) -> int:
        """Return S, the milliseconds of an alert's bucket: the longer of the window and the suppression.

        What has neither (new terms: their timespan is the baseline) has buckets of a day.
        """
        suppression = self.root.rule.suppression
        shortest = suppression.seconds * 1000 if suppression else 0
        if isinstance(self.root, CompiledCorrelation):
            shortest = max(shortest, self.windows[id(self.root)].span)
        return shortest or DAY_MS

    @property
    def paths(self) -> tuple[str, ...]:
        """Return every path of ``_source`` that grouping, counting and folding read."""
        return tuple(dict.fromkeys(path for paths in self.paths_of.values() for path in paths))

    @cached_property
    def paths_of(self) -> dict[str, tuple[str, ...]]:
        """Return, for each base rule, every path of ``_source`` that grouping, counting and folding read."""
        found: dict[str, dict[str, None]] = {name: {} for name in self.leaves}
        _read_below(self.root, self.fold_by, found)
        return {name: tuple(paths) for name, paths in found.items()}

    @cached_property
    def routes(self) -> dict[str, list[dict[str, str]]] | None:
        """Return for each base rule where its matches hold the alert's group: lists of alert field → path.

        ``None`` when a group cannot be told from a single match, because a correlation above groups by something that
        one below it does not: then no group can be evaluated without all the others.
        """
        routes: dict[str, list[dict[str, str]]] = defaultdict(list)
        for references, leaf in _leaves(self.root, ()):
            route: dict[str, str] = {}
            for name in self.fold_by:
                path = _route(self.root, references, name)
                if path is None:
                    return None
                route[name] = path
            routes[leaf.query_hash].append(route)
        return routes

    def groups(self, leaf: str, match: Match) -> list[Group]:
        """Return the alert groups that a new match of a base rule may change (see :attr:`routes`)."""
        found: dict[Group, None] = {}
        for route in (self.routes or {}).get(leaf, ()):
            read = {name: values(match.source, path) for name, path in route.items()}
            found.update(dict.fromkeys(_groups(read, absent=self._folds_absent)))
        return list(found)

    def triggers(self, found: Mapping[str, Sequence[Match]]) -> list[Trigger]:
        """Return every trigger among ``found`` (base rule → its matches, each event once), in the order of time."""
        return sorted(self._triggers(self.root, found), key=lambda trigger: (trigger.time, trigger.event.id))

    def fold(self, trigger: Trigger) -> list[Group]:
        """Return the alert groups that a trigger belongs to."""
        return _groups({name: _read(trigger, name) for name in self.fold_by}, absent=self._folds_absent)

    @property
    def _folds_absent(self) -> bool:
        """Return whether an event without one of the fields is folded under its absence.

        So it is where ``suppress.by`` folds: suppression must never lose an alert. A correlation's ``group-by`` leaves
        such events out, as the specification has it.
        """
        return bool(self.root.suppress_by)

    def _triggers(self, node: Node, found: Mapping[str, Sequence[Match]]) -> list[Trigger]:
        if isinstance(node, CompiledRule):
            return [Trigger(match.time, match) for match in found.get(node.query_hash, ())]
        window = self.windows[id(node)]
        grouped: dict[Group, list[tuple[Occurrence, Match | Trigger]]] = defaultdict(list)
        for reference, child in node.rules.items():
            for trigger in self._triggers(child, found):
                origin: Match | Trigger = trigger if trigger.run else trigger.event
                event, values_counted = trigger.event, counted(node, reference, trigger)
                occurrence = Occurrence(trigger.time, event.id, reference, values_counted, event.events)
                read = {name: _read(trigger, _path(node, reference, name)) for name in node.group_by}
                for group in _groups(read):
                    grouped[group].append((occurrence, origin))
        raised: list[Trigger] = []
        for group, members in grouped.items():
            raised += _fire(window, group, members)
        return raised


def _fire(window: Window, group: Group, members: list[tuple[Occurrence, Match | Trigger]]) -> list[Trigger]:
    members.sort(key=lambda member: (member[0].time, member[0].id))
    ordered = in_order([occurrence for occurrence, _ in members])
    origins = [origin for _, origin in members]
    run = Run(window, group, origins, [occurrence.time for occurrence in ordered])
    return [
        Trigger(firing.time, origin.event if isinstance(origin, Trigger) else origin, group, firing, run)
        for firing in firings(window, ordered)
        for origin in [origins[firing.position]]
    ]


def evidence(triggers: Iterable[Trigger]) -> list[Match]:
    """Return the events that ``triggers`` rest on: each once, in the order of time."""
    found: dict[str, Match] = {}
    by_run: dict[int, tuple[Run, list[tuple[int, int]]]] = {}
    for trigger in triggers:
        if trigger.run is None or trigger.run.window.type in ("new_terms", "absence", "impossible_travel"):
            found[trigger.event.id] = trigger.event
            if trigger.run and trigger.firing and trigger.firing.origin is not None:
                start = trigger.run.origins[trigger.firing.origin]
                start = start.event if isinstance(start, Trigger) else start
                found[start.id] = start
        else:
            span = (trigger.time - trigger.run.window.span, trigger.time)
            by_run.setdefault(id(trigger.run), (trigger.run, []))[1].append(span)
    for run, spans in by_run.values():
        inside = union(spans)
        position = 0
        below: list[Trigger] = []
        for time, origin in zip(run.times, run.origins, strict=True):
            while position < len(inside) and inside[position][1] < time:
                position += 1
            if position == len(inside):
                break
            if time >= inside[position][0]:
                if isinstance(origin, Trigger):
                    below.append(origin)
                else:
                    found[origin.id] = origin
        found.update({match.id: match for match in evidence(below)})
    return sorted(found.values(), key=lambda match: (match.time, match.id))


def canonical(group: Group) -> str:
    """Return a group as text that is the same for the same values: canonical JSON of its sorted pairs."""
    return orjson.dumps(group).decode()


def _correlations(node: Node) -> Iterable[CompiledCorrelation]:
    if isinstance(node, CompiledCorrelation):
        yield node
        for child in node.rules.values():
            yield from _correlations(child)


def _leaves(node: Node, above: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], CompiledRule]]:
    if isinstance(node, CompiledRule):
        yield above, node
    else:
        for reference, child in node.rules.items():
            yield from _leaves(child, (*above, reference))


def _read_below(node: Node, names: Iterable[str], found: Mapping[str, dict[str, None]]) -> None:
    """Note in ``found``, for the base rules below ``node``, what of their events is read: ``names`` and its own."""
    if isinstance(node, CompiledRule):
        found[node.query_hash].update(dict.fromkeys(name for name in names if name))
        return
    # What a trigger's group has is not looked for in its event.
    above = [name for name in names if name not in node.group_by]
    for reference, child in node.rules.items():
        own = [_path(node, reference, name) for name in (*node.group_by, *node.condition.fields)]
        _read_below(child, (*above, *own), found)


def _path(node: CompiledCorrelation, reference: str, name: str) -> str:
    """Return what ``name`` is called below ``reference``: an alias's field there, or the field itself."""
    return node.aliases[name].get(reference, "") if name in node.aliases else name


def _route(node: Node, references: Sequence[str], name: str) -> str | None:
    for reference in references:
        if not isinstance(node, CompiledCorrelation) or (name not in node.group_by):
            return None
        name = _path(node, reference, name)
        node = node.rules[reference]
    return name


def _read(trigger: Trigger, name: str) -> list[Any]:
    """Return a field's values: the group's own first, else the event's."""
    for field_name, value in trigger.group:
        if field_name == name:
            return [value]
    return values(trigger.event.source, name) if name else []


def _groups(read: Mapping[str, Sequence[Any]], *, absent: bool = False) -> list[Group]:
    columns: list[list[tuple[str, Any]]] = []
    for name in sorted(read):
        kept = dict.fromkeys(value for value in read[name] if isinstance(value, (str, int, float)))
        columns.append([(name, value) for value in kept] or ([(name, None)] if absent else []))
    return [group for group, _ in zip(product(*columns), range(_MOST_GROUPS), strict=False)]


def counted(node: CompiledCorrelation, reference: str, trigger: Trigger) -> tuple[Any, ...]:
    """Return what a window counts of one occurrence."""
    kind = node.type.removeprefix("siem_")
    columns = [_read(trigger, _path(node, reference, name)) for name in node.condition.fields]
    if kind in _NUMERIC:
        return tuple(number for column in columns for value in column if (number := _number(value)) is not None)
    if kind == "new_terms" and not columns:
        return ((),)
    if kind == "impossible_travel":
        return _sightings(node, [value for column in columns for value in column])
    if kind not in ("value_count", "new_terms"):
        return ()
    return tuple(dict.fromkeys(product(*([_term(value) for value in column] for column in columns))))


def _sightings(node: CompiledCorrelation, addresses: Sequence[Any]) -> tuple[Sighting, ...]:
    if node.places is None:
        raise RuleError("not run: no geo database", where=node.rule.where, hint="Set SIEM_GEOIP_DATABASE.")
    found = ((address, node.places(address)) for address in addresses if isinstance(address, str))
    return tuple(Sighting(address, place) for address, place in found if place)


def _term(value: Any) -> Any:
    """Return a value as it is told from others: ``true`` is not 1, and an object is its JSON."""
    if isinstance(value, (str, bool)):
        return str(value) if isinstance(value, str) else ("bool", value)
    return value if isinstance(value, (int, float)) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _number(value: Any) -> int | Fraction | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return Fraction(number) if isfinite(number) else None
