"""Sessions in a real cluster: written in any order any number of times, and found as in memory."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opensearchpy import OpenSearch

from loader.clock import SystemClock
from loader.errors import ClusterError
from loader.identity.documents import SESSIONS, document, edge_of, id_of, index_of
from loader.identity.model import Edge, Identity, Issued
from loader.identity.resolve import Resolver
from loader.identity.store import LIMIT, ClusterStore, MemoryStore
from loader.identity.writer import SessionWriter
from loader.index.bulk import BulkWriter
from loader.index.client import make_client
from loader.index.gate import IndexGate
from tests.unit.identity.graphs import World, deliveries, worlds

pytestmark = pytest.mark.integration
T = 1_700_000_000
FULL = Edge(
    issued=Issued("ASIA1", "AROAX:s", "arn:aws:sts::1:assumed-role/X/s", "arn:aws:iam::1:role/X", "1"),
    caller=Identity(
        *("AssumedRole", "AROAY:t", "arn:aws:sts::2:assumed-role/Y/t", "2", "name", "ASIA0", "sts.amazonaws.com"),
        *("provider", "user-1", T - 60, True, "Role", "AROAY", "arn:aws:iam::2:role/Y", "2", "Y"),
    ),
    event_name="AssumeRole",
    start=T,
    end=T + 3600,
    end_basis="expiration",
    event_id="e-1",
    shared_event_id="s-1",
    recipient_account_id="1",
    region="us-east-1",
    source_address="192.0.2.1",
    source_identity="somebody",
)


@pytest.fixture
def sessions(templates: OpenSearch) -> SessionWriter:
    clock = SystemClock()
    return SessionWriter(BulkWriter(templates, clock=clock, gate=IndexGate(templates, clock=clock)))


def test_every_field_is_mapped_and_comes_back(templates: OpenSearch, sessions: SessionWriter) -> None:
    bare = Edge(Issued("ASIA2"), Identity(), "GetSessionToken")
    written = sessions.write([FULL, bare])
    assert (written.written, written.known, written.rejected) == (2, 0, [])
    templates.indices.refresh(index=SESSIONS)
    assert ClusterStore(templates).find("issued.access_key_id", "ASIA1").edges == (FULL,)
    assert ClusterStore(templates).find("issued.access_key_id", "ASIA2").edges == (bare,)
    assert edge_of(document(FULL)) == FULL
    assert templates.exists(index="siem-sessions-2023.11", id=id_of(FULL))
    assert index_of(bare) == "siem-sessions-undated"


def test_the_same_edge_again_is_known(sessions: SessionWriter) -> None:
    assert sessions.write([FULL]).written == 1
    again = sessions.write([FULL, replace(FULL, event_id="e-2")])
    assert (again.written, again.known) == (1, 1)
    assert sessions.write([]).written == 0


def test_validity_has_open_ends_where_a_record_does_not_say(templates: OpenSearch, sessions: SessionWriter) -> None:
    undated = replace(FULL, start=None, end=None, event_id="undated")
    sessions.write([FULL, undated])
    templates.indices.refresh(index=SESSIONS)
    memory, cluster = MemoryStore([FULL, undated]), ClusterStore(templates)
    for at in (T - 6, T - 5, T, T + 3605, T + 3606, None):
        expected = set(memory.find("issued.principal_id", "AROAX:s", at).edges)
        assert set(cluster.find("issued.principal_id", "AROAX:s", at).edges) == expected
    assert len(memory.find("issued.principal_id", "AROAX:s", T - 6).edges) == 1


def test_too_many_are_said_to_be_too_many(templates: OpenSearch, sessions: SessionWriter) -> None:
    many = [
        replace(FULL, event_id=str(n), issued=replace(FULL.issued, access_key_id=f"A{n}")) for n in range(LIMIT + 1)
    ]
    sessions.write(many)
    templates.indices.refresh(index=SESSIONS)
    for store in (ClusterStore(templates), MemoryStore(many)):
        assert not store.find("issued.principal_id", "AROAX:s").complete
        assert Resolver(store).resolve(principal_id="AROAX:s", at=T).certainty in ("unknown", "ambiguous")


def test_an_empty_cluster_knows_nobody(templates: OpenSearch) -> None:
    assert (
        Resolver(ClusterStore(templates)).resolve(access_key="ASIANONE", principal_id="AROAX:s").certainty == "unknown"
    )


def test_a_cluster_that_is_away_is_an_error_not_an_unknown() -> None:
    from loader.config import Settings

    away = make_client(Settings(cluster_url="http://127.0.0.1:9", cluster_timeout_s=1))
    with pytest.raises(ClusterError, match="cannot be looked up"):
        Resolver(ClusterStore(away)).resolve(access_key="ASIA1")


_TAGS = count()


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_cluster_and_memory_answer_alike(templates: OpenSearch, sessions: SessionWriter, data: st.DataObject) -> None:
    """Random worlds, each with ids of its own, delivered in any order: same edges found, same actors named."""
    world: World = data.draw(worlds(6, tag=f"X{next(_TAGS)}X"))
    kept = [edge for edge in world.edges() if data.draw(st.integers(0, 9))]
    memory = MemoryStore(kept)
    for start in range(0, len(delivered := data.draw(deliveries(kept))), 5):
        sessions.write(delivered[start : start + 5])
    templates.indices.refresh(index=SESSIONS, params={"ignore_unavailable": "true"})
    cluster = ClusterStore(templates)
    asked: list[dict[str, Any]] = []
    for truth in world.sessions:
        asked += [
            {"access_key": truth.key, "at": truth.start},
            {"principal_id": truth.principal_id, "at": truth.start + 30},
            {"arn": truth.arn, "at": truth.end},
            {"access_key": "ASIACONSOLE", "principal_id": truth.principal_id, "session_started": truth.start},
        ]
    for question in asked:
        one, other = Resolver(memory).resolve(**question), Resolver(cluster).resolve(**question)
        assert (one.certainty, one.principal) == (other.certainty, other.principal), question
        assert {c.principal for c in one.candidates} == {c.principal for c in other.candidates}, question
