"""The forms in which payloads can be kept, side by side: docs/adr/0002 decides by these figures.

    python bench/payload_forms.py [--engine opensearch] [--records 12000] [--rounds 3] [--real DIR] [--json]

    leaves   this project's: payloads as they are (not indexed), each leaf once as path=value in a keyword array
    excluded the same, the leaves kept out of _source: it was so before
    flat     payloads passed through into one flat_object field (flattened on Elasticsearch); nothing walks them
    both     leaves and flat at once

All other fields are the same. For each form: disk (one shard, one segment, best_compression), documents a second,
processor seconds a million documents of the loader (render, in a process of its own, and send) and of the node (to
write, refresh and flush, and to merge), and how long searches take. Then, with ``--behaviour``, what each form finds
and what it does with payloads that somebody made to hurt. Rounds alternate; the first is not counted, since the JVM
compiles during it. The passed-through form is given every advantage: it decodes a payload only if a name in it is
looked for, and neither doubled keys nor long values are checked.

Elasticsearch needs Java 21 to 24 (JAVA_HOME, see `make engines`). Its distribution on Maven Central has no wildcard
type: a keyword stands for it. Starts a node of its own and deletes it at the end. Prints figures; never fails on one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from generated_records import real_records, records
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError
from payload_behaviour import FORMS as ANSWERING
from payload_behaviour import behaviour, safety
from payload_index import FLAT, FORMS, LEAVES, create_index, render_form
from processor import processor_seconds

from loader.config import Settings
from loader.index.client import make_client
from loader.local.distribution import ELASTICSEARCH, OPENSEARCH
from loader.local.stack import LocalStack
from loader.project import sample_events_dir

_SEARCHES = 30
_COLUMNS = (
    *("form", "bytes on disk", "bytes sent", "documents/s", "loader", "node", "together", "/ flat"),
    *("term", "prefix", "wildcard"),
)


@dataclass(frozen=True)
class Measure:
    """One form, once. Seconds and processor seconds of one set of records; bytes on disk; milliseconds a search."""

    documents: int
    rejected: int
    wall: float
    render: float
    send: float
    write: float
    merge: float
    disk: int
    sent: int
    searches: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["opensearch", "elasticsearch"], default="opensearch")
    parser.add_argument("--records", type=int, default=12_000, help="generated records")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count")
    parser.add_argument("--real", type=Path, help="a folder of CloudTrail records in any form")
    parser.add_argument("--behaviour", action="store_true", help="also what is found, and what hurts")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    sets = {
        "generated": list(records(chosen.records)),
        "real": list(dict.fromkeys(real_records(chosen.real or sample_events_dir()))),
    }
    distribution = ELASTICSEARCH if chosen.engine == "elasticsearch" else OPENSEARCH
    _say(f"start {chosen.engine} {distribution.version}")
    stack = LocalStack(f"bench-payload-{os.getpid()}", settings=Settings(), distribution=distribution)
    found: dict[str, Any] = {"engine": chosen.engine, "version": distribution.version, "sets": {}}
    try:
        status = stack.up()
        client = make_client(Settings(cluster_url=status.node.url))
        for name, raw in sets.items():
            if raw:
                found["sets"][name] = _compare(client, status.node.pid, name, raw, chosen.rounds)
        if chosen.behaviour:
            found["behaviour"] = behaviour(client)
            found["safety"] = safety(client)
    finally:
        stack.down(delete_data=True)
    if chosen.json:
        print(json.dumps(found))
    else:
        _print(found, {name: sum(map(len, raw)) / len(raw) for name, raw in sets.items() if raw})


def _compare(client: OpenSearch, pid: int | None, name: str, raw: list[bytes], rounds: int) -> dict[str, Any]:
    measures: dict[str, list[Measure]] = defaultdict(list)
    for number in range(rounds + 1):
        for form in FORMS if number % 2 else FORMS[::-1]:
            measure = _measure(client, pid, form, raw)
            total = measure.render + measure.send + measure.write + measure.merge
            _say(
                f"{name}, round {number}: {form}, {measure.documents} documents, {measure.rejected} rejected,"
                f" {measure.documents / measure.wall:,.0f} a second, {total / measure.documents * 10**6:,.0f} processor"
                " seconds a million"
            )
            if number:
                measures[form].append(measure)
    return {form: _summary(found) for form, found in measures.items()}


def _measure(client: OpenSearch, pid: int | None, form: str, raw: list[bytes]) -> Measure:
    # A process of its own: nothing is remembered from the form before.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        bodies, render = pool.submit(render_form, form, raw).result()
    index = create_index(client, form)
    documents = rejected = 0
    before, own, clock = processor_seconds(pid), time.process_time(), time.monotonic()
    for body in bodies:
        answer = client.transport.perform_request(
            "POST",
            "/_bulk",
            params={"filter_path": "errors,items.*.status,items.*.error"},
            headers={"content-type": "application/x-ndjson"},
            body=body,
        )
        for item in answer["items"]:
            documents += item["create"]["status"] == 201
            if item["create"]["status"] not in (201, 409):
                rejected += 1
                if rejected == 1:
                    _say(f"{form}: {item['create']['error']}")
    send = time.process_time() - own
    client.indices.refresh(index=index)
    client.indices.flush(index=index)
    wall, written = time.monotonic() - clock, processor_seconds(pid)
    client.indices.forcemerge(index=index, params={"max_num_segments": 1}, request_timeout=600)
    client.indices.flush(index=index)
    client.indices.refresh(index=index)
    merged = processor_seconds(pid)
    size = client.indices.stats(index=index, metric="store")["_all"]["primaries"]["store"]["size_in_bytes"]
    searches = {name: _search_time(client, index, query) for name, query in _searches(form).items()}
    client.indices.delete(index=index)
    return Measure(
        documents,
        rejected,
        wall,
        render,
        send,
        written - before,
        merged - written,
        size,
        sum(map(len, bodies)),
        searches,
    )


def _searches(form: str) -> dict[str, dict[str, Any]]:
    """One leaf, three ways, in any case of letters, as rules ask."""
    field, head = LEAVES, "requestParameters.roleArn="
    if form == "flat":
        field, head = f"{FLAT}.request_parameters.roleArn", ""
    return {
        "term": {"term": {field: {"value": f"{head}arn:aws:iam::111111111111:role/role-7", "case_insensitive": True}}},
        "prefix": {"prefix": {field: {"value": f"{head}arn:aws:iam::2222", "case_insensitive": True}}},
        "wildcard": {"wildcard": {field: {"value": f"{head}*role/ROLE-1*", "case_insensitive": True}}},
    }


def _search_time(client: OpenSearch, index: str, query: dict[str, Any]) -> float:
    """Return the median of what the node says searches took, in milliseconds by the clock here; -1: refused."""
    taken = []
    for number in range(_SEARCHES):
        # Another range each time: the answer must not come from a cache.
        body = {"size": 0, "query": {"bool": {"filter": [query, {"range": {"@timestamp": {"gt": number}}}]}}}
        clock = time.monotonic()
        try:
            client.search(index=index, body=body, params={"request_cache": "false"})
        except TransportError:
            return -1.0
        taken.append(time.monotonic() - clock)
    return statistics.median(taken) * 1000


def _summary(found: list[Measure]) -> dict[str, Any]:
    def median(value: Callable[[Measure], float]) -> float:
        return round(statistics.median(map(value, found)), 1)

    def million(part: Callable[[Measure], float]) -> float:
        return median(lambda one: part(one) / one.documents * 10**6)

    return {
        "documents": found[0].documents,
        "rejected": found[0].rejected,
        "disk_a_document": median(lambda one: one.disk / one.documents),
        "sent_a_document": median(lambda one: one.sent / one.documents),
        "documents_a_second": median(lambda one: one.documents / one.wall),
        "loader": million(lambda one: one.render + one.send),
        "node": million(lambda one: one.write + one.merge),
        "together": million(lambda one: one.render + one.send + one.write + one.merge),
        "search_ms": {name: median(lambda one, name=name: one.searches[name]) for name in found[0].searches},  # type: ignore[misc]
        "rounds": [asdict(one) for one in found],
    }


def _print(found: dict[str, Any], sizes: dict[str, float]) -> None:
    print(f"{found['engine']} {found['version']}; processor seconds a million documents; medians")
    for name, forms in found["sets"].items():
        print(f"\n{name}: {next(iter(forms.values()))['documents']} records of {sizes[name]:.0f} bytes")
        print(f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}")
        for form, one in forms.items():
            searches = " | ".join(f"{value:.1f} ms" if value >= 0 else "refused" for value in one["search_ms"].values())
            print(
                f"| {form} | {one['disk_a_document']:.0f} | {one['sent_a_document']:.0f} |"
                f" {one['documents_a_second']:,.0f} | {one['loader']:.0f} | {one['node']:.0f} | {one['together']:.0f} |"
                f" {one['together'] / forms['flat']['together']:.2f} | {searches} |"
            )
    for part in ("behaviour", "safety"):
        if part in found:
            print(f"\n{part}\n| | {' | '.join(ANSWERING)} |\n|---|{'---|' * len(ANSWERING)}")
            for what, answers in found[part].items():
                print(f"| {what} | {' | '.join(answers[form] for form in ANSWERING)} |")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
