"""What a backfill is asked for: options that would change nothing, and targets that are none, are usage errors."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from loader.cli.backfill_targets import Asked, read_targets
from loader.cli.main import main
from loader.cli.parameters import AccountId, Day, RegionName, Something
from loader.source.listing import Range


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("s3://b --all --account 123456789012", "Not with --all: --account."),
        (
            "s3://b --all --from 2026-11-01 --to 2026-11-02 --region us-east-1",
            "Not with --all: --from, --to, --region.",
        ),
        (". --from 2026-11-01", "Only for S3: --from."),
        (". --to 2026-11-01 --account 123456789012", "Only for S3: --to, --account."),
        ("- --region us-east-1", "Only for S3: --region."),
        (". --all", "Only for S3: --all."),
        (". --queue https://sqs/q", "local files cannot be announced"),
        ("s3://b --all --queue https://sqs/q --workers 4", "Not with --queue: --workers."),
        ("s3://b .", "not both"),
        ("s3://b", "Say which days"),
        ("s3://b --to 2026-11-01", "Say which days"),
        ("s3://b --from 2026-11-07 --to 2026-11-01", "--to 2026-11-01 is before --from 2026-11-07"),
        ("s3://b --from 2026-11-31", "'2026-11-31' is no day such as 2026-11-01"),
        ("s3://b --from yesterday", "no day"),
        ("s3://b --from 20261101", "no day"),
        ("s3://b --from 2026-11-01 --account 12", "'12' is no account: it has twelve digits"),
        ("s3://b --from 2026-11-01 --account prod", "no account"),
        ("s3://b --from 2026-11-01 --region useast1", "'useast1' is no Region"),
        ("s3://b --from 2026-11-01 --region us-east-1a", "no Region"),
        ("s3:// --from 2026-11-01", "s3:// is not an S3 URI. Write it as s3://bucket/prefix."),
        ("s3:///AWSLogs --all", "not an S3 URI"),
        ("s3:/b/AWSLogs --from 2026-11-01", "s3:/b/AWSLogs is no file. A place in S3 is written s3://bucket/prefix."),
        ("arn:aws:s3:::b/AWSLogs", "is written s3://bucket/prefix"),
        ("https://b.s3.amazonaws.com/AWSLogs/", "is written s3://bucket/prefix"),
        ("", "Missing argument"),
    ],
)
def test_a_slip_is_a_usage_error(words: str, said: str) -> None:
    result = CliRunner().invoke(main, ["load", "backfill", *words.split()])
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["backfill", ""],
        ["backfill", ".", " "],
        ["backfill", "s3://b", "--from", "2026-11-01", "--account", ""],
        ["backfill", "s3://b", "--from", "2026-11-01", "--region", ""],
        ["backfill", "s3://b", "--all", "--queue", ""],
        ["worker", "--queue", ""],
        ["replay", "--reason", ""],
        ["find", ""],
    ],
)
def test_a_variable_that_is_not_set_is_no_choice(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["load", *words])
    assert result.exit_code == 2
    assert "Invalid value for" in result.stderr


def asked(*targets: str, first: date | None = None, last: date | None = None, everything: bool = False) -> Asked:
    accounts, regions = (["123456789012"], ["us-east-1"]) if first else ([], [])
    return read_targets(
        targets, first=first, last=last, accounts=accounts, regions=regions, everything=everything, queue=False
    )


def test_what_is_asked_for() -> None:
    first, last = date(2026, 11, 1), date(2026, 11, 2)
    accounts, regions = frozenset({"123456789012"}), frozenset({"us-east-1"})
    assert asked("s3://b", "S3://c", "s3://b", first=first) == Asked(
        ("s3://b", "S3://c"), (), Range(first, first, accounts, regions)
    )
    assert asked("s3://b", first=first, last=last).span == Range(first, last, accounts, regions)
    assert asked("s3://b", everything=True) == Asked(("s3://b",), (), None)
    assert asked("a", "-", "a") == Asked((), ("a", "-"), None)
    assert [asked(target).standard_input for target in ("a", "-", "/dev/stdin", "./-")] == [False, True, True, False]


def test_a_file_may_be_called_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:").mkdir()
    assert asked("s3:/").local == ("s3:/",)


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (Day(), "2026-11-01", date(2026, 11, 1)),
        (AccountId(), "123456789012", "123456789012"),
        (AccountId(), "1234-5678-9012", "123456789012"),
        (RegionName(), "EU-Central-1", "eu-central-1"),
        (RegionName(), "us-gov-west-1", "us-gov-west-1"),
        (RegionName(), "us-isob-east-1", "us-isob-east-1"),
        (RegionName(), "eusc-de-east-1", "eusc-de-east-1"),
        (RegionName(), "ap-southeast-7", "ap-southeast-7"),
        (Something(), " a", " a"),
    ],
)
def test_values_are_taken_as_people_have_them(kind: click.ParamType[object], given: str, expected: object) -> None:
    assert kind.convert(given, None, None) == expected
