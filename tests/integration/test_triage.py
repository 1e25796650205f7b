"""What an analyst does with alerts, through the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch

from loader.cli.main import main

pytestmark = pytest.mark.integration


def alert(level: str, severity: int, day: str, **siem: Any) -> dict[str, Any]:
    return {
        "@timestamp": f"2026-11-{day}T10:00:00Z",
        "message": f"[bold]{level}[/] \x1b[31mevil",
        "event": {"kind": "signal", "severity": severity},
        "rule": {"uuid": f"u-{level}", "name": f"{level} rule"},
        "siem": {
            "status": "open",
            "level": level,
            "evidence": [{"index": "i", "id": "e"}],
            "evidence_total": 1,
            **siem,
        },
    }


@pytest.fixture
def alerts(templates: OpenSearch, servers: Any, monkeypatch: pytest.MonkeyPatch) -> OpenSearch:
    monkeypatch.setenv("SIEM_CLUSTER_URL", servers.opensearch_url)
    for name, body in {
        "low": alert("low", 30, "03"),
        "high": alert("high", 70, "01"),
        "newer": alert("high", 70, "02"),
        "gone": alert("high", 70, "02", verdict="withdrawn"),
    }.items():
        templates.index(index="siem-alerts-2026.11", id=name, body=body, params={"refresh": "true"})
    return templates


def siem(*words: str) -> Any:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 0, result.exception or result.output
    return result


def listed(*words: str) -> list[str]:
    return [entry["id"] for entry in json.loads(siem("alerts", "list", "--json", *words).stdout)["alerts"]]


def test_the_most_severe_and_newest_come_first_and_withdrawn_ones_not_at_all(alerts: OpenSearch) -> None:
    assert listed() == ["newer", "high", "low"]
    assert listed("--level", "low") == ["low"]
    assert listed("--rule", "u-high") == ["newer", "high"]
    assert listed("--since", "2026-11-02") == ["newer", "low"]
    assert listed("--limit", "1") == ["newer"]
    assert listed("--since", "2026-11-02T00:00:00Z") == ["newer", "low"]
    assert listed("--since", "1s") == listed("--since", "now-1s")
    result = CliRunner().invoke(main, ["alerts", "list", "--since", "yesterday"])
    assert result.exit_code == 2
    assert "yesterday" in result.stderr


def test_only_people_close_with_who_and_why_and_nothing_else_changes(alerts: OpenSearch) -> None:
    before = alerts.get(index="siem-alerts-2026.11", id="high")["_source"]
    siem("alerts", "ack", "high", "--by", "ana", "--note", "looking")
    assert listed("--status", "acknowledged") == ["high"]
    done = json.loads(siem("alerts", "close", "high", "--by", "ana", "--note", "a test", "--json").stdout)
    assert (done["id"], done["siem"]["status"], done["siem"]["status_by"]) == ("high", "closed", "ana")
    assert listed() == ["newer", "low"]
    after = alerts.get(index="siem-alerts-2026.11", id="high")["_source"]
    assert (after["siem"]["status"], after["siem"]["status_by"], after["siem"]["status_note"]) == (
        "closed",
        "ana",
        "a test",
    )
    for body in (before, after):
        for name in ("status", "status_by", "status_note", "status_at"):
            body["siem"].pop(name, None)
    assert after == before
    siem("alerts", "reopen", "high", "--by", "bo")
    assert listed() == ["newer", "high", "low"]


def test_what_an_attacker_wrote_is_shown_as_text(alerts: OpenSearch) -> None:
    shown = siem("alerts", "list").stdout + siem("alerts", "show", "high").stdout
    assert "[bold]high[/]" in shown
    assert "\x1b[31m" not in shown
    assert "siem alerts close high" in shown


def test_an_unknown_id_says_so(alerts: OpenSearch) -> None:
    result = CliRunner().invoke(main, ["alerts", "show", "nothing"])
    assert "no such alert" in str(result.exception)
    assert CliRunner().invoke(main, ["alerts", "close", "high"]).exit_code == 2  # a note is owed


def test_an_alert_says_who_is_behind_a_role_even_if_the_session_arrived_later(
    alerts: OpenSearch, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = "arn:aws:iam::123456789012:role/Admin"
    session = "arn:aws:sts::123456789012:assumed-role/Admin/work"
    used = {
        "eventVersion": "1.08",
        "eventTime": "2026-11-03T10:05:00Z",
        "eventSource": "iam.amazonaws.com",
        "eventName": "CreateUser",
        "awsRegion": "us-east-1",
        "sourceIPAddress": "198.51.100.7",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": "AROAEXAMPLEEXAMPLE12:work",
            "arn": session,
            "accountId": "123456789012",
            "accessKeyId": "ASIAEXAMPLEEXAMPLE12",
            "sessionContext": {
                "sessionIssuer": {
                    "type": "Role",
                    "principalId": "AROAEXAMPLEEXAMPLE12",
                    "arn": role,
                    "userName": "Admin",
                },
                "attributes": {"creationDate": "2026-11-03T10:00:00Z", "mfaAuthenticated": "false"},
            },
        },
        "eventID": "used",
        "recipientAccountId": "123456789012",
    }
    issued = {
        **{key: used[key] for key in ("eventVersion", "awsRegion", "sourceIPAddress", "recipientAccountId")},
        "eventTime": "2026-11-03T10:00:00Z",
        "eventSource": "sts.amazonaws.com",
        "eventName": "AssumeRole",
        "eventID": "issued",
        "userIdentity": {
            "type": "IAMUser",
            "principalId": "AIDAEXAMPLEEXAMPLE12",
            "arn": "arn:aws:iam::123456789012:user/mallory",
            "accountId": "123456789012",
            "accessKeyId": "AKIAEXAMPLEEXAMPLE12",
            "userName": "mallory",
        },
        "requestParameters": {"roleArn": role, "roleSessionName": "work"},
        "responseElements": {
            "credentials": {"accessKeyId": "ASIAEXAMPLEEXAMPLE12", "expiration": "Nov 3, 2026, 11:00:00 AM"},
            "assumedRoleUser": {"assumedRoleId": "AROAEXAMPLEEXAMPLE12:work", "arn": session},
        },
    }
    for number, record in enumerate((used, issued)):
        if number == 1:
            event = alerts.search(index="log-aws-cloudtrail-*", body={"size": 1})["hits"]["hits"][0]
            body = alert("high", 70, "03", evidence=[{"index": event["_index"], "id": event["_id"]}])
            alerts.index(index="siem-alerts-2026.11", id="role", body=body, params={"refresh": "true"})
            assert "mallory" not in siem("alerts", "show", "role").stdout
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps({"Records": [record]}))
        siem("load", "backfill", str(path), "--json")
        alerts.indices.refresh(index="log-*,siem-*")
    shown = siem("alerts", "show", "role").stdout
    assert "arn:aws:iam::123456789012:user/mallory" in shown
    assert "(certain)" in shown
