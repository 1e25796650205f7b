"""Records that the cluster has are told before documents are made of them: few questions, and no wrong answers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, cast

import pytest
from opensearchpy.exceptions import ConnectionError as ClusterConnectionError
from opensearchpy.exceptions import TransportError

from loader.index.lookup import Lookup
from loader.ingest.known import KnownRecords
from loader.ingest.report import ObjectReport
from loader.ingest.work import Work
from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import LogType, ObjectContext
from loader.source.objects import ObjectRef, Piece

CONTEXT = ObjectContext("bucket", "a.json.gz", "2023-07-10T12:00:00.000Z")
PIECES = [
    Piece(number, b'{"eventTime":"2023-07-%02dT11:00:00Z","eventID":"%d"}' % (10 + number % 2, number))
    for number in range(100)
]


def id_of(piece: Piece) -> str:
    return CLOUDTRAIL.normalise(piece.raw, CONTEXT, False).id


class Held:
    """A cluster that holds some ids and counts what it is asked."""

    def __init__(self, ids: Collection[str]) -> None:
        self.ids = frozenset(ids)
        self.asked: list[tuple[str, int]] = []

    def present(self, index: str, ids: Collection[str]) -> frozenset[str]:
        self.asked.append((index, len(ids)))
        return self.ids.intersection(ids)


def work(log_type: LogType | None = CLOUDTRAIL) -> Work:
    return Work(ObjectReport(ObjectRef("bucket", "a.json.gz")), CONTEXT, 0.0, log_type)


def known(held: Held, pieces: list[Piece], log_type: LogType = CLOUDTRAIL) -> set[int]:
    (found,) = KnownRecords(cast(Lookup, held)).among([(work(log_type), pieces)])
    return set(found)


def test_of_new_records_only_a_sample_is_asked_for() -> None:
    held = Held([])
    assert known(held, PIECES) == set()
    assert sum(count for _, count in held.asked) < 12


def test_known_records_are_found_in_the_index_of_their_day() -> None:
    held = Held([id_of(piece) for piece in PIECES])
    assert known(held, PIECES) == set(range(100))
    assert {index for index, _ in held.asked} == {"log-aws-cloudtrail-2023.07.10", "log-aws-cloudtrail-2023.07.11"}


def test_what_is_missing_among_known_records_is_not_known() -> None:
    missing = {3, 50, 99}
    held = Held([id_of(piece) for piece in PIECES if piece.number not in missing])
    assert known(held, PIECES) == set(range(100)) - missing


def test_a_record_that_cannot_be_placed_is_not_known() -> None:
    held = Held([id_of(piece) for piece in PIECES])
    odd = [Piece(100, b"{"), Piece(101, b'{"eventTime":17}'), Piece(102, PIECES[5].raw.replace(b":", b": ", 1))]
    assert known(held, [*PIECES, *odd]) == set(range(100))


def test_few_records_are_not_worth_a_question() -> None:
    held = Held([id_of(piece) for piece in PIECES])
    assert known(held, PIECES[:20]) == set()
    assert held.asked == []


def test_a_log_type_that_cannot_place_its_records_is_never_asked_for() -> None:
    held = Held([id_of(piece) for piece in PIECES])
    assert known(held, PIECES, LogType("other", "other", CLOUDTRAIL.normalise)) == set()
    assert held.asked == []


def test_small_objects_are_asked_for_together() -> None:
    held = Held([id_of(piece) for piece in PIECES])
    runs = [(work(None if first == 40 else CLOUDTRAIL), PIECES[first : first + 10]) for first in range(0, 100, 10)]
    found = KnownRecords(cast(Lookup, held)).among(runs)
    assert [len(places) for places in found] == [10, 10, 10, 10, 0, 10, 10, 10, 10, 10]
    for (_, pieces), places in zip(runs, found, strict=True):
        assert all(id_of(pieces[position]) == place.id for position, place in places.items())


def test_of_an_object_that_begins_with_new_records_the_rest_is_not_asked_for() -> None:
    held = Held([id_of(piece) for piece in PIECES])
    new, old, asker = work(), work(), KnownRecords(cast(Lookup, held))
    fresh = [Piece(number, b'{"eventTime":"2023-07-10T11:00:00Z","eventID":"new%d"}' % number) for number in range(90)]
    assert asker.among([(new, fresh)]) == [{}]
    held.asked.clear()
    found = asker.among([(new, fresh), (old, PIECES)])
    assert [len(places) for places in found] == [0, 100]
    assert sum(count for _, count in held.asked) < 120
    assert asker.among([(new, fresh)]) == [{}]


def test_what_a_sample_finds_is_known_even_if_it_tells_nothing() -> None:
    held = Held([id_of(PIECES[0])])
    assert known(held, PIECES) <= {0}


class Cluster:
    """A client whose answers, or errors, are given."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.transport = self
        self.answer = answer
        self.requests = 0

    def perform_request(self, *_: object, **__: object) -> Any:
        self.requests += 1
        return self.answer()


class Clock:
    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


def fails(error: Exception) -> Callable[[], Any]:
    def answer() -> Any:
        raise error

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"docs": None},
        {"docs": [None, 17, {}, {"_id": "a"}, {"_id": "a", "found": False}, {"_id": "a", "found": "true"}]},
        {"docs": [{"_id": "another", "found": True}]},
        {"docs": [{"found": True}]},
    ],
)
def test_only_a_clear_answer_makes_a_document_known(answer: Any) -> None:
    lookup = Lookup(cast(Any, Cluster(lambda: answer)), clock=cast(Any, Clock()))
    assert lookup.present("index", ["a", "b"]) == frozenset()


def test_a_clear_answer_is_believed() -> None:
    answer = {"docs": [{"_id": "a", "found": True}, {"_id": "b", "found": False}]}
    lookup = Lookup(cast(Any, Cluster(lambda: answer)), clock=cast(Any, Clock()))
    assert lookup.present("index", ["a", "b"]) == {"a"}


@pytest.mark.parametrize(
    "error", [TransportError(405, "not allowed", {}), ClusterConnectionError("N/A", "gone", OSError("gone"))]
)
def test_a_cluster_that_cannot_be_asked_is_left_alone_for_a_while(error: Exception) -> None:
    cluster, clock = Cluster(fails(error)), Clock()
    lookup = Lookup(cast(Any, cluster), clock=cast(Any, clock))
    assert lookup.present("index", ["a"]) == lookup.present("index", ["a"]) == frozenset()
    assert cluster.requests == 1
    clock.now_s = 120.0
    assert lookup.present("index", ["a"]) == frozenset()
    assert cluster.requests == 2
