"""What is read to judge by, on a real server: shorter ways to read say what reading everything says."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from detection_events import START, SettableClock, action, alerts, correlation, event, put, rule
from opensearchpy import OpenSearch

from loader.detection import run
from loader.detection.cursor import read_positions
from loader.detection.event_reader import EventReader
from loader.detection.matches import Match
from loader.detection.model import Condition, Suppression
from loader.detection.run import RunOptions, run_once
from loader.detection.search import Searcher
from loader.index.engine import read_engine

pytestmark = pytest.mark.integration

LOGIN = rule("failed_login", action("ConsoleLogin"))
LONG = "u" * 9000
FIRST, LAST = (int((START + timedelta(days=days)).timestamp() * 1000) for days in (-2, 2))


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(START + timedelta(hours=1))


def reader(client: OpenSearch, clock: SettableClock, **how: Any) -> EventReader:
    indices = {shard.index for shard in read_positions(client, [LOGIN.index]).shards}
    return EventReader(Searcher(client, engine=read_engine(client), clock=clock), indices, **how)


def test_columns_tell_what_documents_tell(templates: OpenSearch, clock: SettableClock) -> None:
    documents = {f"e{n}": event(n // 3, "ConsoleLogin", user=f"u{n % 4}") for n in range(30)}
    documents |= {"long": event(5, "ConsoleLogin", user=LONG), "other": event(5, "Other")}
    documents["many"] = event(6, "ConsoleLogin", related__user=["b", "a", "b"])
    documents["none"] = event(7, "ConsoleLogin")
    del documents["none"]["user"]
    put(templates, documents)
    templates.indices.refresh(index="log-*")
    paths = ("user.name", "related.user", "cloud.region")

    def told(matches: list[Match]) -> list[Any]:
        return sorted((m.time, [(path, sorted(set(m.source.get(path, ())))) for path in paths]) for m in matches)

    for page in (7, 2000):
        one = reader(templates, clock, page=page)
        whole, short = one.read(LOGIN, FIRST, LAST, paths), one.sketch(LOGIN, FIRST, LAST, paths)
        assert len(whole) == len({match.id for match in short}) == 33
        assert told(short) == told(whole)


def test_without_ids_the_documents_are_read(templates: OpenSearch, clock: SettableClock) -> None:
    documents = {f"e{n}": event(1, "ConsoleLogin") for n in range(3)}
    for document in documents.values():
        document["event"]["id"] = None
    put(templates, documents)
    templates.indices.refresh(index="log-*")
    found = reader(templates, clock).sketch(LOGIN, FIRST, LAST, ("user.name",))
    assert sorted(match.id for match in found) == ["e0", "e1", "e2"]


@pytest.mark.parametrize("seed", range(2))
def test_spikes_told_by_numbers_are_those_told_by_events(
    templates: OpenSearch, clock: SettableClock, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    dice = random.Random(seed)
    rules = [
        correlation(f"spike_{bound}", "spike", {"login": LOGIN}, 600, group_by=("user.name",),
                    condition=Condition({"gte": bound}), suppress_by=("user.name",),
                    suppression=Suppression(("user.name",), 1800),
                    extra={"baseline": "6h", "minimum": 5, "warmup": "0d"})
        for bound in (2, 4)
    ]  # fmt: skip
    clock.time = START + timedelta(days=1)
    for cycle in range(3):
        # Late ones everywhere, bursts, a user whose name is too long to be counted, and copies beside the day's index.
        moments = [dice.randrange(0, 80_000) for _ in range(60)]
        for start in (dice.randrange(0, 80_000) for _ in range(4)):
            moments += [start + dice.randrange(0, 600) for _ in range(dice.randrange(3, 25))]
        documents = {
            f"{cycle}-{n}": event(moment, "ConsoleLogin", user=dice.choice(("alice", "bob", LONG, None)))
            for n, moment in enumerate(moments)
        }
        put(templates, documents)
        copies = {name: document for name, document in documents.items() if dice.random() < 0.2}
        put(templates, copies, index="log-aws-cloudtrail-misdated")
        report = run_once(templates, rules, clock=clock)
        assert report.errors == {}
    counted = {name: _told(alert) for name, alert in alerts(templates).items()}
    assert len(counted) > 3
    templates.indices.delete(index="siem-*")
    monkeypatch.setattr(run, "counts_baseline", lambda _: False)
    run_once(templates, rules, clock=clock)
    read = {name: _told(alert) for name, alert in alerts(templates).items()}
    # What a later event refuted stays, as refuted, where it was found before that event came.
    assert {name: told for name, told in counted.items() if told[0] != "withdrawn"} == read


def _told(alert: Mapping[str, Any]) -> tuple[Any, ...]:
    siem = alert["siem"]
    return siem.get("verdict"), alert["event"]["reason"], siem["count"], siem["evidence"], siem["baseline"]


def test_correlations_worked_out_side_by_side_are_those_one_after_the_other(
    templates: OpenSearch, clock: SettableClock
) -> None:
    by_user: dict[str, Any] = {"group_by": ("user.name",)}
    rules = [
        correlation(f"{kind}_{seconds}", kind, {"login": LOGIN}, seconds, **by_user, **more)
        for seconds in (60, 600, 7200)
        for kind, more in (
            ("event_count", {"condition": Condition({"gte": 3})}),
            ("value_count", {"condition": Condition({"gte": 2}, ("cloud.region",))}),
            ("new_terms", {"condition": Condition({}, ("cloud.region",)), "extra": {"warmup": "0d"}}),
            ("spike", {"condition": Condition({"gte": 2}), "extra": {"baseline": "6h", "minimum": 3, "warmup": "0d"}}),
            ("absence", {}),
        )
    ]
    dice = random.Random(4)
    put(
        templates,
        {
            f"e{n}": event(
                dice.randrange(0, 40_000),
                "ConsoleLogin",
                user=dice.choice(("alice", "bob", "carol")),
                cloud__region=dice.choice(("eu-west-1", "us-east-1")),
            )
            for n in range(200)
        },
    )
    clock.time = START + timedelta(days=1)
    found = []
    for workers in (1, 5):
        report = run_once(templates, rules, clock=clock, options=RunOptions(start="past", workers=workers))
        assert report.errors == {}
        found.append({name: _all_told(alert) for name, alert in alerts(templates).items()})
        templates.indices.delete(index="siem-*")
    assert len(found[0]) > 50
    assert found[0] == found[1]


def _all_told(alert: Mapping[str, Any]) -> tuple[Any, ...]:
    return alert["rule"]["id"], alert["event"]["reason"], alert["siem"]["evidence"]
