"""Rules, events and alerts for the tests of detection: what they are made of and how they are read back."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from opensearchpy import OpenSearch

from loader.detection.model import CompiledCorrelation, CompiledRule, CorrelationRule, Rule
from loader.detection.report import RunReport

START = datetime(2026, 5, 4, 10, 0, tzinfo=timezone.utc)


class SettableClock:
    """A clock that stands until it is told. Who sleeps waits for the cluster, whose time is the true one."""

    def __init__(self, now: datetime) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def rule(name: str, query: Mapping[str, Any], **more: Any) -> CompiledRule:
    suppression = more.pop("suppression", None)
    head = Rule(**_head(name), suppression=suppression)
    return CompiledRule(
        head, "log-aws-cloudtrail-*", dict(query), suppress_by=suppression.by if suppression else (), **more
    )


def correlation(name: str, kind: str, bases: Mapping[str, Any], seconds: int, **more: Any) -> CompiledCorrelation:
    head = CorrelationRule(**_head(name), suppression=more.pop("suppression", None))
    return CompiledCorrelation(head, kind, dict(bases), seconds, **more)


def _head(name: str) -> dict[str, Any]:
    return {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        "name": name,
        "title": name.replace("_", " "),
        "level": "high",
        "status": "test",
        "path": Path("rules/cloudtrail") / f"{name}.yml",
        "line": 1,
        "content_hash": "0" * 64,
        "tags": ("attack.initial-access", "attack.t1078.004"),
    }


def action(name: str) -> dict[str, Any]:
    return {"term": {"event.action": name}}


def event(second: float, name: str, user: str | None = "alice", **more: Any) -> dict[str, Any]:
    moment = (START + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")
    document: dict[str, Any] = {
        "@timestamp": moment,
        "event": {"action": name, "outcome": "failure", "ingested": moment},
        "source": {"address": "203.0.113.9"},
        "cloud": {"region": "eu-west-1", "account": {"id": "123456789012"}},
    }
    if user is not None:
        document["user"] = {"name": user}
    for path, value in more.items():
        place = document
        *parents, last = path.split("__")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return document


def put(client: OpenSearch, documents: Mapping[str, Mapping[str, Any]], index: str | None = None) -> None:
    """Index ``documents`` by their ids, which are their ``event.id`` as well unless they have one."""
    lines: list[Any] = []
    for identifier, document in documents.items():
        name = index or "log-aws-cloudtrail-" + document["@timestamp"][:10].replace("-", ".")
        whole = {**document, "event": {"id": identifier, **document["event"]}}
        lines += [{"create": {"_index": name, "_id": identifier}}, whole]
    answer = client.bulk(body=lines)
    assert not answer["errors"], answer


def alerts(client: OpenSearch) -> dict[str, dict[str, Any]]:
    client.indices.refresh(index="siem-alerts-*", params={"ignore_unavailable": "true"})
    hits = client.search(index="siem-alerts-*", body={"size": 1000, "sort": ["@timestamp"]})["hits"]["hits"]
    return {hit["_id"]: {**hit["_source"], "_index": hit["_index"]} for hit in hits}


def by_rule(found: Mapping[str, Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    return [alert for alert in found.values() if alert["rule"]["id"] == name]


def counts(report: RunReport, name: str) -> tuple[int, int]:
    (count,) = [count for count in report.rules if count.id == name]
    return count.matches, count.alerts_new
