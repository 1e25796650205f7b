"""Several schedulers: one works, the others wait; one that is killed or paused loses nothing and doubles nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from detection_events import START, SettableClock, action, alerts, correlation, event, put, rule
from opensearchpy import OpenSearch

from loader.config import Settings
from loader.detection.lease import Lease
from loader.detection.model import Condition
from loader.detection.run import RunOptions
from loader.detection.schedule import leased_run
from loader.errors import ClusterError
from loader.index.client import make_client

pytestmark = pytest.mark.integration

LOGIN = rule("failed_login", action("ConsoleLogin"))


class KilledError(BaseException):
    """The process is gone: no handler of errors sees it."""


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(START + timedelta(hours=1))


def lease(client: OpenSearch, holder: str, clock: SettableClock) -> Lease:
    return Lease(client, name="detection", holder=holder, clock=clock)


def test_of_many_that_ask_at_once_one_has_it(templates: OpenSearch, opensearch_url: str, clock: SettableClock) -> None:
    for turn in range(3):
        together = Barrier(8)

        def ask(number: int, turn: int = turn, together: Barrier = together) -> bool:
            client = make_client(Settings(cluster_url=opensearch_url))
            together.wait(30)
            try:
                return lease(client, f"{turn}:{number}", clock).acquire()
            finally:
                client.close()

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(ask, range(8))) == 1
        clock.time += timedelta(hours=1)


def test_it_is_kept_lengthened_given_back_and_taken_over(templates: OpenSearch, clock: SettableClock) -> None:
    one, other = lease(templates, "one", clock), lease(templates, "other", clock)
    assert one.acquire()
    assert not other.acquire()
    assert other.held_by == "one"
    clock.time += timedelta(minutes=4)
    assert one.acquire()
    clock.time += timedelta(minutes=5, seconds=59)
    assert not other.acquire(), "the clocks of two machines may differ"
    clock.time += timedelta(seconds=1)
    assert other.acquire()
    assert not one.acquire(), "it was paused, and is told so"
    one.release()
    assert other.acquire(), "what is another's is not given back"
    other.release()
    assert one.acquire()


def test_a_scheduler_that_is_killed_is_replaced_and_loses_nothing(templates: OpenSearch, clock: SettableClock) -> None:
    put(templates, {f"e{number}": event(number, "ConsoleLogin") for number in range(50)})
    options = RunOptions(chunk=10, start="past")
    one, other = lease(templates, "one", clock), lease(templates, "other", clock)
    written = 0

    def killed(name: str) -> None:
        nonlocal written
        written += name == "alerts written"
        if written == 3:
            raise KilledError

    with pytest.raises(KilledError):
        leased_run(templates, [LOGIN], lease=one, clock=clock, options=options, step=killed)
    before = alerts(templates)
    assert 0 < len(before) < 50
    put(templates, {f"l{number}": event(number, "ConsoleLogin") for number in range(5)})
    assert leased_run(templates, [LOGIN], lease=other, clock=clock, options=options) is None
    clock.time += timedelta(minutes=6)
    report = leased_run(templates, [LOGIN], lease=other, clock=clock, options=options)
    assert report is not None
    assert report.complete
    after = alerts(templates)
    assert len(after) == 55
    assert {key: after[key] for key in before} == before, "what there was is as it was"


def test_a_scheduler_that_slept_through_its_lease_stops(templates: OpenSearch, clock: SettableClock) -> None:
    put(templates, {f"e{number}": event(number, "ConsoleLogin") for number in range(20)})
    options = RunOptions(chunk=10, start="past")
    one, other = lease(templates, "one", clock), lease(templates, "other", clock)
    moved = SettableClock(clock.time)
    moved.monotonic = lambda: (moved.time - START).total_seconds()  # type: ignore[method-assign]
    one = lease(templates, "one", moved)

    def sleep(name: str) -> None:
        if name == "positions read":
            moved.time += timedelta(minutes=10)
            clock.time = moved.time
            assert leased_run(templates, [LOGIN], lease=other, clock=clock, options=options) is not None

    with pytest.raises(ClusterError, match="lost to another scheduler"):
        leased_run(templates, [LOGIN], lease=one, clock=moved, options=options, step=sleep)
    assert len(alerts(templates)) == 20


def test_threads_that_lengthen_it_at_once_do_not_take_it_from_each_other(
    templates: OpenSearch, clock: SettableClock
) -> None:
    put(templates, {f"e{number}": event(number, f"Call{number}") for number in range(8)})
    bases = [rule(f"call_{number}", action(f"Call{number}")) for number in range(8)]
    counts = [
        correlation(f"count_{number}", "event_count", {"base": base}, 60, condition=Condition({"gte": 1}))
        for number, base in enumerate(bases)
    ]
    seconds = 0.0

    def later() -> float:
        nonlocal seconds
        seconds += 31.0  # every step is late
        return seconds

    clock.monotonic = later  # type: ignore[method-assign]
    held = lease(templates, "one", clock)
    report = leased_run(templates, counts, lease=held, clock=clock, options=RunOptions(start="past", workers=8))
    assert report is not None
    assert report.alerts_new == 8
