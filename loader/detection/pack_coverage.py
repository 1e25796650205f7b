"""What a pack covers: ATT&CK techniques, CIS controls, GuardDuty's signals and findings. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from loader.detection.attack import TACTICS
from loader.detection.cases import cases_path
from loader.detection.data_needs import kinds_of
from loader.detection.model import Rule
from loader.errors import RuleError
from loader.project import mappings_dir

#: Techniques that ATT&CK 19 took back; their parts were renumbered with them.
REVOKED = frozenset(("T1562",))


@dataclass(frozen=True, slots=True)
class Covered:
    """One rule in the coverage.

    ``kinds`` are the kinds of events it lives on (:mod:`loader.detection.data_needs`); ``feeds`` says that it raises
    nothing by itself and only feeds correlations.
    """

    name: str
    uuid: str
    level: str
    tested: bool
    kinds: tuple[str, ...]
    feeds: bool = False


@dataclass(frozen=True, slots=True)
class PackCoverage:
    """Which rules answer to which entry of each list; an entry without rules is a gap.

    Rules that only feed correlations answer to nothing: nobody is told what they find. ``attack`` is tactic →
    technique → rules, ``attacks`` section → attack → rules, ``unseen`` why no rule can answer to a technique.
    """

    rules: tuple[Covered, ...]
    techniques: Mapping[str, tuple[str, ...]]
    tactics: Mapping[str, tuple[str, ...]]
    cis: Mapping[str, tuple[str, ...]]
    signals: Mapping[str, tuple[str, ...]]
    findings: Mapping[str, tuple[str, ...]]
    attack: Mapping[str, Mapping[str, tuple[str, ...]]]
    attacks: Mapping[str, Mapping[str, tuple[str, ...]]]
    cis_names: Mapping[str, str] = field(default_factory=dict)
    severities: Mapping[str, str] = field(default_factory=dict)
    technique_names: Mapping[str, str] = field(default_factory=dict)
    unseen: Mapping[str, str] = field(default_factory=dict)


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
    kinds = kinds_of(rules)
    heard = [rule for rule in rules if rule.level != "informational"]
    known = {rule.name for rule in heard}
    by_tag: dict[str, list[str]] = defaultdict(list)
    techniques: dict[str, list[str]] = defaultdict(list)
    tactics: dict[str, list[str]] = defaultdict(list)
    for rule in heard:
        for tag in rule.tags:
            by_tag[tag.lower()].append(rule.name)
        for technique in rule.threat.techniques:
            techniques[technique.subtechnique or technique.id].append(rule.name)
        for tactic in rule.threat.tactics:
            tactics[tactic.id].append(rule.name)
    return PackCoverage(
        rules=tuple(
            Covered(
                rule.name,
                rule.uuid,
                rule.level,
                cases_path(rule).is_file(),
                kinds[rule.name],
                rule.level == "informational",
            )
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
        attack={
            tactic: {technique: _answers(technique, techniques) for technique in listed}
            for tactic, listed in targets["attack_iaas"].items()
        },
        attacks={
            section: {name: tuple(rule for rule in listed if rule in known) for name, listed in entries.items()}
            for section, entries in targets["aws_attacks"].items()
        },
        cis_names=dict(targets["cis"]),
        severities=dict(targets["guardduty_signals"]),
        technique_names={key: name for listed in targets["attack_iaas"].values() for key, name in listed.items()},
        unseen=dict(targets["unseen"]),
    )


def _answers(technique: str, techniques: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the rules on ``technique`` or, if it is a whole one, on one of its parts."""
    parts = [key for key in techniques if key == technique or key.startswith(f"{technique}.")]
    return tuple(sorted({name for key in parts for name in techniques[key]}))


def _finding_tag(name: str) -> str:
    return f"guardduty.{name.partition('/')[2].lower()}"


def _sorted(found: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(sorted(found[key])) for key in sorted(found)}


def navigator_layer(coverage: PackCoverage) -> dict[str, Any]:
    """Return a layer for the ATT&CK Navigator, format 4.5: a technique's score is the number of its rules.

    It is for ATT&CK 19: numbers that version took back are left out, rules carry the new ones beside them.
    https://github.com/mitre-attack/attack-navigator/blob/master/layers/spec/v4.5/layerformat.md
    """
    current = {key: names for key, names in coverage.techniques.items() if key.partition(".")[0] not in REVOKED}
    return {
        "name": "cloudtrail-siem",
        "versions": {"attack": "19", "navigator": "5.1.0", "layer": "4.5"},
        "domain": "enterprise-attack",
        "description": f"{sum(not rule.feeds for rule in coverage.rules)} rules over AWS CloudTrail",
        "filters": {"platforms": ["IaaS", "SaaS", "Identity Provider"]},
        "sorting": 3,
        "hideDisabled": False,
        "techniques": [
            {
                "techniqueID": identifier,
                "score": len(names),
                "comment": ", ".join(names),
                "enabled": True,
                "showSubtechniques": True,
            }
            for identifier, names in current.items()
        ],
        "gradient": {
            "colors": ["#ffffff", "#66b1ff"],
            "minValue": 0,
            "maxValue": max([len(names) for names in current.values()], default=1),
        },
        "legendItems": [{"label": "the more rules, the darker", "color": "#66b1ff"}],
    }
