"""Run a schedule of faults against worker processes, and judge what is left of the records."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from chaos_faults import Schedule
from chaos_proxy import FaultProxy, aws_kind, node_kind
from chaos_trail import LogFile, deliver, log_file
from opensearchpy import OpenSearch

from loader.config import Settings
from loader.index.client import make_client
from loader.local.aws import CREDENTIALS, REGION, environment

_WORKER = Path(__file__).with_name("chaos_worker.py")
_BUCKET = "chaos-trail"
#: Seconds without a message less in the queue, after which nothing is expected of the workers any more.
_STANDSTILL_S = 60
_VISIBILITY_S = 6
_CLIENT_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Plan:
    """One schedule. ``deadline_s`` bounds it, and a standstill of the queue what follows: every run ends."""

    seed: int
    faults: int
    deadline_s: float
    files_a_round: int = 12
    records_a_file: int = 40
    workers: int = 2
    rate: float = 0.25
    #: Seconds between two faults of processes (a worker killed, the node stopped), at least and at most.
    pause_s: tuple[float, float] = (2.0, 6.0)


@dataclass
class Verdict:
    """What was found at the end."""

    faults: Counter[str]
    files: int = 0
    records: int = 0
    messages: int = 0
    seconds: float = 0.0
    indexed: int = 0
    dead_lettered: int = 0
    problems: list[str] = field(default_factory=list)


class Harness:
    """Delivers files, breaks things, restarts workers, and then asks the cluster what it has.

    ``stop_node`` stops and starts the real node; without it, an outage is played by the proxy.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        node_url: str,
        aws_url: str,
        log_dir: Path,
        stop_node: Callable[[], None] | None = None,
    ) -> None:
        self.plan = plan
        self.schedule = Schedule(plan.seed, budget=plan.faults, rate=plan.rate)
        self.dice = random.Random(plan.seed)
        self.node_url, self.aws_url = node_url, aws_url
        self.log_dir = log_dir
        self.stop_node = stop_node
        self.cluster: OpenSearch = make_client(Settings(cluster_url=node_url))
        self.s3, self.sqs = self._aws("s3"), self._aws("sqs")
        self.bucket = f"{_BUCKET}-{uuid.uuid4().hex[:10]}"
        self.files: list[LogFile] = []
        self.messages = 0
        self._running: list[subprocess.Popen[bytes]] = []
        self._ends: list[int] = []

    def run(self) -> Verdict:
        """Run the schedule to its end and return the verdict."""
        started = time.monotonic()
        self.s3.create_bucket(Bucket=self.bucket)
        queue_url = self.sqs.create_queue(QueueName=self.bucket)["QueueUrl"]
        options: Any = {"stall_s": _VISIBILITY_S * 1.5, "late_s": _CLIENT_TIMEOUT_S + 1}
        with ExitStack() as stack:
            node = stack.enter_context(FaultProxy(self.node_url, self.schedule, node_kind, **options))
            aws = stack.enter_context(FaultProxy(self.aws_url, self.schedule, aws_kind, **options))
            try:
                self._break_things(queue_url, node, aws, started)
                problem = self._wait_until_empty(queue_url, node, aws, started)
            finally:
                self._stop_workers()
        verdict = self._judge()
        if problem:
            verdict.problems.insert(0, problem)
        verdict.seconds = time.monotonic() - started
        self.s3.close()
        self.sqs.close()
        self.cluster.close()
        return verdict

    # --- the schedule ---------------------------------------------------------------------------------------------

    def _break_things(self, queue_url: str, node: FaultProxy, aws: FaultProxy, started: float) -> None:
        self._deliver_round(queue_url)
        self._keep_running(queue_url, node, aws)
        limit = started + self.plan.deadline_s * 0.7
        next_blow = time.monotonic() + self.dice.uniform(*self.plan.pause_s)
        while not self.schedule.spent and time.monotonic() < limit:
            if self._left(queue_url) < self.plan.files_a_round // 2:
                self._deliver_round(queue_url)
            if time.monotonic() >= next_blow:
                self._blow(node)
                next_blow = time.monotonic() + self.dice.uniform(*self.plan.pause_s)
            self._keep_running(queue_url, node, aws)
            time.sleep(0.1)
        self.schedule.budget = 0  # from here on everything works again

    def _blow(self, node: FaultProxy) -> None:
        if self.dice.random() < 0.85:
            victim = self.dice.choice(self._running)
            victim.send_signal(signal.SIGKILL)
            self.schedule.count("worker: kill -9")
        elif self.stop_node is not None:
            self.schedule.count("node: stopped and started")
            self.stop_node()
        else:
            self.schedule.count("node: away for a while")
            node.away.set()
            time.sleep(self.dice.uniform(0.5, 3))
            node.away.clear()

    def _deliver_round(self, queue_url: str) -> None:
        fresh = []
        for _ in range(self.plan.files_a_round):
            made = log_file(self.dice, self.bucket, len(self.files), records=self.plan.records_a_file)
            self.s3.put_object(Bucket=self.bucket, Key=made.key, Body=made.body)
            self.files.append(made)
            fresh.append(made)
        older = self.dice.sample(self.files, min(3, len(self.files)))  # announced long ago, and now again
        self.messages += deliver(self.sqs, queue_url, self.bucket, fresh + older, self.dice)

    def _wait_until_empty(self, queue_url: str, node: FaultProxy, aws: FaultProxy, started: float) -> str | None:
        limit, fewest = started + self.plan.deadline_s, self.messages
        while (left := self._left(queue_url)) > 0:
            if left < fewest:  # a busy machine takes its time: only a standstill is a problem
                limit, fewest = max(limit, time.monotonic() + _STANDSTILL_S), left
            if time.monotonic() > limit:
                return f"{left} messages are still in the queue after {time.monotonic() - started:.0f} s"
            self._keep_running(queue_url, node, aws)
            time.sleep(0.2)
        return None

    def _left(self, queue_url: str) -> int:
        """Count messages in the queue: waiting, in work (or lost in a dead worker), and delayed."""
        names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
        found = self.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    # --- worker processes -----------------------------------------------------------------------------------------

    def _keep_running(self, queue_url: str, node: FaultProxy, aws: FaultProxy) -> None:
        for worker in list(self._running):
            if worker.poll() is not None:
                self._running.remove(worker)
                self._ends.append(worker.returncode)
        while len(self._running) < self.plan.workers:
            self._running.append(self._start(queue_url, node, aws))

    def _start(self, queue_url: str, node: FaultProxy, aws: FaultProxy) -> subprocess.Popen[bytes]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("SIEM_", "AWS_"))}
        env |= environment(aws.url) | {
            "SIEM_CLUSTER_URL": node.url,
            "SIEM_CLUSTER_TIMEOUT_S": str(_CLIENT_TIMEOUT_S),
            "SIEM_WORKERS": "2",
            "SIEM_BULK_MAX_BYTES": str(2**16),  # several bulk requests a file, so that a kill falls between them
        }
        queue = f"{aws.url}/{queue_url.split('/', 3)[3]}"
        with (self.log_dir / "workers.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, str(_WORKER), queue, str(_VISIBILITY_S)],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _stop_workers(self) -> None:
        """End every process this harness started, each by its own handle."""
        for worker in self._running:
            worker.terminate()
        for worker in self._running:
            try:
                self._ends.append(worker.wait(30))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait(10)
                self._ends.append(-999)
        self._running.clear()

    # --- the verdict ----------------------------------------------------------------------------------------------

    def _judge(self) -> Verdict:
        found = Verdict(Counter(self.schedule.done), len(self.files), messages=self.messages)
        found.records = sum(len(file.records) for file in self.files)
        documents = Counter(hit["_id"] for hit in self._all("log-*", {"term": {"aws.s3.bucket.name": self.bucket}}))
        letters = self._all("siem-dead-letters-*", {"term": {"bucket": self.bucket}})
        parked = Counter((hit["_source"]["key"], hit["_source"]["record_number"]) for hit in letters)
        found.indexed, found.dead_lettered = sum(documents.values()), len(letters)
        self._judge_records(found, documents, parked, letters)
        self._judge_ledger(found)
        ends = Counter(self._ends)
        for code in ends.keys() - {0, -signal.SIGKILL}:
            found.problems.append(f"{ends[code]} workers ended by themselves or did not stop, with code {code}")
        text = (self.log_dir / "workers.log").read_text(errors="replace")
        if "Traceback" in text:
            place = text.index("Traceback")
            found.problems.append(f"a worker logged a traceback: {text[max(0, place - 300) : place + 1500]}")
        return found

    def _judge_records(
        self,
        found: Verdict,
        documents: Counter[str],
        parked: Counter[tuple[str, int]],
        letters: list[dict[str, Any]],
    ) -> None:
        expected = set()
        for file in self.files:
            for one in file.records:
                place = (one.key, one.number)
                times = parked[place] + (documents[one.id] if one.id is not None else 0)
                expected.add(one.id)
                if times != 1:
                    where = [hit["_source"]["reason"] for hit in letters if hit["_source"]["key"] == one.key]
                    found.problems.append(f"{one.key}#{one.number} is there {times} times; its file's letters: {where}")
                if one.id is None and not parked[place]:
                    found.problems.append(f"{one.key}#{one.number} is no record, and no dead letter")
        for identifier in documents.keys() - expected:
            found.problems.append(f"document {identifier} comes from nowhere")
        places = {(one.key, one.number) for file in self.files for one in file.records}
        for place in parked.keys() - places:
            found.problems.append(f"dead letter {place} comes from nowhere")

    def _judge_ledger(self, found: Verdict) -> None:
        entries = {
            hit["_source"]["key"]: hit["_source"]
            for hit in self._all("siem-objects-*", {"term": {"bucket": self.bucket}})
        }
        for file in self.files:
            entry = entries.pop(file.key, None)
            if entry is None:
                found.problems.append(f"{file.key} is not in the ledger")
                continue
            sums = [entry, entry["latest"]] if "latest" in entry else [entry]
            for counts in sums:
                total = sum(counts[name] for name in ("indexed", "duplicates", "dead_lettered", "dropped"))
                if not counts["balanced"] or total != counts["read"] or total != len(file.records):
                    found.problems.append(f"{file.key} is not balanced in the ledger: {counts}")
        found.problems += [f"the ledger has {key} from nowhere" for key in entries]

    def _all(self, pattern: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        """Return every hit, page by page."""
        options = {"ignore_unavailable": "true"}
        self.cluster.indices.refresh(index=pattern, params=options)
        hits: list[dict[str, Any]] = []
        answer = self.cluster.search(
            index=pattern,
            body={"size": 5000, "query": query, "_source": {"excludes": ["raw", "message", "aws", "event"]}},
            params={**options, "scroll": "1m"},
        )
        while answer["hits"]["hits"]:
            hits += answer["hits"]["hits"]
            answer = self.cluster.scroll(scroll_id=answer["_scroll_id"], params={"scroll": "1m"})
        self.cluster.clear_scroll(scroll_id=answer["_scroll_id"])
        return hits

    def _aws(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.aws_url,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )
