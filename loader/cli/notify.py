"""``siem notify``: check the channels, try them, send, and see what is under way."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace
from pathlib import Path
from types import FrameType
from uuid import uuid4

import click
from opensearchpy import OpenSearch
from rich.text import Text

from loader.cli.output import LEVEL_STYLES, console, error_console, print_json, shown_path, table
from loader.cli.settings import settings_for_cluster
from loader.clock import SystemClock, rfc3339
from loader.config import Settings, read_settings
from loader.errors import ClusterError, ConfigError, SiemError
from loader.index.client import make_client
from loader.notify.assemble import Notifier, make_notifier, make_tools
from loader.notify.channel_state import ChannelStates
from loader.notify.configuration import check_configuration, load_configuration
from loader.notify.errors import SendError
from loader.notify.message import test_message
from loader.notify.outbox import Entry, Outbox
from loader.notify.send import SendReport
from loader.telemetry import configure_logging

STATES = ("waiting", "failed", "given-up", "sent", "settled", "continued")


@click.group("notify")
def command() -> None:
    """Tell people about alerts: channels, routes and the outbox."""


@command.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check_command(file: Path | None, as_json: bool) -> None:
    """Check FILE (default: SIEM_NOTIFY): every mistake, with its line. Nothing is sent, no secret is read.

    Exit code 1: the file cannot be used.
    """
    path = _file(file)
    found = check_configuration(path)
    if as_json:
        problems = [
            {"where": problem.where, "severity": problem.severity, "message": problem.message, "hint": problem.hint}
            for problem in found.problems
        ]
        print_json({"file": str(path), "channels": sorted(found.channels), "problems": problems})
    else:
        screen = console()
        for problem in found.problems:
            screen.print(f"{shown_path(problem.where)}: {problem.severity}: {problem.message}", markup=False)
            if problem.hint:
                screen.print(f"  next {problem.hint}", markup=False)
        names = ", ".join(f"{name} ({channel.type.name})" for name, channel in found.channels.items())
        screen.print(f"{len(found.channels)} channels: {names or 'none'}; {len(found.routes)} routes", markup=False)
    if found.errors:
        raise click.exceptions.Exit(1)


@command.command("test")
@click.argument("channel")
@click.option("--file", type=click.Path(path_type=Path), help="Another file than SIEM_NOTIFY.")
def test_command(channel: str, file: Path | None) -> None:
    """Send a trial message through CHANNEL, now. PagerDuty opens an incident of severity info for it.

    No cluster is needed. Exit code 1: it was not taken; the reason is said.
    """
    settings = read_settings()
    configuration = load_configuration(_file(file))
    config = configuration.channels.get(channel)
    if config is None:
        known = ", ".join(configuration.channels)
        raise ConfigError(f"there is no such channel; there are {known}", where=channel)
    clock = SystemClock()
    tools = make_tools(settings, clock=clock)
    message = test_message(channel, key=f"test-{uuid4().hex}", time=rfc3339(clock.now()))
    try:
        note = config.type.make(config.options, tools).send(message)
    except SiemError as error:
        raise SendError(tools.secrets.redact(error.message), hint=error.hint) from None
    console().print(f"{channel} took the message" + (f"; {note}" if note else ""), markup=False)


@command.command("send")
@click.option("--once", is_flag=True, help="Send what is due and end.")
@click.option("--interval", default=5, show_default=True, type=click.IntRange(1, 3600), help="Seconds between looks.")
@click.option("--json", "as_json", is_flag=True, help="Print what each pass did as one JSON object.")
def send_command(once: bool, interval: int, as_json: bool) -> None:
    """Send what waits in the outbox, until stopped. `siem detect run` does the same while it runs.

    Any number of senders may run: each message is claimed before it is sent. With --once, exit code 1 says that a
    channel did not take something; it stays in the outbox.
    """
    configure_logging("WARNING")
    _, notifier = _notifier(quiet=as_json)
    stop = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    while True:
        report = notifier.sender.run_pass(stop=stop.is_set)
        if as_json:
            print_json(report.as_dict())
        else:
            show_sent(report, quiet=not once)
        if once:
            if report.errors:
                raise click.exceptions.Exit(1)
            return
        if stop.wait(interval):
            return


@command.command("list")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES),
    help="Repeatable.  [default: waiting, failed and given-up]",
)
@click.option("--channel", help="Only this channel.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="Entries shown at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_command(states: tuple[str, ...], channel: str | None, limit: int, as_json: bool) -> None:
    """List the outbox, the newest first: which alert goes where, and what became of it."""
    client = make_client(settings_for_cluster(quiet=as_json))
    wanted = states or ("waiting", "failed", "given-up")
    found, total = Outbox(client).listed(wanted, channel=channel, limit=limit)
    if as_json:
        print_json({"total": total, "entries": [{"id": entry.id, **entry.document()} for entry in found]})
        return
    rows = [
        (
            entry.state,
            entry.channel,
            Text(entry.level, LEVEL_STYLES.get(entry.level, "")),
            entry.rule_id,
            entry.since,
            entry.attempts,
            entry.id,
            entry.alert_id,
            entry.error or entry.reason or "",
        )
        for entry in found
    ]
    columns = ["state", "channel", "severity", "rule", "since", "tries", "id", "alert", "why"]
    console().print(table(None, columns, rows, right=[5]))
    hint = ". Next: siem notify retry ID" if any(entry.state == "given-up" for entry in found) else ""
    console().print(f"{len(found)} of {total} entries{hint}")


@command.command("retry")
@click.argument("identifiers", nargs=-1, metavar="ID...")
@click.option("--given-up", "given_up", is_flag=True, help="All that were given up.")
def retry_command(identifiers: tuple[str, ...], given_up: bool) -> None:
    """Send entries at the next pass, whatever became of them before; their channels' rest ends.

    ID is an entry's or an alert's, as `siem notify list` shows them. What was sent already is sent again, under the
    same key.
    """
    if bool(identifiers) == given_up:
        raise click.UsageError("name entries, or say --given-up")
    client = make_client(settings_for_cluster())
    again = retry(client, identifiers, clock=SystemClock())
    console().print(f"{len(again)} entries will be sent again: siem notify send --once", markup=False)


def retry(client: OpenSearch, identifiers: tuple[str, ...], *, clock: SystemClock) -> list[Entry]:
    """Make entries due; without ``identifiers`` all that were given up.

    Raises:
        ClusterError: there is no such entry, or it cannot be changed.
    """
    outbox, now = Outbox(client), rfc3339(clock.now())
    states = () if identifiers else ("given-up",)
    again: list[Entry] = []
    while True:
        found, total = outbox.listed(states, ids=identifiers, limit=5000)
        if identifiers and not found:
            raise ClusterError("there is no such entry", where=", ".join(identifiers), hint="siem notify list")
        armed = [
            replace(
                entry,
                state="waiting",
                said=None if entry.state == "sent" else entry.said,
                since=now,
                next_at=now,
                attempts=0,
                reason=None,
                message=entry.message or (entry.told if entry.state == "sent" else None),
            )
            for entry in found
        ]
        again += [entry for entry in outbox.put(armed) if entry]
        if identifiers or not found or total <= len(found):
            break
    states_of = ChannelStates(client, clock=clock)
    for name in {entry.channel for entry in again}:
        states_of.wake(name)
    return again


def show_sent(report: SendReport, *, quiet: bool) -> None:
    """Print what a pass did; nothing with ``quiet`` when it did nothing."""
    busy = [one for one in report.channels.values() if one.messages or one.failed or one.given_up or one.error]
    if quiet and not busy:
        return
    rows = [
        (name, one.messages, one.alerts, one.failed, one.waiting, one.given_up, one.error or "")
        for name, one in report.channels.items()
    ]
    columns = ["channel", "messages", "alerts in them", "failed", "waiting", "given up", "why"]
    console().print(table(None, columns, rows, right=[1, 2, 3, 4, 5]))


def _notifier(*, quiet: bool) -> tuple[Settings, Notifier]:
    settings = settings_for_cluster(quiet=quiet)
    notifier = make_notifier(settings, make_client(settings), clock=SystemClock())
    if notifier is None:
        raise _not_configured()
    for problem in notifier.configuration().problems:
        error_console().print(f"{shown_path(problem.where)}: {problem.message}", markup=False)
    return settings, notifier


def _file(file: Path | None) -> Path:
    found = file or read_settings().notify
    if found is None:
        raise _not_configured()
    return found


def _not_configured() -> ConfigError:
    return ConfigError(
        "no channels are configured",
        where="SIEM_NOTIFY",
        hint="Write notify.yml as docs/notifications.md shows, and set SIEM_NOTIFY to its path.",
    )
