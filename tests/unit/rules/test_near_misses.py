"""Near misses are near: for each exception of a rule there is one that only this exception keeps from matching.

A near miss that is another call altogether says nothing: the rule could lose the exception and every test would pass.
Here each exception is taken away in turn, and a near miss must turn into a match.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from loader.detection.cases import read_cases
from loader.detection.compile import Pack, compile_rule
from loader.detection.evaluate import fires
from loader.detection.load import RuleSet
from loader.detection.model import CorrelationRule, Rule
from loader.detection.testing import read_event

NEVER: Mapping[str, Any] = {"eventID": "no event has this id"}
#: Lists of the same ports in each form a request may have: one match for each port and form would be 39 records.
PORTS = ("port",)


def exceptions(detection: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names that a condition negates: after ``not``, alone or in parentheses, ``1 of name*`` included."""
    condition = str(detection["condition"])
    for found in re.finditer(r"\bnot\s+", condition):
        rest = condition[found.end() :]
        part = rest[: _closing(rest)] if rest.startswith("(") else re.match(r"(?:(?:1|all) of )?[\w*]+", rest)[0]  # type: ignore[index]
        for pattern in re.findall(r"[A-Za-z_][\w*]*", part):
            if pattern not in ("not", "of", "or", "and", "all"):
                yield from (name for name in detection if re.fullmatch(pattern.replace("*", ".*"), name))


def _closing(text: str) -> int:
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if not depth:
            return place + 1
    raise AssertionError(f"parentheses are not closed: {text}")


def single_rules(pack: Pack) -> Iterator[Rule]:
    return (rule for rule in pack.known if not isinstance(rule, CorrelationRule))


def unproved(rule: Rule) -> list[str]:
    """Return the exceptions of ``rule`` that none of its near misses needs."""
    detection, cases = rule.content["detection"], read_cases(rule)
    events = [read_event(history[0])[1] for history in cases.near_miss]
    found = []
    for name in dict.fromkeys(exceptions(detection)):
        without = replace(rule, content={**rule.content, "detection": {**detection, name: NEVER}})
        compiled = compile_rule(without, RuleSet((without,)), variables=cases.variables)
        if not any(fires(compiled, event) for event in events):
            found.append(name)
    return found


def test_names_after_not_are_exceptions() -> None:
    body = dict.fromkeys(("selection", "failed", "filter_a", "filter_b", "open", "narrow", "denies", "others"))
    assert list(exceptions({**body, "condition": "selection and not 1 of filter_*"})) == ["filter_a", "filter_b"]
    assert list(exceptions({**body, "condition": "selection and not (failed or (denies and others)) and open"})) == [
        "failed",
        "denies",
        "others",
    ]
    assert list(exceptions({**body, "condition": "selection and not failed"})) == ["failed"]


def test_every_exception_of_every_rule_has_its_near_miss(pack: Pack) -> None:
    assert {rule.name: names for rule in single_rules(pack) if (names := unproved(rule))} == {}


def without_match(rule: Rule) -> list[str]:
    """Return the alternatives of ``rule`` (the maps of a list) that no match of its own needs."""
    detection, cases = rule.content["detection"], read_cases(rule)
    events = [read_event(history[0])[1] for history in cases.match]
    excepted, found = set(exceptions(detection)), []
    for name, body in detection.items():
        if name in excepted or name in PORTS or not isinstance(body, list) or len(body) < 2:
            continue
        for place in range(len(body)):
            rest = [*body[:place], *body[place + 1 :]]
            without = replace(rule, content={**rule.content, "detection": {**detection, name: rest}})
            compiled = compile_rule(without, RuleSet((without,)), variables=cases.variables)
            if all(fires(compiled, event) for event in events):
                found.append(f"{name}[{place}]")
    return found


def test_every_alternative_of_every_rule_has_its_match(pack: Pack) -> None:
    """An alternative that nothing needs may be misspelt for years."""
    assert {rule.name: names for rule in single_rules(pack) if (names := without_match(rule))} == {}


@pytest.mark.parametrize("key", ["match", "near_miss"])
def test_no_record_stands_twice(pack: Pack, key: str) -> None:
    """Two records with one id are the same record to the index."""
    for rule in single_rules(pack):
        ids = [history[0] for history in getattr(read_cases(rule), key)]
        assert len(ids) == len(set(ids)), rule.name
