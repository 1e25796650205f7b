"""Every lint at once: what would make a rule silent, noisy, unexplained or impossible to keep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from difflib import get_close_matches
from typing import Any
from uuid import UUID

from loader.detection.attack import unknown_tags
from loader.detection.cases import read_cases
from loader.detection.compile import Pack
from loader.detection.event_names import is_source, names_of, undated
from loader.detection.load import RuleSet
from loader.detection.model import CorrelationRule, Filter, Problem, Rule
from loader.detection.rule_template import PLACEHOLDERS
from loader.errors import RuleError

_FILE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)+")
_NUMBERS = ("accountid", "account_id", "account.id")


def check(rules: RuleSet, pack: Pack, *, today: date, house: bool = True) -> list[Problem]:
    """Return every problem of a set of rules, those of loading and compiling included, by file and line.

    ``today`` decides which filters have expired. With ``house`` the project's own conventions are errors (tests,
    ``siem`` block, descriptions); without, as for a folder of public rules, they are not looked at.
    """
    found = [*pack.problems, *_identifiers(rules)]
    for rule in (*rules.rules, *rules.correlations, *rules.filters):
        found += _metadata(rules, rule)
        if isinstance(rule, Filter):
            found += _filter(rules, rule, pack, today)
            continue
        if not isinstance(rule, CorrelationRule):
            found += _detection(rules, rule)
        if house:
            found += _conventions(rules, rule)
            found += _cases(rules, rule)
    return sorted(found, key=lambda problem: (str(problem.path), problem.line, problem.code))


def _problem(rules: RuleSet, rule: Rule, code: str, message: str, *path: str | int, **options: Any) -> Problem:
    return Problem(rule.path, rules.line(rule, *path), code, message, **options)


def _identifiers(rules: RuleSet) -> Iterator[Problem]:
    for rule in (*rules.rules, *rules.correlations, *rules.filters, *rules.skipped):
        written = str(rule.content.get("id") or "")
        if not _is_uuid4(written):
            yield _problem(rules, rule, "id", f"the id {written or '(none)'} is no UUID of version 4", "id")


def _is_uuid4(text: str) -> bool:
    try:
        return UUID(text).version == 4
    except ValueError:
        return False


def _metadata(rules: RuleSet, rule: Rule) -> Iterator[Problem]:
    content = rule.content
    if not isinstance(rule, Filter):
        if content.get("level") is None:
            yield _problem(rules, rule, "level", "there is no level", hint="Name one, informational to critical.")
        if not rule.falsepositives:
            yield _problem(rules, rule, "falsepositives", "no false positives are named", severity="warning")
    for tag in unknown_tags(rule.tags):
        place = rule.tags.index(tag)
        yield _problem(rules, rule, "attack", f"{tag} is neither tactic nor technique of ATT&CK", "tags", place)


def _conventions(rules: RuleSet, rule: Rule) -> Iterator[Problem]:
    if not _FILE.fullmatch(rule.path.stem):
        yield _problem(rules, rule, "file-name", "name the file aws_<service>_<what>.yml")
    for key in ("description", "author", "status", "date", "license"):
        if not rule.content.get(key):
            yield _problem(rules, rule, key, f"there is no {key}")
    if not rule.threat.tactics or not rule.threat.techniques:
        yield _problem(rules, rule, "attack", "tag a tactic and a technique of ATT&CK", "tags")
    if rule.suppression is None:
        yield _problem(rules, rule, "siem", "siem.suppress is missing: say which matches are one alert", "siem")
    if not rule.runbook:
        yield _problem(rules, rule, "siem", "siem.runbook is missing: say what an analyst does first", "siem")
    if left := [text for text in PLACEHOLDERS if text in str(rule.content)]:
        yield _problem(rules, rule, "template", f"text of the template is left: {left[0]} …")
    if not rule.blind_spots:
        message = "siem.blind_spots is missing: say what the rule cannot see"
        yield _problem(rules, rule, "blind-spots", message, "siem", severity="warning")


def _cases(rules: RuleSet, rule: Rule) -> Iterator[Problem]:
    try:
        cases = read_cases(rule)
    except RuleError as error:
        yield _problem(rules, rule, "tests", error.message, hint=error.hint)
        return
    for kind, found in (("match", cases.match), ("near_miss", cases.near_miss)):
        if not found:
            yield _problem(rules, rule, "tests", f"{cases.path.name} has no {kind}")


def _filter(rules: RuleSet, rule: Filter, pack: Pack, today: date) -> Iterator[Problem]:
    for key in ("owner", "ticket", "expires"):
        if not getattr(rule, key):
            yield _problem(rules, rule, "filter", f"siem.{key} is missing", "siem")
    if rule.expires:
        try:
            expired = date.fromisoformat(rule.expires) < today
        except ValueError:
            yield _problem(rules, rule, "filter", f"{rule.expires!r} is no date such as 2027-01-31", "siem", "expires")
        else:
            if expired:
                hint = "Remove it, or renew it with its owner."
                yield _problem(rules, rule, "expired", f"expired on {rule.expires}", "siem", "expires", hint=hint)
    used = any(one.filter.where == rule.where for done in (*pack.rules, *pack.base_rules) for one in done.filters)
    if not used:
        yield _problem(rules, rule, "filter", "no rule is meant by this filter", "filter", "rules", severity="warning")


def _detection(rules: RuleSet, rule: Rule) -> Iterator[Problem]:
    detection = rule.content["detection"]
    condition = detection.get("condition")
    conditions = " ".join(map(str, condition if isinstance(condition, list) else [condition]))
    for name, body in detection.items():
        if name in ("condition", "timeframe"):
            continue
        if not isinstance(name, str):
            message = f"YAML reads a name in the detection as {name!r}, not as text: on, off, yes and no are such names"
            yield _problem(rules, rule, "detection", message, "detection")
            continue
        if not _is_named(name, conditions):
            yield _problem(
                rules, rule, "unused", f"the condition does not use {name}", "detection", name, severity="warning"
            )
        for path, part in _maps(body, ("detection", name)):
            yield from _events(rules, rule, part, path)
            yield from _numbers(rules, rule, part, path)


def _is_named(name: str, conditions: str) -> bool:
    if re.search(r"\bof\s+them\b", conditions) and not name.startswith("_"):
        return True
    patterns = re.findall(r"[\w*-]+", conditions)
    return any(re.fullmatch(pattern.replace("*", ".*"), name) for pattern in patterns)


def _maps(body: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    if isinstance(body, Mapping):
        yield path, body
    elif isinstance(body, list):
        for number, part in enumerate(body):
            yield from _maps(part, (*path, number))


def _events(rules: RuleSet, rule: Rule, part: Mapping[str, Any], path: tuple[str | int, ...]) -> Iterator[Problem]:
    sources = [source for key, source in _plain(part, "eventSource")]
    for key, source in _plain(part, "eventSource"):
        if not is_source(source):
            message = f"{source} is no event source that botocore knows"
            yield _problem(rules, rule, "event-source", message, *path, key, severity="warning")
    known = [names for source in sources if (names := names_of(source)) is not None]
    if not known or len(known) < len(sources):
        return
    lowered = {name.lower() for names in known for name in names}
    for key, name in _plain(part, "eventName"):
        if undated(name).lower() not in lowered:
            message = f"{', '.join(sources)} has no event {name}"
            close = get_close_matches(undated(name), [one for names in known for one in names], n=2)
            hint = f"Did you mean {' or '.join(close)}?" if close else None
            yield _problem(rules, rule, "event-name", message, *path, key, hint=hint)


def _plain(part: Mapping[str, Any], field: str) -> Iterator[tuple[str, str]]:
    """Return the values of ``field`` that are compared whole, with the key they are under."""
    for key, value in part.items():
        name, *modifiers = str(key).split("|")
        if name == field and not set(modifiers) - {"cased"}:
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, str) and not re.search(r"[*?]", one):
                    yield str(key), one


def _numbers(rules: RuleSet, rule: Rule, part: Mapping[str, Any], path: tuple[str | int, ...]) -> Iterator[Problem]:
    for key, value in part.items():
        name = str(key).split("|")[0].lower()
        values: Iterable[Any] = value if isinstance(value, list) else [value]
        if name.endswith(_NUMBERS) and any(isinstance(one, int) and not isinstance(one, bool) for one in values):
            message = "an account's number is text: YAML drops or misreads its leading zeros"
            yield _problem(rules, rule, "account", message, *path, str(key), hint="Put it in quotes.")
