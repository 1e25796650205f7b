"""``siem rules export``: the rules in the terms of another scheduler, and what it cannot do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from loader.cli.detect import read_data, rules_option, variables_option
from loader.cli.output import LEVEL_STYLES, error_console, print_json, shown_path
from loader.detection.compile import compile_rules
from loader.detection.export.alerting import AlertingOptions, alerting_monitor
from loader.detection.export.bundle import bundle, write_file, write_folder
from loader.detection.export.collect import Selection, collect
from loader.detection.export.kibana import KibanaOptions, kibana_rule
from loader.detection.export.model import TARGETS, Document, Export, Node, Target
from loader.detection.load import load_rules, timespan
from loader.detection.model import Engine, Level
from loader.project import rules_dir


def _seconds(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else timespan(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("export")
@click.option("--to", "target", required=True, type=click.Choice(TARGETS), help="What the rules are for.")
@rules_option
@variables_option
@click.option("--rule", "names", multiple=True, metavar="NAME", help="Only this rule, by name or id (repeatable).")
@click.option("--tag", "tags", multiple=True, help="Only rules with this tag; attack.t1098* takes all that begin so.")
@click.option("--level", type=click.Choice(list(LEVEL_STYLES)), help="Only this severity and above.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="A folder (ending with / or there already) for a file a rule, or one file.  [default: standard output]",
)
@click.option("--every", type=click.IntRange(1, 1440), help="Minutes between runs of a rule.  [default: 1; kibana: 5]")
@click.option(
    "--lateness",
    metavar="TIMESPAN",
    callback=_seconds,
    help="How late an event may arrive and still be seen; CloudTrail delivers within 15 minutes as a rule."
    "  [default: 1h; kibana: 15m]",
)
@click.option(
    "--disabled", is_flag=True, help="alerting, kibana: rules are switched off until somebody switches them on."
)
@click.option("--channel", metavar="ID", help="alerting: notify this notification channel.")
@click.option("--strict", is_flag=True, help="End with exit code 1 if any chosen rule is not exported.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the summary as one JSON object; it holds the export, too, unless --output is given.",
)
def export_command(
    target: Target,
    folders: tuple[Path, ...],
    variables: Path | None,
    names: tuple[str, ...],
    tags: tuple[str, ...],
    level: Level | None,
    output: Path | None,
    every: int | None,
    lateness: int | None,
    disabled: bool,
    channel: str | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Write the rules for another scheduler, for those who do not run `siem detect`.

    Each target can do less than `siem detect`: what differs is written into the export (docs/exporting.md), and a rule
    that a target cannot express is refused with file, line and reason. Standard error tells how many were.

    \b
    alerting       OpenSearch Alerting monitors, one JSON object each
    kibana         rules of Kibana's Security app, one a line, for its import
    """
    given = {"every": every, "lateness": lateness, "enabled": not disabled, "channel": channel}
    options = {name: value for name, value in given.items() if value is not None}
    if channel and target != "alerting":
        raise click.UsageError("--channel is for --to alerting; other targets have no notifications of their own")
    rules = load_rules(folders or (rules_dir(),))
    engine: Engine = "elasticsearch" if target == "kibana" else "opensearch"
    pack = compile_rules(rules, engine=engine, variables=read_data(variables).variables)
    export = collect(target, rules, pack, Selection(names, tags, level), _exporter(target, options))
    folder = output is not None and (output.is_dir() or str(output).endswith("/"))
    _write(export, output, folder=folder, as_json=as_json)
    if as_json:
        print_json(export.as_dict(bodies=output is None))
    _summarise(export, output)
    if (strict and export.refused) or not export.documents:
        raise click.exceptions.Exit(1)


def _exporter(target: Target, options: dict[str, Any]) -> Callable[[Node], Document]:
    """Return what exports one rule to ``target``. Options that were not given keep the target's own defaults."""
    if target == "alerting":
        monitors = AlertingOptions(**options)
        return lambda node: alerting_monitor(node, monitors)
    if target != "kibana":
        raise click.UsageError(f"--to {target} is not there yet")
    detections = KibanaOptions(**options)
    return lambda node: kibana_rule(node, detections)


def _write(export: Export, output: Path | None, *, folder: bool, as_json: bool) -> None:
    if output is None:
        if not as_json:
            click.echo(bundle(export), nl=False)
    elif folder:
        write_folder(export, output)
    else:
        write_file(export, output)


def _summarise(export: Export, output: Path | None) -> None:
    screen = error_console()
    for refusal in export.refused:
        screen.print(shown_path(str(refusal)), markup=False)
        if refusal.hint:
            screen.print(f"  next {refusal.hint}", markup=False)
    place = f" to {output}" if output else ""
    screen.print(f"{len(export.documents)} rules exported{place}, {len(export.refused)} refused", markup=False)
