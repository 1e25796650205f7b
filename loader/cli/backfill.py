"""``siem load backfill`` and ``siem load replay``."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from types import FrameType

import click

from loader.cli.output import console, error_console, print_json, printable, progress, table
from loader.cli.settings import settings_for_cluster
from loader.errors import ConfigError
from loader.index.client import make_client
from loader.index.ledger import find_objects
from loader.index.parked import read_letters, waiting_letters
from loader.ingest.assemble import assemble, aws_client, message_handler
from loader.ingest.backfill import BackfillResult, enqueue_all, load_all
from loader.ingest.replay import Replayer
from loader.ingest.report import ObjectReport, Totals
from loader.source.fetch import file_fetch
from loader.source.listing import Range, list_files, list_prefix, list_trail
from loader.source.objects import ObjectRef
from loader.source.standard_input import spool
from loader.telemetry import configure_logging

#: Letters of a dead letter's message that are shown in a line.
_MESSAGE_SHOWN = 120
_DAY = click.DateTime(["%Y-%m-%d"])


@click.command("backfill")
@click.argument("targets", nargs=-1, required=True)
@click.option("--from", "first", type=_DAY, help="First day of delivery, YYYY-MM-DD (S3).")
@click.option("--to", "last", type=_DAY, help="Last day of delivery, inclusive.  [default: the first day]")
@click.option("--account", "accounts", multiple=True, help="Only this account (repeatable).")
@click.option("--region", "regions", multiple=True, help="Only this region (repeatable).")
@click.option("--all", "everything", is_flag=True, help="Every object below the prefix, whatever its key (S3).")
@click.option(
    "--queue", "queue_url", help="Only list, and put S3 event messages into this queue for a fleet of workers."
)
@click.option("--dry-run", is_flag=True, help="Only list and count.")
@click.option("--workers", type=click.IntRange(1, 64), help="Objects loaded at the same time.  [default: SIEM_WORKERS]")
@click.option("--json", "as_json", is_flag=True, help="Print the accounts as one JSON object.")
def backfill_command(
    targets: tuple[str, ...],
    first: datetime | None,
    last: datetime | None,
    accounts: tuple[str, ...],
    regions: tuple[str, ...],
    everything: bool,
    queue_url: str | None,
    dry_run: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Load what is there already: TARGETS are s3://bucket/prefix, files, folders, or - for standard input.

    Stateless: stop it at any time and run it again; what is loaded already counts as duplicates. For S3, only the
    days from --from to --to are listed. Exit code 1 says that some objects could not be loaded now.

    \b
      siem load backfill s3://org-trail/ --from 2026-11-01 --to 2026-11-07 --account 123456789012
      siem load backfill ~/incident/cloudtrail/
      zcat *.json.gz | siem load backfill -
    """
    configure_logging("ERROR")
    settings = settings_for_cluster(quiet=as_json)
    remote = [target for target in targets if target.startswith("s3://")]
    local = [target for target in targets if not target.startswith("s3://")]
    if remote and local:
        raise click.UsageError("Give S3 prefixes or local files, not both.")
    if local and queue_url:
        raise click.UsageError("--queue announces objects in S3; local files cannot be announced.")
    with _listing(settings, remote, local, first, last, accounts, regions, everything) as refs:
        if dry_run:
            _print_listed(refs, as_json=as_json)
            return
        if queue_url:
            with progress(quiet=as_json) as bars:
                task = bars.add_task("Announcing objects", total=None)
                sent = enqueue_all(
                    aws_client(settings, "sqs"), queue_url, refs, lambda count: bars.update(task, completed=count)
                )
            print_json({"announced": sent}) if as_json else console().print(f"{sent} objects announced to {queue_url}")
            return
        listed = list(refs)
        assembly = assemble(settings, fetch=file_fetch if local else None)
        with progress(quiet=as_json) as bars, _stopping() as stop:
            task = bars.add_task("Loading", total=len(listed))

            def on_report(_ref: ObjectRef, _report: ObjectReport | None) -> None:
                bars.advance(task)

            result = load_all(
                assembly.loader, listed, workers=workers or settings.workers, on_report=on_report, stop=stop
            )
    _print_result(result, as_json=as_json)


@contextmanager
def _listing(  # type: ignore[no-untyped-def]  # the options as click gives them
    settings, remote, local, first, last, accounts, regions, everything
) -> Iterator[Iterator[ObjectRef]]:
    if remote:
        client = aws_client(settings, "s3")
        if everything:
            yield (ref for uri in remote for ref in _or_say(uri, list_prefix(client, uri)))
        elif first is None:
            raise click.UsageError("Say which days: --from YYYY-MM-DD [--to YYYY-MM-DD], or --all.")
        else:
            span = Range(_day(first), _day(last or first), frozenset(accounts), frozenset(regions))
            yield (ref for uri in remote for ref in _or_say(uri, list_trail(client, uri, span)))
        return
    with spool(sys.stdin.buffer if "-" in local else None) as piped:
        paths = [piped if target == "-" else Path(target) for target in local]
        yield (
            ref
            for target, path in zip(local, paths, strict=True)
            if path is not None
            for ref in _or_say(target, list_files([path]))
        )


def _or_say(target: str, refs: Iterable[ObjectRef]) -> Iterator[ObjectRef]:
    """Yield ``refs``. If there are none, say so: a slip in a path must not look like an empty trail."""
    empty = True
    for ref in refs:
        empty = False
        yield ref
    if empty:
        error_console().print(f"No log file in {printable(target)}", markup=False)


def _day(moment: datetime) -> date:
    return moment.date()


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or SIGTERM into an orderly end."""
    stop = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        error_console().print("Finishing what is in work …")
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def _print_listed(refs: Iterator[ObjectRef], *, as_json: bool) -> None:
    count = size = 0
    for ref in refs:
        count += 1
        size += ref.size or 0
    if as_json:
        print_json({"objects": count, "bytes": size})
    else:
        console().print(f"{count} objects, {size / 2**20:,.1f} MiB as stored. Nothing was loaded.")


def _print_result(result: BackfillResult, *, as_json: bool) -> None:
    totals = result.totals
    if as_json:
        failed = [{"object": printable(ref.uri), "error": printable(str(error))} for ref, error in result.failed]
        print_json({**totals.as_dict(), "failed": failed})
    else:
        console().print(account_table(totals))
        if totals.counts.dead_lettered:
            console().print("\nWhere the dead letters came from: siem load replay --dry-run")
        for ref, error in result.failed:
            error_console().print(printable(f"not loaded: {ref.uri}: {error.message}"), markup=False)
    if result.failed:
        raise click.exceptions.Exit(1)


def account_table(totals: Totals) -> object:
    """Return the accounts of a run as a table."""
    counts = totals.counts
    rows: list[tuple[object, ...]] = [
        ("objects", totals.objects),
        ("records read", counts.read),
        ("indexed", counts.indexed),
        ("duplicates", counts.duplicates),
        ("dead-lettered", counts.dead_lettered),
        ("dropped by filters", counts.dropped),
    ]
    rows += [(f"dropped: {name}", count) for name, count in sorted(totals.dropped_by.items())]
    rows += [(f"skipped: {name}", count) for name, count in sorted(totals.skipped.items())]
    rows += [(f"parked: {name}", count) for name, count in sorted(totals.parked.items())]
    rows += [(f"dead letter: {name}", count) for name, count in sorted(totals.reasons.items())]
    return table("Loaded", ["", ""], rows, right=[1])


@click.command("replay")
@click.option("--reason", "reasons", multiple=True, help="Only dead letters with this reason (repeatable).")
@click.option("--dry-run", is_flag=True, help="Only count them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def replay_command(reasons: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Put dead letters back through the loader: after a fix, or once archived or forbidden objects can be read.

    What succeeds is marked as replayed; what fails again stays.
    """
    configure_logging("ERROR")
    settings = settings_for_cluster(quiet=as_json)
    assembly = assemble(settings)
    found = waiting_letters(assembly.cluster)
    waiting = {reason: letters.count for reason, letters in found.items() if not reasons or reason in reasons}
    if unknown := set(reasons) - waiting.keys():
        raise ConfigError(
            f"no dead letter has the reason {', '.join(sorted(unknown))}", hint="siem load replay --dry-run"
        )
    if dry_run:
        if as_json:
            print_json({"waiting": waiting})
        else:
            rows = [
                (reason, count, found[reason].place, found[reason].message[:_MESSAGE_SHOWN])
                for reason, count in waiting.items()
            ]
            console().print(table("Dead letters", ["reason", "waiting", "newest", "message"], rows, right=[1]))
        return
    handler = message_handler(assembly, queue="replay")
    replayer = Replayer(assembly.cluster, assembly.loader, handler, clock=assembly.clock)
    with progress(quiet=as_json) as bars:
        task = bars.add_task("Replaying", total=sum(waiting.values()))
        result = replayer.replay(read_letters(assembly.cluster, reasons=reasons), lambda: bars.advance(task))
    if as_json:
        print_json({"done": dict(result.done), "left": dict(result.left)})
        return
    became = [(f"now {name}", count) for name, count in sorted(result.done.items())]
    became += [(f"stays: {name}", count) for name, count in sorted(result.left.items())]
    console().print(table("Dead letters", ["", ""], became or [("nothing to replay", 0)], right=[1]))


@click.command("find")
@click.argument("text")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Entries shown at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def find_command(text: str, limit: int, as_json: bool) -> None:
    """Answer "was this file loaded?": TEXT is a key, a part of one, or s3://bucket/key.

    Exit code 1 if no object is found.
    """
    client = make_client(settings_for_cluster(quiet=as_json))
    entries = find_objects(client, text, limit=limit)
    if as_json:
        print_json({"objects": entries})
    elif entries:
        columns = ("outcome", "read", "indexed", "duplicates", "dead_lettered", "dropped", "loads", "@timestamp")
        rows = [(*(entry.get(name) for name in columns), f"s3://{entry['bucket']}/{entry['key']}") for entry in entries]
        console().print(table(None, [*columns[:-1], "loaded", "object"], rows, right=range(1, 7)))
    else:
        console().print("No such object was loaded or parked.")
    if not entries:
        raise click.exceptions.Exit(1)
