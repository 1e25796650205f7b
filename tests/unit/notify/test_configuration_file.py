"""The channels' file while something runs: changes hold, half an edit does not."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from loader.errors import ConfigError
from loader.notify.configuration_file import ConfigurationFile

GOOD = "channels:\n  {name}:\n    type: webhook\n    url: https://example.org/\nroutes:\n  - channels: [{name}]\n"


def test_changes_hold_and_half_an_edit_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "notify.yml"
    path.write_text(GOOD.format(name="one"))
    read = ConfigurationFile(path)
    assert list(read().channels) == ["one"]
    assert read() is read(), "what has not changed is not read again"
    path.write_text(GOOD.format(name="another"))
    assert list(read().channels) == ["another"]
    assert read().routes[0].channels == ("another",)
    with caplog.at_level(logging.WARNING):
        path.write_text("channels: [")
        assert list(read().channels) == list(read().channels) == ["another"]
        path.unlink()
        assert list(read().channels) == ["another"]
    assert len(caplog.records) == 2, "each state is told once"
    path.write_text(GOOD.format(name="third"))
    assert list(read().channels) == ["third"]


def test_what_is_unusable_from_the_beginning_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "notify.yml"
    path.write_text("channels: {}")
    with pytest.raises(ConfigError, match="channel"):
        ConfigurationFile(path)
