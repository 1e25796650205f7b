"""Optional filters that drop events before they are indexed: named, owned, counted, and out of a caller's reach.

A filter file is YAML under code review::

    - name: kms-decrypt-by-config
      owner: platform-security
      reason: AWS Config decrypts its own data 40,000 times a day.
      match:
        eventSource: kms.amazonaws.com
        eventName: [Decrypt]
        userIdentity.invokedBy: config.amazonaws.com

All keys of ``match`` must hold; a list means any of its values; values are compared exactly. Only fields that AWS
itself fills are allowed: nobody must be able to hide an event by choosing a user agent, a session name or a parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from loader.errors import ConfigError

#: What AWS writes whatever the caller sends. ``userIdentity.arn`` is not among them: it holds the session name.
ALLOWED = frozenset(
    {
        "awsRegion",
        "eventCategory",
        "eventName",
        "eventSource",
        "eventType",
        "managementEvent",
        "readOnly",
        "recipientAccountId",
        "userIdentity.accountId",
        "userIdentity.invokedBy",
        "userIdentity.sessionContext.sessionIssuer.arn",
        "userIdentity.type",
    }
)
#: By these alone a filter would drop what every caller can do: one of the others has to narrow it.
_NOT_ENOUGH = frozenset(
    {"awsRegion", "eventCategory", "eventType", "managementEvent", "readOnly", "recipientAccountId"}
)

#: How YAML writes that there is nothing.
_NOTHING = ("", "~", "null")

#: Raw record → the name of the filter that drops it, or ``None``.
Drop = Callable[[bytes], str | None]


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter. ``match`` maps a dotted field name to the values that match."""

    name: str
    owner: str
    reason: str
    match: Mapping[str, frozenset[str]]


def keep_all(_: bytes) -> str | None:
    """Drop nothing: the default."""
    return None


def read_filters(path: Path) -> list[Filter]:
    """Read a filter file.

    Raises:
        ConfigError: it cannot be read, or a filter in it is not allowed; all problems are named.
    """
    try:
        listed = yaml.load(path.read_text(encoding="utf-8"), Loader=_Texts)  # noqa: S506  # of texts alone
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"the filter file cannot be read: {error.problem or error.context}", where=where) from None
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"the filter file cannot be read: {error}", where=str(path)) from None
    if not isinstance(listed, list):
        hint = "See docs/loading.md, Filters."
        raise ConfigError("a filter file is a list of filters (- name: …)", where=str(path), hint=hint)
    filters, problems, names = [], [], set()
    for number, entry in enumerate(listed, 1):
        found = _problems(entry)
        if not found and entry["name"] in names:
            found = [f"the name {entry['name']!r} is taken"]
        if found:
            problems += [f"filter {number}: {problem}" for problem in found]
            continue
        names.add(entry["name"])
        match = {key: frozenset(_values(value)) for key, value in entry["match"].items()}
        filters.append(Filter(entry["name"], entry["owner"], entry["reason"], match))
    if problems:
        raise ConfigError("; ".join(problems), where=str(path), hint="See docs/loading.md, Filters.")
    return filters


def _problems(entry: Any) -> list[str]:
    if not isinstance(entry, dict):
        return ["it is no mapping"]
    problems = [
        f"{key} is missing"
        for key in ("name", "owner", "reason")
        if not isinstance(entry.get(key), str) or entry[key].lower() in _NOTHING
    ]
    problems += [f"{key} is not known" for key in entry.keys() - {"name", "owner", "reason", "match"}]
    match = entry.get("match")
    if not isinstance(match, dict) or not match:
        return [*problems, "match is missing"]
    problems += [f"{key} is not a field that AWS alone fills" for key in match if key not in ALLOWED]
    if match.keys() <= _NOT_ENOUGH:
        problems.append("it would drop what everybody does: name an eventSource, an eventName or an identity")
    problems += [f"{key} has no value" for key, value in match.items() if not _values(value)]
    problems += [
        f"a value of {key} is no text"
        for key, value in match.items()
        if not all(isinstance(entry, str) and entry for entry in _values(value))
    ]
    return problems


def _values(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


class _Texts(yaml.BaseLoader):
    """Every value is a text, as it is written: an account's number is no number. No key may stand twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping.

        Raises:
            yaml.constructor.ConstructorError: a key stands twice, or is no text.
        """
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is no text", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def dropper(filters: list[Filter]) -> Drop:
    """Return the function that names the first filter a raw record matches. A record it cannot read is kept."""
    if not filters:
        return keep_all
    decode = msgspec.json.Decoder(dict[str, Any]).decode

    def drop(raw: bytes) -> str | None:
        try:
            record = decode(raw)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return None
        for entry in filters:
            if all(_value(record, path) in values for path, values in entry.match.items()):
                return entry.name
        return None

    return drop


def _value(record: dict[str, Any], path: str) -> str | None:
    value: Any = record
    for part in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return _text(value) if isinstance(value, (str, int, bool)) else None
