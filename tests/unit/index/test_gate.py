"""What the gate asks of the cluster before the first write to an index."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any

import pytest
from opensearchpy.exceptions import AuthorizationException, ConnectionTimeout, RequestError

from loader.errors import ClusterError
from loader.index.gate import IndexGate, TooManyIndicesError

NOW = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


class Noon:
    """A clock that stands still."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


class Cluster:
    """Stands for a cluster: refuses creation as it is told, which a real one cannot be made to do here."""

    def __init__(self, refusal: Exception | None = None, refused: tuple[str, ...] = ()) -> None:
        self.created: dict[str, Any] = {}
        self.asked = 0
        self.refusal = refusal
        self.refused = refused
        self.indices = self

    def exists(self, index: str) -> bool:
        return index in self.created

    def create(self, index: str, body: Any) -> None:
        self.asked += 1
        if self.refusal:
            raise self.refusal
        for setting in body["settings"]:
            if setting in self.refused:
                raise RequestError(400, "illegal_argument_exception", {"error": f"unknown setting [{setting}]"})
        self.created[index] = body


def gate(cluster: Any, **more: Any) -> IndexGate:
    return IndexGate(cluster, clock=Noon(), **more)


@pytest.mark.parametrize(
    ("index", "day"),
    [
        ("log-aws-cloudtrail-2026.11.24", date(2026, 11, 24)),
        ("log-aws-cloudtrail-2026.11.10", date(2026, 11, 10)),
        ("log-aws-cloudtrail-2024.11.25", date(2024, 11, 25)),
        ("log-aws-cloudtrail-2024.11.24", None),  # 730 days and a half: a manager would delete it at once
        ("log-aws-cloudtrail-2023.07.10", None),
        ("log-aws-cloudtrail-2026.11.25", None),
        ("log-aws-cloudtrail-misdated", None),
        ("siem-objects-2026.11", None),
    ],
)
def test_an_index_is_as_old_as_its_events(index: str, day: date | None) -> None:
    cluster = Cluster()
    gate(cluster).admit(index)
    expected = {}
    if day is not None:
        start = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
        milliseconds = int(start.timestamp() * 1000)
        expected = {index: {"settings": {"index.creation_date": milliseconds}}}
    assert cluster.created == expected


def test_how_long_is_a_setting() -> None:
    cluster = Cluster()
    admit = gate(cluster, keep_days=10).admit
    admit("log-aws-cloudtrail-2026.11.10")
    assert cluster.created == {}
    admit("log-aws-cloudtrail-2026.11.15")
    assert len(cluster.created) == 1


def test_elasticsearch_is_told_in_its_own_way() -> None:
    """Its answer to the first setting was seen on Elasticsearch 9.0.0; the second one is ILM's."""
    cluster = Cluster(refused=("index.creation_date",))
    gate(cluster).admit("log-aws-cloudtrail-2026.11.24")
    (body,) = cluster.created.values()
    assert list(body["settings"]) == ["index.lifecycle.origination_date"]


@pytest.mark.parametrize(
    ("refusal", "asked"),
    [
        (RequestError(400, "resource_already_exists_exception", {}), 1),
        (RequestError(400, "illegal_argument_exception", {}), 2),
        (AuthorizationException(403, "security_exception", {}), 1),
    ],
)
def test_where_it_may_not_be_asked_for_the_write_creates_the_index(refusal: Exception, asked: int) -> None:
    cluster = Cluster(refusal)
    gate(cluster).admit("log-aws-cloudtrail-2026.11.24")
    assert cluster.asked == asked


def test_a_cluster_that_does_not_answer_is_asked_again_later() -> None:
    cluster = Cluster(ConnectionTimeout("TIMEOUT", "", Exception()))
    closed = gate(cluster)
    with pytest.raises(ClusterError, match="cannot create"):
        closed.admit("log-aws-cloudtrail-2026.11.24")
    cluster.refusal = None
    closed.admit("log-aws-cloudtrail-2026.11.24")
    assert len(cluster.created) == 1


def test_the_limit_comes_first() -> None:
    cluster = Cluster()
    narrow = gate(cluster, per_hour=1)
    narrow.admit("log-aws-cloudtrail-2026.10.23")
    with pytest.raises(TooManyIndicesError):
        narrow.admit("log-aws-cloudtrail-2026.10.24")
    assert list(cluster.created) == ["log-aws-cloudtrail-2026.10.23"]


@pytest.mark.parametrize(
    "index",
    [
        "log-aws-cloudtrail-2026.11.24",
        "log-aws-cloudtrail-2026.11.25",
        "log-aws-cloudtrail-2026.11.17",
        "log-aws-cloudtrail-misdated",
        "siem-sessions-2026.10",
        "siem-sessions-2026.12",
        "siem-sessions-undated",
        "siem-dead-letters-2026.11",
    ],
)
def test_forged_dates_keep_nothing_of_these_days_out(index: str) -> None:
    narrow = gate(Cluster(), per_hour=1)
    narrow.admit("log-aws-cloudtrail-2020.01.01")
    narrow.admit(index)


@pytest.mark.parametrize(
    "index",
    [
        "log-aws-cloudtrail-2026.11.16",
        "log-aws-cloudtrail-2026.11.26",
        "log-aws-cloudtrail-9999.12.31",
        "siem-sessions-2026.09",
        "siem-sessions-2027.01",
        "siem-sessions-1000.77",
    ],
)
def test_all_others_are_counted(index: str) -> None:
    narrow = gate(Cluster(), per_hour=1)
    narrow.admit("log-aws-cloudtrail-2020.01.01")
    with pytest.raises(TooManyIndicesError):
        narrow.admit(index)


def test_what_could_not_be_created_is_not_counted() -> None:
    cluster = Cluster(ConnectionTimeout("TIMEOUT", "", Exception()))
    narrow = gate(cluster, per_hour=1)
    for _ in range(3):
        with pytest.raises(ClusterError, match="cannot create"):
            narrow.admit("log-aws-cloudtrail-2026.10.24")
    cluster.refusal = None
    narrow.admit("log-aws-cloudtrail-2026.10.24")
