"""``siem dashboards``: build, check and push saved objects."""

from __future__ import annotations

from pathlib import Path

import click

from loader.cli.output import console, print_json, table
from loader.config import read_settings
from loader.dashboards.build import build_all, write
from loader.dashboards.check import check_committed
from loader.dashboards.push import Target, push
from loader.errors import ConfigError


@click.group("dashboards")
def command() -> None:
    """Dashboards as saved objects (NDJSON) for OpenSearch Dashboards."""


@command.command("build")
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), help="Folder to write to.")
def build_command(folder: Path | None) -> None:
    """Write the NDJSON files from dashboards/src and the mappings.  [default folder: dashboards/saved_objects]"""
    changed = write(folder)
    for path in changed:
        console().print(f"wrote {path}", markup=False)
    if not changed:
        console().print("Nothing changed.")


@command.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check_command(as_json: bool) -> None:
    """Check the committed files: every field exists and can do what a panel asks of it, every reference resolves.

    OpenSearch Dashboards imports broken objects without a word, so this is where they are found. Exit code 1 if there
    is a problem.
    """
    problems = check_committed()
    if as_json:
        print_json({"problems": [f"{problem.where}: {problem.message}" for problem in problems]})
    elif problems:
        rows = [(problem.where, problem.code, problem.message) for problem in problems]
        console().print(table("Problems", ["where", "what", "why"], rows))
    else:
        console().print("No problem found.")
    if problems:
        raise click.exceptions.Exit(1)


@command.command("push")
@click.option("--url", required=True, help="OpenSearch Dashboards, e.g. https://search.example/_dashboards")
@click.option("--tenant", help="Tenant of the security plugin.")
def push_command(url: str, tenant: str | None) -> None:
    """Import the dashboards into a running OpenSearch Dashboards, replacing those of the same id.

    Signs in with SIEM_CLUSTER_USER and SIEM_CLUSTER_PASSWORD if they are set.
    """
    settings = read_settings()
    if settings.cluster_aws_service or settings.cluster_api_key:
        raise ConfigError("dashboards are pushed with user and password, or without", where="environment")
    target = Target(
        url,
        user=settings.cluster_user,
        password=settings.cluster_password.get_secret_value() if settings.cluster_password else None,
        tenant=tenant,
        ca_file=settings.cluster_ca_file,
        verify_tls=settings.cluster_verify_tls,
    )
    for pushed in push(build_all(), target):
        console().print(f"{pushed.file}: {pushed.objects} objects", markup=False)
