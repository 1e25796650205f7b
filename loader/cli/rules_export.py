"""``siem rules export``: the rules in the terms of another scheduler, and what it cannot do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from loader.cli.detect import read_data, rules_option, variables_option
from loader.cli.output import LEVEL_STYLES, error_console, print_json, progress, shown_path
from loader.detection.compile import compile_rules
from loader.detection.export.alerting import AlertingOptions, alerting_monitor
from loader.detection.export.athena import athena_statement, athena_table
from loader.detection.export.athena_period import AthenaOptions
from loader.detection.export.athena_table import Table
from loader.detection.export.bundle import bundle, write_file, write_folder
from loader.detection.export.collect import Selection, collect
from loader.detection.export.insights import InsightsOptions, insights_query
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
    "place",
    type=click.Path(),
    help="A folder (ending with / or there already) for a file a rule, or one file.  [default: standard output]",
)
@click.option(
    "--every",
    type=click.IntRange(1, 1440),
    help="Minutes between runs of a rule.  [default: alerting 1, kibana 5, others 60]",
)
@click.option(
    "--lateness",
    metavar="TIMESPAN",
    callback=_seconds,
    help="How late an event may arrive and still be seen; CloudTrail delivers within 15 minutes as a rule."
    "  [default: 1h; kibana, logs-insights 15m]",
)
@click.option(
    "--disabled",
    is_flag=True,
    help="alerting, kibana, scheduled queries: switched off until somebody switches them on.",
)
@click.option("--channel", metavar="ID", help="alerting: notify this notification channel.")
@click.option("--location", metavar="S3_URI", help="athena: where AWSLogs/ is; without it no CREATE TABLE is written.")
@click.option(
    "--account", "accounts", multiple=True, metavar="ID", help="athena: an account of the table (repeatable)."
)
@click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="NAME",
    help="athena: a Region of the table (repeatable).  [default: all that have CloudTrail]",
)
@click.option("--organisation", metavar="ID", help="athena: the trail is this organisation's (o-…).")
@click.option(
    "--table", metavar="[DATABASE.]NAME", help="athena: the table's name.  [default: default.cloudtrail_logs]"
)
@click.option(
    "--log-group",
    "log_groups",
    multiple=True,
    metavar="NAME",
    help="logs-insights: the trail's log group (repeatable).",
)
@click.option("--role", metavar="ARN", help="logs-insights: make scheduled queries, which run with this role.")
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
    place: str | None,
    every: int | None,
    lateness: int | None,
    disabled: bool,
    channel: str | None,
    location: str | None,
    accounts: tuple[str, ...],
    regions: tuple[str, ...],
    organisation: str | None,
    table: str | None,
    log_groups: tuple[str, ...],
    role: str | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Write the rules for another scheduler, for those who do not run `siem detect`.

    Each target can do less than `siem detect`: what differs is written into the export (docs/exporting.md), and a rule
    that a target cannot express is refused with file, line and reason. Standard error tells how many were.

    \b
    alerting       OpenSearch Alerting monitors, one JSON object each
    kibana         rules of Kibana's Security app, one a line, for its import
    athena         an SQL statement a rule over CloudTrail's own files, and the table for them
    logs-insights  a CloudWatch Logs Insights query a rule, scheduled with --role
    """
    given = {
        "every": every,
        "lateness": lateness,
        "disabled": disabled,
        "channel": channel,
        "location": location,
        "accounts": accounts,
        "regions": regions,
        "organisation": organisation,
        "table": table,
        "log_groups": log_groups,
        "role": role,
    }
    exporter, preface = _exporter(
        target,
        {name: value for name, value in given.items() if value is not None and value is not False and value != ()},
    )
    rules = load_rules(folders or (rules_dir(),))
    engine: Engine = "elasticsearch" if target == "kibana" else "opensearch"
    pack = compile_rules(rules, engine=engine, variables=read_data(variables).variables)
    with progress(quiet=as_json) as shown:
        task = shown.add_task(f"Export to {target}", total=len(pack.alerting))

        def counted(node: Node) -> Document:
            shown.advance(task)
            return exporter(node)

        export = collect(target, rules, pack, Selection(names, tags, level), counted, preface=preface)
    output = Path(place) if place else None
    folder = output is not None and (output.is_dir() or str(place).endswith("/"))  # a Path forgets the last /
    _write(export, output, folder=folder, as_json=as_json)
    if as_json:
        print_json(export.as_dict(bodies=output is None))
    _summarise(export, output)
    if (strict and export.refused) or not export.documents:
        raise click.exceptions.Exit(1)


#: Options that only some targets know.
_KNOWN: dict[Target, set[str]] = {
    "alerting": {"every", "lateness", "disabled", "channel"},
    "kibana": {"every", "lateness", "disabled"},
    "athena": {"every", "lateness", "location", "accounts", "regions", "organisation", "table"},
    "logs-insights": {"every", "lateness", "disabled", "log_groups", "role"},
}
_SPELT = {"accounts": "--account", "regions": "--region", "log_groups": "--log-group"}


def _exporter(target: Target, given: dict[str, Any]) -> tuple[Callable[[Node], Document], list[Document]]:
    """Return what exports one rule to ``target``, and what comes before all. What was not given is the target's own."""
    if unknown := sorted(set(given) - _KNOWN[target]):
        names = ", ".join(_SPELT.get(name, f"--{name}") for name in unknown)
        raise click.UsageError(f"--to {target} has no {names}")
    common: dict[str, Any] = {name: given[name] for name in ("every", "lateness") if name in given}
    if target == "alerting":
        monitors = AlertingOptions(**common, channel=given.get("channel"), enabled="disabled" not in given)
        return (lambda node: alerting_monitor(node, monitors)), []
    if target == "kibana":
        detections = KibanaOptions(**common, enabled="disabled" not in given)
        return (lambda node: kibana_rule(node, detections)), []
    if target == "logs-insights":
        queries = _queries(given, common)
        return (lambda node: insights_query(node, queries)), []
    statements = AthenaOptions(**common, table=_table(given))
    preface = [athena_table(statements)] if statements.table.location else []
    return (lambda node: athena_statement(node, statements)), preface


def _queries(given: dict[str, Any], common: dict[str, Any]) -> InsightsOptions:
    if not (groups := given.get("log_groups", ())):
        raise click.UsageError("--to logs-insights needs --log-group, the log group that the trail writes to")
    try:
        return InsightsOptions(groups, **common, role=given.get("role"), enabled="disabled" not in given)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _table(given: dict[str, Any]) -> Table:
    database, dot, name = given.get("table", "default.cloudtrail_logs").rpartition(".")
    accounts = given.get("accounts", ())
    if "location" in given and not accounts:
        hint = "partitions of an organisation's trail are by account, too"
        raise click.UsageError(f"--location needs --account, once for each account that writes there: {hint}")
    if "location" not in given and (set(given) & {"accounts", "regions", "organisation"}):
        raise click.UsageError("--account, --region and --organisation describe the table that --location is for")
    try:
        return Table(
            database if dot else "default",
            name,
            given.get("location", ""),
            accounts,
            given.get("regions", ()) or _all_regions(),
            given.get("organisation"),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _all_regions() -> tuple[str, ...]:
    import boto3

    return tuple(sorted(boto3.Session().get_available_regions("cloudtrail")))


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
