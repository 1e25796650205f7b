"""``siem detect``: run the rules."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import FrameType

import click
from opensearchpy import OpenSearch

from loader.cli.notify import show_sent
from loader.cli.output import LEVEL_STYLES, console, error_console, print_json, shown_path, table
from loader.cli.settings import settings_for_cluster
from loader.clock import SystemClock
from loader.config import Settings, read_settings
from loader.detection import pack_reader
from loader.detection.compile import Pack
from loader.detection.cycle_status import record_cycle
from loader.detection.model import CompiledCorrelation, CompiledRule
from loader.detection.needs import RuleData
from loader.detection.past import examine_past
from loader.detection.report import RunReport
from loader.detection.run import RunOptions, run_once
from loader.detection.schedule import Schedule, holder_name, run_forever
from loader.discover import link_maker
from loader.errors import RuleError
from loader.exposition import MetricsServer
from loader.health.metrics import DetectionMetrics
from loader.health.watch import HealthWatch
from loader.index.client import make_client
from loader.notify.assemble import make_notifier
from loader.notify.background import BackgroundSender
from loader.notify.send import SendReport
from loader.telemetry import configure_logging

rules_option = click.option(
    "--rules",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="A folder or file of Sigma rules (repeatable).  [default: the project's rules/]",
)
variables_option = click.option(
    "--variables",
    type=click.Path(path_type=Path, exists=True),
    help="YAML file with the values of placeholders.  [default: SIEM_RULE_VARIABLES]",
)

deployed_option = click.option(
    "--deployed", is_flag=True, help="The rules that `siem rules apply` has put into the cluster, not those in files."
)


def read_data(variables: Path | None) -> RuleData:
    """Read the lists and open the databases that rules need beside events, by the settings.

    Raises:
        RuleError: the lists cannot be read.
    """
    return pack_reader.read_data(read_settings(), variables)


def read_pack(folders: tuple[Path, ...], variables: Path | None) -> Pack:
    """Load and compile the rules; what cannot be used is in the pack's problems, what lacks data in its ``waiting``."""
    return pack_reader.read_pack(read_settings(), folders, variables)


@click.group("detect")
def command() -> None:
    """Run the rules over the documents."""


@command.command("run")
@rules_option
@variables_option
@click.option("--once", is_flag=True, help="Run one cycle and end, instead of one every --interval.")
@click.option(
    "--interval", default=60, show_default=True, type=click.IntRange(1, 86400), help="Seconds between cycles."
)
@click.option(
    "--from",
    "start",
    type=click.Choice(["now", "past"]),
    default="now",
    show_default=True,
    help="Where a rule begins that is new: with what arrives from now on, or with everything that is there.",
)
@deployed_option
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Serve /metrics and /healthz on this port.")
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Address to serve them on.")
@click.option("--json", "as_json", is_flag=True, help="Print each cycle's report as one JSON object.")
def run_command(
    folders: tuple[Path, ...],
    variables: Path | None,
    once: bool,
    interval: int,
    start: str,
    deployed: bool,
    metrics_port: int | None,
    metrics_host: str,
    as_json: bool,
) -> None:
    """Examine what no rule has examined yet, and write alerts.

    Progress is kept in the cluster: after downtime the gap is examined, and nothing is examined twice. Any number of
    detectors may run; one works, the others wait to take over. One rule's error does not stop the others; with --once
    it ends in exit code 1.

    Where channels are configured (SIEM_NOTIFY), people are told of alerts. What cannot be sent waits in the outbox and
    stops nothing: siem notify list.
    """
    configure_logging("WARNING")
    settings = settings_for_cluster(quiet=as_json)
    client = make_client(settings)
    clock, holder = SystemClock(), holder_name()
    notifier = make_notifier(settings, client, clock=clock)
    options = RunOptions(
        workers=settings.detect_workers,
        start="now" if start == "now" else "past",
        link=link_maker(settings),
        announce=notifier.announce if notifier else None,
    )
    read = _reader(client, settings, folders, variables, deployed=deployed)
    if once:
        pack = _say_errors(read())
        report = run_once(client, pack.alerting, clock=clock, options=options)
        record_cycle(client, report, pack, clock=clock, holder=holder, announce=options.announce)
        _show(report, pack, as_json=as_json, sent=notifier.sender.run_pass() if notifier else None)
        if report.errors or pack.errors:
            raise click.exceptions.Exit(1)
        return
    stop = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    packs = [Pack()]
    said: set[str] = set()

    def rules() -> Sequence[CompiledRule | CompiledCorrelation]:
        """Read before each cycle: changed rules are noticed without a restart."""
        packs[0] = _say_errors(read(), said)
        return packs[0].alerting

    metrics = DetectionMetrics()

    def on_report(report: RunReport) -> None:
        record_cycle(client, report, packs[0], clock=clock, holder=holder, announce=options.announce)
        metrics.cycle(report)
        _show(report, packs[0], as_json=as_json, said=said)

    with ExitStack() as stack:
        if notifier:
            stack.enter_context(BackgroundSender(notifier.sender))
        if metrics_port is not None:
            watch = HealthWatch(client, metrics, clock=clock)
            stack.enter_context(watch)
            server = MetricsServer(metrics.registry, watch.trouble, host=metrics_host, port=metrics_port)
            stack.enter_context(server)
        run_forever(
            client,
            rules,
            clock=clock,
            stop=stop,
            options=options,
            schedule=Schedule(interval=timedelta(seconds=interval)),
            on_report=on_report,
            holder=holder,
        )


@command.command("past")
@click.argument("names", nargs=-1, required=True, metavar="RULE...")
@rules_option
@variables_option
@deployed_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def past_command(
    names: tuple[str, ...], folders: tuple[Path, ...], variables: Path | None, deployed: bool, as_json: bool
) -> None:
    """Let rules that were added or changed later examine what was there before: the next cycle does it.

    RULE is a rule's or correlation's name or id; it must have been run once. The alerts are marked as historic, and
    nobody is notified of them. What a rule has examined already is not examined again.
    """
    settings = settings_for_cluster(quiet=as_json)
    client = make_client(settings)
    pack = _reader(client, settings, folders, variables, deployed=deployed)()
    chosen = [node for node in pack.alerting if {node.rule.name, node.rule.uuid} & set(names)]
    if missing := set(names) - {name for node in chosen for name in (node.rule.name, node.rule.uuid)}:
        raise RuleError(f"no such rule: {', '.join(sorted(missing))}", hint="siem rules list")
    asked = examine_past(client, chosen, now=SystemClock().now())
    if as_json:
        print_json({"rules": {name: {"documents": count} for name, count in asked.items()}})
        return
    for name, count in asked.items():
        said = f"{count} documents will be examined" if count else "nothing was passed over"
        console().print(f"{name}: {said}", markup=False)


def _reader(
    client: OpenSearch, settings: Settings, folders: tuple[Path, ...], variables: Path | None, *, deployed: bool
) -> Callable[[], Pack]:
    """Return what reads the rules anew, from files or from the cluster."""
    if deployed and folders:
        raise click.UsageError("--deployed runs what siem rules apply has deployed: it takes no --rules")
    wanted = deployed or (settings.rules_deployed and not folders)
    return pack_reader.pack_reader(client, settings, deployed=wanted, folders=folders, variables=variables)


def _say_errors(pack: Pack, said: set[str] | None = None) -> Pack:
    """Say what cannot be compiled, each thing once in the life of ``said``: a loop would repeat it every minute."""
    for problem in pack.errors:
        why = f"{problem.message}. {problem.hint}" if problem.hint else problem.message
        line = f"not run: {shown_path(problem.where)}: {why}"
        if _is_news(line, said):
            error_console().print(line, markup=False)
    return pack


def _is_news(line: str, said: set[str] | None) -> bool:
    if said is None:
        return True
    known = line in said
    said.add(line)
    return not known


def _show(
    report: RunReport, pack: Pack, *, as_json: bool, sent: SendReport | None = None, said: set[str] | None = None
) -> None:
    report.not_run = {one.rule.name: one.reason for one in pack.waiting}
    report.not_compiled = {problem.where: problem.message for problem in pack.errors}
    if as_json:
        print_json(report.as_dict() | ({"sent": sent.as_dict()} if sent else {}))
        return
    _print(report, said)
    if sent:
        show_sent(sent, quiet=True)


def _print(report: RunReport, said: set[str] | None = None) -> None:
    order = list(LEVEL_STYLES)
    found = sorted((count for count in report.rules if count.alerts), key=lambda count: order.index(count.level))
    screen = console()
    rows = [(count.level, count.title, count.matches, count.alerts_new) for count in found]
    if rows:
        screen.print(table(None, ["severity", "rule", "events", "new alerts"], rows, right=[2, 3]))
    for name, error in report.errors.items():
        screen.print(f"{name}: {error}", markup=False)
    for name, reason in report.not_run.items():
        line = f"not run: {name}: {reason}"
        if _is_news(line, said):
            screen.print(line, markup=False)
    for name, count in report.learning.items():
        screen.print(f"learning: {name}: {count} not raised, too little of its baseline is in the index", markup=False)
    for name, by_filter in report.filtered_by.items():
        shown = ", ".join(f"{filter_name} {count}" for filter_name, count in sorted(by_filter.items()))
        screen.print(f"exceptions: {name}: events taken out by {shown}", markup=False)
    screen.print(
        f"{len(report.rules)} rules, {report.examined} documents examined, {report.alerts_new} new alerts,"
        f" {report.folded} folded into others, {report.filtered} events taken out by exceptions,"
        f" {report.seconds:.1f} seconds"
    )
