"""How long one cycle of detection takes, and what it depends on: ``python bench/detect.py --url URL --docs 1000000``.

Every ``log-*`` and ``siem-*`` index of the server at URL is deleted first: give it one of its own.
Documents are copies of the bundled real CloudTrail records with other times, people, addresses and request ids, in
daily indices. The cycle that is measured examines ``--new`` documents more, some of them of the days before.
"""

from __future__ import annotations

import argparse
import gzip
import random
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
from opensearchpy import OpenSearch

from loader.clock import SystemClock, rfc3339
from loader.config import Settings
from loader.detection.compile import compile_rules
from loader.detection.load import load_rules
from loader.detection.model import CompiledCorrelation, CompiledRule, Condition, CorrelationRule, Rule
from loader.detection.run import RunOptions, run_once
from loader.index.client import make_client
from loader.index.templates import apply, plan, read_templates
from loader.logtypes.model import ObjectContext
from loader.logtypes.registry import LOG_TYPES
from loader.project import rules_dir, sample_events_dir

OURS = "log-*,siem-*"
BULK = 4000


def documents() -> list[dict[str, Any]]:
    """Return the bundled records as documents."""
    log_type = next(one for one in LOG_TYPES if one.name == "aws-cloudtrail")
    context = ObjectContext("bench", "bench.json.gz", rfc3339(datetime.now(timezone.utc)))
    found = []
    for path in sorted(sample_events_dir().glob("*.json.gz")):
        records = orjson.loads(gzip.decompress(path.read_bytes()))["Records"]
        found += [orjson.loads(log_type.normalise(orjson.dumps(record), context, False).body) for record in records]
    return found


def copies(
    originals: list[dict[str, Any]], count: int, start: datetime, days: float, rng: random.Random
) -> Iterator[Any]:
    """Yield bulk lines: ``count`` documents spread over ``days`` from ``start``."""
    for number in range(count):
        document = orjson.loads(orjson.dumps(rng.choice(originals)))
        moment = start + timedelta(days=days * number / count)
        document["@timestamp"] = rfc3339(moment)
        document["event"]["ingested"] = rfc3339(moment + timedelta(minutes=5))
        document["event"]["id"] = f"{rng.getrandbits(128):032x}"
        if "user" in document:
            document["user"]["name"] = f"user{int(rng.paretovariate(0.7)) % 5000}"
        document.setdefault("source", {})["address"] = f"203.0.{rng.randrange(64)}.{rng.randrange(256)}"
        document["source"]["ip"] = document["source"]["address"]
        trail = document["aws"]["cloudtrail"]
        trail["request_id"] = f"{rng.getrandbits(128):032x}"
        trail.setdefault("leaves", []).append(f"responseElements.requestId={rng.getrandbits(128):032x}")
        yield {"create": {"_index": f"log-aws-cloudtrail-{moment:%Y.%m.%d}", "_id": f"{rng.getrandbits(128):032x}"}}
        yield document


def index(client: OpenSearch, lines: Iterator[Any]) -> None:
    batch: list[bytes] = []
    for line in lines:
        batch.append(orjson.dumps(line))
        if len(batch) == BULK:
            send(client, batch)
            batch = []
    send(client, batch)


def send(client: OpenSearch, batch: list[bytes]) -> None:
    if batch:
        answer = client.transport.perform_request(
            "POST", "/_bulk", params={"filter_path": "errors"}, body=b"\n".join(batch) + b"\n"
        )
        assert not answer["errors"], "a document was refused"


def pack(count: int, correlations: int) -> list[CompiledRule | CompiledCorrelation]:
    """Return ``count`` rules: the project's, copied until there are enough; ``correlations`` of them count by user."""
    rules = list(compile_rules(load_rules((rules_dir(),))).rules)
    assert rules
    single = [
        replace(
            rule, rule=replace(rule.rule, uuid=f"{rule.rule.uuid[:-6]}{number:06d}", name=f"{rule.rule.name}_{number}")
        )
        for number, rule in ((number, rules[number % len(rules)]) for number in range(count - correlations))
    ]
    return [*single, *(counting(single[number * 7 % len(single)], number) for number in range(correlations))]


def counting(base: CompiledRule, number: int) -> CompiledCorrelation:
    head: Rule = base.rule
    fields = {name: getattr(head, name) for name in ("title", "level", "status", "path", "line", "content_hash")}
    rule = CorrelationRule(uuid=f"correlation-{number}", name=f"correlation_{number}", **fields)
    return CompiledCorrelation(
        rule, "event_count", {"base": base}, 600, group_by=("user.name",), condition=Condition({"gte": 5})
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="a server whose log-* and siem-* indices may be deleted")
    parser.add_argument("--docs", type=int, action="append", help="documents there already (repeatable)")
    parser.add_argument("--new", type=int, default=10_000)
    parser.add_argument("--rules", type=int, default=200)
    parser.add_argument("--correlations", type=int, default=20)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--cycles", type=int, default=3)
    options = parser.parse_args()
    client = make_client(Settings(cluster_url=options.url, cluster_timeout_s=300))
    originals = documents()
    rules = pack(options.rules, options.correlations)
    print(f"{len(originals)} real records, {len(rules)} rules ({options.correlations} of them correlations)")
    for docs in options.docs or [100_000, 1_000_000, 3_000_000]:
        measure(client, originals, rules, docs, options)


def measure(client: OpenSearch, originals: list[dict[str, Any]], rules: list[Any], docs: int, options: Any) -> None:
    rng = random.Random(7)
    client.indices.delete(index=OURS, params={"ignore_unavailable": "true"})
    apply(client, plan(client, read_templates()))
    end = datetime(2026, 5, 20, 12, tzinfo=timezone.utc)
    start = end - timedelta(days=options.days)
    began = time.perf_counter()
    index(client, copies(originals, docs, start, options.days, rng))
    client.indices.refresh(index="log-*", params={"request_timeout": 300})
    print(f"\n{docs:>9,} documents indexed in {time.perf_counter() - began:.0f} s")
    began = time.perf_counter()
    report = run_once(client, rules, clock=SystemClock(), options=RunOptions())
    took = time.perf_counter() - began
    print(f"{'':>9} first cycle, over everything: {took:.1f} s, {report.searches} searches, {report.alerts_new} alerts")
    assert report.complete, report.errors
    for cycle in range(options.cycles):
        late = options.new // 20
        index(client, copies(originals, options.new - late, end + timedelta(minutes=cycle), 1 / 1440, rng))
        index(client, copies(originals, late, start, options.days, rng))
        cpu, began = resource.getrusage(resource.RUSAGE_SELF).ru_utime, time.perf_counter()
        report = run_once(client, rules, clock=SystemClock(), options=RunOptions())
        took = time.perf_counter() - began
        cpu = resource.getrusage(resource.RUSAGE_SELF).ru_utime - cpu
        print(
            f"{'':>9} cycle over {report.examined:,} new documents: {took:.2f} s ({cpu:.2f} s of it in Python),"
            f" {report.searches} searches, {sum(c.matches for c in report.rules)} matches, {report.alerts_new} alerts"
        )
        assert report.complete, report.errors


if __name__ == "__main__":
    main()
