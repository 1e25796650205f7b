"""Does a document fit ``mappings/``, and is everything of its record in it? Answered without a server."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from ipaddress import ip_address
from typing import Any

import yaml

from loader.detection.lowercase import lower
from loader.logtypes.leaves import MAX_TERM_BYTES, Number, escape_key
from loader.project import mappings_dir

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_LEVELS = 19


def read_mapping(template: str = "log-aws-cloudtrail") -> dict[str, Any]:
    """The merged ``properties`` of an index template and its components."""
    index = json.loads((mappings_dir() / "index" / f"{template}.json").read_bytes())
    merged: dict[str, Any] = {}
    for name in index["composed_of"]:
        component = json.loads((mappings_dir() / "component" / f"{name}.json").read_bytes())
        _merge(merged, component["template"].get("mappings", {}).get("properties", {}))
    _merge(merged, index["template"]["mappings"].get("properties", {}))
    return merged


def _merge(into: dict[str, Any], more: dict[str, Any]) -> None:
    for name, body in more.items():
        if name in into and isinstance(into[name], dict) and isinstance(body, dict):
            _merge(into[name], body)
        else:
            into[name] = body


def count_fields(properties: dict[str, Any]) -> int:
    """Fields as ``index.mapping.total_fields.limit`` counts them: objects, fields, sub-fields, aliases."""
    return sum(
        1 + len(body.get("fields", {})) + count_fields(body.get("properties", {})) for body in properties.values()
    )


def problems(body: bytes, properties: dict[str, Any]) -> list[str]:
    """What a strict server would refuse, or silently not index, in a document."""
    if b"\n" in body or b"\r" in body:
        return ["more than one line"]
    try:
        document = json.loads(body.decode(), object_pairs_hook=_unique)
    except ValueError as error:
        return [f"not strict JSON: {error}"]
    return [*_walk(document, {"properties": properties}, ""), *_rounded(body)]


def _rounded(body: bytes) -> Iterator[str]:
    """The stored numbers that the server would round: it writes the source anew, with doubles."""
    for path, text in leaves(exactly(body), ""):
        if "aws.cloudtrail.flattened" in path and isinstance(text, Number) and not text.lstrip("-").isdigit():
            number = float(text)
            if not math.isfinite(number) or Decimal(text) != Decimal(repr(number)):
                yield f"{path}: {text} is more than a double"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key occurs twice")
    return members


def _walk(value: Any, mapping: dict[str, Any], path: str) -> Iterator[str]:
    kind = mapping.get("type", "object")
    if kind == "object":
        if isinstance(value, list) and path == "aws.cloudtrail.resources":
            for element in value:
                yield from _walk(element, mapping, path)
        elif not isinstance(value, dict):
            yield f"{path}: {type(value).__name__} where an object belongs"
        elif mapping.get("enabled", True):
            for name, inner in value.items():
                place = f"{path}.{name}" if path else name
                found = mapping.get("properties", {}).get(name)
                if found is None:
                    yield f"{place}: no such field"
                else:
                    yield from _walk(inner, found, place)
        elif _depth(value) > _LEVELS + 4:
            yield f"{path}: nested {_depth(value)} deep"
    elif isinstance(value, list):
        for element in value:
            yield from _check(element, kind, mapping, path)
    else:
        yield from _check(value, kind, mapping, path)


def _check(value: Any, kind: str, mapping: dict[str, Any], path: str) -> Iterator[str]:
    fits = {
        "keyword": lambda: isinstance(value, str),
        "wildcard": lambda: isinstance(value, str),
        "boolean": lambda: isinstance(value, bool),
        "long": lambda: isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63,
        "double": lambda: isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value),
        "date": lambda: isinstance(value, str) and bool(_DATE.fullmatch(value)),
        "ip": lambda: isinstance(value, str) and _is_ip(value),
    }[kind]()
    if not fits:
        yield f"{path}: {value!r:.80} is no {kind}"
    elif kind in ("keyword", "wildcard"):
        if len(value.encode("utf-16-le", "surrogatepass")) // 2 > mapping.get("ignore_above", 10**9):
            yield f"{path}: longer than {mapping['ignore_above']}, so not indexed"
        if len(lower(value).encode()) > MAX_TERM_BYTES:
            yield f"{path}: longer than a term"


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def exactly(text: str | bytes) -> Any:
    """JSON with each number as its own text and each object as its pairs, in a list tagged by :class:`Pairs`."""
    return json.loads(text, object_pairs_hook=Pairs, parse_int=Number, parse_float=Number)


class Pairs(list[tuple[str, Any]]):
    """The members of an object."""


def leaves(value: Any, path: str) -> Iterator[tuple[str, str | None]]:
    """Each leaf of a value from :func:`exactly`: its path and its text (``None`` for null), by docs/adr/0002.

    Written apart from the loader's own walkers on purpose.
    """
    if isinstance(value, Pairs):
        if not value:
            yield path, "{}"
        for key, inner in value:
            yield from leaves(inner, f"{path}.{escape_key(key)}")
    elif isinstance(value, list):
        if not value:
            yield path, "[]"
        for inner in value:
            yield from leaves(inner, path)
    elif value is None:
        yield path, None
    elif isinstance(value, bool):
        yield path, "true" if value else "false"
    else:
        yield path, value


@cache
def sigma_fields() -> dict[str, str]:
    """CloudTrail's name → typed field, from the Sigma pipeline: the contract of where rules look."""
    pipeline = yaml.safe_load((mappings_dir() / "sigma" / "aws_cloudtrail.yml").read_text())
    found: dict[str, str] = pipeline["transformations"][0]["mapping"]
    return found


def values_at(document: Any, path: str) -> list[str]:
    """Every scalar at a document path, as text."""
    if isinstance(document, list):
        return [text for element in document for text in values_at(element, path)]
    if not path:
        return ["true" if document is True else "false" if document is False else str(document)]
    if not isinstance(document, dict):
        return []
    head, _, rest = path.partition(".")
    return values_at(document[head], rest) if head in document else []


def missing(record: str | bytes, body: bytes) -> list[str]:
    """The leaves of a record that its document does not hold: neither in their typed field nor as a leaf."""
    return [leaf for leaf, place in places(record, body) if place is None]


def places(record: str | bytes, body: bytes) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """Each leaf of a record, and where its document holds it: field and value; ``None`` if it does not."""
    document = json.loads(body)
    listed = set(document["aws"]["cloudtrail"].get("leaves", ()))
    typed = sigma_fields()
    for path, text in [found for key, value in exactly(record) for found in leaves(value, escape_key(key))]:
        leaf = path if text is None else f"{path}={text}"
        field = typed.get(path)
        if leaf in listed:
            yield leaf, ("aws.cloudtrail.leaves", leaf)
        elif field is not None and text is not None and text in values_at(document, field):
            yield leaf, (field, text)
        else:
            yield leaf, None
