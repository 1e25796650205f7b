"""Athena's statements on DuckDB: sqlglot rewrites Trino's dialect; what DuckDB has no function for is written here.

Those are SQL/JSON paths in lax mode (ISO/IEC 19075-6; only what statements use: members, ``[*]``, ``.*`` and the filter
for null) and addresses. Everything else, windows and nulls before all, is DuckDB's.
"""

from __future__ import annotations

import ipaddress
import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import duckdb
import sqlglot
from sqlglot import exp

from loader.detection.export.athena_table import COLUMNS

_STEP = re.compile(r'\."([^"]*)"|(\.\*)|(\[\*\])|(\?\(@ == null\))')


class Athena:
    """One table over records, in memory."""

    def __init__(self, records: Iterable[tuple[str, str, Mapping[str, Any]]]) -> None:
        """Take (id, name of a history, record)."""
        self.connection = duckdb.connect(config={"threads": "1"})
        self.connection.execute("SET TimeZone='UTC'")
        for function, kind in ((json_texts, "VARCHAR[]"), (json_path_exists, "BOOLEAN"), (in_network, "BOOLEAN")):
            self.connection.create_function(
                function.__name__, function, ["VARCHAR", "VARCHAR"], kind, null_handling="special"
            )
        columns = ", ".join(f"{name} {_type(kind)}" for name, kind in COLUMNS.items())
        parts = "account TEXT, region TEXT, day TEXT, history TEXT"
        self.connection.execute(f"CREATE TABLE everything ({columns}, {parts})")
        self.connection.execute('CREATE SCHEMA IF NOT EXISTS "default"')
        self.put(records)
        self.look_at()

    def put(self, records: Iterable[tuple[str, str, Mapping[str, Any]]]) -> None:
        """Replace what the table holds."""
        self.connection.execute("DELETE FROM everything")
        names = [*COLUMNS, "account", "region", "day", "history"]
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            for id_, history, record in records:
                values = dict(zip(names, row(id_, history, record), strict=True))
                file.write(json.dumps(values) + "\n")
            file.flush()
            self.connection.execute(
                f"INSERT INTO everything SELECT {', '.join(names)} FROM read_json(?, format='newline_delimited',"
                f" columns={{{columns_of(names)}}}, maximum_object_size=100000000)",
                [file.name],
            )

    def look_at(self, history: str | None = None) -> None:
        """Let the table hold one history only, or all."""
        only = f" WHERE history = '{history}'" if history else ""
        self.connection.execute(f'CREATE OR REPLACE VIEW "default"."cloudtrail_logs" AS SELECT * FROM everything{only}')

    def run(self, statement: str) -> list[dict[str, Any]]:
        """Return the rows of a statement written for Athena."""
        (parsed,) = [one for one in sqlglot.parse(statement, read="athena") if one is not None]
        for node in reversed(list(parsed.walk(bfs=False))):  # what is inside first
            if (other := _for_duckdb(node)) is not node:
                node.replace(other)
        cursor = self.connection.execute(parsed.sql(dialect="duckdb"))
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


def columns_of(names: Iterable[str]) -> str:
    return ", ".join(f"{name}: '{_type(COLUMNS.get(name, 'string'))}'" for name in names)


def row(id_: str, history: str, record: Mapping[str, Any]) -> list[Any]:
    """Return a record as the SerDe reads it: names without regard to case, JSON as text where a column is text."""
    folded = {key.lower(): value for key, value in record.items()}
    day = str(record["eventTime"])[:10].replace("-", "/")
    values = [_read(kind, folded.get(name)) for name, kind in COLUMNS.items()]
    values[list(COLUMNS).index("eventid")] = id_
    return [*values, str(record.get("recipientAccountId", "")), str(record.get("awsRegion", "")), day, history]


def _read(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, list):
        return [_read(kind[0], one) for one in value] if isinstance(value, list) else None
    if isinstance(kind, Mapping):
        if not isinstance(value, Mapping):
            return None
        folded = {key.lower(): member for key, member in value.items()}
        return {name: _read(member, folded.get(name)) for name, member in kind.items()}
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _type(kind: Any) -> str:
    if isinstance(kind, list):
        return f"{_type(kind[0])}[]"
    if isinstance(kind, Mapping):
        return "STRUCT(" + ", ".join(f'"{name}" {_type(member)}' for name, member in kind.items()) + ")"
    return "TEXT"


def _for_duckdb(node: exp.Expression) -> exp.Expression:
    if isinstance(node, exp.Transform) and (found := node.this.find(exp.JSONExtract)) and found.args.get("json_query"):
        assert node.this.this.this is found, "a JSON query is read as an array of texts, in one way only"
        return exp.Anonymous(this="json_texts", expressions=[found.this, found.expression])
    if isinstance(node, exp.Anonymous) and node.name.lower() == "json_exists":
        return exp.Anonymous(this="json_path_exists", expressions=node.expressions)
    if isinstance(node, exp.Anonymous) and node.name.lower() == "any_match":
        values, test = node.expressions
        return exp.Anonymous(this="list_bool_or", expressions=[exp.Transform(this=values, expression=test)])
    if isinstance(node, exp.ArrayContains) and isinstance(node.expression, exp.TryCast):
        return exp.Anonymous(this="in_network", expressions=[node.this, node.expression.this])
    return node


def in_network(network: str, address: str) -> bool:
    """Trino's ``contains(network, try_cast(address AS IPADDRESS))``."""
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network)
    except (ValueError, TypeError):
        return False


def json_texts(text: str, path: str) -> list[str]:
    """The scalars at a path, as ``json_extract_scalar`` shows them; null for what is none."""
    if text is None:
        return None  # type: ignore[return-value]
    found = _found(text, path)
    return [_scalar(one) for one in found] if found else None  # type: ignore[return-value, misc]


def json_path_exists(text: str, path: str) -> bool:
    """Whether a path leads anywhere."""
    return None if text is None else bool(_found(text, path))  # type: ignore[return-value]


def _scalar(value: Any) -> str | None:
    if isinstance(value, (dict, list)) or value is None:
        return None
    return value if isinstance(value, str) else json.dumps(value)


@lru_cache(maxsize=200_000)
def _found(text: str, path: str) -> list[Any]:
    try:
        items = [_parsed(text)]
    except ValueError:
        return []
    assert path.startswith("lax $"), path
    position = len("lax $")
    while position < len(path):
        step = _STEP.match(path, position)
        assert step, path
        items = list(_stepped(items, step))
        position = step.end()
    return items


@lru_cache(maxsize=50_000)
def _parsed(text: str) -> Any:
    return json.loads(text)


def _stepped(items: list[Any], step: re.Match[str]) -> Iterable[Any]:
    name, members, _elements, null = step.groups()
    for item in items:
        # Lax: a member of an array is that of its elements; an element of what is no array is the thing itself.
        for one in item if isinstance(item, list) else [item]:
            if name is not None:
                if isinstance(one, dict) and name in one:
                    yield one[name]
            elif members:
                if isinstance(one, dict):
                    yield from one.values()
            elif not null or one is None:
                yield one
