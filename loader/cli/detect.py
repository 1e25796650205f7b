"""``siem detect``: run the rules."""

from __future__ import annotations

import signal
import threading
from datetime import timedelta
from pathlib import Path
from types import FrameType

import click

from loader.cli.output import LEVEL_STYLES, console, error_console, print_json, shown_path, table
from loader.cli.settings import settings_for_cluster
from loader.clock import SystemClock
from loader.detection.compile import Pack, compile_rules, load_variables
from loader.detection.load import load_rules
from loader.detection.report import RunReport
from loader.detection.run import RunOptions, run_once
from loader.detection.schedule import Schedule, run_forever
from loader.index.client import make_client
from loader.project import rules_dir
from loader.telemetry import configure_logging

rules_option = click.option(
    "--rules",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="A folder or file of Sigma rules (repeatable).  [default: the project's rules/]",
)
variables_option = click.option(
    "--variables", type=click.Path(path_type=Path, exists=True), help="YAML file with the values of placeholders."
)


def read_pack(folders: tuple[Path, ...], variables: Path | None) -> Pack:
    """Load and compile the rules; what cannot be used is in the pack's problems."""
    return compile_rules(
        load_rules(folders or (rules_dir(),)), variables=load_variables(variables) if variables else None
    )


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
@click.option("--json", "as_json", is_flag=True, help="Print each cycle's report as one JSON object.")
def run_command(
    folders: tuple[Path, ...], variables: Path | None, once: bool, interval: int, start: str, as_json: bool
) -> None:
    """Examine what no rule has examined yet, and write alerts.

    Progress is kept in the cluster: after downtime the gap is examined, and nothing is examined twice. Any number of
    detectors may run; one works, the others wait to take over. One rule's error does not stop the others; with --once
    it ends in exit code 1.
    """
    configure_logging("WARNING")
    client = make_client(settings_for_cluster(quiet=as_json))
    clock = SystemClock()
    options = RunOptions(start="now" if start == "now" else "past")
    if once:
        pack = _say_errors(read_pack(folders, variables))
        report = run_once(client, pack.alerting, clock=clock, options=options)
        _show(report, as_json=as_json)
        if report.errors or pack.errors:
            raise click.exceptions.Exit(1)
        return
    stop = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    # Read before each cycle: changed rules are noticed without a restart.
    run_forever(
        client,
        lambda: _say_errors(read_pack(folders, variables)).alerting,
        clock=clock,
        stop=stop,
        options=options,
        schedule=Schedule(interval=timedelta(seconds=interval)),
        on_report=lambda report: _show(report, as_json=as_json),
    )


def _say_errors(pack: Pack) -> Pack:
    for problem in pack.errors:
        error_console().print(f"not run: {shown_path(problem.where)}: {problem.message}", markup=False)
    return pack


def _show(report: RunReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report.as_dict())
    else:
        _print(report)


def _print(report: RunReport) -> None:
    order = list(LEVEL_STYLES)
    found = sorted((count for count in report.rules if count.alerts), key=lambda count: order.index(count.level))
    screen = console()
    rows = [(count.level, count.title, count.matches, count.alerts_new) for count in found]
    if rows:
        screen.print(table(None, ["severity", "rule", "events", "new alerts"], rows, right=[2, 3]))
    for name, error in report.errors.items():
        screen.print(f"{name}: {error}", markup=False)
    screen.print(
        f"{len(report.rules)} rules, {report.examined} documents examined, {report.alerts_new} new alerts,"
        f" {report.seconds:.1f} seconds"
    )
