"""The bulk writer against a real node: every item gets its own verdict, and one bad document takes nothing along."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from opensearchpy import OpenSearch

from loader.clock import SystemClock
from loader.index.bulk import Backoff, BulkWriter, HoldError, Item, UnavailableError
from loader.index.gate import IndexGate, TooManyIndicesError
from loader.index.outcomes import Outcome

pytestmark = pytest.mark.integration
INDEX = "log-aws-cloudtrail-2023.07.10"


#: The names of errors in Elasticsearch 8 and 9, where they are others.
ELASTICSEARCH = {"mapper_parsing_exception": ("document_parsing_exception", "not_x_content_exception")}


def item(
    number: int, body: bytes = b'{"@timestamp":"2023-07-10T11:45:00Z","event":{"action":"A"}}', index: str = INDEX
) -> Item:
    return Item(number, body, index, f"id-{number}", body)


def writer(client: OpenSearch, per_hour: int = 100) -> BulkWriter:
    clock = SystemClock()
    gate = IndexGate(client, clock=clock, per_hour=per_hour)
    return BulkWriter(client, clock=clock, gate=gate, backoff=Backoff(0.01, 0.05, 3), rng=random.Random(1))


def test_new_documents_and_duplicates_are_told_apart(templates: OpenSearch) -> None:
    first = writer(templates).write([item(1), item(2)])
    again = writer(templates).write([item(1), item(2), item(3)])
    assert [verdict.outcome for verdict in first] == [Outcome.INDEXED] * 2
    assert [verdict.outcome for verdict in again] == [Outcome.DUPLICATE, Outcome.DUPLICATE, Outcome.INDEXED]


def test_documents_of_several_days_go_each_to_its_own_index_also_when_halved(templates: OpenSearch) -> None:
    days = [f"log-aws-cloudtrail-2023.07.{10 + number % 3}" for number in range(9)]
    items = [item(number, index=day) for number, day in enumerate(days)]
    items[4].id = "x" * 600  # refused as a whole: each half has another first index
    outcomes = [verdict.outcome for verdict in writer(templates).write(items)]
    assert outcomes == [Outcome.INDEXED] * 4 + [Outcome.REJECTED] + [Outcome.INDEXED] * 4
    for number, day in enumerate(days):
        assert templates.exists(index=day, id=f"id-{number}") is (number != 4)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"@timestamp":"not a date"}', "mapper_parsing_exception"),
        (b'{"nowhere":1}', "strict_dynamic_mapping_exception"),
        (b'{"source":{"ip":"AWS Internal"}}', "mapper_parsing_exception"),
        (b'{"event":{"action":"A"},"event":{}}', "mapper_parsing_exception"),
        (b"[1]", "mapper_parsing_exception"),
        (b"{", "mapper_parsing_exception"),
    ],
)
def test_a_bad_document_is_rejected_alone(templates: OpenSearch, body: bytes, kind: str) -> None:
    verdicts = writer(templates).write([item(1), item(2, body), item(3)])
    assert [verdict.outcome for verdict in verdicts] == [Outcome.INDEXED, Outcome.REJECTED, Outcome.INDEXED]
    assert verdicts[1].kind in (kind, *ELASTICSEARCH.get(kind, ()))
    assert verdicts[1].reason


def test_an_id_the_server_refuses_is_found_by_halving(templates: OpenSearch) -> None:
    items = [item(number) for number in range(1, 8)]
    items[4].id = "x" * 600  # over the server's 512 bytes: the whole request is refused
    outcomes = [verdict.outcome for verdict in writer(templates).write(items)]
    assert outcomes == [Outcome.INDEXED] * 4 + [Outcome.REJECTED] + [Outcome.INDEXED] * 2


def test_a_closed_index_sends_everything_back(templates: OpenSearch) -> None:
    writer(templates).write([item(1)])
    templates.indices.close(index=INDEX)
    with pytest.raises(HoldError, match="index_closed_exception"):
        writer(templates).write([item(2)])


def test_a_blocked_index_sends_everything_back(templates: OpenSearch) -> None:
    writer(templates).write([item(1)])
    templates.indices.put_settings(index=INDEX, body={"index.blocks.write": True})
    with pytest.raises(HoldError, match="cluster_block_exception"):
        writer(templates).write([item(2)])


def test_forged_dates_cannot_create_indices_without_end(templates: OpenSearch) -> None:
    limited = writer(templates, per_hour=2)
    limited.write([item(day, index=f"log-aws-cloudtrail-1970.01.0{day}") for day in (1, 2)])
    with pytest.raises(TooManyIndicesError, match="2 new indices"):
        limited.write([item(3, index="log-aws-cloudtrail-1970.01.03")])
    assert [verdict.outcome for verdict in limited.write([item(9, index="log-aws-cloudtrail-1970.01.01")])] == [
        Outcome.INDEXED
    ]


def test_a_cluster_that_is_away_is_unavailable_not_a_rejection(tmp_path: Path) -> None:
    clock = SystemClock()
    away = OpenSearch("http://127.0.0.1:9", timeout=1, max_retries=0)

    class Open(IndexGate):
        def admit(self, index: str) -> None:
            return

    gate = Open(away, clock=clock)
    with pytest.raises(UnavailableError):
        BulkWriter(away, clock=clock, gate=gate, backoff=Backoff(0.001, 0.002, 2)).write([item(1)])
