"""Refresh interval, durability of the translog and shards of an event index: what each costs while events come in.

    python bench/index_settings.py [--records 60000] [--rounds 3] [--only TEXT] [--json]

The same bodies, rendered before, are written with two connections into a new index of this project's mapping, settings
as in ``mappings/`` but for the one named. Time and the node's processor seconds count from the first request until all
documents are refreshed and flushed, so that nothing is put off beyond the end. Forms take turns in each round and begin
with another one each time; a first round, which warms the node, does not count. Starts a local stack of its own and
deletes it at the end.

docs/adr/0010 has the figures, and what follows from them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from generated_records import records
from opensearchpy import OpenSearch
from processor import processor_seconds

from loader.config import Settings
from loader.index.bulk import Item, bulk_body, bulk_path
from loader.index.client import make_client
from loader.index.templates import apply, compose, plan, read_templates
from loader.local.stack import LocalStack
from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import ObjectContext

_CONTEXT = ObjectContext("bench", "AWSLogs/111111111111/CloudTrail/bench.json.gz", "2023-07-14T00:00:00.000Z")
_INDEX = "bench-settings"
_CONNECTIONS = 2
_WARM_RECORDS = 10_000

#: Name → what is set otherwise.
_FORMS: dict[str, dict[str, Any]] = {
    "as in mappings/": {},
    "refresh 1s": {"refresh_interval": "1s"},
    "refresh 5s": {"refresh_interval": "5s"},
    "refresh 10s": {"refresh_interval": "10s"},
    "refresh 30s": {"refresh_interval": "30s"},
    "refresh never": {"refresh_interval": "-1"},
    "translog async": {"translog.durability": "async"},
    "2 shards": {"number_of_shards": 2},
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=60_000, help="generated records")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="forms whose names hold this text, and the one as it is")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    forms = [name for name in _FORMS if not chosen.only or not _FORMS[name] or chosen.only in name]
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    _say(f"render {chosen.records} records, start a local stack")
    bodies = _bodies(chosen.records)
    stack = LocalStack(f"bench-settings-{os.getpid()}", settings=Settings())
    try:
        status = stack.up()
        client = make_client(Settings(cluster_url=status.node.url))
        apply(client, plan(client, read_templates()))
        mapping, settings = _ours(client)
        _measure(client, mapping, settings, _bodies(_WARM_RECORDS), status.node.pid)
        for number in range(chosen.rounds):
            for name in forms[number % len(forms) :] + forms[: number % len(forms)]:
                one = _measure(client, mapping, {**settings, **_FORMS[name]}, bodies, status.node.pid)
                found[name].append(one)
                _say(f"round {number + 1}: {name}: " + ", ".join(f"{key} {value:,.1f}" for key, value in one.items()))
        client.close()
    finally:
        stack.down(delete_data=True)
    medians = {
        name: {key: round(statistics.median(one[key] for one in rounds), 1) for key in rounds[0]}
        for name, rounds in found.items()
    }
    if chosen.json:
        print(json.dumps({"records": chosen.records, "medians": medians, "rounds": found}))
        return
    print(f"{chosen.records} generated records, medians of {chosen.rounds} rounds")
    print(f"{'':<18} {'documents/s':>12} {'node s a million':>17} {'refreshes':>10} {'segments':>9} {'bytes each':>11}")
    for name, one in medians.items():
        print(
            f"{name:<18} {one['documents_a_second']:>12,.0f} {one['node_s_a_million']:>17,.0f}"
            f" {one['refreshes']:>10.0f} {one['segments']:>9.0f} {one['bytes_a_document']:>11,.0f}"
        )


def _bodies(count: int) -> list[bytes]:
    """Return bodies of ``_bulk`` requests; the index is that of the path."""
    found, batch, size, most = [], [], 0, Settings().bulk_max_bytes
    for number, record in enumerate(records(count)):
        made = CLOUDTRAIL.normalise(record, _CONTEXT, False)
        batch.append(Item(number, b"", _INDEX, made.id, made.body))
        size += len(made.body)
        if size >= most:
            found.append(bulk_body(batch, _INDEX))
            batch, size = [], 0
    return [*found, bulk_body(batch, _INDEX)] if batch else found


def _ours(client: OpenSearch) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return mapping and settings of an index of events."""
    templates = [change.template for change in plan(client, read_templates())]
    template = next(one for one in templates if one.name == "log-aws-cloudtrail")
    of_events = next(one for one in templates if one.name == "siem-event-settings")
    settings = of_events.body["template"]["settings"]["index"]
    return compose(template, templates), {**settings, "mapping": {"total_fields": {"limit": 1000}}}


def _measure(
    client: OpenSearch, mapping: dict[str, Any], settings: dict[str, Any], bodies: list[bytes], pid: int | None
) -> dict[str, float]:
    client.indices.delete(index=_INDEX, params={"ignore_unavailable": "true"})
    client.indices.create(index=_INDEX, body={"settings": {"index": settings}, "mappings": mapping})

    def send(body: bytes) -> None:
        answer = client.transport.perform_request(
            "POST",
            bulk_path(_INDEX),
            params={"filter_path": "errors"},
            headers={"content-type": "application/x-ndjson"},
            body=body,
        )
        if answer["errors"]:
            raise SystemExit("documents were refused")

    begun, processor = time.monotonic(), processor_seconds(pid)
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        list(pool.map(send, bodies))
    client.indices.refresh(index=_INDEX)
    client.indices.flush(index=_INDEX)
    seconds, used = time.monotonic() - begun, processor_seconds(pid) - processor
    stats = client.indices.stats(index=_INDEX)["_all"]["primaries"]
    count = stats["docs"]["count"]
    return {
        "documents_a_second": count / seconds,
        "node_s_a_million": used / count * 10**6,
        "refreshes": stats["refresh"]["total"],
        "segments": stats["segments"]["count"],
        "bytes_a_document": stats["store"]["size_in_bytes"] / count,
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
