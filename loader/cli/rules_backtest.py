"""``siem rules backtest``: what a rule would have raised, and what its last version would."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click
from opensearchpy import OpenSearch

from loader.cli.detect import read_data, rules_option, variables_option
from loader.cli.moments import Moment
from loader.cli.output import console, print_json, table
from loader.cli.settings import settings_for_cluster
from loader.clock import SystemClock, rfc3339
from loader.detection.backtest import Comparison, Raised, backtest, compare, judged_until
from loader.detection.correlation import Node
from loader.detection.deployed import read_deployed
from loader.detection.event_reader import EventReader, open_reader
from loader.detection.load import load_rules
from loader.detection.model import AnyRule
from loader.detection.run import RunOptions
from loader.detection.versions import Version, compile_version, deployed_version, find, git_version
from loader.index.client import make_client
from loader.project import rules_dir

_SHOWN = 20
_TOO_MANY = 3


@click.command("backtest")
@click.argument("name", metavar="RULE")
@click.option(
    "--from", "start", type=Moment(), default="7d", show_default=True, help="Since when: a day, a time, or 7d."
)
@click.option("--to", "end", type=Moment(), help="Up to when, exclusively.  [default: now]")
@click.option(
    "--against",
    type=click.Choice(["last", "deployed", "git", "none"]),
    default="last",
    show_default=True,
    help="What to compare with: the deployed version if there is another one, else git's; or only one of them.",
)
@click.option("--most", type=click.IntRange(0), help="End in exit code 3 if there would be more alerts than this.")
@click.option("--limit", default=_SHOWN, show_default=True, type=click.IntRange(0), help="Alerts shown of each kind.")
@rules_option
@variables_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with every alert.")
def backtest_command(
    name: str,
    start: datetime,
    end: datetime | None,
    against: str,
    most: int | None,
    limit: int,
    folders: tuple[Path, ...],
    variables: Path | None,
    as_json: bool,
) -> None:
    """Show the alerts RULE would have raised, and how that differs from its last version. No alert is written.

    RULE is a rule's or correlation's name, id or file. The last version is the deployed one if that is another, else
    the one deployed before, else the newest in git that is another. Filters are those of now for both.
    """
    data = read_data(variables)
    rules = load_rules(folders or (rules_dir(),))
    rule = find(rules, name)
    client = make_client(settings_for_cluster(quiet=as_json))
    now = SystemClock().now()
    node = compile_version(rule, rules, data=data)
    earlier = _earlier(client, rule, against)
    before = compile_version(earlier.rule, rules, data=data) if earlier else None
    until = judged_until(node, end or now, now=now, lateness=RunOptions().lateness)
    reader = open_reader(client, [one for one in (node, before) if one], clock=SystemClock())
    raised = backtest(node, reader, start=start, end=until, now=now)
    compared = _against(before, reader, raised, start, until, now)
    _show(rule, earlier, raised, compared, start, until, limit=limit, as_json=as_json)
    if most is not None and len(raised) > most:
        raise click.exceptions.Exit(_TOO_MANY)


def _earlier(client: OpenSearch, rule: AnyRule, against: str) -> Version | None:
    found = deployed_version(rule, read_deployed(client)) if against in ("last", "deployed") else None
    return found or (git_version(rule) if against in ("last", "git") else None)


def _against(
    before: Node | None, reader: EventReader, raised: Sequence[Raised], start: datetime, end: datetime, now: datetime
) -> Comparison | None:
    return compare(raised, backtest(before, reader, start=start, end=end, now=now)) if before else None


def _show(
    rule: AnyRule,
    earlier: Version | None,
    raised: Sequence[Raised],
    compared: Comparison | None,
    start: datetime,
    end: datetime,
    *,
    limit: int,
    as_json: bool,
) -> None:
    if as_json:
        print_json(
            {
                "rule": rule.name,
                "content_hash": rule.content_hash,
                "from": rfc3339(start),
                "to": rfc3339(end),
                "alerts": [alert.as_dict() for alert in raised],
                "against": earlier.label if earlier else None,
                "against_hash": earlier.rule.content_hash if earlier else None,
                "added": [alert.id for alert in compared.added] if compared else None,
                "removed": [alert.as_dict() for alert in compared.removed] if compared else None,
                "changed": [alert.id for alert in compared.changed] if compared else None,
            }
        )
        return
    console().print(f"{rule.name}: {len(raised)} alerts from {rfc3339(start)} to {rfc3339(end)}", markup=False)
    if earlier is None or compared is None:
        console().print("There is no other version to compare with.")
        _print(None, raised, limit)
        return
    console().print(
        f"Against {earlier.label}: +{len(compared.added)}, \N{MINUS SIGN}{len(compared.removed)}"
        + (f", {len(compared.changed)} with other events" if compared.changed else ""),
        markup=False,
    )
    _print("Added", compared.added, limit)
    _print("Removed", compared.removed, limit)
    _print("With other events", compared.changed, limit)


def _print(title: str | None, alerts: Sequence[Raised], limit: int) -> None:
    if not alerts or not limit:
        return
    rows = [(rfc3339(alert.time), alert.group, alert.events, alert.reason) for alert in alerts[:limit]]
    console().print(table(title, ["time", "group", "events", "why"], rows, right=[2]))
    if len(alerts) > limit:
        console().print(f"and {len(alerts) - limit} more (--limit, --json)")
