"""From files to the cluster and over the past: plan, apply, backtest, run --deployed and past, as a user types them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError

from loader.cli.main import main
from loader.clock import rfc3339

pytestmark = pytest.mark.integration

START = datetime(2026, 5, 4, 10, 0, tzinfo=timezone.utc)
MAKE, BURST = "4ad6bd94-1f0e-4c1e-9d3c-6a3b1f0c2e11", "7b1f5f7e-67cf-4a2e-9d53-0f5b1cc1a222"


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def said(*words: str) -> Any:
    result = run(*words, "--json")
    assert result.exception is None, result.output
    return json.loads(result.stdout)


@pytest.fixture
def cluster(templates: OpenSearch, opensearch_url: str, monkeypatch: pytest.MonkeyPatch) -> OpenSearch:
    monkeypatch.setenv("SIEM_CLUSTER_URL", opensearch_url)
    return templates


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    write(folder, "aws_made", {"eventName": "Make"}, MAKE)
    correlation = {
        "title": "Burst",
        "id": BURST,
        "level": "high",
        "correlation": {
            "type": "event_count",
            "rules": ["aws_made"],
            "group-by": ["userIdentity.userName"],
            "timespan": "10m",
            "condition": {"gte": 3},
            "generate": True,
        },
    }
    (folder / "aws_burst.yml").write_text(yaml.safe_dump(correlation))
    return folder


def write(folder: Path, name: str, selection: dict[str, Any], identifier: str, **more: Any) -> None:
    content = {
        "title": name,
        "id": identifier,
        "level": "medium",
        "logsource": {"product": "aws", "service": "cloudtrail"},
        "detection": {"s": selection, "condition": "s"},
        **more,
    }
    (folder / f"{name}.yml").write_text(yaml.safe_dump(content))


def put(client: OpenSearch, *events: tuple[str, float, str, str]) -> None:
    lines: list[Any] = []
    for identifier, minute, action, user in events:
        moment = rfc3339(START + timedelta(minutes=minute))
        name = "log-aws-cloudtrail-" + moment[:10].replace("-", ".")
        document = {
            "@timestamp": moment,
            "event": {"action": action, "ingested": moment, "provider": "iam.amazonaws.com"},
            "user": {"name": user},
            "aws": {"cloudtrail": {"user_identity": {"user_name": user}}},
        }
        lines += [{"create": {"_index": name, "_id": identifier}}, document]
    assert not client.bulk(body=lines, params={"refresh": "true"})["errors"]


def alerts(client: OpenSearch) -> list[dict[str, Any]]:
    try:
        client.indices.refresh(index="siem-alerts-*")
        hits = client.search(index="siem-alerts-*", body={"size": 1000})["hits"]["hits"]
    except NotFoundError:
        return []
    return [hit["_source"] | {"_id": hit["_id"]} for hit in hits]


def test_plan_changes_nothing_and_apply_does_what_it_said(cluster: OpenSearch, folder: Path) -> None:
    rules = ("--rules", str(folder))
    planned = said("rules", "plan", *rules)
    assert [(one["action"], one["name"], one["done"]) for one in planned["changes"]] == [
        ("add", "aws_burst", False),
        ("add", "aws_made", False),
    ]
    assert run("rules", "plan", *rules).exit_code == 0
    assert run("rules", "plan", "--exit-code", *rules).exit_code == 2
    assert said("rules", "plan", *rules) == planned, "planning changes nothing"
    assert run("rules", "apply", *rules).stdout.splitlines()[-1] == "2 added, 0 changed, 0 removed, 0 unchanged"
    assert run("rules", "plan", "--exit-code", *rules).exit_code == 0
    assert said("rules", "apply", *rules) == {"applied": True, "prune": False, "unchanged": 2, "changes": []}


def test_what_has_no_file_stays_until_it_is_pruned(cluster: OpenSearch, folder: Path) -> None:
    rules = ("--rules", str(folder))
    run("rules", "apply", *rules)
    (folder / "aws_burst.yml").unlink()
    (one,) = said("rules", "apply", *rules)["changes"]
    assert (one["action"], one["done"]) == ("remove", False)
    assert run("rules", "plan", "--exit-code", *rules).exit_code == 0
    assert run("rules", "plan", "--exit-code", "--prune", *rules).exit_code == 2
    assert said("rules", "apply", "--prune", *rules)["changes"][0]["done"]
    assert said("rules", "plan", *rules)["changes"] == []


def test_a_pack_with_a_rule_that_cannot_be_compiled_is_not_applied(cluster: OpenSearch, folder: Path) -> None:
    write(folder, "aws_broken", {"noSuchField": "x"}, "0f2a7a52-7a5e-4c1f-9d0e-6a3b1f0c2e12")
    result = run("rules", "apply", "--rules", str(folder))
    assert result.exit_code == 1
    assert "aws_broken.yml:" in result.stderr
    assert not cluster.indices.exists(index="siem-rules")


def test_the_deployed_rules_are_run_without_files_and_go_on_when_they_change(cluster: OpenSearch, folder: Path) -> None:
    result = run("detect", "run", "--once", "--deployed")
    assert result.exit_code == 1
    assert "siem rules apply" in str(result.exception.hint)  # type: ignore[union-attr]
    run("rules", "apply", "--rules", str(folder))
    put(
        cluster,
        ("a", 0, "Make", "alice"),
        ("b", 1, "Make", "alice"),
        ("c", 2, "Make", "alice"),
        ("d", 3, "Use", "alice"),
    )
    report = said("detect", "run", "--once", "--deployed")
    assert {name: rule["alerts_new"] for name, rule in report["rules"].items()} == {"aws_made": 3, "aws_burst": 1}
    # The rule changes: its new version goes on where the one before was, and sees the past on request only.
    write(folder, "aws_made", {"eventName": ["Make", "Use"]}, MAKE)
    run("rules", "apply", "--rules", str(folder))
    assert said("detect", "run", "--once", "--deployed")["rules"]["aws_made"]["alerts_new"] == 0
    assert said("detect", "past", "aws_made", "--deployed") == {"rules": {"aws_made": {"documents": 4}}}
    assert said("detect", "past", "aws_made", "--deployed") == {"rules": {"aws_made": {"documents": 0}}}
    assert said("detect", "run", "--once", "--deployed")["rules"]["aws_made"]["alerts_new"] == 1
    (found,) = [alert for alert in alerts(cluster) if alert["event"]["action"] == "Use"]
    assert found["siem"]["historic"]
    assert run("detect", "past", "nothing", "--rules", str(folder)).exit_code == 1


def test_rules_without_an_id_and_beside_others_raise_alerts_of_their_own(
    cluster: OpenSearch, folder: Path, tmp_path: Path
) -> None:
    public = tmp_path / "public"
    public.mkdir()
    body = {"title": "t", "logsource": {"product": "aws", "service": "cloudtrail"}, "level": "low"}
    for name, action in (("aws_one", "Make"), ("aws_two", "Make"), ("aws_typo", "")):
        selection = {"eventName": action} if action else {"eventNmae": "Make"}
        content = {**body, "detection": {"s": selection, "condition": "s"}}
        (public / f"{name}.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    both = ("--rules", str(folder), "--rules", str(public))
    said("detect", "run", "--once", "--rules", str(folder))
    put(cluster, ("m1", 1, "Make", "alice"))
    result = run("detect", "run", "--once", *both, "--from", "past", "--json")
    assert result.exit_code == 1
    assert "eventName" in result.stderr, "what was probably meant"
    (where,) = json.loads(result.stdout)["not_compiled"]
    assert where.endswith("aws_typo.yml:3") or "aws_typo.yml:" in where
    made = [alert["rule"]["id"] for alert in alerts(cluster) if alert["event"].get("action") == "Make"]
    assert sorted(made) == ["aws_made", "aws_one", "aws_two"]


def test_a_backtest_raises_what_a_cycle_raises_and_writes_nothing(cluster: OpenSearch, folder: Path) -> None:
    events = [
        (f"{user}{n}", n * 4 + shift, "Make", user) for user, shift in (("alice", 0), ("bob", 7)) for n in range(6)
    ]
    put(cluster, *events, ("later", 60 * 30, "Make", "alice"))
    period = ("--from", "2026-05-04", "--to", "2026-05-05T12:00:00Z", "--rules", str(folder))
    found = {name: said("rules", "backtest", name, *period) for name in ("aws_made", "aws_burst")}
    assert alerts(cluster) == []
    assert said("detect", "run", "--once", "--rules", str(folder))["complete"]
    raised = alerts(cluster)
    for name, one in found.items():
        mine = {alert["id"]: (alert["reason"], alert["@timestamp"], alert["events"]) for alert in one["alerts"]}
        its = {
            alert["_id"]: (alert["event"]["reason"], alert["@timestamp"], alert["siem"]["count"])
            for alert in raised
            if alert["rule"]["id"] == name and alert["@timestamp"] < "2026-05-05T12"
        }
        assert mine == its
        assert one["against"] is None
    assert len(found["aws_made"]["alerts"]) == 12, "not the one that is later"


def test_a_backtest_tells_what_a_change_adds_and_removes(cluster: OpenSearch, folder: Path) -> None:
    put(cluster, *((f"m{n}", n, "Make", "alice") for n in range(3)), *((f"u{n}", n, "Use", "bob") for n in range(41)))
    write(folder, "aws_made", {"eventName": "Use"}, MAKE)
    run("rules", "apply", "--rules", str(folder))
    write(folder, "aws_made", {"eventName": "Make"}, MAKE)
    words = ("rules", "backtest", "aws_made", "--from", "2026-05-04", "--to", "2026-05-05", "--rules", str(folder))
    found = said(*words)
    assert (len(found["added"]), len(found["removed"]), found["changed"]) == (3, 41, [])
    assert found["against"].startswith("deployed")
    printed = run(*words)
    assert "+3, \N{MINUS SIGN}41" in printed.stdout
    assert "bob used Use" in printed.stdout, "here they are"
    assert "alice used Make" in printed.stdout
    assert run(*words, "--most", "3").exit_code == 0
    assert run(*words, "--most", "2").exit_code == 3
    assert run(*words, "--against", "git").exit_code == 0
    assert run("rules", "backtest", "nothing", "--rules", str(folder)).exit_code == 1
    assert run(*words[:3], "--from", "yesterday").exit_code == 2
    assert alerts(cluster) == []


def test_a_backtest_judges_no_moment_that_a_cycle_would_wait_with(cluster: OpenSearch, folder: Path) -> None:
    content = yaml.safe_load((folder / "aws_burst.yml").read_text())
    content["correlation"]["condition"] = {"gte": 1, "lte": 2}
    (folder / "aws_burst.yml").write_text(yaml.safe_dump(content))
    now = datetime.now(timezone.utc)
    moment = (now - START).total_seconds() / 60
    put(cluster, ("now", moment - 1, "Make", "alice"), ("then", moment - 60, "Make", "bob"))
    found = said("rules", "backtest", "aws_burst", "--from", "2h", "--rules", str(folder))
    assert [alert["group"] for alert in found["alerts"]] == ["aws.cloudtrail.user_identity.user_name=bob"]
    assert found["to"] < rfc3339(now - timedelta(minutes=15))
