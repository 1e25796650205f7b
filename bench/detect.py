"""How long one cycle of detection takes, and what that depends on.

    python bench/detect.py [--docs 100000 --docs 1000000 --docs 3000000] [--new 10000] [--rules 200] [--json]

The rules are the project's own: every correlation of the pack first, then rules about single events until there are
``--rules`` of them. Documents are generated records and, ``--attacks`` of them, the bundled real ones of an attack, in
their order, with other people, keys and times, in daily indices. For each size, which only adds to the one before:

- the first cycle of an installation that finds all these documents;
- cycles with ``--new`` documents more each, a twentieth of them of the days before;
- with ``--downtime N``, one more cycle after N times as many.

To reach: a cycle below 10 s with 200 rules, 1,000,000 documents and 10,000 new ones, and a time that grows with what is
new, not with what is there. Compiling and testing the pack are timed besides (below 2 s and 5 s).

Starts a server of its own and deletes it at the end. With ``--url`` an existing one is used: every ``log-*`` and
``siem-*`` index there is deleted first (``--reuse``: only ``siem-*``).
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
from generated_records import records
from opensearchpy import OpenSearch

from loader.clock import SystemClock, rfc3339
from loader.config import Settings
from loader.detection.compile import Pack, compile_rules
from loader.detection.load import load_rules
from loader.detection.model import CompiledCorrelation, CompiledRule
from loader.detection.report import RunReport
from loader.detection.run import RunOptions, run_once
from loader.index.client import make_client
from loader.index.templates import apply, plan, read_templates
from loader.local.stack import LocalStack
from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import ObjectContext
from loader.project import rules_dir, sample_events_dir

_EVENTS, _OWN = "log-*", "siem-*"
_BULK = 2000
_POOL = 20_000
#: Stand in the templates where a copy has its own time and ids.
_TIME, _INGESTED = b"2001-02-03T04:05:06Z", b"2001-02-03T04:10:06Z"
_EVENT_ID, _REQUEST_ID = b"eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee", b"aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
#: Calls of generated records that change something, and how many of them are left in.
_CHANGING, _CHANGES = (b"PutRolePolicy", b"RunInstances", b"CreateLogStream"), 0.02
_AGENTS = ("aws-cli/2.13.5 Python/3.11.4 Linux/5.10.0", "Boto3/1.28.20 md/Botocore#1.31.20", "aws-sdk-go/1.44.122")
_END = datetime(2026, 5, 20, 12, tzinfo=timezone.utc)

Node = CompiledRule | CompiledCorrelation


@dataclass
class Figure:
    """One cycle, or one other thing that was timed. ``node`` and ``python`` are processor seconds."""

    what: str
    documents: int = 0
    new: int = 0
    seconds: float = 0.0
    node: float = 0.0
    python: float = 0.0
    searches: int = 0
    matches: int = 0
    alerts: int = 0
    errors: int = 0

    def __str__(self) -> str:
        return (
            f"{self.documents:>9,} there, {self.new:>9,} new: {self.what:<28} {self.seconds:7.2f} s"
            f" (node {self.node:.1f}, Python {self.python:.1f}), {self.searches} searches, {self.matches} matches,"
            f" {self.alerts} new alerts" + (f", {self.errors} RULES FAILED" if self.errors else "")
        )


class Documents:
    """Documents without end, made by filling in templates."""

    def __init__(self, attacks: float, seed: int = 7) -> None:
        self._dice = random.Random(seed)
        self._attacks = attacks
        self._usual = [_template(raw) for raw in self._everyday()]
        self._attack = [_template(raw) for raw in _real()]
        self._place = 0

    def _everyday(self) -> Iterator[bytes]:
        """Yield generated records, but few of those that change something: in real trails they are a small part."""
        for raw in records(_POOL, days=1):
            if self._dice.random() < _CHANGES or not any(name in raw for name in _CHANGING):
                record = orjson.loads(raw)
                # Everybody keeps to one place and one program: else each key has a hundred addresses an hour.
                who = sum(record["userIdentity"]["arn"].encode())
                record["sourceIPAddress"] = f"203.0.113.{who % 250}"
                record["userAgent"] = _AGENTS[who % len(_AGENTS)]
                yield orjson.dumps(record)

    def lines(self, count: int, start: datetime, days: float) -> Iterator[bytes]:
        """Yield ``count`` bulk actions with their documents, in the order of time from ``start``."""
        for number in range(count):
            moment = start + timedelta(days=days * number / count)
            body = self._next().replace(_TIME, rfc3339(moment).encode())
            body = body.replace(_INGESTED, rfc3339(moment + timedelta(minutes=5)).encode())
            body = body.replace(_EVENT_ID, self._id()).replace(_REQUEST_ID, self._id())
            action = {"create": {"_index": f"log-aws-cloudtrail-{moment:%Y.%m.%d}", "_id": self._id().decode()}}
            yield orjson.dumps(action) + b"\n" + body

    def _next(self) -> bytes:
        if self._dice.random() >= self._attacks:
            return self._dice.choice(self._usual)
        # Fifty events in their order by one attacker, then somebody else does the next fifty.
        self._place += 1
        attacker = f"{self._place // 50 % 500:03d}".encode()
        return self._attack[self._place % len(self._attack)].replace(b"~~~", attacker)

    def _id(self) -> bytes:
        text = f"{self._dice.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}".encode()


def _real() -> Iterator[bytes]:
    """Yield the bundled records, the people's names and keys with a place for the copy's number."""
    for path in sorted(sample_events_dir().glob("*.json.gz")):
        for record in orjson.loads(gzip.decompress(path.read_bytes()))["Records"]:
            who = record.get("userIdentity", {})
            for name in ("arn", "userName", "accessKeyId", "principalId"):
                if isinstance(who.get(name), str):
                    who[name] += "~~~"
            yield orjson.dumps(record)


def _template(raw: bytes) -> bytes:
    record = orjson.loads(raw)
    record["eventTime"] = _TIME.decode()
    record["eventID"] = _EVENT_ID.decode()
    if "requestID" in record:
        record["requestID"] = _REQUEST_ID.decode()
    context = ObjectContext("bench", "bench.json.gz", _INGESTED.decode())
    body = CLOUDTRAIL.normalise(orjson.dumps(record), context, False).body
    assert body.count(_TIME) == body.count(_INGESTED) == 1
    return body


def send(client: OpenSearch, lines: Iterator[bytes]) -> None:
    batch: list[bytes] = []
    for line in lines:
        batch.append(line)
        if len(batch) == _BULK:
            _send(client, batch)
            batch = []
    _send(client, batch)


def _send(client: OpenSearch, batch: list[bytes]) -> None:
    if not batch:
        return
    answer = client.transport.perform_request(
        "POST",
        "/_bulk",
        params={"filter_path": "errors,items.*.error.reason"},
        headers={"content-type": "application/x-ndjson"},
        body=b"\n".join(batch) + b"\n",
    )
    assert not answer["errors"], answer["items"][0]


def chosen(pack: Pack, count: int) -> list[Node]:
    """Return ``count`` rules (0: all), correlations first; copies of rules about single events if there are too few."""
    rules: list[Node] = [*pack.correlations, *pack.rules]
    if not count:
        return rules
    number = 0
    while len(rules) < count:
        original = pack.rules[number % len(pack.rules)]
        uuid = f"{original.rule.uuid[:-6]}{number:06d}"
        rules.append(replace(original, rule=replace(original.rule, uuid=uuid, name=f"{original.rule.name}_{number}")))
        number += 1
    return rules[:count]


class Bench:
    """One server, growing."""

    def __init__(self, client: OpenSearch, options: Any) -> None:
        self.client = client
        self.options = options
        self.figures: list[Figure] = []
        # Another seed for a server that holds some: ids must not come again.
        self.documents = Documents(options.attacks, seed=time.time_ns() if options.reuse else 7)
        self.minutes = 0
        self.rules: list[Node] = []
        self.there = 0

    def compile(self) -> None:
        cpu, began = _own_seconds(), time.perf_counter()
        pack = compile_rules(load_rules((rules_dir(),)))
        self._timed("loading and compiling the pack", began, _own_seconds() - cpu)
        for command in ("test", "check"):
            cpu, began = _childrens_seconds(), time.perf_counter()
            arguments = [sys.executable, "-c", "from loader.cli.main import main; main()", "rules", command]
            subprocess.run(arguments, check=False, stdout=subprocess.DEVNULL)
            self._timed(f"siem rules {command}, the whole process", began, _childrens_seconds() - cpu)
        self.rules = chosen(pack, self.options.rules)
        kinds = Counter(rule.type for rule in self.rules if isinstance(rule, CompiledCorrelation))
        self._say(f"{len(self.rules)} rules, of which correlations: {dict(kinds)}")

    def _timed(self, what: str, began: float, cpu: float) -> None:
        figure = Figure(what, seconds=time.perf_counter() - began, python=cpu)
        self._add(figure, f"{what}: {figure.seconds:.2f} s ({figure.python:.2f} s of processor)")

    def grow(self, docs: int) -> None:
        days = self.options.days
        while self.there < docs:
            part = min(docs - self.there, 100_000)
            began = time.perf_counter()
            send(self.client, self.documents.lines(part, _END - timedelta(days=days), days))
            self.there += part
            self._say(f"{self.there:>9,} indexed, {part / (time.perf_counter() - began):,.0f} documents/s")

    def measure(self) -> None:
        self.client.indices.delete(index=_OWN, params={"ignore_unavailable": "true"})
        apply(self.client, plan(self.client, read_templates()))
        # What a server does in quiet moments anyway: else the first size would have many small segments, the last few.
        self.client.indices.forcemerge(index=_EVENTS, max_num_segments=5, params={"request_timeout": 3600})
        self.cycle("first cycle, all of it new", self.there)
        for _ in range(self.options.cycles):
            self.cycle("cycle", self.add(self.options.new))
        self.cycle("cycle with nothing new", 0)
        if self.options.downtime:
            self.cycle(
                f"cycle after {self.options.downtime} times that", self.add(self.options.new * self.options.downtime)
            )

    def add(self, count: int) -> int:
        """Index new documents as they come: the last minutes', a twentieth of the days before."""
        late = count // 20
        minutes = count // self.options.new
        send(self.client, self.documents.lines(count - late, _END + timedelta(minutes=self.minutes), minutes / 1440))
        self.minutes += minutes
        send(self.client, self.documents.lines(late, _END - timedelta(days=self.options.days), self.options.days))
        self.there += count
        return count

    def cycle(self, what: str, new: int) -> None:
        node, own, began = self._node_seconds(), _own_seconds(), time.perf_counter()
        report = run_once(
            self.client, self.rules, clock=SystemClock(), options=RunOptions(workers=Settings().detect_workers)
        )
        figure = Figure(
            what,
            self.there - new,
            new,
            time.perf_counter() - began,
            self._node_seconds() - node,
            _own_seconds() - own,
            report.searches,
            sum(count.matches for count in report.rules),
            report.alerts_new,
            len(report.errors),
        )
        self._add(figure, str(figure))
        self._explain(report)

    def _explain(self, report: RunReport) -> None:
        for name, error in report.errors.items():
            self._say(f"          {name}: {error}")

    def _add(self, figure: Figure, text: str) -> None:
        self.figures.append(figure)
        self._say(text)

    def _say(self, text: str) -> None:
        if not self.options.json:
            print(text, flush=True)

    def _node_seconds(self) -> float:
        nodes = self.client.nodes.stats(metric="process")["nodes"].values()
        return sum(node["process"]["cpu"]["total_in_millis"] for node in nodes) / 1000


def _own_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _childrens_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a server whose log-* and siem-* indices may be deleted")
    parser.add_argument("--reuse", action="store_true", help="keep the log-* indices that are there")
    parser.add_argument("--docs", type=int, action="append", help="documents there already (repeatable)")
    parser.add_argument("--new", type=int, default=10_000, help="new ones before each cycle")
    parser.add_argument("--rules", type=int, default=200, help="how many rules; 0 for the pack as it is")
    parser.add_argument("--attacks", type=float, default=0.02, help="the part of the documents that are an attack's")
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument("--downtime", type=int, default=0, help="also one cycle after so many times --new")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    stack = None if options.url else LocalStack("bench-detect", settings=Settings())
    try:
        url = options.url or (stack and stack.up().node.url)
        bench = Bench(make_client(Settings(cluster_url=url, cluster_timeout_s=600)), options)
        if options.reuse:
            bench.there = int(bench.client.count(index=_EVENTS)["count"])
        else:
            bench.client.indices.delete(index=f"{_EVENTS},{_OWN}", params={"ignore_unavailable": "true"})
        apply(bench.client, plan(bench.client, read_templates()))
        bench.compile()
        for docs in options.docs or [100_000, 1_000_000, 3_000_000]:
            bench.grow(docs)
            bench.measure()
    finally:
        if stack:
            stack.down(delete_data=True)
    if options.json:
        print(json.dumps([asdict(figure) for figure in bench.figures]))


if __name__ == "__main__":
    main()
