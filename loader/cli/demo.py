"""``siem demo``: the whole way once, on real parts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from opensearchpy import OpenSearch
from rich.progress import Progress
from rich.text import Text

from loader.cli.output import LEVEL_STYLES, console, print_json, progress, table
from loader.cli.settings import with_local_stack
from loader.cli.up import bring_up, heap_option
from loader.clock import SystemClock
from loader.config import Settings, read_settings
from loader.dashboards.build import build_all
from loader.detection.compile import compile_rules
from loader.detection.load import load_rules
from loader.detection.run import RunOptions, run_once
from loader.errors import SiemError
from loader.index.drift import apply_existing, plan_existing
from loader.index.templates import apply, plan, read_templates
from loader.ingest.assemble import assemble, aws_client, message_handler
from loader.ingest.report import ObjectReport, Totals
from loader.ingest.worker import QueueOptions, QueueWorker
from loader.local.stack import LocalStack, StackStatus
from loader.local.trail import Delivery, create_delivery, find_log_files, keys_for
from loader.project import rules_dir, sample_events_dir
from loader.telemetry import configure_logging

_BUCKET = "siem-demo-trail"
_QUEUE = "siem-demo-notifications"
_EVENTS = "log-aws-cloudtrail-*"
_ALERTS = "siem-alerts-*"


class CountError(SiemError):
    """The cluster holds another number of new documents than were counted as indexed."""


@dataclass(frozen=True, slots=True)
class RuleAlerts:
    """The alerts of one rule in the cluster."""

    uuid: str
    name: str
    level: str
    count: int


@dataclass(slots=True)
class Summary:
    """What the demo did."""

    totals: Totals
    uploaded: int
    new_in_cluster: int
    documents: int
    alerts: list[RuleAlerts] = field(default_factory=list)
    alerts_new: int = 0
    dashboards: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as plain values."""
        return {
            **self.totals.as_dict(),
            "new_in_cluster": self.new_in_cluster,
            "documents_in_cluster": self.documents,
            "alerts": {entry.uuid: entry.count for entry in self.alerts},
            "alerts_new": self.alerts_new,
            "dashboards": self.dashboards,
            "problems": self.problems,
            "seconds": round(self.seconds, 1),
        }


@click.command("demo")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True),
    help="A folder of CloudTrail .json or .json.gz files, however deep.  [default: the bundled files]",
)
@click.option("--keep", is_flag=True, help="Leave the local stack running at the end.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@heap_option
def command(data: Path | None, keep: bool, as_json: bool, heap: str) -> None:
    """Show the whole way on this machine: log files in S3, notifications, documents, rules, alerts, a dashboard.

    Starts a real OpenSearch and an emulator of S3 and SQS on loopback (siem up), applies the index templates, uploads
    the log files to a bucket, lets a worker consume the notifications, runs the rules over what was loaded, and writes
    the dashboards. Run it again: no document is loaded twice and no alert raised twice.
    """
    started = time.monotonic()
    configure_logging("ERROR")
    folder = data or sample_events_dir()
    files = find_log_files(folder)
    ran_before = LocalStack(settings=read_settings()).status().running
    status = bring_up(heap, quiet=as_json)
    try:
        with progress(quiet=as_json) as bars:
            settings = with_local_stack(read_settings(), status)
            summary = run_demo(settings, files, folder, status.run_dir / "dashboards", bars)
    finally:
        if not keep and not ran_before:
            LocalStack(settings=read_settings()).down()
    summary.seconds = time.monotonic() - started
    if as_json:
        print_json(summary.as_dict())
    else:
        _print(summary, status, kept=keep or ran_before)


def run_demo(settings: Settings, files: list[Path], folder: Path, dashboards: Path, bars: Progress) -> Summary:
    """Go the whole way once, with the cluster and the AWS endpoint of ``settings``.

    Raises:
        CountError: the cluster holds another number of new documents than were counted as indexed.
    """
    clock = SystemClock()
    s3, sqs = aws_client(settings, "s3"), aws_client(settings, "sqs")
    assembly = assemble(settings, clock=clock)
    cluster = assembly.cluster
    changes = plan(cluster, read_templates())
    apply(cluster, changes)
    # A stack that was kept since an older version of this project has indices that lack its new fields.
    apply_existing(cluster, plan_existing(cluster, [change.template for change in changes]))
    before = _count(cluster, _EVENTS)
    delivery = create_delivery(s3, sqs, bucket=_BUCKET, queue=_QUEUE, region=settings.aws_region or "us-east-1")
    _upload(s3, delivery, files, folder, bars)
    with _bar(bars, "Loading log files", len(files)) as advance:

        def on_report(_: ObjectReport) -> None:
            advance()

        options = QueueOptions(delivery.queue_url, workers=settings.workers, drain=True)
        handler = message_handler(assembly, queue=_QUEUE, on_report=on_report)
        totals = QueueWorker(sqs, handler, options, clock=clock).run()
    documents = _count(cluster, _EVENTS)
    if documents - before != totals.counts.indexed:
        message = f"{totals.counts.indexed} documents counted as indexed, {documents - before} more in the cluster"
        raise CountError(message, where=settings.cluster_url)
    summary = Summary(totals, len(files), documents - before, documents)
    with _bar(bars, "Running the rules", 1) as advance:
        pack = compile_rules(load_rules([rules_dir()]))
        report = run_once(cluster, pack.alerting, clock=clock, options=RunOptions(start="past"))
        summary.alerts_new = report.alerts_new
        summary.problems = [f"{problem.where}: {problem.message}" for problem in pack.errors]
        summary.problems += [f"{name}: {error}" for name, error in report.errors.items()]
        advance()
    summary.alerts = _alerts_by_rule(cluster)
    summary.dashboards = _write_dashboards(dashboards)
    return summary


def _upload(s3: Any, delivery: Delivery, files: list[Path], folder: Path, bars: Progress) -> None:
    with _bar(bars, "Uploading log files", len(files)) as advance:
        for path, key in keys_for(files, folder):
            s3.put_object(Bucket=delivery.bucket, Key=key, Body=path.read_bytes())
            advance()


@contextmanager
def _bar(bars: Progress, text: str, total: int) -> Iterator[Any]:
    task = bars.add_task(text, total=total)
    yield lambda: bars.advance(task)
    bars.update(task, completed=total)


def _count(cluster: OpenSearch, pattern: str) -> int:
    cluster.indices.refresh(index=pattern, params={"ignore_unavailable": "true"})
    return int(cluster.count(index=pattern)["count"])


def _alerts_by_rule(cluster: OpenSearch) -> list[RuleAlerts]:
    """Return the alerts in the cluster by rule, the most severe first."""
    cluster.indices.refresh(index=_ALERTS, params={"ignore_unavailable": "true"})
    one = {
        name: {"terms": {"field": path, "size": 1}} for name, path in (("name", "rule.name"), ("level", "siem.level"))
    }
    body = {"size": 0, "aggs": {"rules": {"terms": {"field": "rule.uuid", "size": 10_000}, "aggs": one}}}
    answer = cluster.search(index=_ALERTS, body=body, params={"ignore_unavailable": "true"})
    found = [
        RuleAlerts(bucket["key"], _first(bucket["name"]), _first(bucket["level"]), bucket["doc_count"])
        for bucket in answer.get("aggregations", {}).get("rules", {}).get("buckets", [])
    ]
    order = list(LEVEL_STYLES)
    return sorted(found, key=lambda entry: (order.index(entry.level), -entry.count, entry.name))


def _first(terms: dict[str, Any]) -> str:
    return str(terms["buckets"][0]["key"]) if terms["buckets"] else "informational"


def _write_dashboards(folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in build_all().items():
        (folder / name).write_bytes(content)
        written.append(str(folder / name))
    return written


def _print(summary: Summary, status: StackStatus, *, kept: bool) -> None:
    screen, counts = console(), summary.totals.counts
    sign = "=" if counts.balanced else "≠"
    rows: list[tuple[object, ...]] = [
        ("objects", summary.totals.objects),
        ("records read", counts.read),
        ("indexed", counts.indexed),
        ("duplicates", counts.duplicates),
        ("dead-lettered", counts.dead_lettered),
        ("dropped by filters", counts.dropped),
    ]
    rows += [(f"skipped: {name}", count) for name, count in sorted(summary.totals.skipped.items())]
    rows += [(f"parked: {name}", count) for name, count in sorted(summary.totals.parked.items())]
    screen.print(table("Loaded", ["", ""], rows, right=[1]))
    screen.print(
        f"\n{counts.read} read {sign} {counts.indexed} indexed + {counts.duplicates} duplicates"
        f" + {counts.dead_lettered} dead-lettered + {counts.dropped} dropped;"
        f" OpenSearch counts {summary.new_in_cluster} new documents, {summary.documents} in all.\n"
    )
    alerts = table(
        f"Alerts ({summary.alerts_new} new)",
        ["severity", "rule", "alerts"],
        [(Text(entry.level, LEVEL_STYLES[entry.level]), entry.name, entry.count) for entry in summary.alerts],
        right=[2],
    )
    screen.print(alerts)
    for problem in summary.problems:
        screen.print(f"not run: {problem}", markup=False)
    screen.print(f"\nDashboards  {', '.join(summary.dashboards)}", markup=False)
    if kept:
        screen.print(f"OpenSearch  {status.node.url}\nS3 and SQS  {status.aws.url}")
        screen.print("\nNext: siem alerts list; siem status; siem down")
    else:
        screen.print("\nThe stack is stopped; its documents stay. Next: siem demo --keep, then siem alerts list")
    screen.print(f"{summary.seconds:.0f} seconds", style="dim")
