"""Links in alerts: written when an alert is, and by today's settings where an alert is shown."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch

from loader.cli.main import main
from loader.config import Settings
from loader.detection.model import CompiledRule, Rule, Suppression
from loader.detection.run import RunOptions, run_once
from loader.discover import link_maker

pytestmark = pytest.mark.integration

URL = "https://search.example/_dashboards"


class Clock:
    def now(self) -> datetime:
        return datetime(2026, 5, 4, 11, 0, tzinfo=timezone.utc)

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        pass


def rule(name: str, suppression: Suppression | None = None) -> CompiledRule:
    head = Rule(name, name, name, "high", "test", Path(f"rules/{name}.yml"), 1, "0" * 64, suppression=suppression)
    by = suppression.by if suppression else ()
    return CompiledRule(head, "log-aws-cloudtrail-*", {"term": {"event.action": "X"}}, suppress_by=by)


@pytest.fixture
def alerts(templates: OpenSearch, servers: Any, monkeypatch: pytest.MonkeyPatch) -> OpenSearch:
    monkeypatch.setenv("SIEM_CLUSTER_URL", servers.opensearch_url)
    body = {
        "@timestamp": "2026-05-04T10:00:00Z",
        "event": {"action": "X", "ingested": "2026-05-04T10:01:00Z"},
        "user": {"name": "mallory'!(x)"},
    }
    templates.index(index="log-aws-cloudtrail-2026.05.04", id="e1", body=body, params={"refresh": "true"})
    rules = [rule("single"), rule("folded", Suppression(("user.name",), 3600))]
    options = RunOptions(link=link_maker(Settings(dashboards_url=URL)))
    for _ in range(2):  # a second cycle leaves folded alerts as they are: the link is the same
        report = run_once(templates, rules, clock=Clock(), options=options)
    assert (report.errors, report.alerts_new) == ({}, 0)
    templates.indices.refresh(index="siem-alerts-*")
    return templates


def listed() -> list[dict[str, Any]]:
    result = CliRunner().invoke(main, ["alerts", "list", "--json"])
    assert result.exit_code == 0, result.exception
    found: list[dict[str, Any]] = json.loads(result.stdout)["alerts"]
    return found


def test_both_kinds_of_alert_carry_their_link(alerts: OpenSearch) -> None:
    found = listed()
    assert {alert["rule"]["id"] for alert in found} == {"single", "folded"}
    for alert in found:
        assert alert["event"]["url"].startswith(f"{URL}/app/data-explorer/discover#?")
        assert "mallory%21%27%21%21%28x%29" in alert["event"]["url"]


def test_what_is_shown_goes_by_the_setting_of_today(alerts: OpenSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    identifier = listed()[0]["id"]
    monkeypatch.setenv("SIEM_DASHBOARDS_URL", "https://kibana.example")
    monkeypatch.setenv("SIEM_DASHBOARDS_FLAVOUR", "kibana")
    assert all(alert["event"]["url"].startswith("https://kibana.example/app/discover#/") for alert in listed())
    shown = CliRunner().invoke(main, ["alerts", "show", identifier])
    (line,) = [line for line in shown.stdout.splitlines() if line.startswith("Discover: ")]
    assert line.startswith("Discover: https://kibana.example/app/discover#/?_g=")
    assert "e1" in line
