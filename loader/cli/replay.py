"""``siem load replay``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

import click
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from loader.cli.output import console, error_console, print_json, printable, progress, table
from loader.cli.parameters import Something
from loader.cli.settings import settings_for_cluster
from loader.cli.stopping import Stopping
from loader.clock import rfc3339
from loader.errors import ClusterError, ConfigError
from loader.index.ledger import find_objects
from loader.index.parked import PATTERN, ParkedLetter, Waiting, mark_replayed, read_letters, waiting_letters
from loader.ingest.assemble import Assembly, assemble, aws_client, message_handler
from loader.ingest.replay import Replayer, ReplayResult
from loader.source.fetch import Fetch, TransientSourceError, s3_fetch
from loader.source.objects import LOCAL_BUCKET, ObjectRef
from loader.telemetry import configure_logging

#: Letters of a dead letter's message that are shown in a line.
_MESSAGE_SHOWN = 120
#: Ledger entries that are looked at for one file: its path may be the beginning of others.
_ENTRIES = 1000


@click.command("replay")
@click.option(
    "--reason", "reasons", multiple=True, type=Something(), help="Only dead letters with this reason (repeatable)."
)
@click.option("--dry-run", is_flag=True, help="Only count them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def replay_command(reasons: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Put dead letters back through the loader: after a fix, or once archived or forbidden objects can be read.

    What succeeds is marked as replayed; what fails again stays. A file of this machine is not read again by a replay:
    once siem load backfill has loaded it, the replay marks its letter.

    Exit code 1 says that something stays; 130 and 143, that Ctrl-C or SIGTERM ended it before all were tried.
    """
    configure_logging("ERROR")
    settings = settings_for_cluster(quiet=as_json)
    troubles: Counter[str] = Counter()
    assembly = assemble(settings, fetch=_noting(s3_fetch(aws_client(settings, "s3")), troubles))
    found = waiting_letters(assembly.cluster)
    _check_reasons(assembly.cluster, reasons, found)
    waiting = {reason: letters.count for reason, letters in found.items() if not reasons or reason in reasons}
    if not as_json:
        _say_gone(reasons, waiting)
    if dry_run:
        if as_json:
            print_json({"waiting": waiting})
        elif waiting:
            _print_waiting(waiting, found)
        return
    handler = message_handler(assembly, queue="replay")
    replayer = Replayer(assembly.cluster, assembly.loader, handler, clock=assembly.clock)
    files = _Files(assembly)
    with progress(quiet=as_json) as bars, Stopping() as stopping:
        task = bars.add_task("Replaying", total=sum(waiting.values()))
        letters = takewhile(lambda _: not stopping.asked, read_letters(assembly.cluster, reasons=reasons))
        result = replayer.replay(files.taken_out_of(letters), lambda: bars.advance(task))
    result.done.update(files.result.done)
    result.left.update(files.result.left)
    not_tried = max(0, sum(waiting.values()) - result.done.total() - result.left.total()) if stopping.asked else 0
    if as_json:
        said = {"done": dict(result.done), "left": dict(result.left)}
        print_json(said | ({"not_tried": not_tried} if not_tried else {}))
    elif waiting:
        _print(result, not_tried)
    for trouble, count in troubles.items():
        error_console().print(f"could not be read now ({count}): {printable(trouble)}", markup=False)
    if files.result.left and not as_json:
        error_console().print(
            "Files of a machine are not read by a replay: siem load backfill FILE, then replay again."
        )
    if not_tried:
        raise click.exceptions.Exit(stopping.exit_code)
    if result.left:
        raise click.exceptions.Exit(1)


def _check_reasons(cluster: OpenSearch, reasons: Sequence[str], found: dict[str, Waiting]) -> None:
    """Tell a slip in a reason from one that nothing waits with any more."""
    for reason in sorted(set(reasons) - found.keys()):
        if found and not _has_ever_been(cluster, reason):
            raise ConfigError(
                f"no dead letter has the reason {reason}", hint=f"What waits has: {', '.join(sorted(found))}."
            )


def _say_gone(reasons: Sequence[str], waiting: dict[str, int]) -> None:
    """Say what is asked for and does not wait: it may be that it did before the last replay."""
    if gone := [reason for reason in dict.fromkeys(reasons) if reason not in waiting]:
        console().print(f"No dead letter waits with the reason {printable(', '.join(gone))}.", markup=False)
    elif not waiting:
        console().print("No dead letter waits.")


def _has_ever_been(cluster: OpenSearch, reason: str) -> bool:
    """Tell whether a letter, replayed or not, has a reason."""
    body = {"query": {"term": {"reason": reason}}}
    try:
        return bool(cluster.count(index=PATTERN, body=body, params={"ignore_unavailable": "true"})["count"])
    except TransportError as error:
        raise ClusterError(f"dead letters cannot be counted: {error.error}", where=PATTERN) from None


def _noting(fetch: Fetch, troubles: Counter[str]) -> Fetch:
    """Return ``fetch``, counting in ``troubles`` why objects did not come that may be there: no credentials, say."""

    def noted(ref: ObjectRef) -> Iterator[bytes]:
        try:
            yield from fetch(ref)
        except TransientSourceError as error:
            troubles[error.message] += 1
            raise

    return noted


class _Files:
    """Letters for which only a file of this machine could be read again. There is no bucket to ask for it, and whoever
    puts a message into a queue must not have a file read here: they are done once a backfill has loaded the file.
    """

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self.result = ReplayResult()

    def taken_out_of(self, letters: Iterable[ParkedLetter]) -> Iterator[ParkedLetter]:
        """Deal with the letters of files, and yield the others."""
        for parked in letters:
            letter = parked.letter
            is_whole = letter.record_number == 0
            if letter.ref.bucket != LOCAL_BUCKET or letter.stage == "message" or not (is_whole or letter.cut):
                yield parked
            elif is_whole and self._is_loaded(letter.ref):
                mark_replayed(self._assembly.cluster, parked, rfc3339(self._assembly.clock.now()))
                self.result.done["object"] += 1
            else:
                self.result.left[letter.reason] += 1

    def _is_loaded(self, ref: ObjectRef) -> bool:
        for entry in find_objects(self._assembly.cluster, ref.uri, limit=_ENTRIES):
            if entry["key"] == ref.key and entry["outcome"] == "loaded":
                # What was loaded once may have been parked since; then it brought nothing but its dead letter.
                latest = entry.get("latest", entry)
                return int(latest["dead_lettered"]) < max(1, int(latest["read"]))
        return False


def _print_waiting(waiting: dict[str, int], found: dict[str, Waiting]) -> None:
    rows = [
        (reason, count, found[reason].place, found[reason].message[:_MESSAGE_SHOWN])
        for reason, count in waiting.items()
    ]
    console().print(table("Dead letters", ["reason", "waiting", "newest", "message"], rows, right=[1]))


def _print(result: ReplayResult, not_tried: int) -> None:
    became = [(f"now {name}", count) for name, count in sorted(result.done.items())]
    became += [(f"stays: {name}", count) for name, count in sorted(result.left.items())]
    console().print(table("Dead letters", ["", ""], became or [("nothing was tried", 0)], right=[1]))
    if not_tried:
        error_console().print(f"Stopped: {not_tried} were not tried. Run the same command again to go on.")
