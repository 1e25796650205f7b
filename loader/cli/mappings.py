"""``siem mappings``: what the cluster must know before documents are written, and how long it keeps them."""

from __future__ import annotations

import click

from loader.cli.output import console, print_json, table
from loader.cli.settings import settings_for_cluster
from loader.clock import SystemClock
from loader.config import Settings
from loader.index.client import make_client
from loader.index.drift import IndexDrift, apply_existing, plan_existing
from loader.index.lifecycle import Ages, LifecyclePlan, apply_lifecycle, plan_lifecycle
from loader.index.retention import apply_retention, event_indices, plan_retention
from loader.index.templates import apply, plan, read_templates


@click.group("mappings")
def command() -> None:
    """Index templates, lifecycle and retention: show what would change, and apply it."""


@command.command("plan")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan_command(as_json: bool) -> None:
    """Show what is new or different in the cluster; change nothing.

    Exit code 1 if an existing index differs in a way that only a new index can cure; it says how.
    """
    _run(apply_too=False, as_json=as_json)


@command.command("apply")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def apply_command(as_json: bool) -> None:
    """Apply templates, add new fields to existing indices, and set the lifecycle policy where there is a manager.

    Run it before the first load and after each update; running it again changes nothing. What would need a reindex is
    refused, with what to do instead, and ends in exit code 1.
    """
    _run(apply_too=True, as_json=as_json)


@command.command("retention")
@click.option("--days", type=click.IntRange(1), help="Days an event is kept.  [default: SIEM_DELETE_DAYS]")
@click.option("--delete", is_flag=True, help="Really delete; without it, only what would be deleted is shown.")
@click.option("--everything", is_flag=True, help="Allow deleting all dated indices.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def retention_command(days: int | None, delete: bool, everything: bool, as_json: bool) -> None:
    """Delete event indices by the day in their names: for clusters without ISM or ILM, and for back-filled days.

    Only log-aws-* indices with a date are touched. Run it daily, from cron.
    """
    settings = settings_for_cluster(quiet=as_json)
    client = make_client(settings)
    today = SystemClock().now().date()
    planned = plan_retention(event_indices(client), today=today, days=days or settings.delete_days)
    result = apply_retention(client, planned, dry_run=not delete, everything=everything)
    if as_json:
        print_json(
            {
                "oldest_kept": str(planned.oldest),
                "deleted": result.deleted,
                "would_delete": result.would_delete,
                "failed": result.failed,
                "refused": planned.of("refuse"),
            }
        )
    else:
        rows = [(entry.index, entry.verdict, entry.reason) for entry in planned.indices if entry.verdict != "keep"]
        console().print(table(f"Kept from {planned.oldest} on", ["index", "verdict", "why"], rows))
        console().print(
            f"{len(planned.of('keep'))} kept, {len(result.would_delete)} to delete, {len(result.deleted)} deleted"
            + ("" if delete or not result.would_delete else ". Next: the same with --delete")
        )
        for index, reason in result.failed.items():
            console().print(f"not deleted: {index}: {reason}", markup=False)
    if result.failed:
        raise click.exceptions.Exit(1)


def _ages(settings: Settings) -> Ages:
    return Ages(settings.hot_days, settings.warm_days, settings.delete_days)


def _run(*, apply_too: bool, as_json: bool) -> None:
    settings = settings_for_cluster(quiet=as_json)
    client = make_client(settings)
    changes = plan(client, read_templates())
    drifts = plan_existing(client, [change.template for change in changes])
    lifecycle = plan_lifecycle(client, _ages(settings))
    if apply_too:
        apply(client, changes)
        apply_existing(client, drifts)
        if lifecycle.manager is not None:
            apply_lifecycle(client, lifecycle)
    refused = [drift for drift in drifts if drift.refusals]
    if as_json:
        print_json(
            {
                "applied": apply_too,
                "templates": {change.template.name: change.action for change in changes},
                "existing": {drift.index: list(drift.added) for drift in drifts if drift.added},
                "refused": {drift.index: [refusal.path for refusal in drift.refusals] for drift in refused},
                "lifecycle": lifecycle.action if lifecycle.manager else None,
            }
        )
    else:
        rows = [(change.template.kind, change.template.name, change.action) for change in changes]
        console().print(table("Templates", ["kind", "name", "applied" if apply_too else "would be"], rows))
        _print_existing(drifts)
        _print_lifecycle(lifecycle)
    if refused:
        raise click.exceptions.Exit(1)


def _print_existing(drifts: list[IndexDrift]) -> None:
    for drift in drifts:
        if drift.added:
            console().print(f"{drift.index}: new fields {', '.join(drift.added)}", markup=False)
        for refusal in drift.refusals:
            have, want = _shown(refusal.have), _shown(refusal.want)
            console().print(
                f"{drift.index}: {refusal.path} is {have}, should be {want}. {refusal.how}",
                markup=False,
            )


def _shown(value: object) -> str:
    return "absent" if value is None else str(value)


def _print_lifecycle(lifecycle: LifecyclePlan) -> None:
    if lifecycle.manager is None:
        console().print("Lifecycle: this cluster has no manager. Run siem mappings retention daily.")
    else:
        console().print(f"Lifecycle: {lifecycle.manager} policy, {lifecycle.action}; {len(lifecycle.attach)} to attach")
