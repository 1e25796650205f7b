"""Exported Kibana rules on a real node: each finds what the rule means, and what its notes say besides.

Kibana itself is in no package registry. What it does with a rule besides searching (its time range, the buckets of a
threshold, the history of new terms) is done by these tests instead. ``make engines`` runs them on Elasticsearch, too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import product
from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from loader.detection import evaluate, offline
from loader.detection.compile import Pack
from loader.detection.event import Event, milliseconds
from loader.detection.export.kibana import KibanaOptions, kibana_rule
from loader.detection.export.model import UnsaidError
from loader.detection.matches import values
from loader.detection.model import CompiledCorrelation, CompiledRule

from .conftest import INGESTED

# A thousand searches: more than the usual five minutes on a busy machine.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
OPTIONS = KibanaOptions()
RUNS_LATE = (OPTIONS.lateness + OPTIONS.every * 60) * 1000


def exported(node: CompiledRule | CompiledCorrelation) -> dict[str, Any] | None:
    try:
        body = kibana_rule(node, OPTIONS).body
    except UnsaidError:
        return None
    assert isinstance(body, dict)
    return body


def at(rule: dict[str, Any], key: str, now: int) -> int:
    """Return a date-math value of a rule that runs at ``now``."""
    return now - int(re.fullmatch(r"now-(\d+)s", rule[key])[1]) * 1000  # type: ignore[index]


def search(rule: dict[str, Any], start: int, end: int, *more: dict[str, Any]) -> dict[str, Any]:
    """Return the query that Kibana makes of a rule: an empty KQL query, its filters, and the time range."""
    assert (rule["query"], rule["language"]) == ("", "kuery")
    period = {"gte": start, "lte": end, "format": "epoch_millis"}
    bound = {"range": {rule.get("timestamp_override", "@timestamp"): period}}
    return {"bool": {"filter": [bound, *(one["query"] for one in rule["filters"]), *more]}}


def test_rules_find_their_events(opensearch_client: OpenSearch, index: str, pack: Pack) -> None:
    tried = 0
    for rule in pack.rules:
        body = exported(rule)
        if body is None:
            continue
        wanted = opensearch_client.search(index=index, body={"query": rule.query, "size": 10_000})["hits"]["hits"]
        now = INGESTED + 60_000
        query = search(body, at(body, "from", now), now)
        found = opensearch_client.search(index=index, body={"query": query, "size": 10_000})["hits"]["hits"]
        assert {hit["_id"] for hit in found} == {hit["_id"] for hit in wanted}, rule.rule.name
        assert found, rule.rule.name
        for name in body.get("alert_suppression", {}).get("group_by", []):
            groups = {"terms": {"field": name, "missing": "-", "size": 10_000}}
            asked = {"size": 0, "query": query, "aggregations": {"by": groups}}
            buckets = opensearch_client.search(index=index, body=asked)["aggregations"]["by"]["buckets"]
            assert sum(bucket["doc_count"] for bucket in buckets) >= len(found), rule.rule.name
        tried += 1
    assert tried > 0.7 * len(pack.rules)


def grouped(
    client: OpenSearch, index: str, query: dict[str, Any], fields: list[str], metrics: dict[str, Any]
) -> dict[tuple[str, ...], dict[str, Any]]:
    """Return every bucket by its key, as Kibana pages through them; without fields there is one."""
    if not fields:
        body = {"size": 0, "query": query, "aggregations": metrics, "track_total_hits": True}
        answer = client.search(index=index, body=body)
        return {(): {**answer.get("aggregations", {}), "doc_count": answer["hits"]["total"]["value"]}}
    sources = [{f"f{number}": {"terms": {"field": name}}} for number, name in enumerate(fields)]
    composite: dict[str, Any] = {"size": 500, "sources": sources}
    found = {}
    while True:
        aggregations = {"by": {"composite": composite, "aggregations": metrics}}
        answer = client.search(index=index, body={"size": 0, "query": query, "aggregations": aggregations})
        by = answer["aggregations"]["by"]
        found |= {tuple(map(str, bucket["key"].values())): bucket for bucket in by["buckets"]}
        if "after_key" not in by:
            return found
        composite["after"] = by["after_key"]


def matching(node: CompiledCorrelation, events: list[Event]) -> list[tuple[int, Event]]:
    bases = [base for base in node.rules.values() if isinstance(base, CompiledRule)]
    return [
        (milliseconds(event.source["@timestamp"]) or 0, event)
        for event in events
        if any(evaluate.fires(base, event) for base in bases)
    ]


def keys(event: Event, paths: tuple[str, ...]) -> list[tuple[str, ...]]:
    return list(product(*([str(value) for value in values(event.source, path)] for path in paths)))


def test_thresholds_find_what_the_rule_finds_and_no_more_than_their_notes_say(
    opensearch_client: OpenSearch, index: str, pack: Pack, histories: dict[str, list[Event]]
) -> None:
    tried = 0
    for node in pack.correlations:
        body = exported(node)
        if body is None or body["type"] != "threshold":
            continue
        threshold = body["threshold"]
        ((counted, least),) = [(one["field"], one["value"]) for one in threshold.get("cardinality", [])] or [("", 0)]
        metrics = {"distinct": {"cardinality": {"field": counted}}} if counted else {}
        for name, events in histories.items():
            if not name.startswith(f"{node.rule.name}/"):
                continue
            last = max(milliseconds(event.source["@timestamp"]) or 0 for event in events)
            # The first run after the last event, and the last one that must still see all of them.
            for now in (last, last + RUNS_LATE):
                start = at(body, "from", now)
                query = search(body, start, now, {"term": {"history": name}})
                buckets = grouped(opensearch_client, index, query, threshold["field"], metrics)
                fired = {
                    key
                    for key, bucket in buckets.items()
                    if bucket["doc_count"] >= threshold["value"]
                    and (not counted or bucket["distinct"]["value"] >= least)
                }
                inside: dict[tuple[str, ...], list[Event]] = defaultdict(list)
                for time, event in matching(node, events):
                    if time >= start:
                        for key in keys(event, node.group_by):
                            inside[key].append(event)
                expected = {
                    key
                    for key, seen in inside.items()
                    if len(seen) >= threshold["value"]
                    and (not counted or len({value for one in seen for value in keys(one, (counted,))}) >= least)
                }
                assert fired == expected, name
                ours = {tuple(str(dict(one.group)[p]) for p in node.group_by) for one in offline.triggers(node, events)}
                if "/match/" in name:
                    assert ours
                assert ours <= fired, name
                tried += 1
    assert tried > 40


def test_new_terms_are_those_of_the_rule(
    opensearch_client: OpenSearch, index: str, pack: Pack, histories: dict[str, list[Event]]
) -> None:
    if version_of(opensearch_client).startswith("2."):
        pytest.skip("OpenSearch 2 cannot group by a field of type wildcard; Kibana asks Elasticsearch")
    tried = 0
    for node in pack.correlations:
        body = exported(node)
        if body is None or body["type"] != "new_terms":
            continue
        for name, events in histories.items():
            if not name.startswith(f"{node.rule.name}/"):
                continue
            now = max(milliseconds(event.source["@timestamp"]) or 0 for event in events)
            start = at(body, "from", now)
            query = search(body, at(body, "history_window_start", now), now, {"term": {"history": name}})
            first = {"first": {"min": {"field": "@timestamp"}}}
            buckets = grouped(opensearch_client, index, query, body["new_terms_fields"], first)
            fired = {key for key, bucket in buckets.items() if bucket["first"]["value"] >= start}
            expected = set()
            for trigger in offline.triggers(node, events):
                if trigger.time >= start and trigger.firing:
                    group = tuple(str(dict(trigger.group)[path]) for path in node.group_by)
                    expected |= {(*group, *map(str, new)) for new in trigger.firing.news}
            # OpenSearch indexes fields of type wildcard in lower case, Elasticsearch as they are.
            assert lowered(fired) == lowered(expected), name
            tried += 1
    assert tried >= 10


def version_of(client: OpenSearch) -> str:
    try:
        return str(client.info()["version"]["number"])
    except TransportError:  # Elasticsearch without x-pack
        return ""


def lowered(found: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    return {tuple(text.lower() for text in key) for key in found}
