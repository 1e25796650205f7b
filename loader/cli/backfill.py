"""``siem load backfill``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date

import click

from loader.cli.backfill_targets import Asked, list_local, list_remote, read_targets
from loader.cli.output import console, error_console, print_json, printable, progress, table
from loader.cli.parameters import AccountId, Day, RegionName, Something
from loader.cli.settings import settings_for_cluster
from loader.cli.stopping import Stopping
from loader.config import Settings
from loader.errors import SiemError
from loader.ingest.assemble import assemble, aws_client
from loader.ingest.backfill import BackfillResult, enqueue_all, load_all
from loader.ingest.report import ObjectReport, Totals
from loader.source.files import LocalFiles
from loader.source.objects import ObjectRef
from loader.telemetry import configure_logging

#: Objects that are named one by one; all of them are in what --json prints.
_SHOWN = 20


@click.command("backfill")
@click.argument("targets", nargs=-1, required=True, type=Something())
@click.option("--from", "first", type=Day(), help="First day of delivery, YYYY-MM-DD (S3).")
@click.option("--to", "last", type=Day(), help="Last day of delivery, inclusive (S3).  [default: the first day]")
@click.option("--account", "accounts", multiple=True, type=AccountId(), help="Only this account (S3; repeatable).")
@click.option("--region", "regions", multiple=True, type=RegionName(), help="Only this Region (S3; repeatable).")
@click.option("--all", "everything", is_flag=True, help="Every object below the prefix, whatever its key (S3).")
@click.option(
    "--queue",
    "queue_url",
    type=Something(),
    help="Only list, and put S3 event messages into this queue for a fleet of workers.",
)
@click.option("--dry-run", is_flag=True, help="Only list and count.")
@click.option("--workers", type=click.IntRange(1, 64), help="Objects loaded at the same time.  [default: SIEM_WORKERS]")
@click.option("--json", "as_json", is_flag=True, help="Print the accounts as one JSON object.")
def backfill_command(
    targets: tuple[str, ...],
    first: date | None,
    last: date | None,
    accounts: tuple[str, ...],
    regions: tuple[str, ...],
    everything: bool,
    queue_url: str | None,
    dry_run: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Load what is there already: TARGETS are s3://bucket/prefix, files, folders, pipes, or - for standard input.

    Stateless: stop it at any time and run it again; what is loaded already counts as duplicates. For S3, only the days
    from --from to --to are listed. A folder's log files are .json, .jsonl, .ndjson, .gz, and whatever begins like one;
    what is passed over is said.

    Exit code 1 says that some objects are not loaded: they could not be now, or wait as dead letters (parked). 130 and
    143 say that Ctrl-C or SIGTERM ended it before all were tried: the same command goes on. A second Ctrl-C does not
    wait for what is in work.

    \b
      siem load backfill s3://org-trail/ --from 2026-11-01 --to 2026-11-07 --account 123456789012
      siem load backfill ~/incident/cloudtrail/
      zcat *.json.gz | siem load backfill -
    """
    configure_logging("ERROR")
    if queue_url and workers:
        raise click.UsageError("Not with --queue: --workers. Those who load are the workers of the queue.")
    asked = read_targets(
        targets,
        first=first,
        last=last,
        accounts=accounts,
        regions=regions,
        everything=everything,
        queue=queue_url is not None,
    )
    settings = settings_for_cluster(quiet=as_json)
    with _local_files(asked) as files:
        refs = list_local(files, asked) if asked.local else list_remote(aws_client(settings, "s3"), asked)
        if dry_run:
            _dry_run(refs, files, as_json=as_json)
        elif queue_url:
            _announce(settings, queue_url, refs, as_json=as_json)
        else:
            _load(settings, refs, files if asked.local else None, workers or settings.workers, as_json=as_json)


@contextmanager
def _local_files(asked: Asked) -> Iterator[LocalFiles]:
    stdin = sys.stdin  # None where the shell has closed it
    if asked.standard_input:
        if stdin is None:
            raise click.UsageError("Standard input is closed. Give a file, or pipe something into this command.")
        if stdin.isatty():
            error_console().print("Reading standard input: type or paste records, end with Ctrl-D.")
    with LocalFiles(stdin.buffer if stdin is not None else None) as files:
        yield files


def _dry_run(refs: Iterator[ObjectRef], files: LocalFiles, *, as_json: bool) -> None:
    count = size = 0
    for ref in refs:
        count += 1
        size += ref.size or 0
    if as_json:
        print_json({"objects": count, "bytes": size, "passed_over": _passed_over(files), **_failed(files.unreadable)})
    else:
        console().print(f"{count} objects, {size / 2**20:,.1f} MiB as stored. Nothing was loaded.")
        _say_each(f"cannot be read: {ref.uri}: {error.message}" for ref, error in files.unreadable)
    if files.unreadable:
        raise click.exceptions.Exit(1)


def _announce(settings: Settings, queue_url: str, refs: Iterator[ObjectRef], *, as_json: bool) -> None:
    sent = 0
    with progress(quiet=as_json) as bars, Stopping() as stopping:
        task = bars.add_task("Announcing objects", total=None)

        def on_sent(count: int) -> None:
            nonlocal sent
            sent = count
            bars.update(task, completed=count)

        try:
            enqueue_all(aws_client(settings, "sqs"), queue_url, refs, on_sent, stop=stopping.event)
        except SiemError:
            error_console().print(f"{sent} objects were announced before this. What is announced twice is loaded once.")
            raise
    if as_json:
        print_json({"announced": sent, "stopped": stopping.asked})
    else:
        console().print(f"{sent} objects announced to {printable(queue_url)}", markup=False)
    if stopping.asked:
        error_console().print(
            "Stopped before all were listed. Run the same command again to announce the others; what is announced "
            "twice is loaded once."
        )
        raise click.exceptions.Exit(stopping.exit_code)


def _load(
    settings: Settings, refs: Iterator[ObjectRef], files: LocalFiles | None, workers: int, *, as_json: bool
) -> None:
    assembly = assemble(settings, fetch=files.fetch if files else None)
    listed = list(refs)
    with progress(quiet=as_json) as bars, Stopping() as stopping:
        task = bars.add_task("Loading", total=len(listed))

        def on_report(_ref: ObjectRef, _report: ObjectReport | None) -> None:
            bars.advance(task)

        result = load_all(assembly.loader, listed, workers=workers, on_report=on_report, stop=stopping.event)
    if files:
        result.failed += files.unreadable
    if as_json:
        parked = [{"object": printable(ref.uri), "reason": reason} for ref, reason in result.parked]
        print_json(
            {
                **result.totals.as_dict(),
                **_failed(result.failed),
                "parked_objects": parked,
                "not_tried": result.not_tried,
                "passed_over": _passed_over(files) if files else 0,
            }
        )
    else:
        _print_result(result, len(listed))
    if result.not_tried:
        raise click.exceptions.Exit(stopping.exit_code)
    if result.failed or result.parked:
        raise click.exceptions.Exit(1)


def _passed_over(files: LocalFiles) -> int:
    return sum(others.count for others in files.passed_over.values())


def _failed(failed: Iterable[tuple[ObjectRef, SiemError]]) -> dict[str, object]:
    listed = [{"object": printable(ref.uri), "error": printable(str(error))} for ref, error in failed]
    return {"failed": listed}


def _print_result(result: BackfillResult, asked_for: int) -> None:
    totals = result.totals
    console().print(account_table(totals))
    if totals.counts.dead_lettered:
        console().print("\nWhere the dead letters came from: siem load replay --dry-run")
    _say_each(f"parked: {ref.uri}: {reason}" for ref, reason in result.parked)
    _say_each(f"not loaded: {ref.uri}: {error.message}" for ref, error in result.failed)
    if result.not_tried:
        error_console().print(
            f"Stopped: {result.not_tried} of {asked_for} objects were not tried. Run the same command again to go on; "
            "what is loaded already counts as duplicates."
        )


def _say_each(lines: Iterable[str]) -> None:
    listed: Sequence[str] = list(lines)
    for line in listed[:_SHOWN]:
        error_console().print(printable(line), markup=False)
    if len(listed) > _SHOWN:
        error_console().print(f"… and {len(listed) - _SHOWN} more: --json names all of them")


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
