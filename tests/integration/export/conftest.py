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
    opensearch_client: OpenSearch, event_index: dict[str, Any], histories: dict[str, list[Event]]
) -> Iterator[str]:
    name = f"d-export-{uuid.uuid4().hex[:8]}"
    body = deepcopy(event_index)
    body["settings"]["number_of_shards"] = 2
    body["mappings"]["properties"]["history"] = {"type": "keyword"}
    opensearch_client.indices.create(index=name, body=body)
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
