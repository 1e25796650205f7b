"""The detector's loop: one cycle after the other, while this process holds the lease."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Lock
from uuid import uuid4

from opensearchpy import OpenSearch

from loader.clock import Clock
from loader.detection.lease import Lease
from loader.detection.model import CompiledCorrelation, CompiledRule
from loader.detection.report import RunReport
from loader.detection.run import RunOptions, Step, run_once
from loader.errors import ClusterError, RuleError

log = logging.getLogger(__name__)

#: The lease of detection.
LEASE = "detection"


@dataclass(frozen=True, slots=True)
class Schedule:
    """``interval`` lies between the beginnings of two cycles; ``lease`` is how long a dead scheduler is waited for."""

    interval: timedelta = timedelta(minutes=1)
    lease: timedelta = timedelta(minutes=5)


def holder_name() -> str:
    """Return a name for this process that no other has."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"


def run_forever(
    client: OpenSearch,
    rules: Callable[[], Sequence[CompiledRule | CompiledCorrelation]],
    *,
    clock: Clock,
    stop: Event,
    options: RunOptions | None = None,
    schedule: Schedule | None = None,
    on_report: Callable[[RunReport], None] = lambda _: None,
    holder: str | None = None,
) -> None:
    """Run cycles until ``stop`` is set. ``rules`` is asked before each, so that changed files are noticed.

    A cycle that fails because of the cluster is logged; the next one examines what it did not. Rules that cannot be
    read, in the middle of an edit for example, are logged, and those that were read last go on.

    Raises:
        RuleError: the rules cannot be read at the start.
    """
    schedule = schedule or Schedule()
    read: Sequence[CompiledRule | CompiledCorrelation] | None = None
    lease = Lease(client, name=LEASE, holder=holder or holder_name(), clock=clock, duration=schedule.lease)
    while not stop.is_set():
        began = clock.monotonic()
        try:
            try:
                read = rules()
            except RuleError as error:
                if read is None:
                    raise
                log.error("the rules cannot be read; those that were read last go on", extra={"error": str(error)})
            report = leased_run(client, read, lease=lease, clock=clock, options=options)
            if report is None:
                log.info("another scheduler holds the lease", extra={"holder": lease.held_by})
            else:
                on_report(report)
        except ClusterError as error:
            log.error("a cycle failed; the next one examines what it did not", extra={"error": str(error)})
        stop.wait(max(0.0, schedule.interval.total_seconds() - (clock.monotonic() - began)))
    try:
        lease.release()
    except ClusterError as error:
        log.warning("the lease was not given back; it ends by itself", extra={"error": str(error)})


def leased_run(
    client: OpenSearch,
    rules: Sequence[CompiledRule | CompiledCorrelation],
    *,
    lease: Lease,
    clock: Clock,
    options: RunOptions | None = None,
    step: Step = lambda _: None,
) -> RunReport | None:
    """Run one cycle if the lease can be had, else return ``None``. The lease is lengthened while the cycle goes on.

    Raises:
        ClusterError: the cluster cannot be asked, or the lease was lost: somebody else goes on.
    """
    if not lease.acquire():
        return None
    asked = clock.monotonic()
    # Correlations are worked out by several threads: two that lengthen the lease at once would take it from each other.
    one_at_a_time = Lock()

    def keep(name: str) -> None:
        nonlocal asked
        step(name)
        with one_at_a_time:
            if clock.monotonic() - asked >= _RENEW_S:
                asked = clock.monotonic()
                if not lease.acquire():
                    raise ClusterError("the lease was lost to another scheduler", where=LEASE)

    return run_once(client, rules, clock=clock, options=options, step=keep)


_RENEW_S = 30.0
