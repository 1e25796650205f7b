"""Conditions on fields that are not text: booleans, numbers, dates, addresses; and comparisons of numbers in text."""

from __future__ import annotations

from datetime import datetime, timezone
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from loader.detection.clauses import Clause, any_of, exists, leaf
from loader.detection.fields import Field, Leaf, Schema
from loader.detection.lowercase import lower
from loader.detection.lucene import compile_wildcard, escape_regexp
from loader.detection.numbers import Op, network_expression, number_expressions
from loader.detection.text import Value, pattern_of, present, verified
from loader.detection.unsupported import UnsupportedError


def matches(target: Field, value: Value) -> Clause:
    """Return the clause for a field that is not text being ``value``."""
    if value and all(piece.wild == "*" for piece in value):
        return Clause.of(exists(target.name))
    text = "".join(piece.text for piece in value)
    patterned = any(piece.wild for piece in value)
    if target.kind == "boolean":
        return _boolean(target, value)
    if target.kind == "ip":
        return _address(target, pattern_of(value) if patterned else text)
    if patterned:
        return Clause.within(exists(target.name), verified(target, pattern=pattern_of(value)))
    if target.kind == "date":
        return Clause.of(leaf("range", target.name, {"gte": _moment(target, text), "lte": _moment(target, text)}))
    return Clause.of(leaf("term", target.name, _number(target, text)))


def _boolean(target: Field, value: Value) -> Clause:
    pattern = compile_wildcard(lower(pattern_of(value)))
    accepted = [word == "true" for word in ("true", "false") if pattern.fullmatch(word)]
    if not accepted:
        raise UnsupportedError(f"{target.name} is true or false: {pattern_of(value)!r} can never match")
    return Clause.of(any_of(leaf("term", target.name, answer) for answer in accepted))


def _number(target: Field, text: str) -> float:
    try:
        return int(text) if target.kind == "integer" else float(text)
    except ValueError:
        raise UnsupportedError(f"{target.name} holds numbers: {text!r} can never match") from None


def _moment(target: Field, text: str) -> str:
    try:
        moment = datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
    except ValueError:
        raise UnsupportedError(
            f"{target.name} holds dates: {text!r} can never match", hint="Write 2026-01-31T23:59:59Z."
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _address(target: Field, text: str) -> Clause:
    stem = text.removesuffix("*").rstrip(".")
    try:
        if text.endswith("*") and text[:-1] == stem + ".":
            parts = stem.split(".")
            wanted = str(IPv4Network(".".join((parts + ["0"] * 4)[:4]) + f"/{8 * len(parts)}"))
        else:
            wanted = str(ip_network(text)) if "/" in text else str(ip_address(text))
    except ValueError:
        raise UnsupportedError(
            f"{target.name} holds IP addresses: {text!r} is neither one nor a network", hint="Use the modifier cidr."
        ) from None
    return Clause.of(leaf("term", target.name, wanted))


def in_network(target: Field | Leaf, network: IPv4Network | IPv6Network, schema: Schema) -> Clause:
    """Return the clause for an address in ``network``: by the address field where there is one, else by its text."""
    if isinstance(target, Field):
        twin = schema.address(target.name) or (target if target.kind == "ip" else None)
        if twin is not None:
            # Long lists of addresses are one set for the server; each network is a query of its own.
            single = network.prefixlen == network.max_prefixlen
            return Clause.of(leaf("term", twin.name, str(network.network_address if single else network)))
    exact = verified(target, network=str(network))
    expression, complete = network_expression(network)
    return _by_expression(target, expression, expression if complete else None, exact, schema)


def compared(target: Field | Leaf, op: Op, bound: float, schema: Schema) -> Clause:
    """Return the clause for ``target op bound``, as numbers."""
    if isinstance(target, Field) and target.kind in ("integer", "float"):
        return Clause.of(leaf("range", target.name, {op: bound}))
    if isinstance(target, Field) and target.kind not in ("keyword", "wildcard"):
        raise UnsupportedError(f"{target.name} holds {target.kind} values, which do not compare with a number")
    expression, certain = number_expressions(op, bound)
    return _by_expression(target, expression, certain, verified(target, compare=op, number=bound), schema)


def _by_expression(
    target: Field | Leaf, upper: str, lower_bound: str | None, exact: dict[str, Any], schema: Schema
) -> Clause:
    """Bound a condition on text by expressions: ``upper`` matches at least, ``lower_bound`` at most what is meant."""
    if isinstance(target, Leaf) and not target.whole and schema.source.payloads:
        name, head = schema.source.payloads.field, escape_regexp(lower(target.path)) + "="
    elif isinstance(target, Field) and target.kind == "keyword":
        name, head = target.lower or target.name, ""
    else:
        return Clause.within(present(target, schema), exact)
    least = leaf("regexp", name, {"value": f"{head}({lower_bound})"}) if lower_bound else None
    if upper == lower_bound:
        return Clause.of(leaf("regexp", name, {"value": f"{head}({upper})"}))
    return Clause.within(leaf("regexp", name, {"value": f"{head}({upper})"}), exact, least)
