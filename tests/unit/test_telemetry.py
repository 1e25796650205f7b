"""A log line is one line of JSON, whatever is in it."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from loader.telemetry import JsonFormatter, configure_logging

LOGGER = logging.getLogger("loader.test")


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Standard error, to which this project's loggers write."""
    ours, stream = logging.getLogger("loader"), io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(ours, "handlers", list(ours.handlers))
    monkeypatch.setattr(ours, "propagate", ours.propagate)
    monkeypatch.setattr(ours, "level", ours.level)
    configure_logging("INFO")
    return stream


def lines(errors: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in errors.getvalue().splitlines()]


@pytest.mark.parametrize(
    "value",
    ['a\nb\r\n{"message":"forged"}', "\x1b[31mred", "\ud800", 2**80, float("nan"), b"\xff", object, None, {"a": {1}}],
    ids=ascii,
)
def test_a_field_never_loses_nor_breaks_its_line(errors: io.StringIO, value: object) -> None:
    LOGGER.info("object", extra={"key": value})
    (line,) = lines(errors)
    assert (line["message"], line["log.level"], "key" in line) == ("object", "info", True)


@pytest.mark.parametrize("code", [0x7F, 0x85, 0x9B, 0x200E, 0x2028, 0x202E, 0x2066, 0xFEFF, 0xFFF9])
def test_no_character_that_a_terminal_obeys_is_written(errors: io.StringIO, code: int) -> None:
    LOGGER.info("object", extra={"key": f"a{chr(code)}b", f"k{chr(code)}": "ä"})
    written = errors.getvalue()
    assert chr(code) not in written
    (line,) = lines(errors)
    assert (line["key"], line[f"k{chr(code)}"]) == (f"a{chr(code)}b", "ä")


def test_a_traceback_stays_on_its_line(errors: io.StringIO) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        LOGGER.exception("failed")
    (line,) = lines(errors)
    assert "second" in str(line["error.stack_trace"])


def test_what_is_below_the_level_is_not_said(errors: io.StringIO) -> None:
    LOGGER.debug("nobody asked")
    LOGGER.info("said")
    assert [line["message"] for line in lines(errors)] == ["said"]


def test_other_libraries_are_left_alone(errors: io.StringIO) -> None:
    LOGGER.info("said")
    assert lines(errors)
    assert not [one for one in logging.getLogger().handlers if isinstance(one.formatter, JsonFormatter)]
