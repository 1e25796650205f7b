"""What a backfill is asked to load: the targets and the options that choose among what is there, held together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import click

from loader.cli.output import error_console, printable
from loader.errors import SourceError
from loader.source.files import STANDARD_INPUT, LocalFiles
from loader.source.listing import Range, list_prefix, list_trail, parse_s3_uri
from loader.source.objects import PIPED, ObjectRef

_S3: Final = "s3://"
#: Another way to write a place that is not on this machine.
_PLACE: Final = re.compile(r"arn:|[a-z][a-z0-9+.-]*:/", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asked:
    """What to load: prefixes in S3, or places on this machine, never both; without ``span`` all that is there."""

    remote: tuple[str, ...]
    local: tuple[str, ...]
    span: Range | None

    @property
    def standard_input(self) -> bool:
        """Tell whether standard input is among it."""
        return not STANDARD_INPUT.isdisjoint(self.local)


def read_targets(
    targets: Sequence[str],
    *,
    first: date | None,
    last: date | None,
    accounts: Sequence[str],
    regions: Sequence[str],
    everything: bool,
    queue: bool,
) -> Asked:
    """Return what the command line asks for. An option that would change nothing is refused, not passed over.

    Raises:
        UsageError: the options contradict one another, or a target is none.
    """
    targets = tuple(dict.fromkeys(targets))
    remote = tuple(target for target in targets if target.lower().startswith(_S3))
    local = tuple(target for target in targets if target not in remote)
    given = {"--from": first, "--to": last, "--account": accounts, "--region": regions}
    options = [name for name, value in given.items() if value]
    _check_places(remote, local)
    if local:
        if queue:
            raise click.UsageError("--queue announces objects in S3; local files cannot be announced.")
        if everything:
            options.append("--all")
        if options:
            raise click.UsageError(f"Only for S3: {', '.join(options)}. Files, folders and pipes are loaded whole.")
        return Asked(remote, local, None)
    if everything:
        if options:
            raise click.UsageError(
                f"Not with --all: {', '.join(options)}. It takes every object below the prefix, whatever its key: "
                "leave it out to choose among a trail's, or give a longer prefix."
            )
        return Asked(remote, local, None)
    if first is None:
        raise click.UsageError("Say which days: --from YYYY-MM-DD [--to YYYY-MM-DD], or --all.")
    if last is not None and last < first:
        raise click.UsageError(f"--to {last} is before --from {first}: no day is in between.")
    return Asked(remote, local, Range(first, last or first, frozenset(accounts), frozenset(regions)))


def _check_places(remote: Sequence[str], local: Sequence[str]) -> None:
    if remote and local:
        raise click.UsageError("Give S3 prefixes or local files, not both.")
    for uri in remote:
        try:
            parse_s3_uri(uri)
        except SourceError as error:
            raise click.UsageError(f"{uri} is {error.message}. {error.hint}") from None
    for target in local:
        if _PLACE.match(target) and not Path(target).exists():
            raise click.UsageError(f"{printable(target)} is no file. A place in S3 is written s3://bucket/prefix.")


def list_remote(client: Any, asked: Asked) -> Iterator[ObjectRef]:
    """Yield the objects in S3 that are asked for. ``client`` is a boto3 S3 client.

    Raises:
        SourceError: S3 refuses to list, or there is no trail.
    """
    for uri in asked.remote:
        yield from _or_say(
            printable(uri), list_prefix(client, uri) if asked.span is None else list_trail(client, uri, asked.span)
        )


def list_local(files: LocalFiles, asked: Asked) -> Iterator[ObjectRef]:
    """Yield what is asked for of this machine, and say what was not taken.

    Raises:
        SourceError: there is no such file or folder, or a pipe breaks.
    """
    for target in asked.local:
        name = "standard input" if target in STANDARD_INPUT else printable(target)
        for ref in _or_say(name, files.below(target)):
            if ref.key.startswith(PIPED):
                _say(f"What came through {name} ({ref.size:,} bytes) is called {ref.key} in the ledger")
            yield ref
        others = files.passed_over.get(target)
        if others is not None and others.count:
            names = ", ".join(others.names) + (", …" if others.count > len(others.names) else "")
            count = "1 other file was" if others.count == 1 else f"{others.count} other files were"
            _say(f"{count} passed over in {name}: {printable(names)}")


def _or_say(place: str, refs: Iterable[ObjectRef]) -> Iterator[ObjectRef]:
    """Yield ``refs``. If there are none, say so: a slip in a path must not look like an empty trail."""
    empty = True
    for ref in refs:
        empty = False
        yield ref
    if empty:
        _say(f"No log file in {place}")


def _say(text: str) -> None:
    error_console().print(text, markup=False)
