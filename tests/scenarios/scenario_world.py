"""A small world for detection: events, when each arrives, schedulers that crash, and the alerts there are."""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from opensearchpy import OpenSearch

from loader.clock import rfc3339
from loader.detection.model import CompiledCorrelation, CompiledRule, Condition, CorrelationRule, Rule, Suppression
from loader.detection.places import Place, static_places
from loader.detection.report import RunReport
from loader.detection.run import RunOptions, run_once

START = datetime(2026, 5, 4, 22, 0, tzinfo=timezone.utc)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
AnyRule = CompiledRule | CompiledCorrelation


class Crash(BaseException):
    """The process is killed here. No handler of errors sees it."""


class WorldClock:
    """The true time, as one machine's clock shows it."""

    def __init__(self, skew: timedelta = timedelta()) -> None:
        self.time = START
        self.skew = skew

    def now(self) -> datetime:
        return self.time + self.skew

    def monotonic(self) -> float:
        return self.now().timestamp()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # until the cluster is ready, which has a time of its own


def _head(name: str) -> dict[str, Any]:
    return {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        "name": name,
        "title": name,
        "level": "medium",
        "status": "test",
        "path": Path(f"rules/{name}.yml"),
        "line": 1,
        "content_hash": "0" * 64,
    }


def _rule(name: str, action: str, suppression: Suppression | None = None) -> CompiledRule:
    by = suppression.by if suppression else ()
    query = {"term": {"event.action": action}}
    return CompiledRule(Rule(**_head(name), suppression=suppression), "log-aws-cloudtrail-*", query, suppress_by=by)


def _correlation(name: str, kind: str, seconds: int, *bases: AnyRule, **more: Any) -> CompiledCorrelation:
    head = CorrelationRule(**_head(name), suppression=more.pop("suppression", None), extra=more.get("extra", {}))
    rules = {base.rule.name: base for base in bases}
    return CompiledCorrelation(head, kind, rules, seconds, **{"group_by": ("user.name",), **more})


FAIL, MAKE, USE = _rule("fail", "Fail"), _rule("make", "Make"), _rule("use", "Use")
_BURST = _correlation("burst", "event_count", 600, FAIL, condition=Condition({"gte": 4}))

#: One more event can only add to these.
MONOTONE: tuple[AnyRule, ...] = (
    MAKE,
    _rule("use_folded", "Use", Suppression(("user.name",), 3600)),
    _correlation("count", "event_count", 600, FAIL, condition=Condition({"gte": 3})),
    _correlation(
        "count_suppressed",
        "event_count",
        300,
        FAIL,
        USE,
        condition=Condition({"gt": 3}),
        suppression=Suppression((), 7200),
    ),
    _correlation("places", "value_count", 1200, FAIL, condition=Condition({"gte": 3}, ("cloud.region",))),
    _correlation("bytes", "value_sum", 1200, USE, group_by=(), condition=Condition({"gte": 40}, ("cloud.account.id",))),
    _correlation("both", "temporal", 900, MAKE, USE),
    _correlation(
        "travel",
        "impossible_travel",
        3600,
        USE,
        MAKE,
        condition=Condition({}, ("cloud.region",)),
        extra={"distance_km": 500, "speed_kmh": 1000},
        places=static_places({name: Place(0, east, 10) for name, east in (("a", 0), ("b", 3), ("c", 9))}),
    ),
    _correlation("ordered", "temporal_ordered", 900, MAKE, FAIL, USE),
    _correlation("chain", "temporal_ordered", 1800, _BURST, MAKE),
    # Groups by less than what it consumes does, so that no single event tells its group.
    _correlation(
        "chain_by_region", "event_count", 3600, _BURST, group_by=("cloud.region",), condition=Condition({"gte": 2})
    ),
)
#: These have to wait for late events.
WAITING: tuple[AnyRule, ...] = (
    _correlation("few", "event_count", 600, FAIL, condition=Condition({"gte": 1, "lte": 2})),
    _correlation("average", "value_avg", 900, USE, condition=Condition({"gt": 6}, ("cloud.account.id",))),
    _correlation("made_not_used", "temporal", 900, MAKE, USE, condition=Condition(expression="make and not use")),
    _correlation("new_region", "new_terms", 7200, MAKE, condition=Condition({}, ("cloud.region",))),
    _correlation("spike", "spike", 300, FAIL, condition=Condition({"gte": 3}), extra={"baseline": "1h", "minimum": 3}),
    _correlation("silent", "absence", 1800, FAIL),
    _correlation(
        "few_bursts", "event_count", 3600, _BURST, group_by=("cloud.region",), condition=Condition({"lte": 2})
    ),
    _correlation("chain_waits", "temporal", 3600, _BURST, _correlation("silent_use", "absence", 900, USE)),
)


@dataclass
class Arrival:
    """One event and when it becomes visible in the index."""

    id: str
    document: dict[str, Any]
    at: datetime


@dataclass
class World:
    """Everything that will happen, from one seed."""

    seed: int
    events: int
    longest_delay: timedelta
    span: timedelta = 6 * HOUR
    arrivals: list[Arrival] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        for number in range(self.events):
            # Bursts: half of the events gather at a few moments, all at whole seconds as CloudTrail's are.
            second = rng.randrange(int(self.span.total_seconds()))
            if number % 2:
                second = 3600 * rng.randrange(6) + int(rng.gauss(600, 200))
            moment = START + timedelta(seconds=max(second, 0))
            kind = rng.random()
            delay = self.longest_delay * (rng.random() ** 4 if kind < 0.8 else rng.random())
            arrival = moment + max(delay, timedelta(seconds=1))
            document = {
                "@timestamp": rfc3339(moment),
                "event": {"action": rng.choice(["Fail", "Fail", "Make", "Use"]), "ingested": rfc3339(arrival)},
                "cloud": {"region": rng.choice(["a", "b", "c", "d"]), "account": {"id": str(rng.randrange(12))}},
            }
            if rng.random() < 0.95:
                document["user"] = {"name": rng.choice(["alice", "Alice", "bob"])}
            self.arrivals.append(Arrival(f"event-{number:04d}", document, arrival))
            if rng.random() < 0.1:
                self.arrivals.append(Arrival(f"event-{number:04d}", document, arrival + rng.random() * HOUR))
        self.arrivals.sort(key=lambda arrival: (arrival.at, arrival.id))

    @property
    def end(self) -> datetime:
        """Return when everything has arrived, and every rule has waited."""
        return max(START + self.span, self.arrivals[-1].at) + DAY


def load(client: OpenSearch, arrivals: Sequence[Arrival]) -> None:
    lines: list[Any] = []
    for arrival in arrivals:
        day = arrival.document["@timestamp"][:10].replace("-", ".")
        lines += [{"create": {"_index": f"log-aws-cloudtrail-{day}", "_id": arrival.id}}, arrival.document]
    if lines:
        statuses = {item["create"]["status"] for item in client.bulk(body=lines)["items"]}
        assert statuses <= {201, 409}, statuses


@dataclass
class Scheduler:
    """One process that runs cycles. It may crash after any step, and another may run between any two of its steps."""

    client: OpenSearch
    rules: Sequence[AnyRule]
    clock: WorldClock
    options: RunOptions
    crashes: int = 0

    def cycle(
        self, *, crash_after: int | None = None, between: Mapping[tuple[str, int], Callable[[], object]] | None = None
    ) -> RunReport | None:
        """Run one cycle. Steps are counted from 1; ``between`` says what happens after which one of which name."""
        steps: Counter[str] = Counter()

        def step(name: str) -> None:
            steps[name] += 1
            if between and (name, steps[name]) in between:
                between[(name, steps[name])]()
            if steps.total() == crash_after:
                raise Crash

        try:
            return run_once(self.client, self.rules, clock=self.clock, options=self.options, step=step)
        except Crash:
            self.crashes += 1
            return None


def alerts(client: OpenSearch) -> dict[str, dict[str, Any]]:
    """Return every alert by id, without what tells when it was written rather than what it says."""
    client.indices.refresh(index="siem-alerts-*", params={"ignore_unavailable": "true"})
    found: dict[str, dict[str, Any]] = {}
    body: dict[str, Any] = {"size": 1000, "sort": [{"@timestamp": "asc"}, {"_seq_no": "asc"}]}
    while True:
        hits = client.search(index="siem-alerts-*", body=body, params={"ignore_unavailable": "true"})["hits"]["hits"]
        for hit in hits:
            assert hit["_id"] not in found, "one id in two indices"
            source = hit["_source"]
            source["event"].pop("created")
            source["siem"].pop("historic")
            found[hit["_id"]] = {**source, "_index": hit["_index"]}
        if len(hits) < 1000:
            return found
        body["search_after"] = hits[-1]["sort"]


def forget(client: OpenSearch) -> None:
    """Delete everything but the events."""
    client.indices.delete(index="siem-*", params={"ignore_unavailable": "true", "allow_no_indices": "true"})
