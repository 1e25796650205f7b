"""``siem normalise``: raw records in, documents out, no cluster needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import click

from loader.cli.output import error_console
from loader.clock import SystemClock, rfc3339
from loader.errors import RecordError
from loader.identity.extract import edges
from loader.index.bulk import Item
from loader.ingest.hinting import Hinter
from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import ObjectContext
from loader.source.fetch import LOCAL_BUCKET, file_fetch
from loader.source.objects import Broken, Limits, ObjectRef, Piece
from loader.source.split import read_pieces

#: Records whose documents are marked together: sessions that one of them opens are known to all of them.
_TOGETHER = 5000


@click.command("normalise")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)
)
@click.option("--meta", is_flag=True, help="Add _index and _id to each document.")
def command(files: tuple[Path, ...], meta: bool) -> None:
    """Print the documents that FILES would become, one JSON object a line.

    FILES are CloudTrail log files (.json or .json.gz), single records, or JSON lines; - is standard input. For people
    who write rules: pipe it through jq. Who did it (siem.actor, siem.session.chain) is told from the files given, as
    the loader tells it from what it has loaded. Ends with exit code 1 if a record could not be read; the others are
    printed.
    """
    ingested = rfc3339(SystemClock().now())
    hinter = Hinter()
    bad = 0
    for path in files:
        context = ObjectContext(LOCAL_BUCKET, str(path), ingested)
        pieces = _pieces(path)
        while part := list(islice(pieces, _TOGETHER)):
            bad += _print(path, part, context, hinter, meta)
    if bad:
        raise click.exceptions.Exit(1)


def _pieces(path: Path) -> Iterator[Piece | Broken]:
    if str(path) == "-":
        if sys.stdin is None:  # the shell has closed it
            raise click.UsageError("Standard input is closed. Give a file, or pipe something into this command.")
        return read_pieces(iter(lambda: sys.stdin.buffer.read(2**20), b""), Limits())
    return read_pieces(file_fetch(ObjectRef(LOCAL_BUCKET, str(path))), Limits())


def _print(path: Path, part: list[Piece | Broken], context: ObjectContext, hinter: Hinter, meta: bool) -> int:
    """Print the documents of some records; return how many could not be read."""
    items: list[Item] = []
    problems: list[tuple[int, str]] = []
    for piece in part:
        if isinstance(piece, Broken):
            problems.append((piece.number, f"{piece.kind}: {piece.message}"))
            continue
        try:
            made = CLOUDTRAIL.normalise(piece.raw, context, False)
        except RecordError as error:
            problems.append((piece.number, f"{error.kind}: {error.message}"))
            continue
        index = CLOUDTRAIL.index(made.day)
        items.append(Item(piece.number, piece.raw, index, made.id, made.body, who=made.who))
    hinter.mark(items, [edge for item in items for edge in edges(item.raw)])
    for number, problem in problems:
        error_console().print(f"{path}#{number}: {problem}", markup=False)
    for item in items:
        click.echo(_with_meta(item) if meta else item.body)
    return len(problems)


def _with_meta(item: Item) -> bytes:
    return b'{"_index":"%b","_id":"%b",' % (item.index.encode(), item.id.encode()) + item.body[1:]
