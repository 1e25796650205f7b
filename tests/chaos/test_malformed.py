"""Thousands of malformed files through the whole loader into a real node: never a traceback, never a loss.

A few hundred run with the other tests, 10,000 with ``make chaos`` (``SIEM_CHAOS_FILES``).
"""

from __future__ import annotations

import os
import uuid
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from chaos_malformed import Malformed, canary, malformed_files
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from opensearchpy import OpenSearch

from loader.config import Settings
from loader.ingest.assemble import assemble
from loader.source.objects import ObjectRef

pytestmark = [pytest.mark.integration, pytest.mark.timeout(7200)]

_FILES = int(os.environ.get("SIEM_CHAOS_FILES", "300"))
_SEED = int(os.environ.get("SIEM_CHAOS_SEED", "20230710"))
#: Files between two looks into the cluster: what is kept in memory for that stays small.
_BATCH = 500
_BUCKET = "malformed"
_FIRST, _LAST = "canary-first-00000000-0000", "canary-last-000000000-0000"


def test_malformed_files_are_accounted_for(templates: OpenSearch, opensearch_url: str) -> None:
    for start in range(0, _FILES, _BATCH):
        _load_and_hold(templates, opensearch_url, min(_BATCH, _FILES - start), _SEED + start)
        templates.indices.delete(index="log-*,siem-*", params={"expand_wildcards": "all"})


def _load_and_hold(client: OpenSearch, url: str, count: int, first_seed: int) -> None:
    bodies: dict[str, bytes] = {}

    def fetch(ref: ObjectRef) -> Iterator[bytes]:
        body = bodies[ref.key]
        return iter([body[at : at + 997] for at in range(0, len(body), 997)])

    loader = assemble(Settings(cluster_url=url, object_max_bytes=2**16), fetch=fetch).loader
    totals: Counter[str] = Counter()
    files: dict[str, Malformed] = {}

    @seed(first_seed)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(malformed_files(canary(_FIRST), canary(_LAST)), st.booleans())
    def one(made: Malformed, trail: bool) -> None:
        # Names are given here: the strategy stays pure, and what it made can be made again.
        name = uuid.uuid4().hex[:20]
        content = made.content.replace(_FIRST.encode(), f"first-{name}".encode())
        made = replace(made, content=content.replace(_LAST.encode(), f"last--{name}".encode()))
        folder = "AWSLogs/123456789012/CloudTrail/us-east-1/2023/07/10" if trail else "copies"
        key = f"{folder}/{name}.json.gz"
        bodies[key] = made.body()
        counts = loader.load(ObjectRef(_BUCKET, key)).counts
        del bodies[key]
        assert counts.balanced
        assert counts.read > 0
        files[name] = made
        totals.update(read=counts.read, indexed=counts.indexed, dead_lettered=counts.dead_lettered)

    one()
    documents, letters = _all(client, "log-*"), _all(client, "siem-dead-letters-*")
    assert len(files) >= count * 0.9
    assert len(documents) == totals["indexed"]
    assert len(letters) == totals["dead_lettered"]
    assert not [hit for hit in documents if hit["_id"] == "forged" or "1999" in hit["_index"]]
    lost = _lost(files, documents, letters)
    assert lost == [], b"\n\n".join(lost).decode(errors="backslashreplace")


def _lost(files: dict[str, Malformed], documents: list[dict[str, Any]], letters: list[dict[str, Any]]) -> list[bytes]:
    """Return the files of which a good record is neither a document nor kept in a dead letter."""
    loaded = {hit["_source"].get("event", {}).get("id") for hit in documents}
    kept: dict[str, bytes] = {}
    for hit in letters:
        letter = hit["_source"]
        raw = letter["raw"].encode() if letter["raw_encoding"] == "utf-8" else b64decode(letter["raw"])
        name = letter["key"].rsplit("/", 1)[-1].removesuffix(".json.gz")
        kept[name] = kept.get(name, b"") + raw
    lost = []
    for name, made in files.items():
        for one in (f"first-{name}", f"last--{name}"):
            # A record that the damage around it tears is kept in several dead letters: its id is in one of them.
            there = one in loaded or one.encode() in kept.get(name, b"")
            if made.readable and canary(one) in made.content and not there:
                lost.append(made.content[:2000])
    return lost


def _all(client: OpenSearch, pattern: str) -> list[dict[str, Any]]:
    client.indices.refresh(index=pattern, params={"ignore_unavailable": "true"})
    hits: list[dict[str, Any]] = []
    answer = client.search(
        index=pattern,
        body={
            "size": 5000,
            "query": {"match_all": {}},
            "_source": ["event.id", "key", "raw", "raw_encoding", "reason"],
        },
        params={"scroll": "2m", "ignore_unavailable": "true"},
    )
    while answer["hits"]["hits"]:
        hits += answer["hits"]["hits"]
        answer = client.scroll(scroll_id=answer["_scroll_id"], params={"scroll": "2m"})
    client.clear_scroll(scroll_id=answer["_scroll_id"])
    return hits
