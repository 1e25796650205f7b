"""A wheel brings along what the program reads: rules, mappings, dashboards, sample events."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_folder_of_data_is_in_the_wheel() -> None:
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = {target.removeprefix("share/siem/") for target in parser["options.data_files"]}
    folders = {
        path.parent.relative_to(ROOT).as_posix()
        for top in ("rules", "mappings", "dashboards", "tests/events")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert listed == folders
