"""``siem rules coverage`` and ``siem rules new``."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import click
import orjson
from opensearchpy.exceptions import TransportError

from loader.cli.detect import read_pack, rules_option
from loader.cli.output import console, print_json, shown_path, table
from loader.cli.settings import settings_for_cluster
from loader.clock import SystemClock
from loader.detection.pack_coverage import PackCoverage, cover, coverage_page, navigator_layer, read_targets
from loader.errors import ClusterError, RuleError
from loader.index.client import make_client
from loader.project import home, rules_dir

_NAME = re.compile(r"^aws_[a-z0-9]+(_[a-z0-9]+)+$")


@click.command("coverage")
@rules_option
@click.option("--write", is_flag=True, help="Write docs/coverage.md.")
@click.option(
    "--navigator", type=click.Path(path_type=Path, dir_okay=False), help="Write an ATT&CK Navigator layer here."
)
@click.option("--live", is_flag=True, help="Ask the cluster which data it holds and when each rule last fired.")
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
        print_json({**_plain(coverage), **({"live": seen} if seen else {})})
        return
    rows = [
        (
            title,
            sum(bool(names) for names in entries.values()),
            len(entries),
            ", ".join(k for k, v in entries.items() if not v),
        )
        for title, entries in (
            ("CIS 5.0, section 4", coverage.cis),
            ("GuardDuty signals", coverage.signals),
            ("GuardDuty findings", coverage.findings),
            ("ATT&CK tactics", coverage.tactics),
        )
    ]
    rows.append(("ATT&CK techniques", len(coverage.techniques), len(coverage.techniques), ""))
    console().print(table(None, ["list", "covered", "of", "gaps"], rows, right=[1, 2]))
    console().print(f"{len(coverage.rules)} rules, {sum(rule.tested for rule in coverage.rules)} tested")
    if seen:
        _print_live(coverage, seen)


def _plain(coverage: PackCoverage) -> dict[str, Any]:
    return {
        "rules": [
            {"name": rule.name, "id": rule.uuid, "level": rule.level, "tested": rule.tested, "data": rule.data}
            for rule in coverage.rules
        ],
        "cis": coverage.cis,
        "guardduty_signals": coverage.signals,
        "guardduty_findings": coverage.findings,
        "tactics": coverage.tactics,
        "techniques": coverage.techniques,
    }


def _live() -> dict[str, Any]:
    """Return which kinds of events the cluster holds, and when each rule fired last."""
    client = make_client(settings_for_cluster(quiet=True))
    kinds = {"size": 0, "aggs": {"kinds": {"terms": {"field": "aws.cloudtrail.event_category", "size": 20}}}}
    fired = {
        "size": 0,
        "aggs": {
            "rules": {
                "terms": {"field": "rule.uuid", "size": 10_000},
                "aggs": {"last": {"max": {"field": "@timestamp"}}},
            }
        },
    }
    try:
        events = client.search(index="log-aws-cloudtrail-*", body=kinds, params={"ignore_unavailable": "true"})
        alerts = client.search(index="siem-alerts-*", body=fired, params={"ignore_unavailable": "true"})
    except TransportError as error:
        raise ClusterError(f"the cluster cannot be asked: {error.error}") from None
    categories = events.get("aggregations", {}).get("kinds", {}).get("buckets", [])
    rules = alerts.get("aggregations", {}).get("rules", {}).get("buckets", [])
    return {
        "events": {bucket["key"]: bucket["doc_count"] for bucket in categories},
        "last_fired": {bucket["key"]: bucket["last"].get("value_as_string") for bucket in rules},
    }


def _print_live(coverage: PackCoverage, seen: dict[str, Any]) -> None:
    blind = [] if "Data" in seen["events"] else [rule.name for rule in coverage.rules if rule.data == "data events"]
    if blind:
        console().print(f"The cluster holds no data events: {len(blind)} rules can see nothing ({', '.join(blind)})")
    fired = [rule for rule in coverage.rules if rule.uuid in seen["last_fired"]]
    rows = sorted(((seen["last_fired"][rule.uuid], rule.name) for rule in fired), reverse=True)
    console().print(table("Last fired", ["time", "rule"], rows))
    console().print(f"{len(coverage.rules) - len(fired)} rules have not fired")


@click.command("new")
@click.argument("name")
@click.option("--folder", default="cloudtrail", show_default=True, help="Folder below rules/.")
@click.option("--title", required=True, help="What happened, as a sentence without a full stop.")
def new_command(name: str, folder: str, title: str) -> None:
    """Write a template of a rule and of its test events. NAME is aws_<service>_<what>.

    Then: fill both in, `siem rules check`, `siem rules test`.
    """
    if not _NAME.match(name):
        raise RuleError("a rule is called aws_<service>_<what>, in small letters", where=name)
    target = rules_dir() / folder / f"{name}.yml"
    if not target.resolve().is_relative_to(rules_dir().resolve()):
        raise RuleError("the folder must be below rules/", where=folder)
    cases = target.with_name(f"{name}.test.json")
    if target.exists() or cases.exists():
        raise RuleError("there is such a rule already", where=str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(_template(title), encoding="utf-8")
    cases.write_text('{\n  "match": [],\n  "near_miss": []\n}\n', encoding="utf-8")
    console().print(f"{shown_path(str(target))}\n{shown_path(str(cases))}", markup=False)
    console().print("Next: fill both in (rules/STYLE.md), then siem rules check; siem rules test")


def _template(title: str) -> str:
    today = SystemClock().now().date()
    return f"""title: {orjson.dumps(title).decode()}
id: {uuid.uuid4()}
status: experimental
description: >-
    What happened, and why it matters to somebody at three in the morning.
references:
    - https://docs.aws.amazon.com/
author: cloudtrail-siem authors
date: {today}
license: Apache-2.0
tags:
    - attack.persistence
    - attack.t1098
logsource:
    product: aws
    service: cloudtrail
detection:
    selection:
        eventSource: iam.amazonaws.com
        eventName: CreateUser
    filter_failed:
        errorCode|exists: true
    condition: selection and not filter_failed
falsepositives:
    - Who does this for good reasons.
level: medium
siem:
    suppress:
        by:
            - userIdentity.arn
        for: 1h
    blind_spots:
        - What this rule cannot see.
    runbook: What to check next, with the siem command.
"""
