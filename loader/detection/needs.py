"""What a rule cannot be run without, beside events: lists that users fill, and a geo database. Pure.

A rule whose list is empty finds nothing by itself, and one without places cannot tell distances. Neither may look
like a rule that ran and found nothing: it is set aside, with the reason, and whoever shows rules shows that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loader.detection.load import RuleSet
from loader.detection.model import CorrelationRule, Problem, Rule
from loader.detection.places import Places

Variables = Mapping[str, Sequence[str | int] | str | int | None]


@dataclass(frozen=True, slots=True)
class RuleData:
    """What rules need beside events: lists by name, where addresses are, and what was wrong with either."""

    variables: Variables
    places: Places | None = None
    problems: tuple[Problem, ...] = ()


NO_PLACES = "no geo database (SIEM_GEOIP_DATABASE)"
_PLACEHOLDER = re.compile(r"%([^%\s]+)%")


def missing(rules: RuleSet, variables: Variables, *, places: bool) -> dict[str, str]:
    """Return why rules cannot be run, by their ``where``: those with all they need are not in it.

    A correlation lacks what a rule it names lacks. A placeholder that no list is named after is not looked at: that is
    an error of the rule, and compiling says so.
    """
    found: dict[str, str] = {}
    for rule in rules.rules:
        empty = [name for name in placeholders(rule) if name in variables and not _listed(variables[name])]
        if empty:
            found[rule.where] = f"no data: the list {' and '.join(empty)} is empty (SIEM_RULE_VARIABLES)"
    named = {
        name: rule for rule in (*rules.correlations, *rules.rules) for name in (rule.name, rule.sigma_name, rule.uuid)
    }
    for correlation in rules.correlations:
        if reason := _lacks(correlation, named, found, places, frozenset()):
            found[correlation.where] = reason
    return found


def placeholders(rule: Rule) -> list[str]:
    """Return the names of the lists that ``rule`` compares with (``|expand``), each once."""
    return list(dict.fromkeys(_names(rule.content.get("detection"))))


def with_networks(detection: Any, variables: Variables) -> Any:
    """Return ``detection`` with the values of ``field|cidr|expand`` in place of its lists' names.

    Sigma's modifier ``cidr`` takes no placeholder, so lists of networks are put in before it is read. An address
    counts as the network of itself.
    """
    if isinstance(detection, list):
        return [with_networks(item, variables) for item in detection]
    if not isinstance(detection, Mapping):
        return detection
    done: dict[str, Any] = {}
    for key, value in detection.items():
        modifiers = str(key).split("|")[1:]
        if {"cidr", "expand"} <= set(modifiers):
            plain = "|".join(part for part in str(key).split("|") if part != "expand")
            done[plain] = list(_networks(value, variables))
        else:
            done[key] = with_networks(value, variables)
    return done


def _networks(value: Any, variables: Variables) -> Iterator[Any]:
    for written in value if isinstance(value, list) else [value]:
        name = _PLACEHOLDER.fullmatch(str(written))
        if name is None:
            yield written
        elif name[1] not in variables:
            raise ValueError(f"there is no list {name[1]} among the variables")
        else:
            yield from map(str, _listed(variables[name[1]]))


def _lacks(
    rule: Rule, named: Mapping[str | None, Rule], found: Mapping[str, str], places: bool, above: frozenset[str]
) -> str | None:
    if rule.where in found or not isinstance(rule, CorrelationRule) or rule.where in above:
        return found.get(rule.where)
    if rule.type == "impossible_travel" and not places:
        return NO_PLACES
    below = (named[name] for name in rule.rules if name in named)
    return next((why for child in below if (why := _lacks(child, named, found, places, above | {rule.where}))), None)


def _listed(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _names(node: Any, key: str = "") -> Iterator[str]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _names(value, str(name))
    elif isinstance(node, list):
        for item in node:
            yield from _names(item, key)
    elif isinstance(node, str) and "expand" in key.split("|")[1:]:
        yield from _PLACEHOLDER.findall(node)
