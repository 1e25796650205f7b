"""``siem alerts``: look at alerts, acknowledge and close them."""

from __future__ import annotations

import getpass
from datetime import datetime
from typing import Any

import click
from rich.text import Text

from loader.cli.moments import Moment
from loader.cli.output import LEVEL_STYLES, console, print_json, table
from loader.cli.settings import settings_for_cluster
from loader.clock import SystemClock, rfc3339
from loader.detection.triage import STATUSES, FoundAlert, Selection, Status, get_alert, list_alerts, set_status
from loader.discover import Link, link_maker
from loader.identity.actor import Actor
from loader.index.client import make_client
from loader.investigate.principal import behind_alert

_SHOWN_EVIDENCE = 20
#: Columns that a list of alerts needs beside what happened.
_BESIDE = 68


@click.group("alerts")
def command() -> None:
    """Look at alerts, acknowledge and close them."""


@command.command("list")
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice(STATUSES), help="Repeatable.  [default: not closed]"
)
@click.option(
    "--level", "levels", multiple=True, type=click.Choice(list(LEVEL_STYLES)), help="Repeatable.  [default: any]"
)
@click.option("--rule", help="Only this rule: its name, title or id.")
@click.option("--since", type=Moment(), help="Only alerts at or after this time: a day, a time, or 7d.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="Alerts shown at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_command(
    statuses: tuple[Status, ...],
    levels: tuple[str, ...],
    rule: str | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List alerts, the most severe and newest first."""
    settings = settings_for_cluster(quiet=as_json)
    selection = Selection(statuses or ("open", "acknowledged"), levels, rule, rfc3339(since) if since else None)
    found, total = list_alerts(make_client(settings), selection, limit=limit)
    if as_json:
        link = link_maker(settings)
        print_json(
            {
                "total": total,
                "alerts": [{"id": alert.id, "index": alert.index, **_linked(alert, link)} for alert in found],
            }
        )
        return
    screen = console()
    # In a terminal two lines an alert: more of them are in sight, and `show` has the rest.
    most = max(60, 2 * (screen.width - _BESIDE)) if screen.is_terminal else None
    rows = [
        (
            _level(alert),
            _path(alert.body, "@timestamp").replace(".000Z", "Z"),
            _path(alert.body, "siem.status"),
            alert.id,
            _shortened(_path(alert.body, "message"), most),
        )
        for alert in found
    ]
    screen.print(table(None, ["severity", "time", "status", "id", "what"], rows))
    screen.print(f"{len(found)} of {total} alerts" + ("" if total == 0 else ". Next: siem alerts show ID"))


@command.command("show")
@click.argument("identifier", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print the alert as one JSON object.")
def show_command(identifier: str, as_json: bool) -> None:
    """Show one alert: who, what, from where, the evidence, and what to check next."""
    settings = settings_for_cluster(quiet=as_json)
    client = make_client(settings)
    alert = get_alert(client, identifier)
    actor = behind_alert(client, alert.body)
    body = _linked(alert, link_maker(settings))
    if as_json:
        behind = {} if actor is None else {"behind": {**actor.document(), "reason": actor.reason}}
        print_json({"id": alert.id, "index": alert.index, **body, **behind})
        return
    facts = [
        ("what", "message"),
        ("rule", "rule.name"),
        ("severity", "siem.level"),
        ("from", "event.start"),
        ("to", "event.end"),
        ("who", "aws.cloudtrail.user_identity.arn"),
        ("source", "source.address"),
        ("account", "cloud.account.id"),
        ("region", "cloud.region"),
        ("technique", "threat.technique.id"),
        ("events", "siem.count"),
        ("folded in", "siem.suppressed"),
        ("status", "siem.status"),
        ("set by", "siem.status_by"),
        ("set at", "siem.status_at"),
        ("note", "siem.status_note"),
        ("verdict", "siem.verdict"),
        ("about", "rule.description"),
    ]
    rows = [(name, _path(alert.body, path)) for name, path in facts]
    if actor is not None:
        rows.insert(6, ("behind it", _behind(actor)))
    screen = console()
    screen.print(table(None, ["", ""], [row for row in rows if row[1]]))
    if runbook := _path(alert.body, "siem.runbook"):
        screen.print(f"\nWhat to do: {runbook.replace('<id>', alert.id)}", markup=False)
    evidence = alert.body.get("siem", {}).get("evidence", [])
    total = alert.body.get("siem", {}).get("evidence_total", len(evidence))
    shown = [(entry.get("timestamp"), entry.get("index"), entry.get("id")) for entry in evidence[:_SHOWN_EVIDENCE]]
    screen.print()
    screen.print(table(f"Evidence ({total} events)", ["time", "index", "id"], shown))
    if url := _path(body, "event.url"):
        # Not in the table: a link that is folded into lines cannot be followed.
        screen.print(f"\nDiscover: {url}", markup=False, soft_wrap=True)
    screen.print(f"\nNext: siem alerts ack {alert.id} --note …; siem alerts close {alert.id} --note …")


def _linked(alert: FoundAlert, link: Link | None) -> dict[str, Any]:
    """Return the alert with a link by today's settings; without any, with the one it was written with."""
    url = link(alert.id, alert.body) if link else None
    return {**alert.body, "event": {**alert.body.get("event", {}), "url": url}} if url else alert.body


def _behind(actor: Actor) -> str:
    """Return the way from the first principal to the credential used, and how sure that is."""
    way = " → ".join(actor.chain) if actor.principal else actor.reason or "unknown"
    return f"{way} ({actor.certainty})"


def _set(identifier: str, status: Status, by: str | None, note: str | None, *, as_json: bool) -> None:
    client = make_client(settings_for_cluster(quiet=as_json))
    who = by or getpass.getuser()
    alert = set_status(client, identifier, status, by=who, note=note, clock=SystemClock())
    if as_json:
        print_json({"id": alert.id, "index": alert.index, **alert.body})
        return
    console().print(f"{alert.id} is {_path(alert.body, 'siem.status')} by {who}", markup=False)


_by = click.option("--by", help="Who does it.  [default: the user of this machine]")
_json = click.option("--json", "as_json", is_flag=True, help="Print the alert as one JSON object.")


@command.command("ack")
@click.argument("identifier", metavar="ID")
@_by
@click.option("--note", help="Why, or what you are doing about it.")
@_json
def ack_command(identifier: str, by: str | None, note: str | None, as_json: bool) -> None:
    """Acknowledge an alert: somebody is on it."""
    _set(identifier, "acknowledged", by, note, as_json=as_json)


@command.command("close")
@click.argument("identifier", metavar="ID")
@_by
@click.option("--note", required=True, help="What it was: the next analyst will ask.")
@_json
def close_command(identifier: str, by: str | None, note: str, as_json: bool) -> None:
    """Close an alert. Only people do; the machine never closes one."""
    _set(identifier, "closed", by, note, as_json=as_json)


@command.command("reopen")
@click.argument("identifier", metavar="ID")
@_by
@click.option("--note", help="Why.")
@_json
def reopen_command(identifier: str, by: str | None, note: str | None, as_json: bool) -> None:
    """Open an alert again."""
    _set(identifier, "open", by, note, as_json=as_json)


def _shortened(text: str, most: int | None) -> str:
    return text if most is None or len(text) <= most else text[: most - 1] + "…"


def _level(alert: FoundAlert) -> Text:
    level = _path(alert.body, "siem.level")
    return Text(level, LEVEL_STYLES.get(level, ""))


def _path(body: dict[str, Any], path: str) -> str:
    value: Any = body
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
