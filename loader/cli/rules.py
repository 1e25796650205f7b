"""``siem rules``: work on rules, no cluster needed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from loader.cli.detect import read_pack, rules_option, variables_option
from loader.cli.output import LEVEL_STYLES, console, error_console, print_json, table
from loader.detection.compile import Pack
from loader.detection.model import CompiledRule
from loader.errors import RuleError


@click.group("rules")
def command() -> None:
    """Work on rules: list, compile. No cluster is needed."""


@command.command("list")
@rules_option
@click.option("--level", type=click.Choice(list(LEVEL_STYLES)), help="Only this severity.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_command(folders: tuple[Path, ...], level: str | None, as_json: bool) -> None:
    """List the rules by severity."""
    pack = read_pack(folders, None)
    order = list(LEVEL_STYLES)
    found = [entry.rule for entry in (*pack.rules, *pack.correlations) if level in (None, entry.rule.level)]
    found.sort(key=lambda rule: (order.index(rule.level), rule.name))
    if as_json:
        print_json(
            {
                "rules": [
                    {"id": rule.uuid, "name": rule.name, "title": rule.title, "level": rule.level} for rule in found
                ]
            }
        )
    else:
        console().print(
            table(None, ["severity", "rule", "title"], [(rule.level, rule.name, rule.title) for rule in found])
        )
        console().print(f"{len(found)} rules")
    _say_problems(pack)


@command.command("compile")
@click.argument("names", nargs=-1)
@rules_option
@variables_option
def compile_command(names: tuple[str, ...], folders: tuple[Path, ...], variables: Path | None) -> None:
    """Print the query each rule compiles to, as JSON. NAMES are rule names, ids or files; all rules without any.

    Ends with exit code 1 if a rule cannot be compiled; it says file, line, engine and reason.
    """
    files = tuple(Path(name) for name in names if name.endswith((".yml", ".yaml")))
    wanted = {name for name in names if not name.endswith((".yml", ".yaml"))}
    pack = read_pack(folders or files, variables)
    chosen = list(_chosen(pack, wanted))
    if missing := wanted - {name for entry in chosen for name in (entry.rule.name, entry.rule.uuid)}:
        raise RuleError(f"no such rule: {', '.join(sorted(missing))}", hint="siem rules list")
    for entry in chosen:
        print_json(
            {
                "rule": entry.rule.name,
                "id": entry.rule.uuid,
                "index": entry.index,
                "query": entry.query,
                "verify": entry.verify,
                "content_hash": entry.rule.content_hash,
            }
        )
    _say_problems(pack)


def _chosen(pack: Pack, wanted: set[str]) -> Iterable[CompiledRule]:
    for entry in (*pack.rules, *pack.base_rules):
        if not wanted or wanted & {entry.rule.name, entry.rule.uuid}:
            yield entry


def _say_problems(pack: Pack) -> None:
    for problem in pack.problems:
        error_console().print(f"{problem.where}: {problem.severity}: {problem.message}", markup=False)
    if pack.errors:
        raise click.exceptions.Exit(1)
