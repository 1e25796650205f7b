"""``siem rules plan`` and ``siem rules apply``: what is deployed, and what would be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
from rich.text import Text

from loader.cli.detect import read_data, rules_option, variables_option
from loader.cli.output import console, error_console, print_json, shown_path, table
from loader.cli.settings import settings_for_cluster
from loader.clock import SystemClock
from loader.detection.compile import compile_rules
from loader.detection.deployed import Change, apply_rules, plan_rules, read_deployed
from loader.detection.load import RuleSet, load_rules
from loader.errors import RuleError
from loader.index.client import make_client
from loader.project import rules_dir

_SIGNS = {"add": ("+", "green"), "change": ("~", "yellow"), "remove": ("-", "red")}
_DIFFERENT = 2


@click.command("plan")
@rules_option
@variables_option
@click.option("--prune", is_flag=True, help="Count what is deployed and has no file any more as to be removed.")
@click.option("--exit-code", is_flag=True, help="End in exit code 2 if anything would change.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan_command(
    folders: tuple[Path, ...], variables: Path | None, prune: bool, exit_code: bool, as_json: bool
) -> None:
    """Show what apply would add, change and remove, by content hash; change nothing.

    What is deployed is what `siem detect run --deployed` runs. Ends with exit code 1 if a rule cannot be compiled.
    """
    rules = _usable(folders, variables)
    client = make_client(settings_for_cluster(quiet=as_json))
    changes = plan_rules(rules, read_deployed(client))
    _show(changes, prune=prune, applied=False, as_json=as_json)
    if exit_code and any(_would_happen(change, prune) for change in changes):
        raise click.exceptions.Exit(_DIFFERENT)


@click.command("apply")
@rules_option
@variables_option
@click.option("--prune", is_flag=True, help="Remove what is deployed and has no file any more.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def apply_command(folders: tuple[Path, ...], variables: Path | None, prune: bool, as_json: bool) -> None:
    """Deploy the rules, correlations and filters: put them into the cluster, for `siem detect run --deployed`.

    All or nothing is checked before: if a rule cannot be compiled, nothing is applied and the exit code is 1. A rule
    that is changed goes on where its former version was; `siem detect past` runs it over what that one has examined.
    """
    rules = _usable(folders, variables)
    client = make_client(settings_for_cluster(quiet=as_json))
    changes = plan_rules(rules, read_deployed(client))
    folder = (folders or (rules_dir(),))[0]
    apply_rules(
        client, changes, now=SystemClock().now(), folder=folder.parent if folder.is_file() else folder, prune=prune
    )
    _show(changes, prune=prune, applied=True, as_json=as_json)


def _usable(folders: tuple[Path, ...], variables: Path | None) -> RuleSet:
    rules = load_rules(folders or (rules_dir(),))
    pack = compile_rules(rules, variables=read_data(variables).variables)
    for problem in pack.errors:
        error_console().print(f"{shown_path(problem.where)}: {problem.message}", markup=False)
    if pack.errors:
        raise RuleError(f"{len(pack.errors)} rules cannot be deployed", hint="siem rules check")
    return rules


def _would_happen(change: Change, prune: bool) -> bool:
    return change.action in ("add", "change") or (change.action == "remove" and prune)


def _show(changes: Sequence[Change], *, prune: bool, applied: bool, as_json: bool) -> None:
    told = [change for change in changes if change.action != "keep"]
    counts = Counter(change.action for change in changes)
    if as_json:
        print_json(
            {
                "applied": applied,
                "prune": prune,
                "unchanged": counts["keep"],
                "changes": [
                    {
                        "action": change.action,
                        "done": applied and _would_happen(change, prune),
                        "kind": change.kind,
                        "name": change.name,
                        "title": change.title,
                        "from": change.deployed.content_hash if change.deployed else None,
                        "to": change.rule.content_hash if change.rule else None,
                    }
                    for change in told
                ],
            }
        )
        return
    if told:
        rows = [
            (
                Text(f"{_SIGNS[change.action][0]} {change.action}", _SIGNS[change.action][1]),
                change.kind,
                change.name,
                change.title,
                change.deployed.content_hash[:12] if change.deployed else "",
                change.rule.content_hash[:12] if change.rule else "",
            )
            for change in told
        ]
        console().print(table(None, ["", "kind", "rule", "title", "from", "to"], rows))
    said = f"{counts['add']} to add, {counts['change']} to change, {counts['remove']} to remove"
    if applied:
        said = f"{counts['add']} added, {counts['change']} changed, {counts['remove'] if prune else 0} removed"
    console().print(f"{said}, {counts['keep']} unchanged")
    if counts["remove"] and not prune:
        console().print(f"{counts['remove']} deployed rules have no file any more. Next: the same with --prune")
