"""Write an export: a file for each rule into a folder, or everything into one text."""

from __future__ import annotations

from pathlib import Path

import orjson

from loader.detection.export.model import Document, Export
from loader.errors import RuleError


def bundle(export: Export) -> str:
    """Return the whole export as one text: JSON objects one a line, other texts one after the other."""
    documents = (*export.preface, *export.documents)
    if all(isinstance(one.body, dict) for one in documents):
        return "".join(orjson.dumps(one.body).decode() + "\n" for one in documents)
    return "\n".join(_text(one) for one in documents)


def write_folder(export: Export, folder: Path) -> list[Path]:
    """Write each document into a file of its own; returns the files. Other files in the folder are left alone.

    Raises:
        RuleError: the folder cannot be written to.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for document in (*export.preface, *export.documents):
            path = folder / document.name
            path.write_text(_text(document), encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise RuleError(f"the export cannot be written: {error.strerror}", where=str(error.filename)) from None
    return written


def write_file(export: Export, path: Path) -> None:
    """Write the whole export into one file.

    Raises:
        RuleError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(bundle(export), encoding="utf-8")
    except OSError as error:
        raise RuleError(f"the export cannot be written: {error.strerror}", where=str(path)) from None


def _text(document: Document) -> str:
    if isinstance(document.body, str):
        return document.body
    if document.name.endswith(".ndjson"):  # read line by line: an object may not be spread over several
        return orjson.dumps(document.body).decode() + "\n"
    return orjson.dumps(document.body, option=orjson.OPT_INDENT_2).decode() + "\n"
