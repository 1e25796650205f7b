"""What a pack covers: ATT&CK techniques, CIS controls, GuardDuty's signals and findings. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from loader.detection.attack import TACTICS
from loader.detection.attack_names import TECHNIQUE_NAMES
from loader.detection.cases import cases_path
from loader.detection.model import Rule
from loader.errors import RuleError
from loader.project import mappings_dir

#: Event names that are data events: a trail records them only where it is told to, and they cost extra.
#: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-data-events-with-cloudtrail.html
_DATA_EVENTS = frozenset(
    {
        "BatchGetItem",
        "CopyObject",
        "DeleteObject",
        "DeleteObjects",
        "GetItem",
        "GetObject",
        "GetObjectAcl",
        "GetSnapshotBlock",
        "HeadObject",
        "Invoke",
        "InvokeAgent",
        "InvokeFunction",
        "ListObjects",
        "ListObjectsV2",
        "ListSnapshotBlocks",
        "Publish",
        "PublishBatch",
        "PutItem",
        "PutObject",
        "PutObjectAcl",
        "Query",
        "ReceiveMessage",
        "RestoreObject",
        "Retrieve",
        "Scan",
        "SendMessage",
        "UploadPart",
    }
)


@dataclass(frozen=True, slots=True)
class Covered:
    """One rule in the coverage. ``data`` says what a trail must record for it to see anything."""

    name: str
    uuid: str
    level: str
    tested: bool
    data: str


@dataclass(frozen=True, slots=True)
class PackCoverage:
    """Which rules answer to which entry of each list; an entry without rules is a gap."""

    rules: tuple[Covered, ...]
    techniques: Mapping[str, tuple[str, ...]]
    tactics: Mapping[str, tuple[str, ...]]
    cis: Mapping[str, tuple[str, ...]]
    signals: Mapping[str, tuple[str, ...]]
    findings: Mapping[str, tuple[str, ...]]
    cis_names: Mapping[str, str] = field(default_factory=dict)


def read_targets(path: Path | None = None) -> dict[str, Any]:
    """Read the lists that the pack is held against.

    Raises:
        RuleError: the file cannot be read.
    """
    path = path or mappings_dir() / "coverage" / "targets.yml"
    try:
        found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RuleError(f"the lists cannot be read: {error}", where=str(path)) from None
    return found


def cover(rules: Sequence[Rule], targets: Mapping[str, Any]) -> PackCoverage:
    """Hold ``rules`` against the lists."""
    known = {rule.name for rule in rules}
    by_tag: dict[str, list[str]] = defaultdict(list)
    techniques: dict[str, list[str]] = defaultdict(list)
    tactics: dict[str, list[str]] = defaultdict(list)
    for rule in rules:
        for tag in rule.tags:
            by_tag[tag.lower()].append(rule.name)
        for technique in rule.threat.techniques:
            techniques[technique.subtechnique or technique.id].append(rule.name)
        for tactic in rule.threat.tactics:
            tactics[tactic.id].append(rule.name)
    return PackCoverage(
        rules=tuple(
            Covered(rule.name, rule.uuid, rule.level, cases_path(rule).is_file(), data_needed(rule))
            for rule in sorted(rules, key=lambda rule: rule.name)
        ),
        techniques=_sorted(techniques),
        tactics={tactic: tuple(sorted(tactics.get(tactic, ()))) for tactic, _ in TACTICS.values()},
        cis={number: tuple(sorted(by_tag.get(f"cis.aws.v5.{number}", ()))) for number in targets["cis"]},
        signals={
            name: tuple(sorted(by_tag.get(f"guardduty.{name.lower()}", ()))) for name in targets["guardduty_signals"]
        },
        findings={
            name: tuple(sorted({*by_tag.get(_finding_tag(name), ()), *(known & set(listed))}))
            for name, listed in targets["guardduty_findings"].items()
        },
        cis_names=dict(targets["cis"]),
    )


def _finding_tag(name: str) -> str:
    return f"guardduty.{name.partition('/')[2].lower()}"


def _sorted(found: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(sorted(found[key])) for key in sorted(found)}


def data_needed(rule: Rule) -> str:
    """Return ``data events`` if the rule names one of them, else ``management events``."""
    return "data events" if _DATA_EVENTS & set(_texts(rule.content.get("detection"))) else "management events"


def _texts(node: Any) -> Iterable[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value)


def navigator_layer(coverage: PackCoverage) -> dict[str, Any]:
    """Return a layer for the ATT&CK Navigator: a technique's score is the number of its rules.

    https://github.com/mitre-attack/attack-navigator/blob/master/layers/spec/v4.5/layerformat.md
    """
    return {
        "name": "cloudtrail-siem",
        "versions": {"layer": "4.5", "navigator": "5.1.0"},
        "domain": "enterprise-attack",
        "description": f"{len(coverage.rules)} rules over AWS CloudTrail",
        "filters": {"platforms": ["IaaS", "SaaS", "Identity Provider"]},
        "techniques": [
            {"techniqueID": identifier, "score": len(names), "comment": ", ".join(names), "enabled": True}
            for identifier, names in coverage.techniques.items()
        ],
        "gradient": {
            "colors": ["#ffffff", "#66b1ff"],
            "minValue": 0,
            "maxValue": max([len(names) for names in coverage.techniques.values()], default=1),
        },
    }


def coverage_page(coverage: PackCoverage) -> str:
    """Return ``docs/coverage.md``."""
    tested = sum(rule.tested for rule in coverage.rules)
    data = sum(rule.data == "data events" for rule in coverage.rules)
    lines = [
        "# Coverage",
        "",
        "Made by `siem rules coverage --write`. What a rule cannot see is in its file, under `blind_spots`.",
        "",
        f"{len(coverage.rules)} rules, {tested} with test events; {data} need data events, the others management ones.",
        "",
    ]
    cis = {f"{number} {coverage.cis_names[number]}": names for number, names in coverage.cis.items()}
    tactics = {f"{known} {name}": coverage.tactics.get(known, ()) for known, name in TACTICS.values()}
    techniques = {f"{key} {TECHNIQUE_NAMES.get(key, '')}".strip(): names for key, names in coverage.techniques.items()}
    lines += _section("CIS AWS Foundations 5.0, monitoring", cis)
    lines += _section("GuardDuty's signals over single CloudTrail events", coverage.signals)
    lines += _section("GuardDuty's findings that CloudTrail can show", coverage.findings)
    lines += _section(
        "ATT&CK tactics", {key: (f"{len(names)} rules",) if names else () for key, names in tactics.items()}
    )
    lines += _section("ATT&CK techniques", techniques)
    lines += ["## Rules that need data events", ""]
    lines += [f"- `{rule.name}`" for rule in coverage.rules if rule.data == "data events"]
    return "\n".join(lines) + "\n"


def _section(title: str, entries: Mapping[str, Sequence[str]]) -> list[str]:
    covered = sum(bool(names) for names in entries.values())
    lines = [f"## {title}", "", f"{covered} of {len(entries)}.", "", "| | rules |", "|---|---|"]
    for name, rules in entries.items():
        shown = ", ".join(rule if " " in rule else f"`{rule}`" for rule in rules)
        lines.append(f"| {name} | {shown or 'none'} |")
    return [*lines, ""]
