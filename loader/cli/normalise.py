"""``siem normalise``: raw records in, documents out, no cluster needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from loader.cli.output import error_console
from loader.clock import SystemClock, rfc3339
from loader.errors import RecordError
from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import ObjectContext, Rendered
from loader.source.fetch import LOCAL_BUCKET, file_fetch
from loader.source.objects import Broken, Limits, ObjectRef
from loader.source.split import read_pieces


@click.command("normalise")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)
)
@click.option("--meta", is_flag=True, help="Add _index and _id to each document.")
def command(files: tuple[Path, ...], meta: bool) -> None:
    """Print the documents that FILES would become, one JSON object a line.

    FILES are CloudTrail log files (.json or .json.gz), single records, or JSON lines; - is standard input. For people
    who write rules: pipe it through jq. Ends with exit code 1 if a record could not be read; the others are printed.
    """
    ingested = rfc3339(SystemClock().now())
    bad = 0
    for path in files:
        for number, result in _documents(path, ingested):
            if isinstance(result, str):
                bad += 1
                error_console().print(f"{path}#{number}: {result}", markup=False)
            else:
                click.echo(_with_meta(result) if meta else result.body)
    if bad:
        raise click.exceptions.Exit(1)


def _documents(path: Path, ingested: str) -> Iterator[tuple[int, Rendered | str]]:
    if str(path) == "-":
        chunks: Iterator[bytes] = iter(lambda: sys.stdin.buffer.read(2**20), b"")
    else:
        chunks = file_fetch(ObjectRef(LOCAL_BUCKET, str(path)))
    context = ObjectContext(LOCAL_BUCKET, str(path), ingested)
    for piece in read_pieces(chunks, Limits()):
        if isinstance(piece, Broken):
            yield piece.number, f"{piece.kind}: {piece.message}"
            continue
        try:
            yield piece.number, CLOUDTRAIL.normalise(piece.raw, context, False)
        except RecordError as error:
            yield piece.number, f"{error.kind}: {error.message}"


def _with_meta(document: Rendered) -> bytes:
    head = b'{"_index":"%b","_id":"%b",' % (CLOUDTRAIL.index(document.day).encode(), document.id.encode())
    return head + document.body[1:]
