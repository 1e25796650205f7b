"""Any schedule of delays, crashes, duplicates, threads and schedulers ends in the alerts of one pass over everything.

A few seeds run with the other tests. ``SIEM_CHAOS_SCHEDULES=100`` runs as many larger ones; ``SIEM_CHAOS_SEED`` is the
first of them.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from opensearchpy import OpenSearch
from scenario_world import (
    DAY,
    HOUR,
    MINUTE,
    MONOTONE,
    START,
    WAITING,
    Scheduler,
    World,
    WorldClock,
    alerts,
    forget,
    load,
)

from loader.detection.run import RunOptions

_MANY = int(os.environ.get("SIEM_CHAOS_SCHEDULES", "0"))
# A large schedule is some thousand searches: minutes on a busy machine.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600 if _MANY else 300)]
_FIRST = int(os.environ.get("SIEM_CHAOS_SEED", "1"))
_SEEDS = range(_FIRST, _FIRST + (_MANY or 2))
_EVENTS = 600 if _MANY else 150
_CYCLES = 60 if _MANY else 14
#: Where another scheduler may come in between.
_STEPS = (
    "positions read",
    "refreshed",
    "batch examined",
    "alerts read",
    "events read",
    "some alerts written",
    "coverage saved",
)


def _options(seed: int, **more: Any) -> RunOptions:
    """Return small portions; every second world works several correlations out at a time."""
    return RunOptions(chunk=64, deferred_chunk=200, start="past", workers=1 + 2 * (seed % 2), **more)


def _live_through(client: OpenSearch, world: World, options: RunOptions, rules: tuple) -> Counter[str]:
    """Let the world happen to two schedulers. Return what went wrong on the way."""
    rng = random.Random(world.seed + 1)
    clocks = [WorldClock(), WorldClock(timedelta(seconds=rng.uniform(-30, 30)))]
    schedulers = [Scheduler(client, rules, clock, options) for clock in clocks]
    moments = sorted(START + (world.end - START) * rng.random() for _ in range(_CYCLES))
    faults: Counter[str] = Counter()
    loaded = 0

    def live_until(moment: datetime) -> None:
        nonlocal loaded
        arrived = loaded
        while arrived < len(world.arrivals) and world.arrivals[arrived].at <= moment:
            arrived += 1
        load(client, world.arrivals[loaded:arrived])
        loaded = arrived
        for clock in clocks:
            clock.time = max(clock.time, moment)

    for moment in moments:
        live_until(moment)
        one, other = rng.sample(schedulers, 2)
        kind = rng.random()
        if kind < 0.4:
            one.cycle(crash_after=rng.randrange(1, 60))
        elif kind < 0.8:
            later = moment + rng.random() * HOUR

            def meanwhile(later: datetime = later, other: Scheduler = other) -> None:
                live_until(later)
                other.cycle()

            one.cycle(between={(rng.choice(_STEPS), rng.randrange(1, 5)): meanwhile})
            faults["interleaved"] += 1
        else:
            one.cycle()
    live_until(world.end)
    for _ in range(3):
        for scheduler in schedulers:
            report = scheduler.cycle()
            assert report is not None
            assert report.errors == {}
    assert report.complete
    faults["crashed"] = sum(scheduler.crashes for scheduler in schedulers)
    return faults


def _one_pass(client: OpenSearch, world: World, options: RunOptions, rules: tuple) -> dict:
    forget(client)
    clock = WorldClock()
    clock.time = world.end
    report = Scheduler(client, rules, clock, options).cycle()
    assert report is not None
    assert report.complete
    return alerts(client)


def _told(some: dict, others: dict) -> list[str]:
    """Return those alerts that the others have not, in short: what a failure shows first."""
    return [
        f"{alert['rule']['id']} {alert['@timestamp']} {alert['siem']['group_key']}: {alert['message']}"
        for key, alert in some.items()
        if others.get(key) != alert
    ]


@pytest.mark.parametrize("seed", _SEEDS)
def test_monotone_rules_under_any_delay(templates: OpenSearch, seed: int) -> None:
    world = World(seed, _EVENTS, longest_delay=DAY)
    options = _options(seed)
    faults = _live_through(templates, world, options, MONOTONE)
    lived = alerts(templates)
    expected = _one_pass(templates, world, options, MONOTONE)
    assert faults["crashed"] + faults["interleaved"] > 0
    assert Counter(alert["rule"]["id"] for alert in lived.values()) == Counter(
        alert["rule"]["id"] for alert in expected.values()
    )
    assert _told(lived, expected) == _told(expected, lived)
    assert lived == expected
    assert {alert["rule"]["id"] for alert in expected.values()} >= {"make", "use_folded", "count"}


@pytest.mark.parametrize("seed", _SEEDS)
def test_rules_that_wait_under_delays_they_wait_for(templates: OpenSearch, seed: int) -> None:
    world = World(seed, _EVENTS, longest_delay=20 * MINUTE)
    # The schedulers' clocks differ by 30 seconds at most: waiting has to cover that, too.
    options = _options(seed, lateness=21 * MINUTE)
    _live_through(templates, world, options, WAITING)
    lived = alerts(templates)
    assert not [alert for alert in lived.values() if "verdict" in alert["siem"]], "nothing had to be withdrawn"
    expected = _one_pass(templates, world, options, WAITING)
    assert _told(lived, expected) == _told(expected, lived)
    assert lived == expected
    assert expected


@pytest.mark.parametrize("seed", _SEEDS)
def test_rules_that_wait_withdraw_what_later_events_refute(templates: OpenSearch, seed: int) -> None:
    world = World(seed, _EVENTS, longest_delay=12 * HOUR)
    options = _options(seed, lateness=10 * MINUTE)
    _live_through(templates, world, options, WAITING)
    lived = alerts(templates)
    expected = _one_pass(templates, world, options, WAITING)
    standing = {key: alert for key, alert in lived.items() if alert["siem"].get("verdict") != "withdrawn"}
    assert _told(standing, expected) == _told(expected, standing)
    assert standing == expected
    assert all(alert["siem"]["status"] == "open" for alert in lived.values()), "only people close alerts"
