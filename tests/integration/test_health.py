"""What `siem status` says about detection and telling people, and the detector that Lambda runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from click.testing import CliRunner
from detection_events import action, event, put, rule
from opensearchpy import OpenSearch

from loader.cli.main import main
from loader.clock import rfc3339
from loader.config import Settings
from loader.detection.compile import Pack
from loader.detection.coverage import CoverageStore
from loader.detection.cursor import read_positions
from loader.detection.cycle_status import record_cycle
from loader.detection.intervals import difference
from loader.detection.lease import Lease
from loader.detection.model import Filter, Problem
from loader.detection.run import run_once
from loader.exposition import MetricsServer
from loader.health.detection import read_detection
from loader.health.detector import make_detector
from loader.health.metrics import DetectionMetrics
from loader.health.outbox import read_outbox
from loader.health.watch import HealthWatch
from tests.unit.notify.receivers import Answer, SettableClock, WebReceiver, web_receiver

pytestmark = pytest.mark.integration

LOGIN = rule("failed_login", action("ConsoleLogin"))
BROKEN = rule("broken", {"no_such_query": {}})
NOW = datetime(2026, 5, 4, 11, tzinfo=timezone.utc)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(NOW)


@pytest.fixture
def receiver() -> Iterator[WebReceiver]:
    with web_receiver() as started:
        yield started


def cycle(client: OpenSearch, clock: SettableClock, *rules: Any, pack: Pack | None = None) -> None:
    report = run_once(client, rules, clock=clock)
    record_cycle(client, report, pack or Pack(rules=rules), clock=clock, holder="me")


def test_before_anything_ran_nothing_is_wrong(templates: OpenSearch, clock: SettableClock) -> None:
    detection, outbox = read_detection(templates, clock=clock), read_outbox(templates, clock=clock)
    assert detection.last_cycle is None
    assert detection.troubles == outbox.troubles == []


def test_rules_that_fail_are_shown_with_file_reason_and_since_when(templates: OpenSearch, clock: SettableClock) -> None:
    put(templates, {"e1": event(0, "ConsoleLogin")})
    cycle(templates, clock, LOGIN, BROKEN)
    first = rfc3339(clock.now())
    clock.forward(60)
    unreadable = Problem(Path("rules/x/aws_typo.yml"), 7, "yaml", "not readable")
    cycle(templates, clock, LOGIN, BROKEN, pack=Pack(rules=(LOGIN, BROKEN), problems=(unreadable,)))
    health = read_detection(templates, clock=clock)
    found = {entry["rule"]: entry for entry in health.errors}
    assert found["broken"]["since"] == first
    assert found["broken"]["where"] == "rules/cloudtrail/broken.yml:1"
    assert "no_such_query" in found["broken"]["message"]
    assert found["aws_typo"] | {"message": ""} == {
        "rule": "aws_typo",
        "where": "rules/x/aws_typo.yml:7",
        "since": rfc3339(clock.now()),
        "message": "",
    }
    assert health.troubles == ["2 rules fail"]
    # Both are alerts of the system's own, too.
    templates.indices.refresh(index="siem-alerts-*")
    query = {"query": {"term": {"rule.id": "siem_rule_failed"}}}
    hits = templates.search(index="siem-alerts-*", body=query)["hits"]["hits"]
    assert {hit["_source"]["siem"]["group"]["rule"] for hit in hits} == {"broken", "aws_typo"}
    cycle(templates, clock, LOGIN)
    assert read_detection(templates, clock=clock).errors == []


def test_how_far_behind_and_what_lies_in_gaps(templates: OpenSearch, clock: SettableClock) -> None:
    put(templates, {f"e{n}": event(n, "ConsoleLogin") for n in range(10)})
    cycle(templates, clock, LOGIN)
    health = read_detection(templates, clock=clock)
    assert (health.behind, health.gap_documents, health.rules) == (0, 0, 1)
    put(templates, {f"f{n}": event(n, "ConsoleLogin") for n in range(4)})
    assert read_detection(templates, clock=clock).behind == 4
    # A stretch in the middle was never examined.
    ledger = CoverageStore(templates)
    (coverage,) = ledger.load(read_positions(templates, ["log-aws-cloudtrail-*"]).shards).values()
    for key, extent in coverage.rules.items():
        coverage.rules[key] = type(extent)(difference(extent.examined, ((3, 5),)))
    ledger.save([coverage], now=clock.now())
    health = read_detection(templates, clock=clock)
    assert (health.behind, health.gap_documents) == (7, 3)
    assert health.gaps == [{"where": "log-aws-cloudtrail-2026.05.04[0]", "from": 3, "to": 5}]
    assert health.troubles == ["3 documents lie in gaps that were not examined"]
    cycle(templates, clock, LOGIN)
    assert read_detection(templates, clock=clock).troubles == []


def test_who_holds_the_lease_that_nobody_detects_and_what_has_expired(
    templates: OpenSearch, clock: SettableClock
) -> None:
    lease = Lease(templates, name="detection", holder="host:1", clock=clock)
    assert lease.acquire()
    more = {name: getattr(LOGIN.rule, name) for name in ("uuid", "title", "level", "status", "line", "content_hash")}
    old = Filter(**more, name="backup_job", path=Path("rules/filters/f.yml"), owner="ops", expires="2026-05-01")
    new = Filter(**more, name="other", path=Path("rules/filters/g.yml"), owner="ops", expires="2026-05-04")
    cycle(templates, clock, LOGIN, pack=Pack(rules=(LOGIN,), filters=(old, new)))
    health = read_detection(templates, clock=clock)
    assert (health.holder, health.held_until) == ("host:1", rfc3339(NOW + timedelta(minutes=5)))
    assert [entry["filter"] for entry in health.expired_filters] == ["backup_job"]
    lease.release()
    clock.forward(16 * 60)
    health = read_detection(templates, clock=clock)
    assert health.held_until is None
    assert health.troubles == [
        "no cycle of detection since 2026-05-04T11:00:00.000Z",
        "1 exceptions have expired",
    ]


def settings(url: str, folder: Path, receiver: WebReceiver) -> Settings:
    path = folder / "notify.yml"
    channels = f"channels:\n  hook: {{type: webhook, url: '{receiver.url}'}}\n"
    path.write_text(f"{channels}routes:\n  - channels: [hook]\n", encoding="utf-8")
    return Settings(cluster_url=url, notify=path, rules_deployed=True)


def deploy(folder: Path) -> None:
    rules = folder / "rules"
    rules.mkdir()
    content = {
        "title": "Console login failed",
        "id": "4ad6bd94-1f0e-4c1e-9d3c-6a3b1f0c2e11",
        "status": "test",
        "level": "high",
        "logsource": {"product": "aws", "service": "cloudtrail"},
        "detection": {"selection": {"eventName": "ConsoleLogin"}, "condition": "selection"},
        "siem": {"runbook": "siem alerts show <id>; ask the person"},
    }
    (rules / "aws_login.yml").write_text(yaml.safe_dump(content))
    assert CliRunner().invoke(main, ["rules", "apply", "--rules", str(rules)]).exit_code == 0


def test_the_lambda_detector_runs_deployed_rules_in_its_time_and_tells_people(
    templates: OpenSearch, opensearch_url: str, tmp_path: Path, receiver: WebReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIEM_CLUSTER_URL", opensearch_url)
    deploy(tmp_path)
    clock = SettableClock(NOW)
    detector = make_detector(settings(opensearch_url, tmp_path, receiver), clock=clock)

    def call(*, stop: bool = False) -> dict[str, Any]:
        return detector.run(holder="lambda:f", stop=lambda: stop, stop_sending=lambda: False)

    put(templates, {"e1": event(0, "ConsoleLogin")})
    other = Lease(templates, name="detection", holder="elsewhere", clock=clock)
    assert other.acquire()
    assert call()["held_by"] == "elsewhere"
    other.release()
    assert call(stop=True) | {"seconds": 0, "sent": {}} == {
        "rules": 1, "examined": 0, "alerts_new": 0, "complete": False, "seconds": 0, "errors": {}, "sent": {},
    }  # fmt: skip
    found = call()
    assert (found["examined"], found["alerts_new"], found["complete"]) == (1, 1, True)
    assert found["sent"]["hook"]["messages"] == 1
    (request,) = receiver.requests
    assert request.json["runbook"] == f"siem alerts show {request.json['alert']['id']}; ask the person"
    health = read_detection(templates, clock=clock)
    assert (health.rules, health.behind, health.held_until) == (1, 0, None)
    # A call that was cut off left the lease; the next call has the same name.
    assert Lease(templates, name="detection", holder="lambda:f", clock=clock).acquire()
    assert call()["examined"] == 0


def test_status_shows_it_all_and_says_by_its_exit_code_that_somebody_is_needed(
    templates: OpenSearch, opensearch_url: str, tmp_path: Path, receiver: WebReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIEM_CLUSTER_URL", opensearch_url)
    deploy(tmp_path)
    made = settings(opensearch_url, tmp_path, receiver)
    monkeypatch.setenv("SIEM_NOTIFY", str(made.notify))
    put(templates, {"e1": event(0, "ConsoleLogin")})
    run = ["detect", "run", "--once", "--deployed", "--json"]
    # Events of May that are loaded in May: not historic.
    first = CliRunner().invoke(main, run)
    assert json.loads(first.stdout)["sent"]["hook"]["messages"] == 1, first.output
    good = CliRunner().invoke(main, ["status"])
    assert good.exit_code == 0, good.output
    assert "rules failing" in good.stdout
    receiver.answer = Answer(403, b"no")
    put(templates, {"e2": event(0, "ConsoleLogin")})
    second = CliRunner().invoke(main, run)
    assert second.exit_code == 0  # that nobody could be told is no error of a rule
    assert json.loads(second.stdout)["sent"]["hook"]["failed"] == 1, second.output
    bad = CliRunner().invoke(main, ["status"])
    assert bad.exit_code == 5
    assert "channel hook fails since" in bad.stdout
    found = json.loads(CliRunner().invoke(main, ["status", "--json"]).stdout)["cluster"]
    assert found["notifications"]["failed"] == 1
    assert found["notifications"]["channels"]["hook"]["error"] == "the receiver answers 403: no"
    assert found["detection"]["behind"] == 0
    assert len(found["troubles"]) == 1


def test_the_same_as_metrics(templates: OpenSearch, clock: SettableClock) -> None:
    put(templates, {"e1": event(0, "ConsoleLogin")})
    metrics = DetectionMetrics()
    report = run_once(templates, [LOGIN, BROKEN], clock=clock)
    record_cycle(templates, report, Pack(rules=(LOGIN, BROKEN)), clock=clock, holder="me")
    metrics.cycle(report)
    watch = HealthWatch(templates, metrics, clock=clock)
    watch.once()
    with MetricsServer(metrics.registry, watch.trouble, host="127.0.0.1", port=0) as server:
        with urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            page = answer.read().decode()
        with urlopen(f"http://127.0.0.1:{server.port}/healthz") as answer:
            assert answer.status == 200
    assert "siem_detection_rules_failing 1.0" in page
    assert 'siem_alerts_total{level="high"} 1.0' in page
    assert "siem_detection_cycles_total 1.0" in page
    clock.forward(3600)
    watch.once()
    assert "no cycle of detection since" in str(watch.trouble())
