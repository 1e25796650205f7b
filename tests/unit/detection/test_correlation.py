"""Correlations as they are written, against a small reading of the specification: groups, aliases, chains, conditions.

Everything is made anew: YAML with base rules and correlations over them (or over one another), and events. The
reference knows the YAML and the raw values and nothing of how this project compiles, groups or counts; it looks at each
event's window.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader.detection.compile import Pack, compile_rules
from loader.detection.correlation import evidence
from loader.detection.event import Event
from loader.detection.fields import schema_of
from loader.detection.load import read_documents, rule_set
from loader.detection.offline import triggers
from loader.detection.sources import AWS_CLOUDTRAIL

SCHEMA = schema_of(AWS_CLOUDTRAIL)
START = datetime(2026, 5, 4, tzinfo=timezone.utc)
LOGSOURCE = {"product": "aws", "service": "cloudtrail"}
#: Base rules by what they match: ``either`` finds what ``alpha`` and ``beta`` find, so one event can have two names.
BASES = {"alpha": ["A"], "beta": ["B"], "either": ["A", "B"], "gamma": ["C"]}
IDS = {name: f"0d9c7c8e-6a0b-4b0a-9b55-0c5a1d2e3f4{n}" for n, name in enumerate([*BASES, "inner", "outer"])}
#: Sigma field → where a document has it. The last two are parts of a payload and may hold several values.
PLACES = {
    "sourceIPAddress": "source.address",
    "awsRegion": "cloud.region",
    "requestParameters.names": "aws.cloudtrail.flattened.request_parameters.names",
    "requestParameters.n": "aws.cloudtrail.flattened.request_parameters.n",
}
GROUPING = ["sourceIPAddress", "awsRegion", "requestParameters.names"]
OPERATORS = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le, "eq": operator.eq,
             "neq": operator.ne}  # fmt: skip
NUMERIC = ("value_sum", "value_avg", "value_percentile", "value_median")


# --- what the specification says ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """One event: its second, its name, and its values by Sigma field."""

    id: str
    time: int
    name: str
    values: dict[str, list[Any]]


@dataclass(frozen=True)
class Fired:
    """A correlation's trigger (or a base rule's match): the event that completed it, and its group by field name."""

    time: int
    event: Made
    group: tuple[tuple[str, Any], ...] = ()

    def read(self, field: str) -> list[Any]:
        grouped = dict(self.group)
        return [grouped[field]] if field in grouped else self.event.values.get(field, [])


class Specification:
    def __init__(self, correlations: dict[str, dict[str, Any]], events: list[Made]) -> None:
        self.correlations = correlations
        self.events = events

    def fired(self, name: str) -> list[Fired]:
        if name in BASES:
            return [Fired(event.time, event) for event in self.events if event.name in BASES[name]]
        body = self.correlations[name]
        found: set[tuple[int, str, tuple[tuple[str, Any], ...]]] = set()
        members = [(own, one) for own in references(body) for one in self.fired(own)]
        groups = {group for own, one in members for group in self.groups(body, own, one)}
        for group in groups:
            inside = [(own, one) for own, one in members if group in self.groups(body, own, one)]
            for _, last in inside:
                window = [(own, one) for own, one in inside if last.time - span(body) <= one.time <= last.time]
                if holds(body, window):
                    found.add((last.time, last.event.id, group))
        by_id = {event.id: event for event in self.events}
        return [Fired(time, by_id[key], group) for time, key, group in sorted(found, key=repr)]

    def groups(self, body: dict[str, Any], own: str, one: Fired) -> list[tuple[tuple[str, Any], ...]]:
        columns = []
        for field in sorted(body.get("group-by", [])):
            there = {naming(one): name for one, name in body.get("aliases", {}).get(field, {}).items()}
            columns.append([(field, value) for value in one.read(there.get(own, field))])
        return list(product(*columns))


def naming(reference: str) -> str:
    """Return the name of a rule that is referred to by its name or its id."""
    return {identifier: name for name, identifier in IDS.items()}.get(reference, reference)


def references(body: dict[str, Any]) -> list[str]:
    condition = body.get("condition")
    if isinstance(condition, str):
        return [word for word in dict.fromkeys(condition.replace("(", " ").replace(")", " ").split())
                if word not in ("and", "or", "not")]  # fmt: skip
    return [naming(reference) for reference in body["rules"]]


def span(body: dict[str, Any]) -> int:
    return int(body["timespan"].removesuffix("s"))


def holds(body: dict[str, Any], window: list[tuple[str, Fired]]) -> bool:
    kind, condition = body["type"], body.get("condition")
    present = {own for own, _ in window}
    if isinstance(condition, str):
        if kind == "temporal":
            return bool(eval(condition, {}, {own: own in present for own in references(body)}))
        return in_order(condition, window)
    bounds = {name: value for name, value in (condition or {}).items() if name in OPERATORS}
    if not bounds:
        bounds = {"gte": len(references(body))}
    measure = measured(kind, body, window)
    return measure is not None and all(OPERATORS[name](measure, bound) for name, bound in bounds.items())


def measured(kind: str, body: dict[str, Any], window: list[tuple[str, Fired]]) -> Any:
    if kind == "event_count":
        return len({one.event.id for _, one in window})
    if kind == "temporal":
        return len({own for own, _ in window})
    if kind == "temporal_ordered":
        return longest(references(body), window)
    field = body["condition"]["field"]
    fields = field if isinstance(field, list) else [field]
    if kind == "value_count":
        return len({row for _, one in window for row in product(*(one.read(name) for name in fields))})
    each_once = {one.event.id: one for _, one in window}.values()
    numbers = sorted(Fraction(value) for one in each_once for value in one.read(fields[0]))
    if kind == "value_sum":
        return sum(numbers, Fraction(0))
    if not numbers:
        return None
    if kind == "value_avg":
        return sum(numbers, Fraction(0)) / len(numbers)
    if kind == "value_median":
        return (numbers[(len(numbers) - 1) // 2] + numbers[len(numbers) // 2]) / 2
    percentile = Fraction(body["condition"]["percentile"])
    return next(n for n in numbers if sum(m <= n for m in numbers) * 100 >= percentile * len(numbers))


def longest(wanted: list[str], window: list[tuple[str, Fired]]) -> int:
    """Return how many of ``wanted`` there are in their order; others may be left out, equal times are in order."""

    def after(position: int, time: int) -> int:
        options = [0]
        for later in range(position, len(wanted)):
            options += [1 + after(later + 1, one.time) for own, one in window
                        if own == wanted[later] and one.time >= time]  # fmt: skip
        return max(options)

    return after(0, -1)


def in_order(condition: str, window: list[tuple[str, Fired]]) -> bool:
    """Tell whether one of the alternatives of ``(a or b) and c`` is there in its order."""
    alternatives = [part.strip(" ()").split(" or ") for part in condition.split(" and ")]
    return any(longest(list(choice), window) == len(choice) for choice in product(*alternatives))


# --- rules and events ---------------------------------------------------------------------------------------------


@st.composite
def correlations(draw: st.DrawFn, below: list[str]) -> dict[str, Any]:
    kind = draw(
        st.sampled_from(["event_count", "value_count", "value_count", *NUMERIC, "temporal", "temporal_ordered"])
    )
    names = draw(st.lists(st.sampled_from(below), min_size=1, max_size=3, unique=True))
    body: dict[str, Any] = {"type": kind, "timespan": f"{draw(st.integers(1, 6))}s"}
    body["rules"] = [draw(st.sampled_from([name, IDS[name]])) for name in names]
    operators = draw(st.lists(st.sampled_from(sorted(OPERATORS)), min_size=1, max_size=2, unique=True))
    bounds: dict[str, Any] = {name: draw(st.integers(0, 4)) for name in operators}
    if kind in ("temporal", "temporal_ordered"):
        written = draw(st.sampled_from(["expression", "bounds", "none"]))
        if written == "bounds":
            body["condition"] = bounds
        if written == "expression":
            body["condition"] = draw(expressions(names, ordered=kind == "temporal_ordered"))
            if draw(st.booleans()):
                del body["rules"]
    else:
        body["condition"] = bounds
    if kind == "value_count":
        fields = draw(st.lists(st.sampled_from(GROUPING), min_size=1, max_size=2, unique=True))
        bounds["field"] = fields if len(fields) > 1 else fields[0]
    if kind in NUMERIC:
        bounds["field"] = "requestParameters.n"
    if kind == "value_percentile":
        bounds["percentile"] = draw(st.sampled_from([0, 1, 50, 90, 100]))
    if grouped := draw(st.lists(st.sampled_from([*GROUPING, "who"]), max_size=2, unique=True)):
        body["group-by"] = grouped
    if "who" in grouped:
        called = [draw(st.sampled_from([name, IDS[name]])) for name in names]
        body["aliases"] = {"who": {one: draw(st.sampled_from(GROUPING)) for one in called}}
    return body


@st.composite
def expressions(draw: st.DrawFn, names: list[str], *, ordered: bool) -> str:
    parts = list(names)
    if not ordered:
        parts = [draw(st.sampled_from([name, f"not {name}"])) for name in names]
    if len(parts) == 3:
        shapes = ["({0} or {1}) and {2}", "{0} and {1} and {2}", "{0} or {1} or {2}", "{0} and ({1} or {2})"]
        if not ordered:
            shapes += ["not ({0} and {1}) and {2}", "{0} or {1} and {2}"]
        return draw(st.sampled_from(shapes)).format(*parts)
    return draw(st.sampled_from([" and ", " or "])).join(parts)


@st.composite
def events(draw: st.DrawFn) -> list[Made]:
    made = []
    for number in range(draw(st.integers(0, 10))):
        values: dict[str, list[Any]] = {}
        for field, several in (("sourceIPAddress", "xy"), ("awsRegion", "xyz"), ("requestParameters.names", "xyz")):
            most = 2 if field.startswith("request") else 1
            values[field] = draw(st.lists(st.sampled_from(several), max_size=most, unique=True))
        values["requestParameters.n"] = draw(st.lists(st.integers(-2, 4), max_size=2, unique=True))
        made.append(Made(f"{number:09d}", draw(st.integers(0, 12)), draw(st.sampled_from("ABC")), values))
    return made


def document(event: Made) -> Event:
    moment = (START + timedelta(seconds=event.time)).isoformat().replace("+00:00", "Z")
    source: dict[str, Any] = {"@timestamp": moment, "event": {"action": event.name}}
    for field, found in event.values.items():
        if not found:
            continue
        *parents, last = PLACES[field].split(".")
        target = source
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = found if field.startswith("request") and len(found) > 1 else found[0]
    return Event(source, SCHEMA)


def written(bodies: dict[str, dict[str, Any]]) -> Pack:
    documents: list[dict[str, Any]] = [
        {"title": name, "name": name, "id": IDS[name], "logsource": LOGSOURCE,
         "detection": {"s": {"eventName": names}, "condition": "s"}}
        for name, names in BASES.items()
    ]  # fmt: skip
    documents += [{"title": n, "name": n, "id": IDS[n], "correlation": body} for n, body in bodies.items()]
    text = yaml.safe_dump_all(documents, sort_keys=False)
    return compile_rules(rule_set(read_documents(Path("made.yml"), text)))


PROFILE = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def agrees(bodies: dict[str, dict[str, Any]], name: str, made: list[Made]) -> Iterator[Any]:
    pack = written(bodies)
    assert not pack.errors, (bodies, pack.errors)
    (node,) = (one for one in pack.correlations if one.rule.sigma_name == name)
    found = triggers(node, [document(event) for event in made])
    fields = {place: field for field, place in PLACES.items()}
    ours = [(t.time, t.event.id, tuple(sorted((fields.get(k, k), v) for k, v in t.group))) for t in found]
    begin = int(START.timestamp()) * 1000
    theirs = [(begin + 1000 * one.time, one.event.id, one.group) for one in Specification(bodies, made).fired(name)]
    assert len(ours) == len(set(ours)), "fired twice"
    assert set(ours) == set(theirs), yaml.safe_dump(bodies)
    yield from found


@PROFILE
@given(correlations(list(BASES)), events())
def test_a_correlation_fires_where_the_specification_says(body: dict[str, Any], made: list[Made]) -> None:
    for trigger in agrees({"outer": body}, "outer", made):
        assert trigger.event.id in {match.id for match in evidence([trigger])}


@PROFILE
@given(correlations(list(BASES)), st.data(), events())
def test_so_does_one_over_another(inner: dict[str, Any], data: st.DataObject, made: list[Made]) -> None:
    outer = data.draw(correlations(["inner", "alpha", "gamma"]))
    for trigger in agrees({"inner": inner, "outer": outer}, "outer", made):
        assert trigger.event.id in {match.id for match in evidence([trigger])}


@PROFILE
@given(correlations(list(BASES)), correlations(list(BASES)), st.booleans(), st.booleans())
def test_base_rules_alert_only_if_everything_above_them_generates(
    one: dict[str, Any], other: dict[str, Any], first: bool, second: bool
) -> None:
    pack = written({"inner": {**one, "generate": first}, "outer": {**other, "generate": second}})
    silent = {name for body, loud in ((one, first), (other, second)) if not loud for name in references(body)}
    assert {rule.rule.sigma_name for rule in pack.rules} == set(BASES) - silent
    assert {rule.rule.sigma_name for rule in pack.base_rules} == silent


def test_an_event_counts_with_every_value_it_has_in_the_groups_below() -> None:
    inner = {"type": "event_count", "rules": ["alpha"], "group-by": ["requestParameters.names"], "timespan": "5s",
             "condition": {"gte": 1}}  # fmt: skip
    outer = {"type": "value_count", "rules": ["inner"], "timespan": "5s",
             "condition": {"field": "requestParameters.names", "gte": 2}}  # fmt: skip
    made = [Made("000000000", 1, "A", {"requestParameters.names": ["x", "y"]})]
    assert len(list(agrees({"inner": inner, "outer": outer}, "outer", made))) == 1
