"""MITRE ATT&CK in Sigma's tags: ``attack.<tactic>`` and ``attack.t<number>``, in old and new names.

Tactic ids and names are facts of https://attack.mitre.org/tactics/enterprise/. Version 19 split Defense Evasion
(TA0005) into Stealth, which kept the id, and Defense Impairment (TA0112); rules carry either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

#: Tactic slug as Sigma writes it (``-`` between words) → (id, name).
TACTICS: dict[str, tuple[str, str]] = {
    "reconnaissance": ("TA0043", "Reconnaissance"),
    "resource-development": ("TA0042", "Resource Development"),
    "initial-access": ("TA0001", "Initial Access"),
    "execution": ("TA0002", "Execution"),
    "persistence": ("TA0003", "Persistence"),
    "privilege-escalation": ("TA0004", "Privilege Escalation"),
    "stealth": ("TA0005", "Stealth"),
    "defense-evasion": ("TA0005", "Defense Evasion"),
    "defense-impairment": ("TA0112", "Defense Impairment"),
    "credential-access": ("TA0006", "Credential Access"),
    "discovery": ("TA0007", "Discovery"),
    "lateral-movement": ("TA0008", "Lateral Movement"),
    "collection": ("TA0009", "Collection"),
    "command-and-control": ("TA0011", "Command and Control"),
    "exfiltration": ("TA0010", "Exfiltration"),
    "impact": ("TA0040", "Impact"),
}
_BY_ID = {tactic_id: (tactic_id, name) for slug, (tactic_id, name) in TACTICS.items() if slug != "defense-evasion"}

_TECHNIQUE = re.compile(r"t(\d{4})(?:\.(\d{3}))?")
_TACTIC_ID = re.compile(r"ta\d{4}")
#: Other things ATT&CK numbers: groups, software, data sources, mitigations, campaigns, detection strategies, analytics.
_OTHER = re.compile(r"(?:[gsmc]\d{4}|ds\d{4}|det\d{4}|an\d{4})")


@dataclass(frozen=True, slots=True)
class Tactic:
    """One tactic: ``TA0001``, ``Initial Access``."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Technique:
    """One technique and, if the tag named one, its sub-technique: ``T1078``, ``T1078.004``."""

    id: str
    subtechnique: str | None = None

    @property
    def reference(self) -> str:
        """Return the page of the narrower of the two."""
        return f"https://attack.mitre.org/techniques/{(self.subtechnique or self.id).replace('.', '/')}/"


@dataclass(frozen=True, slots=True)
class Threat:
    """The ATT&CK part of a rule's tags, each thing once, in the order of the tags."""

    tactics: tuple[Tactic, ...] = ()
    techniques: tuple[Technique, ...] = ()


def unknown_tags(tags: Iterable[str]) -> list[str]:
    """Return the ``attack.*`` tags that have no meaning in ATT&CK's numbering or tactic names, old or new."""
    return [tag for tag in tags if tag.lower().startswith("attack.") and _parse(tag) is None]


def threat(tags: Iterable[str]) -> Threat:
    """Return the tactics and techniques that ``tags`` name. Tags that are not understood are left out."""
    found = [_parse(tag) for tag in tags if tag.lower().startswith("attack.")]
    return Threat(
        tactics=tuple(dict.fromkeys(item for item in found if isinstance(item, Tactic))),
        techniques=tuple(dict.fromkeys(item for item in found if isinstance(item, Technique))),
    )


def _parse(tag: str) -> Tactic | Technique | str | None:
    name = tag.lower().removeprefix("attack.")
    if name.replace("_", "-") in TACTICS:
        return Tactic(*TACTICS[name.replace("_", "-")])
    if _TACTIC_ID.fullmatch(name):
        return Tactic(*_BY_ID[name.upper()]) if name.upper() in _BY_ID else None
    if technique := _TECHNIQUE.fullmatch(name):
        base = f"T{technique[1]}"
        return Technique(base, f"{base}.{technique[2]}" if technique[2] else None)
    return name if _OTHER.fullmatch(name) else None
