"""``docs/coverage.md``: what the pack covers, for somebody who has to answer for it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from loader.detection.data_needs import ANY, READ, WRITE
from loader.detection.pack_coverage import Covered, PackCoverage

FOR_PEOPLE = ("critical", "high", "medium")
_FINDINGS = (
    "GuardDuty's AnomalousBehavior rests on a model of what is usual. The rules named here are bursts, sequences,",
    "first appearances and single calls that matter: near to it, not the same. Rules over addresses run once you fill",
    "their lists, impossible travel once there is a geo database (`siem rules coverage` says what is not run).",
    "",
)
_ORDER = {level: place for place, level in enumerate((*FOR_PEOPLE, "low", "informational"))}


def coverage_page(coverage: PackCoverage) -> str:
    """Return ``docs/coverage.md``."""
    levels = {rule.name: rule.level for rule in coverage.rules}
    lines = [
        "# Coverage",
        "",
        "Made by `siem rules coverage --write`; do not edit. `siem rules coverage --live` adds what your index holds",
        "and when each rule fired last.",
        "",
        *_short(coverage),
        *_data(coverage.rules),
    ]
    cis = {f"{number} {coverage.cis_names[number]}": names for number, names in coverage.cis.items()}
    signals = {f"{name} ({coverage.severities[name]})": names for name, names in coverage.signals.items()}
    lines += _section("CIS AWS Foundations 5.0, section 4: monitoring", "control", cis, levels)
    lines += _section(
        "GuardDuty's signals over single CloudTrail events, with AWS's severity", "signal", signals, levels
    )
    lines += _section("GuardDuty's findings that CloudTrail can show", "finding", coverage.findings, levels, _FINDINGS)
    lines += _attacks(coverage, levels)
    lines += _attack(coverage, levels)
    return "\n".join(lines) + "\n"


def lists_of(coverage: PackCoverage) -> dict[str, Mapping[str, tuple[str, ...]]]:
    """Return the lists the pack is held against, by title."""
    return {
        "CIS AWS Foundations 5.0, section 4": coverage.cis,
        "GuardDuty signals": coverage.signals,
        "GuardDuty findings": coverage.findings,
        **{f"Attacks: {section}": entries for section, entries in coverage.attacks.items()},
        "ATT&CK techniques for IaaS": {key: names for part in coverage.attack.values() for key, names in part.items()},
    }


def counts(coverage: PackCoverage, entries: Mapping[str, Sequence[str]]) -> tuple[int, int]:
    """Return how many entries of a list are answered by a rule, and by one that is for people."""
    people = {rule.name for rule in coverage.rules if rule.level in FOR_PEOPLE}
    return sum(map(bool, entries.values())), sum(bool(people & set(names)) for names in entries.values())


def _short(coverage: PackCoverage) -> Iterator[str]:
    heard = [rule for rule in coverage.rules if not rule.feeds]
    count = Counter(rule.level for rule in heard)
    people = sum(count[level] for level in FOR_PEOPLE)
    yield "## In short"
    yield ""
    yield (
        f"- {len(heard)} rules raise alerts. {people} of them are for people ({count['critical']} critical, "
        f"{count['high']} high, {count['medium']} medium), {count['low']} give context (low). "
        f"{len(coverage.rules) - len(heard)} more only feed correlations."
    )
    tested = sum(rule.tested for rule in coverage.rules)
    yield f"- {tested} of {len(coverage.rules)} have test events: some that must match, some that must not."
    yield "- What they find on public attack simulations, and how quiet: [detection-quality.md](detection-quality.md)."
    yield "- What a rule cannot see stands in its file, under `blind_spots`."
    yield ""
    yield "An entry is seen if a rule answers it, and told if one of its rules is for people; the rest is context."
    yield ""
    yield "| list | entries | seen | told | without a rule |"
    yield "|---|---:|---:|---:|---|"
    for title, entries in lists_of(coverage).items():
        gaps = ", ".join(name for name, names in entries.items() if not names)
        seen, told = counts(coverage, entries)
        yield f"| {title} | {len(entries)} | {seen} | {told} | {gaps} |"
    yield ""


def _data(rules: Iterable[Covered]) -> Iterator[str]:
    heard = [rule for rule in rules if not rule.feeds]
    yield "## What has to be recorded"
    yield ""
    yield "A trail records management events unless told otherwise. The rest has to be switched on, and costs extra."
    yield "A rule whose events are not recorded finds nothing."
    yield ""
    yield "| events | rules for people that live on them | as context | without them blind |"
    yield "|---|---:|---:|---|"
    usual = (WRITE, READ, ANY)
    for kind in (*usual, *sorted({kind for rule in heard for kind in rule.kinds} - set(usual))):
        on = [rule for rule in heard if kind in rule.kinds]
        people = sum(rule.level in FOR_PEOPLE for rule in on)
        only = ", ".join(f"`{rule.name}`" for rule in on if rule.kinds == (kind,))
        blind = only if kind not in usual else f"{sum(rule.kinds == (kind,) for rule in on)} rules"
        yield f"| {kind} | {people} | {len(on) - people} | {blind} |"
    yield ""


def _attacks(coverage: PackCoverage, levels: Mapping[str, str]) -> Iterator[str]:
    kinds = {rule.name: rule.kinds for rule in coverage.rules}
    for section, entries in coverage.attacks.items():
        yield f"## Known attacks: {section}"
        yield ""
        seen, told = counts(coverage, entries)
        yield f"{seen} of {len(entries)} are seen, {told} told to people."
        yield ""
        yield "| attack | rules | events |"
        yield "|---|---|---|"
        for name, rules in entries.items():
            needed = sorted({kind for rule in rules for kind in kinds[rule]})
            yield f"| {name} | {_shown(rules, levels)} | {'; '.join(needed)} |"
        yield ""


def _attack(coverage: PackCoverage, levels: Mapping[str, str]) -> Iterator[str]:
    yield "## ATT&CK techniques for IaaS"
    yield ""
    yield "`siem rules coverage --navigator FILE` writes a layer for the ATT&CK Navigator, of all numbers rules carry."
    yield "Rules for people stand here by name, rules that give context are counted."
    yield ""
    for tactic, techniques in coverage.attack.items():
        yield f"### {tactic}"
        yield ""
        yield "| technique | rules |"
        yield "|---|---|"
        for key, rules in techniques.items():
            people = [rule for rule in rules if levels[rule] in FOR_PEOPLE]
            more = f"{len(rules) - len(people)} as context" if len(rules) > len(people) else ""
            shown = ", ".join(part for part in (_shown(people, levels) if people else "", more) if part)
            why = coverage.unseen.get(key, "")
            yield f"| {key} {coverage.technique_names[key]} | {shown or f'none: {why}'} |"
        yield ""


def _section(
    title: str,
    heading: str,
    entries: Mapping[str, Sequence[str]],
    levels: Mapping[str, str],
    notes: Iterable[str] = (),
) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield f"{sum(bool(names) for names in entries.values())} of {len(entries)} have a rule."
    yield ""
    yield from notes
    yield f"| {heading} | rules |"
    yield "|---|---|"
    for name, rules in entries.items():
        yield f"| {name} | {_shown(rules, levels)} |"
    yield ""


def _shown(rules: Sequence[str], levels: Mapping[str, str]) -> str:
    ordered = sorted(rules, key=lambda rule: (_ORDER[levels[rule]], rule))
    return ", ".join(f"`{rule}` ({levels[rule]})" for rule in ordered) or "none"
