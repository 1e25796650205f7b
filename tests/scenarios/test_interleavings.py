"""Two schedulers at the moments at which an older view of the events could win over a newer one.

The random schedules of ``test_schedules.py`` find such moments by chance. These are the ones they found, one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from opensearchpy import OpenSearch
from scenario_world import (
    DAY,
    HOUR,
    MINUTE,
    MONOTONE,
    START,
    WAITING,
    AnyRule,
    Arrival,
    Scheduler,
    WorldClock,
    alerts,
    load,
)

from loader.clock import rfc3339
from loader.detection.run import RunOptions

pytestmark = pytest.mark.integration

_OPTIONS = RunOptions(start="past", lateness=10 * MINUTE)


def _rule(name: str) -> AnyRule:
    return next(rule for rule in (*MONOTONE, *WAITING) if rule.rule.name == name)


def _event(identifier: str, action: str, moment: datetime, region: str = "a") -> Arrival:
    document = {
        "@timestamp": rfc3339(moment),
        "event": {"action": action, "ingested": rfc3339(moment)},
        "cloud": {"region": region, "account": {"id": "1"}},
        "user": {"name": "alice"},
    }
    return Arrival(identifier, document, moment)


def _two(client: OpenSearch, rule: AnyRule, moment: datetime) -> tuple[Scheduler, Scheduler]:
    schedulers = Scheduler(client, (rule,), WorldClock(), _OPTIONS), Scheduler(client, (rule,), WorldClock(), _OPTIONS)
    _move(schedulers, moment)
    return schedulers


def _move(schedulers: tuple[Scheduler, ...], moment: datetime) -> None:
    for scheduler in schedulers:
        scheduler.clock.time = moment


def _verdicts(client: OpenSearch) -> list[str]:
    return [alert["siem"].get("verdict", "standing") for alert in alerts(client).values()]


@pytest.mark.parametrize("step", ["positions read", "refreshed", "batch examined"])
def test_what_arrives_while_a_cycle_works_is_not_waited_out_by_it(templates: OpenSearch, step: str) -> None:
    scheduler, _ = _two(templates, _rule("made_not_used"), START + 5 * MINUTE)
    load(templates, [_event("make", "Make", START + 4 * MINUTE)])

    def meanwhile() -> None:
        load(templates, [_event("use", "Use", START)])
        scheduler.clock.time = START + 20 * MINUTE

    scheduler.cycle(between={(step, 1): meanwhile})
    assert _verdicts(templates) == [], "the use was there in time, but not before the cycle had refreshed"
    scheduler.cycle()
    scheduler.clock.time = START + DAY
    scheduler.cycle()
    assert _verdicts(templates) == []


@pytest.mark.parametrize("name", ["count", "made_not_used"])
@pytest.mark.parametrize("step", ["positions read", "refreshed", "batch examined"])
def test_an_index_that_is_made_while_a_cycle_works_is_read(templates: OpenSearch, name: str, step: str) -> None:
    midnight = START + 2 * HOUR
    one, other = both = _two(templates, _rule(name), midnight - 2 * MINUTE)
    actions = {"count": ("Fail", "Fail"), "made_not_used": ("Make", "Make")}[name]
    load(
        templates,
        [
            _event("before", actions[0], midnight - 3 * MINUTE),
            _event("too", actions[0], midnight - 4 * MINUTE),
            _event("and", actions[0], midnight - 5 * MINUTE),
        ],
    )

    def meanwhile() -> None:
        load(templates, [_event("after", actions[1], midnight + 1 * MINUTE)])
        _move(both, midnight + HOUR)
        other.cycle()

    one.cycle(between={(step, 1): meanwhile})
    _move(both, midnight + DAY)
    for scheduler in both:
        scheduler.cycle()
    evidence = {link["id"] for alert in alerts(templates).values() for link in alert["siem"]["evidence"]}
    assert evidence == {"before", "too", "and", "after"}
    assert set(_verdicts(templates)) == {"standing"}


@pytest.mark.parametrize("step", ["alerts read", "events read"])
def test_an_older_judgement_is_taken_back_if_it_comes_after_a_newer_one(templates: OpenSearch, step: str) -> None:
    one, other = both = _two(templates, _rule("made_not_used"), START + HOUR)
    load(templates, [_event("make", "Make", START + 4 * MINUTE)])

    def meanwhile() -> None:
        load(templates, [_event("use", "Use", START)])
        other.cycle()

    one.cycle(between={(step, 1): meanwhile})
    assert set(_verdicts(templates)) <= {"withdrawn"}
    _move(both, START + DAY)
    for scheduler in both:
        scheduler.cycle()
    assert set(_verdicts(templates)) <= {"withdrawn"}


def test_a_baseline_that_changes_under_the_same_evidence_is_told(templates: OpenSearch) -> None:
    """Late failures of long before change what a spike is compared with, not which events it consists of."""
    scheduler, _ = _two(templates, _rule("spike"), START + 3 * HOUR)
    load(templates, [_event(f"now-{n}", "Fail", START + 2 * HOUR + timedelta(seconds=n)) for n in range(20)])
    load(templates, [_event("then", "Fail", START + 90 * MINUTE)])
    scheduler.cycle()
    before = {key: alert["siem"]["baseline"] for key, alert in alerts(templates).items()}
    load(templates, [_event("late", "Fail", START + 91 * MINUTE)])
    scheduler.cycle()
    after = {key: alert["siem"]["baseline"] for key, alert in alerts(templates).items()}
    assert before.keys() == after.keys()
    assert [value["expected"] for value in after.values()] == [2 * value["expected"] for value in before.values()]


def _steps_of_a_cycle(client: OpenSearch, scheduler: Scheduler, crash: Callable[[int], object]) -> int:
    """Run cycles that crash after one step more each time, until one is whole. Return how many crashed."""
    for number in range(1, 200):
        if scheduler.cycle(crash_after=number) is not None:
            return number - 1
        crash(number)
    pytest.fail("a cycle has no end")


def test_a_crash_after_each_step_of_all_loses_nothing(templates: OpenSearch) -> None:
    """Not a random step: every one, each time with an event more to be found afterwards."""
    scheduler, _ = _two(templates, _rule("make"), START + HOUR)
    load(templates, [_event("first", "Make", START)])

    def one_more(number: int) -> None:
        load(templates, [_event(f"after-{number}", "Make", START + number * MINUTE)])

    crashed = _steps_of_a_cycle(templates, scheduler, one_more)
    assert crashed >= 5
    assert len(alerts(templates)) == crashed + 1
