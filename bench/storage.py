"""Disk per event: this project's mapping, dynamic mapping, and keeping ``event.original``.

    python bench/storage.py [--records 60000] [--real DIR] [--choices] [--json]

Each form is written into one index with one shard, merged into one segment, and measured:

    ours                 documents and mapping of this project
    ours+original        the same, with each record once more in event.original (stored, not searchable)
    dynamic              records as they are, dynamic mapping with the engine's defaults
    dynamic+compression  the same with best_compression, which ours has too

With ``--choices``, ours with one choice made otherwise each time (docs/adr/0010): codec, index sort, doc values,
what is searchable; and the processor seconds that the node needs to write and merge, and to answer questions.

Records are generated, and real ones are added when ``--real`` (default: the bundled files) has any; both are also
measured apart. Starts a local stack of its own and deletes it at the end. To reach: 0.65 byte on disk per byte of log.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from generated_records import real_records, records
from opensearchpy import OpenSearch
from opensearchpy.exceptions import RequestError
from processor import processor_seconds

from loader.config import Settings
from loader.errors import RecordError
from loader.index.client import make_client
from loader.index.templates import apply, compose, plan, read_templates
from loader.local.stack import LocalStack
from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import ObjectContext
from loader.project import sample_events_dir

_REACH = 0.65
_BULK_BYTES = 5 * 2**20
_CONTEXT = ObjectContext("bench", "AWSLogs/111111111111/CloudTrail/bench.json.gz", "2023-07-14T00:00:00.000Z")
_INDEX = "bench-storage"
_CONNECTIONS = 2
_ASKED = 40

Mapping = dict[str, Any]


@dataclass(frozen=True)
class Form:
    """One way to keep records. ``mapping`` is empty for dynamic mapping."""

    name: str
    documents: str = "ours"
    mapping: Mapping = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def _forms(client: OpenSearch) -> list[Form]:
    mapping, settings = _ours(client)
    original = copy.deepcopy(mapping)
    original["properties"]["event"]["properties"]["original"] = {"type": "keyword", "index": False, "doc_values": False}
    return [
        Form("ours", mapping=mapping, settings=settings),
        Form("ours+original", "ours+original", original, settings),
        Form("dynamic", "dynamic"),
        Form("dynamic+compression", "dynamic", settings={"codec": "best_compression"}),
    ]


def _choices(client: OpenSearch) -> list[Form]:
    mapping, settings = _ours(client)
    found = [Form("ours", mapping=mapping, settings=settings)]
    for codec in ("default", "zstd", "zstd_no_dict"):
        found.append(Form(f"codec {codec}", mapping=mapping, settings={**settings, "codec": codec}))
    unsorted = {name: value for name, value in settings.items() if not name.startswith("sort.")}
    for name, fields in (
        ("not sorted", []),
        ("sorted by time", ["@timestamp"]),
        ("sorted by service, call", ["event.provider", "event.action", "@timestamp"]),
        ("sorted by user, call", ["user.name", "event.action", "@timestamp"]),
    ):
        orders = ["desc" if one == "@timestamp" else "asc" for one in fields]
        sort = {"sort.field": fields, "sort.order": orders} if fields else {}
        found.append(Form(name, mapping=mapping, settings={**unsorted, **sort}))
    for name, change in (
        ("lower-case doc values", _lower_doc_values),
        ("no lower-case forms", lambda spec: spec.pop("fields", None)),
        ("ids in two forms", _ids_twice),
        ("no wildcard fields", _no_wildcard),
        ("leaves not searchable", _no_leaves),
    ):
        found.append(Form(name, mapping=_changed(mapping, change), settings=settings))
    return found


def _ours(client: OpenSearch) -> tuple[Mapping, dict[str, Any]]:
    """Return mapping and settings that an index of events gets, as far as they bear on disk."""
    templates = [change.template for change in plan(client, read_templates())]
    template = next(one for one in templates if one.name == "log-aws-cloudtrail")
    of_events = next(one for one in templates if one.name == "siem-event-settings")
    index = of_events.body["template"]["settings"]["index"]
    kept = {"codec": index["codec"], "mapping.total_fields.limit": 1000}
    kept |= {f"sort.{name}": value for name, value in index.get("sort", {}).items()}
    return compose(template, templates), kept


def _changed(mapping: Mapping, change: Callable[[Mapping], object]) -> Mapping:
    """Return ``mapping`` with each of its leaf fields passed through ``change``."""
    changed = copy.deepcopy(mapping)

    def walk(properties: Mapping) -> None:
        for spec in properties.values():
            if "properties" in spec:
                walk(spec["properties"])
            else:
                change(spec)

    walk(changed["properties"])
    return changed


def _lower_doc_values(spec: Mapping) -> None:
    for sub in spec.get("fields", {}).values():
        sub["doc_values"] = True


def _ids_twice(spec: Mapping) -> None:
    if spec.get("normalizer") == "lowercase" and spec["type"] == "keyword" and spec.get("ignore_above", 0) < 32766:
        spec["fields"] = {"lower": dict(spec)}
        spec.pop("normalizer")
        spec.pop("doc_values", None)


def _no_wildcard(spec: Mapping) -> None:
    if spec["type"] == "wildcard":
        spec.clear()
        spec |= {"type": "keyword", "index": False, "doc_values": False}


def _no_leaves(spec: Mapping) -> None:
    if spec.get("ignore_above") == 32766:
        spec["index"] = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=60_000, help="generated records")
    parser.add_argument("--real", type=Path, help="a folder of CloudTrail .json.gz files")
    parser.add_argument("--choices", action="store_true", help="ours with one choice made otherwise each time")
    parser.add_argument("--only", help="forms whose names hold this text")
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
        status = stack.up()
        client = make_client(Settings(cluster_url=status.node.url))
        apply(client, plan(client, read_templates()))
        forms = _choices(client) if chosen.choices else _forms(client)
        forms = [form for form in forms if not chosen.only or form.name == "ours" or chosen.only in form.name]
        _measure(client, forms[0], sets["generated"], status.node.pid)  # warm
        for name, raw in sets.items():
            found[name] = {}
            for form in forms:
                _say(f"{name}: {form.name}, {len(raw)} records")
                found[name][form.name] = _measure(client, form, raw, status.node.pid)
        client.close()
    finally:
        stack.down(delete_data=True)
    if chosen.json:
        print(json.dumps({"to_reach": _REACH, "sets": found}))
        return
    for name, one in found.items():
        logged = sum(map(len, sets[name])) / len(sets[name])
        print(f"{name}: {len(sets[name])} records of {logged:.0f} bytes")
        _print(one)
    print(f"to reach: {_REACH} byte on disk per byte of log")


def _print(forms: dict[str, dict[str, Any]]) -> None:
    ours = max(forms["ours"]["bytes_a_document"], 1e-9)
    asked = list(forms["ours"]["milliseconds_asked"])
    print(
        f"  {'':<24} {'bytes/document':>14} {'/byte of log':>13} {'/ours':>6} {'rejected':>9}"
        f" {'write':>7} {'merge':>7}" + "".join(f" {name:>8}" for name in asked)
    )
    for form, one in forms.items():
        if "refused" in one:
            print(f"  {form:<24} refused: {one['refused'][:150]}")
            continue
        print(
            f"  {form:<24} {one['bytes_a_document']:>14.0f} {one['per_byte_of_log']:>13.3f}"
            f" {one['bytes_a_document'] / ours:>6.2f} {one['rejected_share']:>9.1%}"
            f" {one['write_s_a_million']:>7.0f} {one['merge_s_a_million']:>7.0f}"
            + "".join(f" {one['milliseconds_asked'].get(name, float('nan')):>8.1f}" for name in asked)
        )


def _measure(client: OpenSearch, form: Form, raw: list[bytes], pid: int | None) -> dict[str, Any]:
    client.indices.delete(index=_INDEX, params={"ignore_unavailable": "true"})
    settings = {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "10s", **form.settings}
    body: dict[str, Any] = {"settings": {"index": settings}}
    if form.mapping:
        body["mappings"] = form.mapping
    try:
        client.indices.create(index=_INDEX, body=body)
    except RequestError as error:
        return {"refused": str(error.info["error"]["reason"]), "bytes_a_document": 0.0}
    bodies = list(_batches(form.documents, raw))
    written = rejected = logged = 0

    def send(lines: bytes) -> Any:
        return client.transport.perform_request(
            "POST", "/_bulk", headers={"content-type": "application/x-ndjson"}, body=lines
        )

    begun = processor_seconds(pid)
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        answers = list(pool.map(send, [lines for lines, _ in bodies]))
    wrote = processor_seconds(pid)
    for answer, (_, sizes) in zip(answers, bodies, strict=True):
        for item, size in zip(answer["items"], sizes, strict=True):
            taken = item["create"]["status"] == 201
            written, rejected = written + taken, rejected + (item["create"]["status"] not in (201, 409))
            logged += size if taken else 0
    client.indices.forcemerge(index=_INDEX, params={"max_num_segments": 1}, request_timeout=600)
    client.indices.flush(index=_INDEX)
    client.indices.refresh(index=_INDEX)
    merged = processor_seconds(pid)
    bytes_used = client.indices.stats(index=_INDEX, metric="store")["_all"]["primaries"]["store"]["size_in_bytes"]
    return {
        "documents": written,
        "rejected": rejected,
        "rejected_share": rejected / len(raw),
        "bytes": bytes_used,
        "bytes_a_document": round(bytes_used / max(written, 1), 1),
        "per_byte_of_log": round(bytes_used / max(logged, 1), 4),
        "write_s_a_million": round((wrote - begun) / max(written, 1) * 10**6, 1),
        "merge_s_a_million": round((merged - wrote) / max(written, 1) * 10**6, 1),
        "milliseconds_asked": _ask(client, pid) if form.documents == "ours" else {},
    }


def _ask(client: OpenSearch, pid: int | None) -> dict[str, float]:
    """Return the node's processor milliseconds for each of the questions people and rules ask."""
    newest = {"sort": [{"@timestamp": "desc"}], "size": 50}
    questions: dict[str, dict[str, Any]] = {
        "newest": newest,
        "of user": {**newest, "query": {"bool": {"filter": [{"term": {"user.name": "user-3"}}]}}},
        "rule": {"size": 50, "query": {"bool": {"filter": [{"term": {"event.action.lower": "runinstances"}}]}}},
        "leaf": {"size": 10, "query": {"wildcard": {"aws.cloudtrail.leaves": "requestparameters.*=*team-3*"}}},
        "agent": {"size": 10, "query": {"wildcard": {"user_agent.original": "*terraform*"}}},
        "panel": {"size": 0, "aggs": {"calls": {"terms": {"field": "event.action"}}}},
        "hours": {"size": 0, "aggs": {"hours": {"date_histogram": {"field": "@timestamp", "fixed_interval": "1h"}}}},
    }
    found = {}
    for name, body in questions.items():
        try:
            for _ in range(_ASKED // 4):
                _search(client, body)
            begun = processor_seconds(pid)
            for _ in range(_ASKED):
                _search(client, body)
        except RequestError:  # a form in which that cannot be asked
            continue
        found[name] = round((processor_seconds(pid) - begun) / _ASKED * 1000, 1)
    return found


def _search(client: OpenSearch, body: dict[str, Any]) -> None:
    client.search(index=_INDEX, body={"track_total_hits": True, **body}, params={"request_cache": "false"})


def _batches(documents: str, raw: list[bytes]) -> Iterator[tuple[bytes, list[int]]]:
    lines: list[bytes] = []
    sizes: list[int] = []
    size = 0
    for number, record in enumerate(raw):
        body, identifier = record, str(number)
        if documents.startswith("ours"):
            try:
                made = CLOUDTRAIL.normalise(record, _CONTEXT, False)
            except RecordError as error:
                _say(f"record {number}: {error}")
                continue
            body, identifier = made.body, made.id
            if documents == "ours+original":
                document = orjson.loads(body)
                document["event"]["original"] = record.decode()
                body = orjson.dumps(document)
        lines.append(b'{"create":{"_index":"%b","_id":"%b"}}\n%b\n' % (_INDEX.encode(), identifier.encode(), body))
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
