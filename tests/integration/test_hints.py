"""Hints in the index: a chain that was seen is found by its first principal, and what came too early is resolved."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from opensearchpy import OpenSearch

from loader.config import Settings
from loader.identity.documents import identity_of_event
from loader.identity.resolve import Resolver
from loader.identity.store import ClusterStore
from loader.ingest.assemble import assemble
from loader.source.objects import ObjectRef
from tests.unit.ingest.test_hinting import ALICE, FIRST, SECOND, USE
from tests.unit.logtypes.samples import CONTEXT

pytestmark = pytest.mark.integration
_EVENTS = "log-aws-cloudtrail-*"


def test_hints_are_searched_and_the_resolver_answers_where_there_is_none(
    templates: OpenSearch, opensearch_url: str
) -> None:
    late = orjson.dumps({**orjson.loads(USE), "eventID": "0a1b2c3d-0000-4000-8000-00000000000f"})
    files = {"early": USE, "second": SECOND, "first": FIRST, "late": late}

    def fetch(ref: ObjectRef) -> Any:
        return iter([b'{"Records":[' + files[ref.key.rpartition(".")[2]] + b"]}"])

    loader = assemble(Settings(cluster_url=opensearch_url), fetch=fetch).loader
    for name in files:
        report = loader.load(ObjectRef("example-trail", f"{CONTEXT.key}.{name}"))
        assert (report.counts.read, report.counts.indexed) == (1, 1), name
    templates.indices.refresh(index=f"{_EVENTS},siem-sessions-*")

    found = templates.search(
        index=_EVENTS,
        body={"query": {"term": {"siem.actor.id": ALICE["principalId"]}}, "sort": "event.id"},
    )["hits"]["hits"]
    assert {hit["_source"]["event"]["action"] for hit in found} == {"AssumeRole", "CreateUser"}
    certainties = {hit["_source"]["event"]["id"][-1]: hit["_source"]["siem"]["actor"]["certainty"] for hit in found}
    assert certainties["f"] == "hint"
    chain = {"term": {"siem.session.chain.lower": "ARN:AWS:STS::111122223333:ASSUMED-ROLE/ONE/CI"}}
    assert templates.count(index=_EVENTS, body={"query": chain})["count"] >= 1

    none = {"bool": {"must_not": {"exists": {"field": "siem.actor.certainty"}}}}
    (early,) = [
        hit["_source"]
        for hit in templates.search(index=_EVENTS, body={"query": none})["hits"]["hits"]
        if hit["_source"]["event"]["action"] == "CreateUser"
    ]
    answer = Resolver(ClusterStore(templates)).resolve_identity(identity_of_event(early), at=1_688_989_500)
    assert answer.certainty == "certain"
    assert answer.principal is not None
    assert answer.principal.id == ALICE["principalId"]
