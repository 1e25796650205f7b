"""What commands print: tables and colours in a terminal, plain text in a pipe, JSON where a script wants it."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, TextIO, cast

import click
import orjson
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from loader.errors import SiemError

LEVEL_STYLES = {
    "critical": "bold white on red",
    "high": "bold red",
    "medium": "yellow",
    "low": "cyan",
    "informational": "dim",
}


def console() -> Console:
    """Return a console for results, on standard output."""
    terminal = sys.stdout.isatty()
    return Console(
        highlight=False, width=_width(terminal), file=None if terminal else cast("IO[str]", _Trimmed(sys.stdout))
    )


def error_console() -> Console:
    """Return a console for progress and errors, on standard error."""
    return Console(stderr=True, highlight=False, width=_width(sys.stderr.isatty()))


class _Trimmed(io.TextIOBase):
    """Takes the blanks off the ends of lines that a table is padded with."""

    def __init__(self, target: TextIO) -> None:
        self._target = target

    def write(self, text: str) -> int:
        """Write ``text`` without blanks before line ends."""
        self._target.write(re.sub(r" +(?=\n)", "", text))
        return len(text)

    def flush(self) -> None:
        """Pass it on."""
        self._target.flush()


def _width(terminal: bool) -> int | None:
    # In a pipe a row is a line, however long: grep and awk come next.
    return None if terminal else 10_000


def progress(*, quiet: bool = False) -> Progress:
    """Return a progress display on standard error; nothing is drawn outside a terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=error_console(),
        disable=quiet or not sys.stderr.isatty(),
        transient=True,
    )


def shown_path(where: str) -> str:
    """Return ``where`` relative to the working directory if it begins with that."""
    return where.removeprefix(f"{Path.cwd()}{os.sep}")


def print_json(value: object) -> None:
    """Print ``value`` as one line of JSON."""
    click.echo(orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str).decode())


def table(
    title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[int] = ()
) -> Table:
    """Return a table; ``right`` lists the columns (from 0) whose cells stand on the right. Cells are not markup."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold")
    for position, name in enumerate(columns):
        made.add_column(name, justify="right" if position in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*[cell if isinstance(cell, Text) else _plain(cell) for cell in row])
    return made


def printable(text: str) -> str:
    """Return ``text`` as it may reach a terminal or a script: no control character, nothing that is no Unicode."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _plain(cell: object) -> str:
    # Data must not be read as markup.
    return printable("" if cell is None else str(cell)).replace("[", r"\[")


def print_error(error: SiemError) -> None:
    """Print what went wrong, where, and what to do next."""
    screen = error_console()
    screen.print("[bold red]Error[/] ", end="")
    screen.print(printable(error.message), markup=False, style="bold")
    if error.where:
        screen.print(f"  at   {printable(error.where)}", markup=False)
    if error.hint:
        screen.print(f"  next {printable(error.hint)}", markup=False)
