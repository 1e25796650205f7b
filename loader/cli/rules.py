"""``siem rules``: work on rules; plan, apply and backtest need a cluster, the others do not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from rich.text import Text

from loader.cli.detect import read_data, read_pack, rules_option, variables_option
from loader.cli.output import LEVEL_STYLES, console, error_console, print_json, shown_path, table
from loader.cli.rules_backtest import backtest_command
from loader.cli.rules_coverage import coverage_command
from loader.cli.rules_deploy import apply_command, plan_command
from loader.cli.rules_export import export_command
from loader.cli.rules_new import new_command
from loader.clock import SystemClock
from loader.detection.cases import cases_path
from loader.detection.compile import Pack, compile_rules
from loader.detection.lint import check
from loader.detection.load import load_rules
from loader.detection.model import CompiledCorrelation, CompiledRule, Problem, Rule
from loader.detection.offline import correlation_fires, count_alerts, triggers
from loader.detection.testing import Located, Unreadable, read_files, run_tests
from loader.errors import RuleError
from loader.local.trail import find_log_files
from loader.project import rules_dir


@click.group("rules")
def command() -> None:
    """Work on rules: check, test, compile and match need no cluster; plan, apply and backtest do."""


@command.command("list")
@rules_option
@click.option("--level", type=click.Choice(list(LEVEL_STYLES)), help="Only this severity.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_command(folders: tuple[Path, ...], level: str | None, as_json: bool) -> None:
    """List the rules by severity."""
    pack = read_pack(folders, None)
    order = list(LEVEL_STYLES)
    found: list[Rule] = [entry.rule for entry in pack.alerting if level in (None, entry.rule.level)]
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
    _say_waiting(pack)


@command.command("check")
@rules_option
@variables_option
@click.option("--foreign", is_flag=True, help="Public rules: leave out this project's own conventions.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check_command(folders: tuple[Path, ...], variables: Path | None, foreign: bool, as_json: bool) -> None:
    """Run every lint at once: syntax, fields against the mapping, event names, ids, ATT&CK tags, tests.

    Ends with exit code 1 if there is an error; warnings do not count.
    """
    rules = load_rules(folders or (rules_dir(),))
    pack = compile_rules(rules, variables=read_data(variables).variables)
    problems = check(rules, pack, today=SystemClock().now().date(), house=not foreign)
    errors = sum(problem.severity == "error" for problem in problems)
    if as_json:
        print_json({"rules": len(rules.rules) + len(rules.correlations), "problems": [_plain(one) for one in problems]})
    else:
        if problems:
            rows = [(problem.severity, shown_path(problem.where), problem.code, _why(problem)) for problem in problems]
            console().print(table(None, ["", "where", "what", "why"], rows))
        console().print(
            f"{len(rules.rules)} rules, {len(rules.correlations)} correlations, {len(rules.filters)} filters:"
            f" {errors} errors, {len(problems) - errors} warnings"
        )
        _say_waiting(pack)
    if errors:
        raise click.exceptions.Exit(1)


def _why(problem: Problem) -> str:
    return f"{problem.message.rstrip('.')}. {problem.hint}" if problem.hint else problem.message


def _plain(problem: Problem) -> dict[str, object]:
    return {
        "where": problem.where,
        "severity": problem.severity,
        "code": problem.code,
        "message": problem.message,
        **({"hint": problem.hint} if problem.hint else {}),
    }


@command.command("test")
@rules_option
@variables_option
@click.option("--foreign", is_flag=True, help="Public rules: those without test events are left out, and counted.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def test_command(folders: tuple[Path, ...], variables: Path | None, foreign: bool, as_json: bool) -> None:
    """Run each rule's own events (RULE.test.json) through the normaliser and the rule: no server needed.

    Ends with exit code 1 if a rule does not fire where it should, fires on a near miss, or cannot be compiled.
    """
    pack = read_pack(folders, variables)
    results = run_tests(pack, correlation_fires)
    untested = [result for result in results if foreign and not cases_path(result.rule).exists()]
    results = [result for result in results if result not in untested]
    failed = [result for result in results if not result.passed]
    if as_json:
        print_json(
            {
                "rules": len(results),
                "passed": len(results) - len(failed),
                "failed": {result.rule.name: list(result.failures) for result in failed},
                "untested": [result.rule.name for result in untested],
                "problems": [_plain(problem) for problem in pack.errors],
            }
        )
    else:
        for result in failed:
            for failure in result.failures:
                console().print(f"{shown_path(result.rule.where)}: {failure}", markup=False)
        events = sum(result.matches + result.near_misses for result in results)
        left = f", {len(untested)} rules have no test events" if untested else ""
        console().print(f"{len(results) - len(failed)} of {len(results)} rules passed on {events} test events{left}")
    _say_problems(pack)
    if failed:
        raise click.exceptions.Exit(1)


@command.command("match")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@rules_option
@variables_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a match, one a line.")
def match_command(paths: tuple[Path, ...], folders: tuple[Path, ...], variables: Path | None, as_json: bool) -> None:
    """Show which rules and correlations fire on raw log files or folders of them: no server needed.

    Counted are the events that match (for a correlation: those that complete it), and the alerts they would be folded
    into by the rule's suppression. Ends with exit code 1 if a record could not be read or a rule not be compiled.
    """
    pack = read_pack(folders, variables)
    _say_waiting(pack)
    files = [file for path in paths for file in find_log_files(path)]
    located: list[Located] = []
    unreadable = 0
    for found in read_files(files):
        if isinstance(found, Unreadable):
            unreadable += 1
            error_console().print(f"{found.where}: {found.message}", markup=False)
        else:
            located.append(found)
    events = [found.event for found in located]
    fired = [(node, hits) for node in pack.alerting if (hits := triggers(node, events))]
    if as_json:
        for node, hits in fired:
            for hit in hits:
                print_json(_match(node.rule, located[int(hit.event.id)]))
    else:
        order = list(LEVEL_STYLES)
        fired.sort(key=lambda entry: (order.index(entry[0].rule.level), -len(entry[1])))
        rows = [
            (
                Text(node.rule.level, LEVEL_STYLES[node.rule.level]),
                node.rule.name,
                node.rule.title,
                len(hits),
                count_alerts(node, hits),
            )
            for node, hits in fired
        ]
        console().print(table(None, ["severity", "rule", "title", "events", "alerts"], rows, right=[3, 4]))
        console().print(
            f"{len(fired)} of {len(pack.alerting)} rules fire on {len(events)} records in {len(files)} files"
        )
    _say_problems(pack)
    if unreadable:
        raise click.exceptions.Exit(1)


def _match(rule: Rule, found: Located) -> dict[str, object]:
    return {
        "rule": rule.name,
        "id": rule.uuid,
        "level": rule.level,
        "where": shown_path(found.where),
        "@timestamp": found.event.source.get("@timestamp"),
        "event": found.id,
    }


@command.command("compile")
@click.argument("names", nargs=-1)
@rules_option
@variables_option
def compile_command(names: tuple[str, ...], folders: tuple[Path, ...], variables: Path | None) -> None:
    """Print what each rule compiles to, as JSON, one a line. NAMES are rule names, ids or files; all without any.

    A rule is its query (and what must be verified on the document besides), a correlation its condition and the rules
    below it.

    Ends with exit code 1 if a rule cannot be compiled; it says file, line, engine and reason.
    """
    files = tuple(Path(name) for name in names if name.endswith((".yml", ".yaml")))
    wanted = {name for name in names if not name.endswith((".yml", ".yaml"))}
    pack = read_pack(folders or files, variables)
    chosen = list(_chosen(pack, wanted))
    if missing := wanted - {name for entry in chosen for name in (entry.rule.name, entry.rule.uuid)}:
        raise RuleError(f"no such rule: {', '.join(sorted(missing))}", hint="siem rules list")
    for entry in chosen:
        print_json(_compiled(entry))
    _say_problems(pack)


def _compiled(entry: CompiledRule | CompiledCorrelation) -> dict[str, object]:
    known: dict[str, object] = {"rule": entry.rule.name, "id": entry.rule.uuid, "content_hash": entry.rule.content_hash}
    if isinstance(entry, CompiledRule):
        return known | {"index": entry.index, "query": entry.query, "verify": entry.verify}
    return known | {
        "correlation": entry.type,
        "group_by": entry.group_by,
        "aliases": entry.aliases,
        "seconds": entry.seconds,
        "condition": {
            name: value
            for name in ("bounds", "fields", "percentile", "expression")
            if (value := getattr(entry.condition, name))
        },
        "rules": {reference: _compiled(below) for reference, below in entry.rules.items()},
    }


def _chosen(pack: Pack, wanted: set[str]) -> Iterable[CompiledRule | CompiledCorrelation]:
    entries: tuple[CompiledRule | CompiledCorrelation, ...] = (*pack.rules, *pack.base_rules, *pack.correlations)
    for entry in entries:
        if not wanted or wanted & {entry.rule.name, entry.rule.uuid}:
            yield entry


def _say_waiting(pack: Pack) -> None:
    for one in pack.waiting:
        error_console().print(f"not run: {one.rule.name}: {one.reason}", markup=False)


def _say_problems(pack: Pack) -> None:
    for problem in pack.problems:
        error_console().print(f"{shown_path(problem.where)}: {problem.severity}: {_why(problem)}", markup=False)
    if pack.errors:
        raise click.exceptions.Exit(1)


command.add_command(plan_command)
command.add_command(apply_command)
command.add_command(backtest_command)
command.add_command(coverage_command)
command.add_command(export_command)
command.add_command(new_command)
