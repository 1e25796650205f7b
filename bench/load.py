"""The whole way, S3 -> SQS -> worker -> OpenSearch, against raw ``_bulk`` of the same documents.

    python bench/load.py [--files 80] [--records 2000] [--rounds 4] [--workers 2] [--json]

Both write the same bodies, into indices of the same template, on the same node, in one run, with as many connections
as the worker has threads; raw ``_bulk`` sends bodies that were rendered before the clock started. Each round measures
both with new documents, and then both again, when every document is a duplicate. The order changes from round to round.
Starts a local stack of its own and deletes it at the end. moto's server, which is slower than S3, takes its share of
the processor on the loader's side. To reach: 0.85.

Rates by the clock mean something only on a machine that does nothing else. Processor time (node, this process, moto)
is printed beside them and depends less on the neighbours.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from generated_records import log_file, records
from processor import processor_seconds

from loader.clock import SystemClock
from loader.config import Settings
from loader.identity.extract import edges
from loader.index.bulk import Item, bulk_body, bulk_path
from loader.index.client import make_client
from loader.index.templates import apply, plan, read_templates
from loader.ingest.assemble import assemble, aws_client, message_handler
from loader.ingest.hinting import Hinter
from loader.ingest.worker import QueueOptions, QueueWorker
from loader.local.stack import LocalStack
from loader.local.trail import create_delivery
from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import ObjectContext

_BUCKET = "bench-load"
_WRITTEN = "log-*,siem-*"
#: Delivered after the last of the events: what is of the future would go into the index for misdated ones.
_FOLDER = "AWSLogs/111111111111/CloudTrail/us-east-1/2023/07/13"
_KEY = _FOLDER + "/111111111111_CloudTrail_us-east-1_20230713T0000Z_{:016d}.json.gz"
_REACH = 0.85


@dataclass(frozen=True)
class Measure:
    """Documents a second, and processor seconds of the node, of this process and of moto."""

    rate: float
    node: float
    self: float
    aws: float

    @property
    def total(self) -> float:
        return self.node + self.self + self.aws


class Bench:
    """One stack, one set of files, and both ways to write them."""

    def __init__(self, stack: LocalStack, chosen: argparse.Namespace) -> None:
        status = stack.status()
        os.environ.update(status.environment)
        self.settings = Settings(
            cluster_url=status.node.url,
            aws_endpoint_url=status.aws.url,
            aws_region="us-east-1",
            workers=chosen.workers,
            bulk_max_bytes=chosen.bulk_bytes,
        )
        self.workers: int = chosen.workers
        self.pids = (status.node.pid, status.aws.pid)
        self.cluster = make_client(self.settings)
        apply(self.cluster, plan(self.cluster, read_templates()))
        self.s3, self.sqs = aws_client(self.settings, "s3"), aws_client(self.settings, "sqs")
        self.delivery = create_delivery(self.s3, self.sqs, bucket=_BUCKET, queue=_BUCKET, region="us-east-1")
        self._generate(chosen.files, chosen.records)
        self._drain()  # the notifications of the upload, and everything warm

    def _generate(self, files: int, each: int) -> None:
        raw = list(records(files * each))
        self.log_bytes = sum(map(len, raw))
        self.count = len(raw)
        self.bodies: list[tuple[str, bytes]] = []
        self.sizes: dict[str, int] = {}
        hinter = Hinter()
        for number in range(files):
            part = raw[number * each : (number + 1) * each]
            key = _KEY.format(number)
            body = log_file(part)
            self.s3.put_object(Bucket=_BUCKET, Key=key, Body=body)
            self.sizes[key] = len(body)
            context = ObjectContext(_BUCKET, key, "2023-07-13T00:00:00.000Z")
            items = []
            for place, record in enumerate(part, 1):
                made = CLOUDTRAIL.normalise(record, context, False)
                index = CLOUDTRAIL.index(made.day)
                items.append(Item(place, record, index, made.id, made.body, who=made.who))
            hinter.mark(items, [edge for record in part for edge in edges(record)])
            batch: list[Item] = []
            size = 0
            for item in items:
                batch.append(item)
                size += len(item.body) + 100
                if size >= self.settings.bulk_max_bytes:
                    self.bodies.append(_request(batch))
                    batch, size = [], 0
            if batch:
                self.bodies.append(_request(batch))
        self.keys = [_KEY.format(number) for number in range(files)]

    def empty(self) -> None:
        """Delete what was written and create the indices again, so that neither way pays for that."""
        names = sorted(self.cluster.indices.get(index=_WRITTEN, params={"expand_wildcards": "all"}))
        self.cluster.indices.delete(index=_WRITTEN, params={"expand_wildcards": "all"})
        for name in names:
            self.cluster.indices.create(index=name)

    def measure(self, way: Callable[[], None]) -> Measure:
        """Return what ``way`` took."""
        before = (time.monotonic(), time.process_time(), *map(processor_seconds, self.pids))
        way()
        after = (time.monotonic(), time.process_time(), *map(processor_seconds, self.pids))
        wall, own, node, aws = (late - early for early, late in zip(before, after, strict=True))
        return Measure(self.count / wall, node, own, aws)

    def raw(self) -> None:
        """Send the bodies rendered before."""

        def send(request: tuple[str, bytes]) -> None:
            path, body = request
            self.cluster.transport.perform_request(
                "POST",
                path,
                params={"filter_path": "errors,items.*.status,items.*.error"},
                headers={"content-type": "application/x-ndjson"},
                body=body,
            )

        with ThreadPoolExecutor(self.workers) as pool:
            list(pool.map(send, self.bodies))

    def load(self) -> None:
        """Announce every file and let a worker drain the queue."""
        for key in self.keys:
            body = {
                "Records": [
                    {
                        "eventSource": "aws:s3",
                        "eventName": "ObjectCreated:Put",
                        "awsRegion": "us-east-1",
                        "s3": {"bucket": {"name": _BUCKET}, "object": {"key": key, "size": self.sizes[key]}},
                    }
                ]
            }
            self.sqs.send_message(QueueUrl=self.delivery.queue_url, MessageBody=json.dumps(body))
        totals = self._drain()
        if totals.counts.read != self.count or totals.counts.dead_lettered:
            print(f"unexpected: {totals.as_dict()}", file=sys.stderr)

    def _drain(self) -> Any:
        assembly = assemble(self.settings)
        handler = message_handler(assembly, queue=_BUCKET)
        options = QueueOptions(self.delivery.queue_url, workers=self.workers, drain=True)
        return QueueWorker(self.sqs, handler, options, clock=SystemClock()).run()


def _request(batch: list[Item]) -> tuple[str, bytes]:
    """Return path and body of the ``_bulk`` request that the loader would send."""
    index = batch[0].index
    return bulk_path(index), bulk_body(batch, index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=80, help="with fewer the node is still compiling")
    parser.add_argument("--records", type=int, default=2000, help="records a file")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2, help="threads of the worker, and connections of raw _bulk")
    parser.add_argument("--bulk-bytes", type=int, default=Settings().bulk_max_bytes, help="of one _bulk request")
    parser.add_argument("--heap", default="1g", help="heap of the node")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    rates: dict[str, list[Measure]] = defaultdict(list)
    _say("start a local stack")
    stack = LocalStack(f"bench-load-{os.getpid()}", settings=Settings(), heap=chosen.heap)
    try:
        stack.up()
        _say(f"generate, render and upload {chosen.files} files of {chosen.records} records")
        bench = Bench(stack, chosen)
        for number in range(chosen.rounds):
            ways = [("raw", bench.raw), ("load", bench.load)]
            for name, way in ways if number % 2 == 0 else ways[::-1]:
                bench.empty()
                for kind in ("new", "duplicates"):
                    found = bench.measure(way)
                    rates[f"{name}_{kind}"].append(found)
                    _say(
                        f"round {number + 1}: {name}, {kind}: {found.rate:,.0f} documents a second; processor seconds:"
                        f" node {found.node:.1f}, this process {found.self:.1f}, moto {found.aws:.1f}"
                    )
    finally:
        stack.down(delete_data=True)
    _print(rates, bench, as_json=chosen.json)


def _print(rates: dict[str, list[Measure]], bench: Bench, *, as_json: bool) -> None:
    kinds = ("new", "duplicates")
    rate = {name: statistics.median(one.rate for one in values) for name, values in rates.items()}
    # Million documents: what one core would need for them, all processes together.
    cpu = {
        name: {
            part: statistics.median(getattr(one, part) for one in values) / bench.count * 10**6
            for part in ("node", "self", "aws", "total")
        }
        for name, values in rates.items()
    }
    ratios = {kind: rate[f"load_{kind}"] / rate[f"raw_{kind}"] for kind in kinds}
    by_cpu = {kind: cpu[f"raw_{kind}"]["total"] / max(cpu[f"load_{kind}"]["total"], 1e-9) for kind in kinds}
    if as_json:
        found = {
            "records": bench.count,
            "bytes_of_log": bench.log_bytes,
            "documents_a_second": {name: round(value, 1) for name, value in rate.items()},
            "all_rounds": {name: [round(one.rate, 1) for one in values] for name, values in rates.items()},
            "processor_seconds_a_million": {
                name: {part: round(value, 1) for part, value in parts.items()} for name, parts in cpu.items()
            },
            "ratio_new": round(ratios["new"], 3),
            "ratio_duplicates": round(ratios["duplicates"], 3),
            "ratio_new_by_processor_time": round(by_cpu["new"], 3),
            "ratio_duplicates_by_processor_time": round(by_cpu["duplicates"], 3),
            "to_reach": _REACH,
        }
        print(json.dumps(found))
        return
    print(f"{bench.count} records of {bench.log_bytes / bench.count:.0f} bytes; medians of the rounds")
    print("\ndocuments a second")
    print(f"{'':<12} {'raw _bulk':>10} {'loader':>10} {'ratio':>7}")
    for kind in kinds:
        print(f"{kind:<12} {rate[f'raw_{kind}']:>10,.0f} {rate[f'load_{kind}']:>10,.0f} {ratios[kind]:>7.2f}")
    print("\nprocessor seconds a million documents")
    print(f"{'':<22} {'node':>8} {'client':>8} {'moto':>8} {'total':>8} {'ratio':>7}")
    for kind in kinds:
        for way in ("raw", "load"):
            parts = cpu[f"{way}_{kind}"]
            row = "".join(f" {parts[part]:>8.0f}" for part in ("node", "self", "aws", "total"))
            print(f"{way + ', ' + kind:<22}{row}" + (f" {by_cpu[kind]:>7.2f}" if way == "load" else ""))
    print(f"\nto reach: {_REACH}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
