"""The reference pages of settings and commands, made from the code: ``python -m loader.cli.reference`` writes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from loader.cli.main import main
from loader.config import Settings
from loader.project import home

_WIDTH = 100


def settings_page() -> str:
    """Return ``docs/settings.md``."""
    lines = [
        "# Settings",
        "",
        "Environment variables, read once when a command starts. AWS credentials come from boto3's usual places.",
        "(Made from `loader/config.py` by `python -m loader.cli.reference`.)",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        lines.append(f"| `SIEM_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """Return ``docs/commands.md``."""
    lines = ["# Commands", "", "What `--help` says. (Made by `python -m loader.cli.reference`.)"]
    for path, command in walk(main, "siem"):
        context = click.Context(command, info_name=path, max_content_width=_WIDTH, terminal_width=_WIDTH)
        lines += ["", f"## {path}", "", "```", command.get_help(context).rstrip(), "```"]
    return "\n".join(lines) + "\n"


def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield ``command`` and every command below it, with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from walk(below, f"{path} {name}")


def pages() -> dict[Path, str]:
    """Return each page's path and text."""
    docs = home() / "docs"
    return {docs / "settings.md": settings_page(), docs / "commands.md": commands_page()}


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    for target, text in pages().items():
        target.write_text(text, encoding="utf-8")
