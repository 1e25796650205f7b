"""Filters that drop events: reviewed, named, counted, and out of a caller's reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from loader.errors import ConfigError
from loader.ingest.filters import ALLOWED, dropper, keep_all, read_filters

GOOD: dict[str, Any] = {
    "name": "config-decrypt",
    "owner": "platform",
    "reason": "noise",
    "match": {
        "eventSource": "kms.amazonaws.com",
        "eventName": ["Decrypt", "GenerateDataKey"],
        "userIdentity.invokedBy": "config.amazonaws.com",
    },
}


def write(tmp_path: Path, *filters: Any) -> Path:
    path = tmp_path / "filters.yml"
    path.write_text(yaml.safe_dump(list(filters)))
    return path


def record(**changes: Any) -> bytes:
    base = {
        "eventSource": "kms.amazonaws.com",
        "eventName": "Decrypt",
        "userIdentity": {"type": "AWSService", "invokedBy": "config.amazonaws.com"},
        "userAgent": "config.amazonaws.com",
    }
    return json.dumps({**base, **changes}).encode()


@pytest.mark.parametrize(
    ("raw", "dropped"),
    [
        (record(), "config-decrypt"),
        (record(eventName="GenerateDataKey"), "config-decrypt"),
        (record(eventName="decrypt"), None),
        (record(eventName="CreateGrant"), None),
        (record(userIdentity={"type": "IAMUser"}), None),
        (record(userIdentity="config.amazonaws.com"), None),
        (record(eventName=None), None),
        (b"not json", None),
        (b"[" * 5000, None),
    ],
)
def test_only_what_matches_in_every_field_is_dropped(tmp_path: Path, raw: bytes, dropped: str | None) -> None:
    assert dropper(read_filters(write(tmp_path, GOOD)))(raw) == dropped


def test_none_is_on_by_default() -> None:
    assert dropper([]) is keep_all
    assert keep_all(record()) is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"owner": ""}, "owner is missing"),
        ({"reason": None}, "reason is missing"),
        ({"name": None}, "name is missing"),
        ({"when": "now"}, "when is not known"),
        ({"match": {}}, "match is missing"),
        ({"match": {"eventName": []}}, "eventName has no value"),
        ({"match": {"eventName": ["A", ""]}}, "a value of eventName is no text"),
        ({"match": {"eventName": ["A", ["B"]]}}, "a value of eventName is no text"),
        ({"match": {"eventName": {"a": "b"}}}, "a value of eventName is no text"),
        ({"match": {"userAgent": "x", "eventName": "y"}}, "userAgent is not a field that AWS alone fills"),
        ({"match": {"sourceIPAddress": "1.2.3.4", "eventName": "y"}}, "sourceIPAddress is not a field"),
        ({"match": {"userIdentity.arn": "x", "eventName": "y"}}, "userIdentity.arn is not a field"),
        ({"match": {"requestParameters.name": "x"}}, "requestParameters.name is not a field"),
        ({"match": {"readOnly": True}}, "it would drop what everybody does"),
        ({"match": {"awsRegion": "us-east-1", "eventCategory": "Data"}}, "it would drop what everybody does"),
    ],
)
def test_a_filter_that_could_hide_something_is_refused(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match="filter 1") as caught:
        read_filters(write(tmp_path, {**GOOD, **change}))
    assert problem in str(caught.value)


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_filters(write(tmp_path, GOOD, GOOD, 17))
    assert "filter 2: the name 'config-decrypt' is taken" in str(caught.value)
    assert "filter 3: it is no mapping" in str(caught.value)


@pytest.mark.parametrize("content", ["a: 1", "- [", "\x00"])
def test_a_broken_file_says_which(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.yml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"broken\.yml"):
        read_filters(path)


def written(tmp_path: Path, match: str) -> Path:
    path = tmp_path / "filters.yml"
    path.write_text(f"- name: n\n  owner: o\n  reason: r\n  match:\n{match}")
    return path


@pytest.mark.parametrize(
    "account", ["012345670123", "123456789012", "'123456789012'", "0b10", "1e5", "2023-13-45", "Yes"]
)
def test_values_are_what_is_written(tmp_path: Path, account: str) -> None:
    (found,) = read_filters(written(tmp_path, f"    eventName: X\n    userIdentity.accountId: {account}\n"))
    assert found.match["userIdentity.accountId"] == {account.strip("'")}


def test_what_is_read_only_is_a_text_as_well(tmp_path: Path) -> None:
    drop = dropper(read_filters(written(tmp_path, "    eventName: Decrypt\n    readOnly: true\n")))
    assert [drop(record(readOnly=value)) for value in (True, False, "true", None)] == ["n", None, "n", None]


@pytest.mark.parametrize(
    ("match", "line", "problem"),
    [
        ("    eventName: A\n    eventSource: b\n    eventName: C\n", 7, "'eventName' stands twice"),
        ("    [a, b]: c\n", 5, "a key is no text"),
        ("    eventName: 'A\n", 6, "unexpected end of stream"),
    ],
)
def test_a_slip_is_told_with_its_line(tmp_path: Path, match: str, line: int, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        read_filters(written(tmp_path, match))
    assert str(caught.value.where).endswith(f"filters.yml:{line}")


def test_nothing_a_caller_writes_is_allowed() -> None:
    assert not {
        field for field in ALLOWED if field.split(".")[0] in {"userAgent", "requestParameters", "sourceIPAddress"}
    }
    assert "userIdentity.arn" not in ALLOWED
    assert "userIdentity.principalId" not in ALLOWED
