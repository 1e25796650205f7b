"""Every test event of the pack in one index, on whichever engine the run has."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from opensearchpy import OpenSearch, helpers

from loader.detection.cases import read_cases
from loader.detection.compile import Pack, compile_rules
from loader.detection.event import Event
from loader.detection.load import load_rules
from loader.detection.testing import read_event
from loader.index.engine import adapt_mapping, read_engine
from loader.index.templates import Template
from loader.project import rules_dir

INGESTED = 1_790_000_000_000


@pytest.fixture(scope="session")
def pack() -> Pack:
    return compile_rules(load_rules([rules_dir()]))


@pytest.fixture(scope="session")
def histories(pack: Pack) -> dict[str, list[Event]]:
    """Every test event of the pack, by ``rule/kind/number``."""
    found = {}
    for node in (*pack.rules, *pack.base_rules, *pack.correlations):
        cases = read_cases(node.rule)
        for kind, entries in (("match", cases.match), ("near_miss", cases.near_miss)):
            for number, records in enumerate(entries):
                found[f"{node.rule.name}/{kind}/{number}"] = [read_event(record)[1] for record in records]
    return found


@pytest.fixture(scope="session")
def index(
    opensearch_client: OpenSearch, project_templates: list[Template], histories: dict[str, list[Event]]
) -> Iterator[str]:
    name = f"d-export-{uuid.uuid4().hex[:8]}"
    mappings: dict[str, Any] = {"dynamic": False, "properties": {}}
    for template in project_templates:
        if template.name in ("siem-ecs", "siem-entity", "siem-aws-cloudtrail"):
            merge(mappings["properties"], deepcopy(template.body["template"]["mappings"]["properties"]))
    mappings["properties"]["history"] = {"type": "keyword"}
    normalizer = {"normalizer": {"lowercase": {"type": "custom", "filter": ["lowercase"]}}}
    opensearch_client.indices.create(
        index=name,
        body={
            "settings": {"number_of_shards": 2, "number_of_replicas": 0, "analysis": normalizer},
            "mappings": adapt_mapping(mappings, read_engine(opensearch_client)),
        },
    )
    actions = []
    for history, events in histories.items():
        for number, event in enumerate(events):
            source = json.loads(json.dumps(event.source))
            source["event"]["ingested"] = INGESTED
            actions.append({"_index": name, "_id": f"{history}#{number}", "history": history, **source})
    helpers.bulk(opensearch_client, actions, refresh=True)
    yield name
    # Tests in between may have cleaned the cluster.
    opensearch_client.indices.delete(index=name, params={"ignore_unavailable": "true"})


def merge(into: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value
