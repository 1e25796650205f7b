"""Objects that are loaded together: they share requests, and what happens to one of them happens to no other.

The cluster is a stand-in that does what it is told: tests/integration/test_load_groups.py asks a real one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import orjson
import pytest

from loader.clock import SystemClock
from loader.errors import ClusterError
from loader.identity.model import Edge
from loader.index.bulk import DUPLICATE, INDEXED, BulkWriter, HoldError, Item, UnavailableError, Verdict
from loader.index.ledger import Ledger
from loader.index.outcomes import Outcome
from loader.index.parked import DeadLetter, DeadLetterOffice
from loader.ingest.allowance import Allowance
from loader.ingest.known import KnownRecords
from loader.ingest.objects import Arrival, ObjectLoader
from loader.ingest.report import ObjectReport
from loader.ingest.sessions import SessionKeeper
from loader.ingest.work import SuspiciousRejectionsError
from loader.source import patient
from loader.source.fetch import TransientSourceError
from loader.source.objects import FetchError, Limits, ObjectRef
from tests.unit.logtypes.samples import record


class Cluster:
    """Every part of the cluster that loading writes to. ``rule`` gives a verdict, raises, or leaves it (``None``)."""

    def __init__(self) -> None:
        self.rule: Callable[[Item], Verdict | None] = lambda _: None
        self.written: dict[str, bytes] = {}
        self.requests: list[int] = []
        self.letters: list[DeadLetter] = []
        self.entries: list[tuple[ObjectRef, dict[str, Any]]] = []
        self.edges: list[tuple[ObjectRef, Edge]] = []
        self.ledger_away = self.office_away = False

    def write_each(self, items: Sequence[Item]) -> list[Verdict]:
        self.requests.append(len(items))
        found = [self.rule(item) for item in items]
        for at, item in enumerate(items):
            if found[at] is None:
                found[at] = DUPLICATE if item.id in self.written else INDEXED
                self.written[item.id] = item.body
        return [verdict for verdict in found if verdict is not None]

    def among(self, runs: Sequence[Any]) -> list[dict[int, Any]]:
        return [{} for _ in runs]

    def keep(self, found: Sequence[tuple[ObjectRef, Edge]]) -> None:
        self.edges += found

    def write(self, listed: Sequence[Any]) -> None:
        if listed and isinstance(listed[0], DeadLetter):
            if self.office_away:
                raise ClusterError("away")
            self.letters += listed
        else:
            if self.ledger_away:
                raise ClusterError("away")
            self.entries += listed


class Bucket:
    """Objects by key; an exception in place of one is raised."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes | Exception] = {}
        self.asked: list[str] = []

    def __call__(self, ref: ObjectRef) -> Iterator[bytes]:
        self.asked.append(ref.key)
        found = self.objects[ref.key]
        if isinstance(found, Exception):
            raise found
        return iter([found])

    def put(self, key: str, *numbers: int, **changes: Any) -> ObjectRef:
        raws = [orjson.dumps(record(eventID=f"{key}-{number}", **changes)) for number in numbers]
        self.objects[key] = b'{"Records":[' + b",".join(raws) + b"]}"
        return ObjectRef("b", key, size=100)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def loader(cluster: Cluster, bucket: Bucket) -> ObjectLoader:
    return ObjectLoader(
        fetch=bucket,
        writer=cast(BulkWriter, cluster),
        dead_letters=cast(DeadLetterOffice, cluster),
        ledger=cast(Ledger, cluster),
        sessions=cast(SessionKeeper, cluster),
        known=cast(KnownRecords, cluster),
        clock=SystemClock(),
        limits=Limits(),
        bulk_max_bytes=5 * 2**20,
    )


def load(loader: ObjectLoader, *refs: ObjectRef) -> list[Any]:
    """Reports as (indexed, duplicates, dead-lettered), errors as their type."""
    told: list[Any] = []
    for outcome in loader.load_together([Arrival(ref) for ref in refs]):
        if isinstance(outcome, ObjectReport):
            counts = outcome.counts
            told.append((counts.indexed, counts.duplicates, counts.dead_lettered))
        else:
            told.append(type(outcome))
    return told


def test_small_objects_share_a_request_and_keep_their_accounts(
    loader: ObjectLoader, cluster: Cluster, bucket: Bucket
) -> None:
    refs = [bucket.put(f"k{number}", *range(number + 1)) for number in range(20)]
    assert load(loader, *refs) == [(number + 1, 0, 0) for number in range(20)]
    assert cluster.requests == [210]
    assert [ref.key for ref, _ in cluster.entries] == [ref.key for ref in refs]
    assert [entry["read"] for _, entry in cluster.entries] == [number + 1 for number in range(20)]
    assert load(loader, *refs) == [(0, number + 1, 0) for number in range(20)]


def test_the_same_object_twice_in_a_group(loader: ObjectLoader, bucket: Bucket) -> None:
    ref = bucket.put("k", 1, 2)
    assert load(loader, ref, ref) == [(2, 0, 0), (0, 2, 0)]


def test_what_one_object_is_held_for_holds_no_other(loader: ObjectLoader, cluster: Cluster, bucket: Bucket) -> None:
    held = Verdict(Outcome.HOLD, "index_closed_exception", "closed", HoldError("index_closed_exception", "closed"))
    cluster.rule = lambda item: held if b"k1-" in item.body else None
    refs = [bucket.put(f"k{number}", 1, 2) for number in range(3)]
    assert load(loader, *refs) == [(2, 0, 0), HoldError, (2, 0, 0)]
    assert [ref.key for ref, _ in cluster.entries] == ["k0", "k2"]
    assert cluster.requests == [6]


@pytest.mark.parametrize("error", [HoldError("security_exception", "no"), KeyError("a defect")])
def test_what_stops_all_is_tried_with_each_alone(
    loader: ObjectLoader, cluster: Cluster, bucket: Bucket, error: Exception
) -> None:
    def rule(item: Item) -> Verdict | None:
        if b"k1-" in item.body:
            raise error
        return None

    cluster.rule = rule
    refs = [bucket.put(f"k{number}", 1, 2) for number in range(3)]
    assert load(loader, *refs) == [(2, 0, 0), type(error), (2, 0, 0)]
    assert cluster.requests == [6, 2, 2, 2]


def test_a_cluster_that_is_away_is_asked_once_a_group(loader: ObjectLoader, cluster: Cluster, bucket: Bucket) -> None:
    def rule(_: Item) -> Verdict | None:
        raise UnavailableError("timeout", "still refused")

    cluster.rule = rule
    refs = [bucket.put(f"k{number}", 1) for number in range(10)]
    assert load(loader, *refs) == [UnavailableError] * 10
    assert cluster.requests == [10]
    assert cluster.entries == []


def test_objects_that_do_not_come_fail_alone_or_are_parked(
    loader: ObjectLoader, cluster: Cluster, bucket: Bucket
) -> None:
    refs = [bucket.put(f"k{number}", 1) for number in range(4)]
    bucket.objects["k1"] = TransientSourceError("slow")
    bucket.objects["k2"] = FetchError("gone", kind="missing")
    assert load(loader, *refs) == [(1, 0, 0), TransientSourceError, (0, 0, 1), (1, 0, 0)]
    assert [letter.reason for letter in cluster.letters] == ["missing"]


def test_bad_records_are_letters_of_their_own_object(loader: ObjectLoader, cluster: Cluster, bucket: Bucket) -> None:
    refs = [bucket.put("k0", 1), bucket.put("k1", 1, 2, eventTime="never"), bucket.put("k2", 1)]
    assert load(loader, *refs) == [(1, 0, 0), (0, 0, 2), (1, 0, 0)]
    assert [(letter.ref.key, letter.record_number) for letter in cluster.letters] == [("k1", 1), ("k1", 2)]


def test_one_object_of_which_too_much_is_refused(loader: ObjectLoader, cluster: Cluster, bucket: Bucket) -> None:
    refused = Verdict(Outcome.REJECTED, "mapper_parsing_exception", "no")
    cluster.rule = lambda item: refused if b"k1-" in item.body else None
    refs = [bucket.put("k0", 1), bucket.put("k1", *range(30)), bucket.put("k2", 1)]
    assert load(loader, *refs) == [(1, 0, 0), SuspiciousRejectionsError, (1, 0, 0)]
    assert cluster.letters == []


def test_letters_that_cannot_be_written_hold_their_objects_only(
    loader: ObjectLoader, cluster: Cluster, bucket: Bucket
) -> None:
    cluster.office_away = True
    refs = [bucket.put("k0", 1), bucket.put("k1", 1, eventTime="never"), bucket.put("k2", 1)]
    assert load(loader, *refs) == [(1, 0, 0), ClusterError, (1, 0, 0)]


def test_without_the_ledger_nothing_is_acknowledged(loader: ObjectLoader, cluster: Cluster, bucket: Bucket) -> None:
    cluster.ledger_away = True
    assert load(loader, bucket.put("k0", 1), bucket.put("k1", 1)) == [ClusterError, ClusterError]


def test_what_is_not_begun_is_said_to_be(loader: ObjectLoader, cluster: Cluster, bucket: Bucket) -> None:
    refs = [bucket.put(f"k{number}", 1) for number in range(4)]
    asked = iter([True, True, False, False])
    outcomes = loader.load_together([Arrival(ref) for ref in refs], Allowance(lambda: next(asked)))
    assert [type(outcome) for outcome in outcomes] == [ObjectReport, ObjectReport, type(None), type(None)]
    assert len(cluster.written) == 2


def test_large_groups_are_closed_in_between(loader: ObjectLoader, cluster: Cluster, bucket: Bucket) -> None:
    refs = [bucket.put(f"k{number}", 1) for number in range(150)]
    assert load(loader, *refs) == [(1, 0, 0)] * 150
    assert cluster.requests == [64, 64, 22]


def test_bodies_are_sent_when_they_are_full(cluster: Cluster, bucket: Bucket, loader: ObjectLoader) -> None:
    loader._bulk_max_bytes = 20_000
    refs = [bucket.put(f"k{number}", *range(7)) for number in range(10)]
    assert load(loader, *refs) == [(7, 0, 0)] * 10
    assert sum(cluster.requests) == 70
    assert len(cluster.requests) > 5


def test_sessions_that_were_handed_out_are_kept_with_their_object(
    loader: ObjectLoader, cluster: Cluster, bucket: Bucket
) -> None:
    issued = {"credentials": {"accessKeyId": "ASIAONE00000000000001"}}
    ref = bucket.put("k1", 1, eventSource="sts.amazonaws.com", eventName="AssumeRole", responseElements=issued)
    assert load(loader, bucket.put("k0", 1), ref, ref) == [(1, 0, 0), (1, 0, 0), (0, 1, 0)]
    assert [(ref.key, edge.issued.access_key_id) for ref, edge in cluster.edges] == [
        ("k1", "ASIAONE00000000000001"),
        ("k1", "ASIAONE00000000000001"),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_every_account_balances_and_every_record_is_somewhere(
    loader: ObjectLoader, cluster: Cluster, bucket: Bucket, seed: int
) -> None:
    dice = random.Random(seed)
    refused = Verdict(Outcome.REJECTED, "mapper_parsing_exception", "no")
    held = Verdict(Outcome.HOLD, "cluster_block_exception", "full", HoldError("cluster_block_exception", "full"))

    def rule(item: Item) -> Verdict | None:
        fate = dice.random()
        if fate < 0.01:
            raise HoldError("security_exception", "no")
        return refused if fate < 0.02 else held if fate < 0.03 else None

    cluster.rule = rule
    loader._bulk_max_bytes = 60_000
    refs = [bucket.put(f"k{number}", *range(dice.randrange(12))) for number in range(30)]
    for number in dice.sample(range(30), 3):
        bucket.objects[f"k{number}"] = dice.choice([TransientSourceError("slow"), FetchError("gone", kind="missing")])
    waiting, safe = refs, []
    for _ in range(40):
        outcomes = loader.load_together([Arrival(ref) for ref in waiting])
        safe += [outcome for outcome in outcomes if isinstance(outcome, ObjectReport)]
        waiting = [ref for ref, one in zip(waiting, outcomes, strict=True) if not isinstance(one, ObjectReport)]
        for ref in waiting:
            if isinstance(bucket.objects[ref.key], TransientSourceError):
                bucket.put(ref.key, 1)
    assert waiting == []
    assert len(safe) == 30
    assert all(report.counts.balanced for report in safe)
    # Every record of every object that there is was indexed (perhaps in a try that failed later) or is a letter.
    lettered = {(letter.ref.key, letter.record_number) for letter in cluster.letters}
    for key, content in bucket.objects.items():
        for number, raw in enumerate(orjson.loads(content)["Records"] if isinstance(content, bytes) else [], 1):
            there = any(b'"%b"' % raw["eventID"].encode() in body for body in cluster.written.values())
            assert there or (key, number) in lettered


def test_of_an_object_that_is_not_read_to_its_end_what_was_read_is_loaded(
    loader: ObjectLoader, cluster: Cluster, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is parked, and its letter tells a replay to read the object again."""
    monkeypatch.setattr(patient, "_MOST_EMPTY_LISTS", 100)
    refs = [bucket.put("k0", 1), bucket.put("k1", 1, 2), bucket.put("k2", 1)]
    whole = bucket.objects["k1"]
    assert isinstance(whole, bytes)
    bucket.objects["k1"] = whole + b"[]" * 200
    assert load(loader, *refs) == [(1, 0, 0), (2, 0, 1), (1, 0, 0)]
    assert [(letter.reason, letter.cut) for letter in cluster.letters] == [("too_dense", True)]
    assert [(entry["outcome"], entry.get("reason")) for _, entry in cluster.entries] == [
        ("loaded", None),
        ("parked", "too_dense"),
        ("loaded", None),
    ]
