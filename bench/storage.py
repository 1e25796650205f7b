"""Disk per event: this project's mapping, dynamic mapping, and keeping ``event.original``.

    python bench/storage.py [--records 60000] [--real DIR] [--json]

Each form is written into one index with one shard, merged into one segment, and measured:

    ours                 documents and mapping of this project
    ours+original        the same, with each record once more in event.original (stored, not searchable)
    dynamic              records as they are, dynamic mapping with the engine's defaults
    dynamic+compression  the same with best_compression, which ours has too

Records are generated, and real ones are added when ``--real`` (default: the bundled files) has any; both are also
measured apart. Starts a local stack of its own and deletes it at the end. To reach: 0.65 byte on disk per byte of log.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from generated_records import real_records, records
from opensearchpy import OpenSearch

from loader.config import Settings
from loader.errors import RecordError
from loader.index.client import make_client
from loader.index.templates import apply, plan, read_templates
from loader.local.stack import LocalStack
from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import ObjectContext
from loader.project import sample_events_dir

_REACH = 0.65
_BULK_BYTES = 5 * 2**20
_CONTEXT = ObjectContext("bench", "AWSLogs/111111111111/CloudTrail/bench.json.gz", "2023-07-14T00:00:00.000Z")
_FORMS = ("ours", "ours+original", "dynamic", "dynamic+compression")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=60_000, help="generated records")
    parser.add_argument("--real", type=Path, help="a folder of CloudTrail .json.gz files")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    sets = {
        "generated": list(records(chosen.records)),
        "real": list(real_records(chosen.real or sample_events_dir())),
    }
    sets = {name: raw for name, raw in sets.items() if raw}
    _say("start a local stack")
    stack = LocalStack(f"bench-storage-{os.getpid()}", settings=Settings())
    found: dict[str, dict[str, dict[str, Any]]] = {}
    try:
        client = make_client(Settings(cluster_url=stack.up().node.url))
        apply(client, plan(client, read_templates()))
        for name, raw in sets.items():
            found[name] = {}
            for form in _FORMS:
                _say(f"{name}: {form}, {len(raw)} records")
                found[name][form] = _measure(client, form, raw)
        client.close()
    finally:
        stack.down(delete_data=True)
    if chosen.json:
        print(json.dumps({"to_reach": _REACH, "sets": found}))
        return
    for name, forms in found.items():
        logged = sum(map(len, sets[name])) / len(sets[name])
        print(f"{name}: {len(sets[name])} records of {logged:.0f} bytes")
        print(f"  {'':<20} {'bytes/document':>14} {'/byte of log':>13} {'/ours':>7} {'rejected':>9}")
        for form, one in forms.items():
            print(
                f"  {form:<20} {one['bytes_a_document']:>14.0f} {one['per_byte_of_log']:>13.2f}"
                f" {one['bytes_a_document'] / max(forms['ours']['bytes_a_document'], 1e-9):>7.2f}"
                f" {one['rejected_share']:>9.1%}"
            )
    print(f"to reach: {_REACH} byte on disk per byte of log")


def _measure(client: OpenSearch, form: str, raw: list[bytes]) -> dict[str, Any]:
    index = "log-aws-cloudtrail-bench" if form.startswith("ours") else "raw-bench"
    client.indices.delete(index=index, params={"ignore_unavailable": "true"})
    settings: dict[str, Any] = {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1"}
    if form == "dynamic+compression":
        settings["codec"] = "best_compression"
    if form.startswith("ours"):
        settings["auto_expand_replicas"] = "false"
    body: dict[str, Any] = {"settings": {"index": settings}}
    if form == "ours+original":
        original = {"type": "keyword", "index": False, "doc_values": False}
        body["mappings"] = {"properties": {"event": {"properties": {"original": original}}}}
    client.indices.create(index=index, body=body)
    written = rejected = logged = 0
    for lines, sizes in _batches(form, index, raw):
        answer = client.transport.perform_request(
            "POST", "/_bulk", headers={"content-type": "application/x-ndjson"}, body=lines
        )
        for item, size in zip(answer["items"], sizes, strict=True):
            taken = item["create"]["status"] == 201
            written, rejected = written + taken, rejected + (item["create"]["status"] not in (201, 409))
            logged += size if taken else 0
    client.indices.forcemerge(index=index, params={"max_num_segments": 1}, request_timeout=600)
    client.indices.flush(index=index)
    client.indices.refresh(index=index)
    bytes_used = client.indices.stats(index=index, metric="store")["_all"]["primaries"]["store"]["size_in_bytes"]
    return {
        "documents": written,
        "rejected": rejected,
        "rejected_share": rejected / len(raw),
        "bytes": bytes_used,
        "bytes_a_document": round(bytes_used / max(written, 1), 1),
        "per_byte_of_log": round(bytes_used / max(logged, 1), 4),
    }


def _batches(form: str, index: str, raw: list[bytes]) -> Iterator[tuple[bytes, list[int]]]:
    lines: list[bytes] = []
    sizes: list[int] = []
    size = 0
    for number, record in enumerate(raw):
        body, identifier = record, str(number)
        if form.startswith("ours"):
            try:
                made = CLOUDTRAIL.normalise(record, _CONTEXT, False)
            except RecordError as error:
                _say(f"record {number}: {error}")
                continue
            body, identifier = made.body, made.id
            if form == "ours+original":
                document = orjson.loads(body)
                document["event"]["original"] = record.decode()
                body = orjson.dumps(document)
        lines.append(b'{"create":{"_index":"%b","_id":"%b"}}\n%b\n' % (index.encode(), identifier.encode(), body))
        sizes.append(len(record))
        size += len(lines[-1])
        if size >= _BULK_BYTES:
            yield b"".join(lines), sizes
            lines, sizes, size = [], [], 0
    if lines:
        yield b"".join(lines), sizes


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
