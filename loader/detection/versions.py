"""A rule as it was before: what is deployed, what was deployed before that, or what git has of its file."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace

import yaml

from loader.detection.compile import compile_rules
from loader.detection.correlation import Node
from loader.detection.deployed import Deployed, current_version, key_of, previous_version
from loader.detection.load import RuleSet, read_documents, rule_set
from loader.detection.model import AnyRule, CorrelationRule, Filter, Rule
from loader.detection.needs import RuleData
from loader.errors import RuleError

#: How many commits of a file are looked at for one in which the rule was another.
_COMMITS = 50
_GIT_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a rule. ``label`` says for people where it is from."""

    label: str
    rule: AnyRule


def find(rules: RuleSet, name: str) -> AnyRule:
    """Return the rule or correlation called ``name``: its name, id, Sigma name or the path of its file.

    Raises:
        RuleError: there is none, or it is a filter.
    """
    for rule in (*rules.correlations, *rules.rules, *rules.filters):
        if name in (rule.name, rule.uuid, rule.sigma_name, str(rule.path)):
            if isinstance(rule, Filter):
                raise RuleError(f"{name} is a filter: it raises no alerts", where=rule.where)
            return rule
    raise RuleError(f"no such rule: {name}", hint="siem rules list")


def deployed_version(rule: AnyRule, deployed: Mapping[str, Deployed]) -> Version | None:
    """Return the deployed version of ``rule`` if it differs, else the one that was deployed before it."""
    there = deployed.get(key_of(rule))
    if there is None:
        return None
    current = current_version(there)
    if current is not None and current.content_hash != rule.content_hash:
        return Version(f"deployed {there.body['applied']}", current)
    before = previous_version(there)
    if before is not None and before.content_hash != rule.content_hash:
        return Version(f"deployed before, {there.body['previous']['applied']}", before)
    return None


def git_version(rule: AnyRule) -> Version | None:
    """Return the newest committed version of ``rule`` that differs; ``None`` also where there is no git."""
    name = rule.path.name
    for commit in _git(rule, "log", "--format=%H", f"--max-count={_COMMITS}", "--", name).split():
        try:
            written = read_documents(rule.path, _git(rule, "show", f"{commit}:./{name}"))
        except yaml.YAMLError:
            continue
        found = rule_set(written)
        for old in (*found.rules, *found.correlations, *found.filters):
            if key_of(old) == key_of(rule) and old.content_hash != rule.content_hash:
                return Version(f"git {commit[:12]}", old)
    return None


def compile_version(rule: AnyRule, rules: RuleSet, *, data: RuleData | None = None) -> Node:
    """Compile one version of a rule beside what it refers to, and the filters there are.

    Raises:
        RuleError: it cannot be compiled.
    """
    others = _needed(rule, rules)
    chosen = replace(
        rules,
        rules=tuple([one for one in others if type(one) is Rule] + ([rule] if type(rule) is Rule else [])),
        correlations=tuple(
            [one for one in others if isinstance(one, CorrelationRule)]
            + ([rule] if isinstance(rule, CorrelationRule) else [])
        ),
        problems=(),
    )
    pack = compile_rules(chosen, variables=data.variables if data else None, places=data.places if data else None)
    nodes: tuple[Node, ...] = (*pack.correlations, *pack.rules, *pack.base_rules)
    for node in nodes:
        if node.rule is rule:
            return node
    if reason := next((one.reason for one in pack.waiting if one.rule is rule), None):
        raise RuleError(f"the rule cannot be run: {reason}", where=rule.where)
    problem = next(iter(pack.problems), None)
    raise RuleError(problem.message if problem else "the rule cannot be compiled", where=rule.where)


def _needed(rule: AnyRule, rules: RuleSet) -> list[AnyRule]:
    """Return what ``rule`` refers to, and what that refers to; never ``rule`` itself."""
    named: dict[str, AnyRule] = {}
    for one in (*rules.correlations, *rules.rules):
        named.update({name: one for name in (one.name, one.sigma_name, one.uuid) if name})
    found: dict[str, AnyRule] = {}
    waiting: list[AnyRule] = [rule]
    while waiting:
        current = waiting.pop()
        for reference in current.rules if isinstance(current, CorrelationRule) else ():
            other = named.get(reference)
            if other is not None and key_of(other) != key_of(rule) and other.where not in found:
                found[other.where] = other
                waiting.append(other)
    return list(found.values())


def _git(rule: AnyRule, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(rule.path.parent), *arguments],
            capture_output=True,
            check=True,
            text=True,
            encoding="utf-8",
            timeout=_GIT_TIMEOUT_S,
        )
    except (OSError, UnicodeDecodeError, subprocess.SubprocessError):
        return ""
    return done.stdout
