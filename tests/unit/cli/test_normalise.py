"""``siem normalise`` as somebody who writes rules uses it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from loader.cli.main import main
from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import ObjectContext
from tests.unit.logtypes.samples import dump, record

KEY = "ASIAEXAMPLEEXAMPLE77"
ASSUMED: dict[str, Any] = record(
    eventSource="sts.amazonaws.com",
    eventName="AssumeRole",
    requestParameters={"roleArn": "arn:aws:iam::111122223333:role/admin", "roleSessionName": "x"},
    responseElements={
        "credentials": {"accessKeyId": KEY, "sessionToken": "t", "expiration": "Jul 10, 2023, 12:45:00 PM"},
        "assumedRoleUser": {
            "assumedRoleId": "AROAEXAMPLEEXAMPLE001:x",
            "arn": "arn:aws:sts::111122223333:assumed-role/admin/x",
        },
    },
)
USED: dict[str, Any] = record(
    eventID="0a1b2c3d-0000-4000-8000-000000000003",
    userIdentity={
        "type": "AssumedRole",
        "principalId": "AROAEXAMPLEEXAMPLE001:x",
        "arn": "arn:aws:sts::111122223333:assumed-role/admin/x",
        "accountId": "111122223333",
        "accessKeyId": KEY,
    },
)


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["normalise", *arguments], input=stdin)


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_file_becomes_the_documents_that_the_normaliser_makes(tmp_path: Path) -> None:
    path = tmp_path / "log.json.gz"
    path.write_bytes(gzip.compress(b'{"Records":[' + dump(record()) + b"]}"))
    result = run(str(path))
    assert result.exit_code == 0
    (document,) = lines(result)
    context = ObjectContext("local", str(path), document["event"]["ingested"])
    expected = json.loads(CLOUDTRAIL.normalise(dump(record()), context, False).body)
    siem = document.pop("siem")
    assert siem["actor"]["name"] == "alice"
    assert siem["session"]["chain"] == ["arn:aws:iam::111122223333:user/alice"]
    assert siem["cross_account"] == expected.pop("siem")["cross_account"]
    assert document == expected


def test_index_and_id_are_added_when_asked_for() -> None:
    result = run("--meta", "-", stdin=dump(record()))
    (document,) = lines(result)
    made = CLOUDTRAIL.normalise(dump(record()), ObjectContext("local", "-", ""), False)
    assert list(document)[:2] == ["_index", "_id"]
    assert (document["_index"], document["_id"]) == ("log-aws-cloudtrail-2023.07.10", made.id)


def test_who_did_it_is_told_from_the_files_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "used.json").write_bytes(dump(USED))
    (tmp_path / "both.json").write_bytes(dump(USED) + b"\n" + dump(ASSUMED))
    (alone,) = lines(run(str(tmp_path / "used.json")))
    assert "actor" not in alone["siem"]
    used, _ = lines(run(str(tmp_path / "both.json")))
    assert used["siem"]["actor"]["id"] == "AIDAEXAMPLEEXAMPLE001"
    assert used["siem"]["actor"]["name"] == "alice"


def test_what_cannot_be_read_is_said_and_the_rest_is_printed() -> None:
    good, other = dump(record()), dump(record(eventID="0a1b2c3d-0000-4000-8000-000000000009"))
    result = run("-", stdin=good + b'\n{"eventName":"NoTime"}\n' + other)
    assert result.exit_code == 1
    assert len(lines(result)) == 2
    assert "-#2: no_event_time: the record has no eventTime" in result.stderr
