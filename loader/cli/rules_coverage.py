"""``siem rules coverage``."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import orjson
from opensearchpy.exceptions import TransportError

from loader.cli.detect import read_pack, rules_option
from loader.cli.output import console, print_json, table
from loader.cli.settings import settings_for_cluster
from loader.detection.coverage_page import counts, coverage_page, lists_of
from loader.detection.data_needs import ANY, HELD, kinds_held, sight
from loader.detection.pack_coverage import Covered, PackCoverage, cover, navigator_layer, read_targets
from loader.detection.sources import AWS_CLOUDTRAIL
from loader.errors import ClusterError
from loader.index.client import make_client
from loader.project import home

AWS_CLOUDTRAIL_DATASET = "aws.cloudtrail"


@dataclass(frozen=True, slots=True)
class Live:
    """What a cluster holds: kinds of events → count and last time, rule id → last alert, other logs → documents."""

    held: Mapping[str, tuple[int, str]]
    fired: Mapping[str, str]
    logs: Mapping[str, int]


@click.command("coverage")
@rules_option
@click.option("--write", is_flag=True, help="Write docs/coverage.md.")
@click.option(
    "--navigator", type=click.Path(path_type=Path, dir_okay=False), help="Write an ATT&CK Navigator layer here."
)
@click.option(
    "--live",
    is_flag=True,
    help="Ask the cluster, per rule, whether it holds the events the rule needs, and when it fired last.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def coverage_command(folders: tuple[Path, ...], write: bool, navigator: Path | None, live: bool, as_json: bool) -> None:
    """Show what the rules cover: ATT&CK, CIS and GuardDuty's lists, what data each rule needs, and the gaps."""
    pack = read_pack(folders, None)
    coverage = cover(pack.known, read_targets())
    if write:
        (home() / "docs" / "coverage.md").write_text(coverage_page(coverage), encoding="utf-8")
    if navigator:
        navigator.write_bytes(orjson.dumps(navigator_layer(coverage), option=orjson.OPT_INDENT_2))
    seen = _live() if live else None
    if as_json:
        print_json(_plain(coverage, seen))
        return
    rows = [
        (title, len(entries), *counts(coverage, entries), ", ".join(k for k, v in entries.items() if not v))
        for title, entries in lists_of(coverage).items()
    ]
    console().print(table(None, ["list", "entries", "seen", "told to people", "gaps"], rows, right=[1, 2, 3]))
    heard = [rule for rule in coverage.rules if not rule.feeds]
    tested = sum(rule.tested for rule in coverage.rules)
    console().print(
        f"{len(heard)} rules raise alerts, {len(coverage.rules) - len(heard)} feed correlations; {tested} tested"
    )
    for one in pack.waiting:
        console().print(f"not run: {one.rule.name}: {one.reason}", markup=False)
    if seen:
        _print_live(coverage, seen)


def _plain(coverage: PackCoverage, seen: Live | None) -> dict[str, Any]:
    return {
        "rules": [
            {
                "name": rule.name,
                "id": rule.uuid,
                "level": rule.level,
                "tested": rule.tested,
                "data": rule.kinds,
                "feeds_correlations_only": rule.feeds,
                **(_live_of(rule, seen) if seen else {}),
            }
            for rule in coverage.rules
        ],
        "cis": coverage.cis,
        "guardduty_signals": coverage.signals,
        "guardduty_findings": coverage.findings,
        "attacks": coverage.attacks,
        "attack_iaas": coverage.attack,
        "tactics": coverage.tactics,
        "techniques": coverage.techniques,
        **({"live": {"held": seen.held, "logs": seen.logs}} if seen else {}),
    }


def _live_of(rule: Covered, seen: Live) -> dict[str, Any]:
    found = sight(rule.kinds, seen.held)
    return {"sight": found.word, "missing": found.missing, "last_fired": seen.fired.get(rule.uuid)}


def _live() -> Live:
    """Ask the cluster which kinds of events it holds, which logs, and when each rule fired last.

    Raises:
        ClusterError: it cannot be asked.
    """
    client = make_client(settings_for_cluster(quiet=True))

    def ask(index: str, body: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = client.search(
            index=index, body=body, params={"ignore_unavailable": "true", "allow_no_indices": "true"}
        ).get("aggregations", {})
        return found

    fired = {"terms": {"field": "rule.uuid", "size": 10_000}, "aggs": {"last": {"max": {"field": "@timestamp"}}}}
    logs = {"terms": {"field": "event.dataset", "size": 100}}
    try:
        buckets: list[dict[str, Any]] = []
        body = copy.deepcopy(dict(HELD))
        while True:
            page = ask(AWS_CLOUDTRAIL.index, body).get("kinds", {})
            buckets += page.get("buckets", [])
            if not page.get("after_key"):
                break
            body["aggs"]["kinds"]["composite"]["after"] = page["after_key"]
        alerts = ask("siem-alerts-*", {"size": 0, "aggs": {"rules": fired}}).get("rules", {}).get("buckets", [])
        datasets = ask("log-aws-*", {"size": 0, "aggs": {"logs": logs}}).get("logs", {}).get("buckets", [])
    except TransportError as error:
        raise ClusterError(f"the cluster cannot be asked: {error.error}") from None
    return Live(
        kinds_held(buckets),
        {bucket["key"]: bucket["last"].get("value_as_string") for bucket in alerts},
        {bucket["key"]: bucket["doc_count"] for bucket in datasets},
    )


def _print_live(coverage: PackCoverage, seen: Live) -> None:
    heard = [rule for rule in coverage.rules if not rule.feeds]
    needed = Counter(kind for rule in heard for kind in rule.kinds)
    rows = [
        (kind, *(seen.held.get(kind) or ("none", "")), needed[kind]) for kind in sorted({*needed, *seen.held} - {ANY})
    ]
    console().print(table("Events in the index", ["events", "held", "last", "rules"], rows, right=[1, 3]))
    others = [f"{name} ({count})" for name, count in seen.logs.items() if name != AWS_CLOUDTRAIL_DATASET]
    console().print(f"Other logs: {', '.join(others) or 'none'}; no rule of this pack needs them")
    short = [(rule.name, rule.level, found) for rule in heard if (found := sight(rule.kinds, seen.held)).missing]
    if short:
        shown = [(name, level, found.word, ", ".join(found.missing)) for name, level, found in short]
        console().print(table("Rules that lack events", ["rule", "level", "", "not in the index"], shown))
    fired = sorted(
        ((seen.fired[rule.uuid], rule.level, rule.name) for rule in heard if rule.uuid in seen.fired), reverse=True
    )
    console().print(table("Last fired", ["time", "level", "rule"], fired))
    blind = sum(found.word == "blind" for _, _, found in short)
    silent = len(heard) - len(fired)
    console().print(
        f"{silent} of {len(heard)} rules have never fired, {blind} of these could not have. "
        "Every rule with what it sees: siem rules coverage --live --json"
    )
