"""What a check finds, and where it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. ``code`` names the check, ``place`` the key inside the object."""

    file: str
    #: Line of the NDJSON, from 1; 0 where the whole file is meant.
    line: int
    #: ``type/id``, or empty where the line is no object.
    object: str
    place: str
    code: str
    message: str

    @property
    def where(self) -> str:
        """Return the place a person can go to: ``file:line type/id place``."""
        start = f"{self.file}:{self.line}" if self.line else self.file
        return " ".join(part for part in (start, self.object, self.place) if part)

    def __str__(self) -> str:
        return f"{self.where}: {self.message} [{self.code}]"


@dataclass(slots=True)
class Item:
    """One saved object with its line, and the problems found in it so far."""

    file: str
    line: int
    body: dict[str, Any]
    problems: list[Problem] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """Return the object's type."""
        return str(self.body.get("type"))

    @property
    def identity(self) -> str:
        """Return the object's id."""
        return str(self.body.get("id"))

    @property
    def attributes(self) -> dict[str, Any]:
        """Return the attributes, empty where they are no mapping."""
        found = self.body.get("attributes")
        return found if isinstance(found, dict) else {}

    @property
    def references(self) -> dict[str, dict[str, Any]]:
        """Return the references by name; what is no reference is left out."""
        listed = self.body.get("references")
        entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        return {str(entry.get("name")): entry for entry in entries}

    def add(self, place: str, code: str, message: str) -> None:
        """Record a problem."""
        self.problems.append(Problem(self.file, self.line, f"{self.kind}/{self.identity}", place, code, message))

    def inner(self, place: str, default: Any = None) -> Any:
        """Return the JSON inside the text of attribute ``place`` (``a`` or ``a.b``), or ``default`` with a problem."""
        value: Any = self.attributes
        for key in place.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, str):
            self.add(place, "shape", "expected text that holds JSON")
            return default
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError as error:
            self.add(place, "json", f"not JSON: {error}")
            return default


def read_items(file: str, content: bytes) -> Iterator[Item | Problem]:
    """Yield one item a line, or the problem that the line is."""
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            body = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            yield Problem(file, number, "", "", "json", f"not JSON: {error}")
            continue
        if not isinstance(body, dict):
            yield Problem(file, number, "", "", "shape", "expected one saved object")
            continue
        yield Item(file, number, body)
