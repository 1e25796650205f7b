"""Conditions in CloudWatch Logs Insights QL, from the evaluator's dialect of DSL.

Grammar: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-Filter.html, and there
``CWL_QuerySyntax-operations-functions.html``.
A record's members are fields by their path (``userIdentity.type``), letters as CloudTrail writes them; members of a
list are numbered (``items.0.name``), so a condition on "any of the list" cannot be said.

What a comparison with a missing field is, AWS does not say: each condition asks for the field first, so that its
negation is true where the field is missing. Text is compared by regular expressions that ignore case. JSON's true and
false may be shown as 1 and 0, so both forms are looked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from loader.detection.event import split_leaf
from loader.detection.export.leaf_patterns import WHOLE, regexp_units, split_pattern, unescaped, wildcard_units
from loader.detection.export.model import UnsaidError, number
from loader.detection.fields import Field, Schema, sigma_names
from loader.detection.lowercase import variants
from loader.detection.lucene import compile_regexp, wildcard_tokens
from loader.detection.model import Query

_COMPARE = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
#: Fields of the record that hold lists.
_LISTS = ("resources.",)


@dataclass(frozen=True)
class Filters:
    """Writes conditions on documents as conditions on CloudTrail's records in CloudWatch Logs.

    ``written`` has the payloads' paths as the rule's author wrote them, by their lower case; ``lists`` the paths (lower
    case) at which a list is known to be.
    """

    schema: Schema
    written: Mapping[str, str]
    lists: frozenset[str] = frozenset()

    def ql(self, query: Query) -> str:
        """Return ``query`` as an expression of ``filter``.

        Raises:
            UnsaidError: it cannot be said.
        """
        ((kind, body),) = query.items()
        if kind in ("match_all", "match_none"):
            return "ispresent(@message)" if kind == "match_all" else "not ispresent(@message)"
        if kind == "bool":
            return self._bool(body)
        if kind == "siem":
            return self._siem(body)
        if kind == "exists":
            return f"ispresent({self._field(body['field'])[1]})"
        ((name, condition),) = body.items()
        payloads = self.schema.source.payloads
        if payloads and name == payloads.field:
            return self._leaves(kind, condition)
        return self._typed(kind, name, condition)

    def _bool(self, body: Mapping[str, Any]) -> str:
        def several(name: str) -> list[str]:
            part = body.get(name, [])
            return [self.ql(one) for one in (part if isinstance(part, list) else [part])]

        parts = [*several("filter"), *several("must"), *(f"not ({one})" for one in dict.fromkeys(several("must_not")))]
        options = list(dict.fromkeys(several("should")))
        if options and (body.get("minimum_should_match", 0 if parts else 1)) == 1:
            parts.append(f"({' or '.join(options)})" if len(options) > 1 else options[0])
        return f"({' and '.join(parts)})" if len(parts) != 1 else parts[0]

    # --- fields ------------------------------------------------------------------------------------------------

    def _field(self, name: str) -> tuple[Field, str]:
        field = self.schema.fields[name]
        written = sigma_names(self.schema.source).get(field.path)
        if written is None:
            raise UnsaidError(f"{field.path} is made by the loader; the records do not hold it")
        if written.startswith(_LISTS):
            raise UnsaidError(f"{written} is in a list, whose members are numbered there")
        return field, quoted(written)

    def _typed(self, kind: str, name: str, condition: Any) -> str:
        field, written = self._field(name)
        if kind == "terms":
            if field.kind in ("keyword", "wildcard"):
                folds = _folds(field, {})
                return _matches(written, _alternatives(condition, lambda one: _text(one, folds)), folds)
            return f"({' or '.join(self._typed('term', name, one) for one in condition)})"
        options = condition if isinstance(condition, Mapping) else {"value": condition}
        if field.kind in ("keyword", "wildcard"):
            folds = _folds(field, options)
            return _matches(written, _pattern(kind, options["value"], folds), folds)
        if field.kind == "ip" and kind == "term":
            return _in_network(written, str(options["value"]))
        if field.kind == "boolean" and kind == "term":
            answer = "true" if options["value"] is True or str(options["value"]) == "true" else "false"
            return _matches(written, _leaf_text(answer), True)
        if field.kind in ("integer", "float") and kind == "range":
            return _compared(written, condition)
        raise UnsaidError(f"{field.path} holds {field.kind} values, which it compares otherwise")

    # --- leaves of payloads ------------------------------------------------------------------------------------

    def _leaves(self, kind: str, condition: Any) -> str:
        if kind == "terms":
            by_path: dict[str, list[str]] = {}
            tests = []
            for one in condition:
                path, value = split_leaf(str(one))
                if value is None:
                    tests.append(self._leaves("term", one))
                else:
                    by_path.setdefault(path, []).append(value)
            tests += [
                _matches(self._path(path), _alternatives(texts, _leaf_text), True) for path, texts in by_path.items()
            ]
            return f"({' or '.join(tests)})" if len(tests) != 1 else tests[0]
        text = condition["value"] if isinstance(condition, Mapping) else condition
        if kind == "regexp":
            path, rest = split_pattern(regexp_units(text), text)
            return _matches(self._path(path), _pattern("regexp", rest), True)
        path, value = split_leaf(text)
        if value is None:  # a null, or an object: what is below it are fields, it is none itself
            return f"ispresent({self._path(path.removesuffix('.'))})"
        if kind == "term":
            return _matches(self._path(path), _leaf_text(value), True)
        if kind == "prefix" and not value:
            return f"ispresent({self._path(path)})"
        if kind == "prefix":
            return _matches(self._path(path), _pattern("prefix", value), True)
        path, rest = split_pattern(wildcard_units(text), text)
        return _matches(self._path(path), _pattern(kind, rest), True)

    def _path(self, path: str) -> str:
        plain = unescaped(path)
        written = self.written.get(plain.lower())
        if written is None:
            raise UnsaidError(f"it names {plain} nowhere, so how CloudTrail writes it is not known")
        if plain.lower() in self.lists:
            raise UnsaidError(f"{written} leads through a list, whose members are numbered there (….0.…)")
        return quoted(written)

    # --- what only the document can tell ------------------------------------------------------------------------

    def _siem(self, body: Mapping[str, Any]) -> str:
        place = self._place(body)
        if "same_as" in body:
            other = self._place(body["same_as"])
            if body["mode"] != "equals":
                raise UnsaidError("parts of one field are not compared with another there")
            return f"(ispresent({place}) and ispresent({other}) and tolower({place}) = tolower({other}))"
        if "pattern" in body:
            folds = not body.get("cased")
            return _matches(place, _pattern("wildcard", body["pattern"], folds), folds)
        if "regex" in body:
            return _searched(place, body["regex"], body.get("flags", ""))
        if "compare" in body:
            return _compared(place, {body["compare"]: body["number"]})
        if "network" in body:
            return _in_network(place, body["network"])
        raise UnsaidError("it has no parts of a time")

    def _place(self, body: Mapping[str, Any]) -> str:
        if "field" in body:
            return self._field(body["field"])[1]
        if "leaf" not in body:
            raise UnsaidError(WHOLE)
        return self._path(body["leaf"])


def quoted(name: str) -> str:
    """Return a field's name, between backticks where it has other characters than letters, digits, dots and @.

    Raises:
        UnsaidError: it holds a backtick itself.
    """
    if re.fullmatch(r"[A-Za-z0-9.@]+", name):
        return name
    if re.search(r"[`\\\x00-\x1f]", name):
        raise UnsaidError(f"the field {name!r} cannot be named there")
    return f"`{name}`"


def _folds(field: Field, options: Mapping[str, Any]) -> bool:
    return field.lowered or bool(options.get("case_insensitive"))


_ANYTHING = r"[\s\S]*"
_CONTROLS = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def _pattern(kind: str, value: Any, folds: bool = True) -> str:
    """Return the regular expression for a whole text, wildcards by kind."""
    text = str(value)
    if kind == "term":
        return _text(text, folds)
    if kind == "prefix":
        return _text(text, folds) + _ANYTHING
    if kind == "wildcard":
        parts = [{"*": _ANYTHING, "?": r"[\s\S]"}.get(sort) or _text(one, folds) for sort, one in wildcard_tokens(text)]
        return "".join(parts)
    if kind == "regexp":
        return f"(?:{_between_slashes(_any_character(compile_regexp(text).pattern))})"
    raise UnsaidError(f"it has no condition of kind {kind}")


def _alternatives(values: Any, write: Callable[[str], str]) -> str:
    return "(?:" + "|".join(write(str(one)) for one in dict.fromkeys(values)) + ")"


def _leaf_text(text: str) -> str:
    return f"(?:{text}|{int(text == 'true')})" if text in ("true", "false") else _text(text, folds=True)


def _text(text: str, folds: bool) -> str:
    """Return text as a regular expression; letters beyond ASCII in every case, whatever the flags do to them."""
    known = variants() if folds else {}
    return "".join(
        f"[{known[one]}]"
        if one in known and not one.isascii()
        else _CONTROLS.get(one) or re.escape(one).replace("/", r"\/")
        for one in text
    )


def _between_slashes(pattern: str) -> str:
    """Return an expression of Python's as it is written between slashes, on one line."""
    shown = re.sub(r"(?<!\\)((?:\\\\)*)/", r"\1\\/", pattern)
    for control, written in _CONTROLS.items():
        shown = shown.replace(f"\\{control}", written).replace(control, written)
    return shown


def _any_character(pattern: str) -> str:
    """Return an expression whose dots are line breaks, too, without a flag for it."""
    parts, inside, position = [], False, 0
    while position < len(pattern):
        one = pattern[position : position + 2] if pattern[position] == "\\" else pattern[position]
        inside = (inside or one == "[") and one != "]"
        parts.append(r"[\s\S]" if one == "." and not inside else one)
        position += len(one)
    return "".join(parts)


def _matches(name: str, pattern: str, folds: bool) -> str:
    flag = "(?i)" if folds else ""
    anchored = f"^{pattern}$".removesuffix(f"{_ANYTHING}$").removeprefix(f"^{_ANYTHING}")
    if anchored in ("", "^", "$"):
        return f"ispresent({name})"
    return f"(ispresent({name}) and {name} like /{flag}{anchored}/)"


def _searched(name: str, regex: str, flags: str) -> str:
    if "(?" in regex.replace("(?:", "").replace("(?i)", ""):
        raise UnsaidError("look-arounds and named groups are not known to work there")
    return f"(ispresent({name}) and {name} like /{f'(?{flags})' if flags else ''}{_between_slashes(regex)}/)"


def _compared(name: str, bounds: Mapping[str, Any]) -> str:
    tests = [f"{name} {_COMPARE[sign]} {number(float(bound))}" for sign, bound in bounds.items() if sign in _COMPARE]
    digits = f"{name} like /^-?[0-9]+(\\.[0-9]+)?$/"
    return f"({' and '.join([f'ispresent({name})', digits, *tests])})"


def _in_network(name: str, network: str) -> str:
    return f'(ispresent({name}) and isIpInSubnet({name}, "{ip_network(network, strict=False)}"))'
