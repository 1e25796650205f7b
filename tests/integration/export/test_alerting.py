"""Exported monitors on a real OpenSearch node: each finds what the rule means, no more and no less.

The Alerting plugin itself cannot be had here: it is in no package registry. What it does with a monitor besides running
its query (rendering ``{{period_end}}``, the trigger's condition) is done by these tests instead.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from opensearchpy import OpenSearch

from loader.detection import offline
from loader.detection.compile import Pack
from loader.detection.correlation import Tree
from loader.detection.event import Event, milliseconds
from loader.detection.export.alerting import AlertingOptions, alerting_monitor
from loader.detection.export.model import UnsaidError
from loader.detection.matches import Match
from loader.detection.model import CompiledCorrelation, CompiledRule

from .conftest import INGESTED

# A thousand searches: more than the usual five minutes on a busy machine.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def rendered(monitor: dict[str, Any], period_end: int) -> dict[str, Any]:
    """Render the monitor's query as Alerting does: Mustache over its text, of which only one tag is left to find."""
    text = json.dumps(monitor["inputs"][0]["search"]["query"]).replace("{{period_end}}", str(period_end))
    assert "{{" not in text
    return dict(json.loads(text))


def every_bucket(client: OpenSearch, index: str, body: dict[str, Any]) -> dict[tuple[str, ...], int]:
    """Return all buckets of ``composite_agg``, page by page, as Alerting reads them."""
    found = {}
    composite = body["aggregations"]["composite_agg"]["composite"]
    while True:
        answer = client.search(index=index, body=body)["aggregations"]["composite_agg"]
        found |= {tuple(map(str, bucket["key"].values())): bucket["doc_count"] for bucket in answer["buckets"]}
        if "after_key" not in answer:
            return found
        composite["after"] = answer["after_key"]


def exported(node: CompiledRule | CompiledCorrelation) -> dict[str, Any] | None:
    try:
        body = alerting_monitor(node, AlertingOptions()).body
    except UnsaidError:
        return None
    assert isinstance(body, dict)
    return body


def test_rules_find_their_events_and_fold_them_as_suppression_does(
    opensearch_client: OpenSearch, index: str, pack: Pack
) -> None:
    tried = 0
    for rule in pack.rules:
        monitor = exported(rule)
        if monitor is None:
            continue
        body = rendered(monitor, INGESTED + 60_000)
        hits = opensearch_client.search(index=index, body={"query": rule.query, "size": 10_000})["hits"]["hits"]
        mine = opensearch_client.search(index=index, body={"query": body["query"], "size": 10_000})["hits"]["hits"]
        assert {hit["_id"] for hit in mine} == {hit["_id"] for hit in hits}, rule.rule.name
        assert hits, rule.rule.name
        expected: dict[tuple[str, ...], int] = {}
        for hit in hits:
            trigger = offline.Trigger(0, Match("", hit["_id"], 0, hit["_source"]))
            for group in Tree(rule).fold(trigger):
                by_name = {name: "(none)" if value is None else str(value) for name, value in group}
                key = tuple(by_name[name] for name in rule.suppress_by)
                expected[key] = expected.get(key, 0) + 1
        assert every_bucket(opensearch_client, index, body) == expected, rule.rule.name
        tried += 1
    assert tried > 0.7 * len(pack.rules)


def test_rules_look_back_over_what_was_ingested_and_no_further(
    opensearch_client: OpenSearch, index: str, pack: Pack
) -> None:
    rule = next(rule for rule in pack.rules if exported(rule))
    monitor = exported(rule)
    assert monitor is not None
    lookback = rule.rule.suppression.seconds * 1000 if rule.rule.suppression else 600_000
    for end, wanted in ((INGESTED - 1, 0), (INGESTED, 1), (INGESTED + lookback, 1), (INGESTED + lookback + 1, 0)):
        assert bool(every_bucket(opensearch_client, index, rendered(monitor, end))) == bool(wanted), end


def test_correlations_slide_as_ours_do(
    opensearch_client: OpenSearch, index: str, pack: Pack, histories: dict[str, list[Event]]
) -> None:
    tried = 0
    for node in pack.correlations:
        monitor = exported(node)
        if monitor is None:
            continue
        for name, events in histories.items():
            if not name.startswith(f"{node.rule.name}/"):
                continue
            times = [milliseconds(event.source["@timestamp"]) or 0 for event in events]
            body = rendered(monitor, max(times))
            body["query"]["bool"]["filter"].append({"term": {"history": name}})
            expected = set()
            for trigger in offline.triggers(node, events):
                # Alerting folds by the correlation's groups, and new terms by the term, too.
                groups = dict(trigger.group)
                columns = [[str(groups[path])] for path in node.group_by]
                if node.type == "new_terms":
                    news = trigger.firing.news if trigger.firing else ()
                    columns += [[str(new[at]) for new in news] for at in range(len(node.condition.fields))]
                expected |= set(zip(*columns, strict=True)) if columns else {("all",)}
            found = every_bucket(opensearch_client, index, body)
            assert set(found) == expected, name
            tried += 1
    assert tried > 80
