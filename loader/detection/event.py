"""One document as the search server sees it: the values of a field in the form its type indexes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from ipaddress import IPv4Address, ip_address
from typing import Any

from loader.detection.fields import Field, Schema
from loader.detection.lowercase import lower
from loader.logtypes.leaves import fit_term, parse_exactly, walk_carefully
from loader.logtypes.residue import stored

_EVERY_DEPTH = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Event:
    """A document (``_source``, or a document as it is sent) read through the log type's field types.

    Where the source has no leaves (in indices that exclude them), they are made again from the payloads it holds.
    Nothing is changed.
    """

    def __init__(self, source: Mapping[str, Any], schema: Schema) -> None:
        self.source = source
        self.schema = schema
        self._stored: dict[str, list[Any]] = {}
        self._indexed: dict[str, list[Any]] = {}
        self._leaves: list[tuple[str, str | None]] | None = None

    def stored(self, path: str) -> list[Any]:
        """Return the values at ``path`` in ``_source``, arrays unfolded, nulls left out."""
        if path not in self._stored:
            self._stored[path] = list(_collect(self.source, path.split(".")))
        return self._stored[path]

    def indexed(self, field: Field) -> list[Any]:
        """Return the values of ``field`` as the server indexes them."""
        if field.name not in self._indexed:
            payloads = self.schema.source.payloads
            if payloads and field.name == payloads.field:
                self._indexed[field.name] = [lower(fit_term(written)) for written in self._terms()]
            else:
                self._indexed[field.name] = list(_indexed(field, self.stored(field.path)))
        return self._indexed[field.name]

    def texts(self, place: Mapping[str, Any]) -> list[str]:
        """Return the texts at a place of the evaluator's dialect (``field``, ``leaf`` or ``under``), as written."""
        if "field" in place:
            field = self.schema.fields[place["field"]]
            return [as_text(value) for value in self.stored(field.path) if not isinstance(value, Mapping)]
        if "leaf" in place:
            wanted = lower(place["leaf"])
            return [value for path, value in self.leaves() if value is not None and lower(path) == wanted]
        root = lower(place["under"])
        return [
            value
            for path, value in self.leaves()
            if value is not None and (not root or lower(path) == root or lower(path).startswith(root + "."))
        ]

    def leaves(self) -> list[tuple[str, str | None]]:
        """Return every leaf as (path as leaves spell it, value); the value of a JSON null is ``None``."""
        if self._leaves is None:
            self._leaves = [split_leaf(written) for written in self._terms()]
        return self._leaves

    def _terms(self) -> Sequence[str]:
        payloads = self.schema.source.payloads
        if payloads is None:
            return []
        if sent := self.stored(payloads.field):
            return [str(written) for written in sent]
        found: list[str] = []
        for whole in self.stored(payloads.stored):
            for path, value in _parts(whole) if isinstance(whole, Mapping) else ():
                walk_carefully(_unwrapped(value), path, found.append, _EVERY_DEPTH)
        if self.stored("tls.version_protocol") == ["tls"]:
            found += [f"tlsDetails.tlsVersion=TLSv{version}" for version in self.stored("tls.version")]
        return found


def _parts(flattened: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name the payloads as CloudTrail does; what had no typed place is below ``other`` and ``doubled``."""
    for key, value in flattened.items():
        if key == "other":
            yield from value.items()
        elif key == "doubled":
            yield from ((path, one) for path, earlier in value.items() for one in _unwrapped(earlier))
        elif key != "overlong":
            yield re.sub("_([a-z])", lambda match: match[1].upper(), key), value


def _unwrapped(value: Any) -> Any:
    """Return what a JSON string holds that was stored as text, because the server could not take it as it is."""
    if not isinstance(value, str) or not value.startswith(("{", "[")):
        return value
    try:
        held = parse_exactly(value)
    except (ValueError, RecursionError):
        return value
    return value if bytes(stored(held, value.encode())) == value.encode() else held


def split_leaf(written: str) -> tuple[str, str | None]:
    """Split ``path=value`` at the first ``=`` that no backslash precedes."""
    position = 0
    while (position := written.find("=", position)) != -1:
        before = written[:position]
        if (len(before) - len(before.rstrip("\\"))) % 2 == 0:
            return before, written[position + 1 :]
        position += 1
    return written, None


def as_text(value: Any) -> str:
    """Return a JSON value as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def milliseconds(value: Any) -> int | None:
    """Return a date as milliseconds since 1970; ``None`` when it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value)
    moment = parse_time(str(value))
    return None if moment is None else int((moment - _EPOCH).total_seconds() * 1000)


def parse_time(text: str) -> datetime | None:
    """Return an ISO 8601 time, UTC where it names no zone; ``None`` when it is none."""
    text = text.upper().replace("Z", "+00:00")
    head, dot, rest = text.partition(".")
    if dot:  # Python 3.10 takes three or six digits of a second only.
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        text = f"{head}.{digits[:6].ljust(6, '0')}{rest[len(digits) :]}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def address(text: str) -> int | None:
    """Return an address as the 128 bits both engines index (IPv4 is mapped into IPv6); ``None`` when it is none."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (0xFFFF << 32) | int(found) if isinstance(found, IPv4Address) else int(found)


def _collect(node: Any, parts: Sequence[str]) -> Iterator[Any]:
    if isinstance(node, list):
        for item in node:
            yield from _collect(item, parts)
    elif not parts:
        if node is not None:
            yield node
    elif isinstance(node, Mapping):
        for length in range(1, len(parts) + 1):
            key = ".".join(parts[:length])
            if key in node:
                yield from _collect(node[key], parts[length:])


def _indexed(field: Field, values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, Mapping):
            continue
        if field.kind in ("keyword", "wildcard", "text"):
            text = as_text(value)
            # Java counts UTF-16 units.
            if field.ignore_above is None or len(text.encode("utf-16-le", "surrogatepass")) // 2 <= field.ignore_above:
                yield lower(text) if field.lowered else text
            continue
        converted = _converted(field, value)
        if converted is not None:
            yield converted


def _converted(field: Field, value: Any) -> bool | float | int | None:
    if field.kind == "boolean":
        return value if isinstance(value, bool) else {"true": True, "false": False, "": False}.get(str(value))
    if field.kind == "date":
        return milliseconds(value)
    if field.kind == "ip":
        return address(str(value))
    if field.kind in ("integer", "float"):
        try:
            return int(value) if field.kind == "integer" else float(value)
        except (TypeError, ValueError):
            return None
    return None
