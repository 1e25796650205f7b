"""A rule's own test events: ``<rule>.test.json`` beside it, raw records that must match and others that must not.

``{"match": [...], "near_miss": [...]}``. Each entry is one record; for a correlation, a list of records (one
history). A file of several rules has one such object for each, under the rule's name or id. A rule that needs lists or
places brings its own, so that a test depends on nobody's: ``"variables": {"list": ["198.51.100.7"]}``,
``"places": {"198.51.100.7": {"latitude": 52.5, "longitude": 13.4}}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from loader.detection.model import Rule
from loader.detection.needs import Variables
from loader.detection.places import Place, parse_places
from loader.errors import RuleError


@dataclass(frozen=True, slots=True)
class Cases:
    """The test events of one rule, each a list of raw records (a single one unless the rule is a correlation)."""

    path: Path
    match: tuple[tuple[bytes, ...], ...]
    near_miss: tuple[tuple[bytes, ...], ...]
    #: Lists for placeholders, and where addresses are, as the tests have them; ``None``: as everybody has them.
    variables: Variables | None = None
    places: Mapping[str, Place] | None = None


def cases_path(rule: Rule) -> Path:
    """Return where the test events of ``rule`` are."""
    return rule.path.with_name(f"{rule.path.stem}.test.json")


def read_cases(rule: Rule) -> Cases:
    """Read the test events of ``rule``.

    Raises:
        RuleError: there are none, or the file is not what it should be.
    """
    path = cases_path(rule)
    try:
        content = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        hint = "Give it records that must match and near misses that must not."
        raise RuleError(f"there is no {path.name}", where=str(path), hint=hint) from None
    except (OSError, orjson.JSONDecodeError) as error:
        raise RuleError(f"{path.name} is not JSON: {error}", where=str(path)) from None
    if isinstance(content, Mapping) and not {"match", "near_miss"} & set(content):
        content = next((content[name] for name in (rule.name, rule.sigma_name, rule.uuid) if name in content), None)
    if not isinstance(content, Mapping):
        raise RuleError(f"{path.name} has no events for {rule.name}", where=str(path))
    try:
        places = parse_places(content["places"]) if "places" in content else None
    except ValueError as error:
        raise RuleError(f"{path.name}: {error}", where=str(path)) from None
    match, near_miss = (
        tuple(_history(path, entry) for entry in content.get(key, ())) for key in ("match", "near_miss")
    )
    return Cases(path, match, near_miss, content.get("variables"), places)


def _history(path: Path, entry: Any) -> tuple[bytes, ...]:
    records = entry if isinstance(entry, list) else [entry]
    if not records or not all(isinstance(record, dict) for record in records):
        raise RuleError(f"{path.name}: a test event must be a record or a list of records", where=str(path))
    return tuple(orjson.dumps(record) for record in records)
