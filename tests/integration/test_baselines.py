"""First appearances: what is stored of the past, what a rule does before it knows enough, and what it costs."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from detection_events import START, SettableClock, action, alerts, by_rule, correlation, event, put, rule
from opensearchpy import OpenSearch

from loader.clock import SystemClock
from loader.detection.baselines import BaselineStore
from loader.detection.first_seen import Seen
from loader.detection.model import CompiledCorrelation, Condition
from loader.detection.report import RunReport
from loader.detection.run import RunOptions, run_once

pytestmark = pytest.mark.integration

DAY = 86_400
STORED = RunOptions(stored_baselines=True)
MADE = rule("made", action("CreateAccessKey"))


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(START + timedelta(hours=1))


def new_region(**more: Any) -> CompiledCorrelation:
    return correlation(
        "new_region",
        "new_terms",
        {"made": MADE},
        28 * DAY,
        group_by=("user.name",),
        condition=Condition(fields=("cloud.region",)),
        **more,
    )


def put_days(client: OpenSearch, days: int, region: str = "eu-west-1", name: str = "CreateAccessKey") -> None:
    put(client, {f"{region}-{day}": event(-day * DAY, name, cloud__region=region) for day in range(1, days + 1)})


def cycle(client: OpenSearch, clock: SettableClock, *more: CompiledCorrelation) -> RunReport:
    report = run_once(client, [new_region(), *more], clock=clock, options=STORED)
    assert report.complete
    assert report.errors == {}
    return report


def test_a_fresh_installation_learns_before_it_says_what_is_new(templates: OpenSearch, clock: SettableClock) -> None:
    put_days(templates, 2)
    put(templates, {"first": event(0, "CreateAccessKey", cloud__region="sa-east-1")})
    report = cycle(templates, clock)
    assert report.alerts_new == 0
    assert report.learning == {"new_region": 2}, "the region of every day, once, and the new one"
    clock.time += timedelta(days=5)
    # Other events tell that there are logs, too.
    put(templates, {f"other-{day}": event(day * DAY, "DescribeInstances") for day in range(5)})
    put(templates, {"second": event(5 * DAY, "CreateAccessKey", cloud__region="af-south-1")})
    report = cycle(templates, clock)
    assert report.alerts_new == 1
    assert report.learning == {}
    (alert,) = alerts(templates).values()
    assert alert["event"]["reason"].startswith(
        "first “made” with cloud.region af-south-1 in 28 days (of which the index holds 7)"
    )


def test_of_a_baseline_of_hours_no_days_are_told(templates: OpenSearch, clock: SettableClock) -> None:
    """Schedule of seed 4203: what the line said hung on which moment of the day had been judged first."""
    short = correlation(
        "short",
        "new_terms",
        {"made": MADE},
        7200,
        group_by=("user.name",),
        condition=Condition(fields=("cloud.region",)),
    )
    put_days(templates, 1)
    # Shortly after midnight the baseline reaches into the day before, later on it does not.
    put(templates, {"night": event(DAY - 36_000 + 600, "CreateAccessKey", cloud__region="a")})
    clock.time = START + timedelta(days=1, hours=1)
    options = RunOptions(stored_baselines=True, start="past")
    run_once(templates, [short], clock=clock, options=options)
    put(templates, {"morning": event(DAY - 36_000 + 9_480, "CreateAccessKey", "bob", cloud__region="b")})
    run_once(templates, [short], clock=clock, options=options)
    found = [alert["event"]["reason"] for alert in alerts(templates).values()]
    assert len(found) == 3
    assert all("in 2 hours for" in reason for reason in found), found


def test_the_past_is_stored_and_outlives_its_events(templates: OpenSearch, clock: SettableClock) -> None:
    put_days(templates, 10, "ap-east-1")
    put_days(templates, 9, "eu-west-1")
    cycle(templates, clock)
    before = len(alerts(templates))
    templates.indices.delete(index=f"log-aws-cloudtrail-{START - timedelta(days=10):%Y.%m.%d}")
    gone = templates.search(index="log-*", body={"size": 100, "query": {"term": {"cloud.region": "ap-east-1"}}})
    for hit in gone["hits"]["hits"]:
        templates.delete(index=hit["_index"], id=hit["_id"], params={"refresh": "true"})
    put(templates, {"again": event(0, "CreateAccessKey", cloud__region="ap-east-1")})
    put(templates, {"new": event(1, "CreateAccessKey", cloud__region="me-south-1")})
    assert cycle(templates, clock).alerts_new == 1
    found = alerts(templates)
    assert len(found) == before + 1
    (reason,) = [alert["event"]["reason"] for alert in found.values() if "me-south-1" in alert["event"]["reason"]]
    assert "ap-east-1" not in reason


def test_a_rule_that_comes_later_knows_the_past_it_was_not_there_for(
    templates: OpenSearch, clock: SettableClock
) -> None:
    put_days(templates, 9)
    other = correlation("burst", "event_count", {"made": MADE}, 600, condition=Condition({"gte": 99}))
    run_once(templates, [other], clock=clock)
    assert cycle(templates, clock, other).examined == 0, "it begins with what comes from now on"
    put(templates, {"known": event(0, "CreateAccessKey"), "new": event(1, "CreateAccessKey", cloud__region="il-1")})
    assert cycle(templates, clock, other).alerts_new == 1
    (alert,) = by_rule(alerts(templates), "new_region")
    assert [one["id"] for one in alert["siem"]["evidence"]] == ["new"]


def test_what_comes_late_moves_the_first_appearance(templates: OpenSearch, clock: SettableClock) -> None:
    put_days(templates, 9)
    put(templates, {"seen": event(0, "CreateAccessKey", cloud__region="me-south-1")})
    cycle(templates, clock)
    (alert,) = (one for one in alerts(templates).values() if "me-south-1" in one["event"]["reason"])
    assert [one["id"] for one in alert["siem"]["evidence"]] == ["seen"]
    # The day before somebody had been there already; the file comes a day late.
    put(templates, {"earlier": event(-DAY, "CreateAccessKey", cloud__region="me-south-1")})
    clock.time += timedelta(hours=1)
    cycle(templates, clock)
    found = [one for one in alerts(templates).values() if "me-south-1" in one["event"]["reason"]]
    verdicts = {one["siem"]["evidence"][0]["id"]: one["siem"].get("verdict") for one in found}
    assert verdicts == {"seen": "withdrawn", "earlier": None}


def test_what_is_known_costs_nothing_however_long_the_past(templates: OpenSearch, clock: SettableClock) -> None:
    put_days(templates, 9)
    cycle(templates, clock)
    searches = []
    for number in range(2):
        put(templates, {f"known-{number}": event(60 + number, "CreateAccessKey")})
        searches.append(cycle(templates, clock).searches)
        put(templates, {f"more-{number}-{n}": event(-DAY * (n % 9) - n, "CreateAccessKey") for n in range(300)})
        run_once(templates, [new_region()], clock=clock, options=STORED)
    assert searches[0] == searches[1]
    templates.indices.refresh(index="siem-baselines")
    (baseline,) = templates.search(index="siem-baselines", body={"query": {"exists": {"field": "group"}}})["hits"][
        "hits"
    ]
    assert list(baseline["_source"]["terms"]) == ['["eu-west-1"]']


def test_what_has_expired_is_removed_and_nothing_else(templates: OpenSearch) -> None:
    page, keep, now = 4, 1000, START
    store = BaselineStore(templates, "mine", "mine", length=DAY * 1000, clock=SystemClock(), page=page)
    other = BaselineStore(templates, "other", "other", length=DAY * 1000, clock=SystemClock())
    then = int(now.timestamp() * 1000)

    def write(into: BaselineStore, name: str, last: int) -> None:
        groups = [(("user.name", f"{name}-{n}"),) for n in range(2 * page + 1)]
        seen = {group: Seen(DAY * 1000) for group in groups}
        for one in seen.values():
            one.add("term", last, last)
        assert not into.write(seen, dict.fromkeys(groups), now=now, keep=keep)

    write(store, "expired", then - keep - 1)
    write(store, "known", then)
    write(other, "expired", then - keep - 1)

    def left() -> Counter[str]:
        templates.indices.refresh(index="siem-baselines")
        hits = templates.search(index="siem-baselines", body={"size": 1000})["hits"]["hits"]
        return Counter((hit["_source"]["name"], hit["_source"]["group"].split('"')[3].split("-")[0]) for hit in hits)

    number = 2 * page + 1
    assert left() == {("mine", "expired"): number, ("mine", "known"): number, ("other", "expired"): number}
    store.prune(now=now, abandoned_ms=keep)
    assert left() == {("mine", "known"): number, ("other", "expired"): number}, "other rules look after their own"
    # A rule that nobody runs any more cleans up nothing itself.
    store.prune(now=now + timedelta(milliseconds=keep + 1), abandoned_ms=keep)
    assert left() == {}
    store.prune(now=now, abandoned_ms=keep)
