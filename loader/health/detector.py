"""Everything a detector does, put together: read rules, run a cycle, keep what came of it, tell people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from opensearchpy import OpenSearch

from loader.clock import Clock
from loader.config import Settings
from loader.detection.compile import Pack
from loader.detection.cycle_status import record_cycle
from loader.detection.lease import Lease
from loader.detection.pack_reader import pack_reader
from loader.detection.run import RunOptions
from loader.detection.schedule import LEASE, leased_run
from loader.discover import link_maker
from loader.index.client import make_client
from loader.notify.assemble import Notifier, make_notifier

#: A call that is cut off leaves its lease; the next call has the same name and takes it at once.
_LEASE_FOR = timedelta(minutes=5)
#: Correlations are settled after so many sequence numbers, so that a short call gets somewhere.
_DEFERRED_CHUNK = 200_000


@dataclass(frozen=True, slots=True)
class Detector:
    """Runs single cycles, each under the lease."""

    client: OpenSearch
    read: Callable[[], Pack]
    options: RunOptions
    notifier: Notifier | None
    clock: Clock

    def run(self, *, holder: str, stop: Callable[[], bool], stop_sending: Callable[[], bool]) -> dict[str, Any]:
        """Run one cycle, until ``stop`` says that time is up, and send what is due, until ``stop_sending`` does.

        Raises:
            SiemError: the rules cannot be read, or the cluster cannot be asked.
        """
        lease = Lease(self.client, name=LEASE, holder=holder, clock=self.clock, duration=_LEASE_FOR)
        pack = self.read()
        options = replace(self.options, stop=stop)
        try:
            report = leased_run(self.client, pack.alerting, lease=lease, clock=self.clock, options=options)
            if report is not None:
                report.not_run = {one.rule.name: one.reason for one in pack.waiting}
                record_cycle(self.client, report, pack, clock=self.clock, holder=holder, announce=self.options.announce)
        finally:
            lease.release()
            # Whatever became of the cycle: what was noted before is due.
            sent = self.notifier.sender.run_pass(stop=stop_sending).as_dict() if self.notifier else {}
        if report is None:
            return {"held_by": lease.held_by, "sent": sent}
        errors = report.errors | {problem.where: problem.message for problem in pack.errors}
        return {
            "rules": len(report.rules),
            "examined": report.examined,
            "alerts_new": report.alerts_new,
            "complete": report.complete,
            "seconds": round(report.seconds, 3),
            "errors": errors,
            "sent": sent,
        }


def make_detector(settings: Settings, *, clock: Clock) -> Detector:
    """Return a detector by the settings. Nothing is asked or sent yet.

    Raises:
        ConfigError: a setting cannot be used, or the channels' file.
    """
    client = make_client(settings)
    notifier = make_notifier(settings, client, clock=clock)
    options = RunOptions(
        workers=settings.detect_workers,
        link=link_maker(settings),
        announce=notifier.announce if notifier else None,
        deferred_chunk=_DEFERRED_CHUNK,
    )
    return Detector(client, pack_reader(client, settings, deployed=settings.rules_deployed), options, notifier, clock)
