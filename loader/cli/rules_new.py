"""``siem rules new``."""

from __future__ import annotations

import re
import uuid

import click

from loader.cli.output import console, shown_path
from loader.clock import SystemClock
from loader.detection.rule_template import case_text, read_event_name, rule_text
from loader.errors import RuleError
from loader.project import rules_dir

_NAME = re.compile(r"^aws_[a-z0-9]+(_[a-z0-9]+)+$")


@click.command("new")
@click.argument("name")
@click.option("--folder", default="cloudtrail", show_default=True, help="Folder below rules/.")
@click.option("--title", required=True, help="What happened, as a sentence without a full stop.")
@click.option("--event", required=True, help="The call the rule is about, as SERVICE:CALL (iam:CreateUser).")
def new_command(name: str, folder: str, title: str, event: str) -> None:
    """Write a rule to fill in and its test events. NAME is aws_<service>_<what>.

    The test events are made from the call's model: the call, and the same call refused. Then: fill both in,
    `siem rules check`, `siem rules test --rules FILE`. How rules are written: rules/STYLE.md.
    """
    if not _NAME.match(name):
        raise RuleError("a rule is called aws_<service>_<what>, in small letters", where=name)
    source, call = read_event_name(event)
    target = rules_dir() / folder / f"{name}.yml"
    if not target.resolve().is_relative_to(rules_dir().resolve()):
        raise RuleError("the folder must be below rules/", where=folder)
    cases = target.with_name(f"{name}.test.json")
    same = next(rules_dir().rglob(f"{name}.yml"), None)
    if same or cases.exists():
        raise RuleError("there is such a rule already", where=str(same or cases))
    target.parent.mkdir(parents=True, exist_ok=True)
    today = SystemClock().now().date()
    target.write_text(rule_text(name, title, source, call, uuid=uuid.uuid4(), today=today), encoding="utf-8")
    cases.write_text(case_text(source, call), encoding="utf-8")
    shown = shown_path(str(target))
    console().print(f"{shown}\n{shown_path(str(cases))}", markup=False)
    console().print("Next: fill both in (rules/STYLE.md), then", markup=False)
    console().print(f"  siem rules check\n  siem rules test --rules {shown}", markup=False)
