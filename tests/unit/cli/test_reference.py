"""Every command and setting is documented, and the pages are those the code makes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loader.cli.main import main
from loader.cli.reference import pages, walk
from loader.config import Settings

README = Path(__file__).resolve().parents[3] / "README.md"


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_the_committed_page_is_the_one_the_code_makes(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == pages()[page], "run: python -m loader.cli.reference"


def test_every_command_says_what_it_does_and_every_option_what_it_is() -> None:
    for path, command in walk(main, "siem"):
        assert command.help, path
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert getattr(parameter, "help", None), f"{path} {parameter.name}"


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_the_readme_names_only_commands_and_settings_that_exist() -> None:
    text = README.read_text(encoding="utf-8")
    known = {path for path, _ in walk(main, "siem")}
    for named in re.findall(r"(?<![\w/-])siem ((?:[a-z]+ ?)+)", text):
        words = named.split()
        assert any(f"siem {' '.join(words[:n])}" in known for n in (1, 2) if words[:n]), named
    for name in re.findall(r"SIEM_([A-Z_]+)", text):
        assert name.lower() in Settings.model_fields, name
