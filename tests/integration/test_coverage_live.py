"""``siem rules coverage --live``: what each rule can see in an index, and when it fired last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch

from loader.cli.main import main

pytestmark = pytest.mark.integration

CREATED = {
    "eventVersion": "1.08",
    "eventTime": "2026-11-01T10:00:00Z",
    "eventSource": "iam.amazonaws.com",
    "eventName": "CreateUser",
    "awsRegion": "us-east-1",
    "sourceIPAddress": "198.51.100.7",
    "userIdentity": {"type": "IAMUser", "accountId": "123456789012", "arn": "arn:aws:iam::123456789012:user/alice"},
    "eventID": "coverage-1",
    "readOnly": False,
    "managementEvent": True,
    "eventCategory": "Management",
    "recipientAccountId": "123456789012",
}
SENT = {
    **CREATED,
    "eventSource": "sns.amazonaws.com",
    "eventName": "Publish",
    "eventID": "coverage-2",
    "managementEvent": False,
    "eventCategory": "Data",
}


@pytest.fixture
def live(templates: OpenSearch, servers: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Load two events and an alert, and return ``live(*words)``: the command's result."""
    monkeypatch.setenv("SIEM_CLUSTER_URL", servers.opensearch_url)
    path = tmp_path / "events.json"
    path.write_text(json.dumps({"Records": [CREATED, SENT]}, separators=(",", ":")))
    runner = CliRunner()
    assert runner.invoke(main, ["load", "backfill", str(path), "--json"]).exit_code == 0
    coverage = json.loads(runner.invoke(main, ["rules", "coverage", "--json"]).stdout)
    uuid = next(rule["id"] for rule in coverage["rules"] if rule["name"] == "aws_iam_user_created")
    body = {"@timestamp": "2026-11-01T10:00:00.000Z", "rule": {"uuid": uuid}}
    templates.index(index="siem-alerts-2026.11", id="coverage", body=body)
    templates.indices.refresh(index="log-*,siem-*")
    return lambda *words: runner.invoke(main, ["rules", "coverage", "--live", *words])


def test_each_rule_says_whether_its_events_are_there_and_when_it_fired_last(live: Any) -> None:
    found = json.loads(live("--json").stdout)
    rules = {rule["name"]: rule for rule in found["rules"]}
    assert rules["aws_iam_user_created"]["sight"] == "sees"
    assert rules["aws_iam_user_created"]["last_fired"] == "2026-11-01T10:00:00.000Z"
    assert rules["aws_s3_mass_delete"]["sight"] == "blind"
    assert rules["aws_s3_mass_delete"]["missing"] == ["data events of S3 objects"]
    assert rules["aws_sns_sms_burst"]["sight"] == "sees part"
    assert rules["aws_ec2_password_data_retrieved"]["missing"] == ["management events, reading"]
    assert rules["aws_iam_access_key_created"]["last_fired"] is None
    assert found["live"]["held"]["management events, writing"][0] == 1
    assert found["live"]["held"]["data events of SNS messages"] == [1, "2026-11-01T10:00:00.000Z"]
    assert found["live"]["logs"] == {"aws.cloudtrail": 2}


def test_people_see_what_is_missing_and_what_never_fired(live: Any) -> None:
    shown = live()
    assert shown.exit_code == 0
    for text in (
        "Rules that lack events",
        "aws_s3_mass_delete",
        "Last fired",
        "aws_iam_user_created",
        "have never fired",
    ):
        assert text in shown.stdout
