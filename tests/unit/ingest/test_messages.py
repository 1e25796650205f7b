"""Messages that never succeed: given back with patience, then parked where somebody sees them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from gzip import compress
from typing import Any, ClassVar

import pytest

from loader.errors import ClusterError
from loader.index.parked import DeadLetter
from loader.ingest.allowance import Allowance
from loader.ingest.messages import Handled, Message, MessageHandler
from loader.ingest.metrics import Metrics
from loader.ingest.objects import Arrival, Outcome
from loader.ingest.report import AccountingError, ObjectReport
from loader.ingest.work import SuspiciousRejectionsError
from loader.source.fetch import TransientSourceError
from loader.source.objects import ObjectRef


def body(*keys: str) -> str:
    """A notification of these objects."""
    said = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}
    return json.dumps({"Records": [{**said, "s3": {"bucket": {"name": "b"}, "object": {"key": key}}} for key in keys]})


BODY = body("k")
SUSPICIOUS = SuspiciousRejectionsError("30 of 40 records were refused")


class Loader:
    """Fails as it is told to; what it parks is remembered."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.parked: list[tuple[str, str]] = []

    def load_together(self, arrivals: Sequence[Arrival], allowance: Allowance) -> list[Outcome]:
        return [self.error for _ in arrivals]

    def park(self, ref: ObjectRef, reason: str, message: str) -> ObjectReport:
        self.parked.append((ref.uri, reason))
        return ObjectReport(ref, outcome="parked", reason=reason)


class Office:
    def __init__(self, *, away: bool = False) -> None:
        self.letters: list[DeadLetter] = []
        self.away = away

    def write(self, letters: list[DeadLetter]) -> None:
        if self.away:
            raise ClusterError("away")
        self.letters += letters


def handler(loader: Any, office: Any) -> MessageHandler:
    return MessageHandler(loader, office, queue="q", patience=3)


def test_an_object_of_which_too_much_is_refused_is_parked_in_the_end() -> None:
    loader, office = Loader(SUSPICIOUS), Office()
    handled = handler(loader, office)
    assert [handled.handle("1", BODY, receives=count) for count in (1, 2, 3)] == [False, False, True]
    assert loader.parked == [("s3://b/k", "suspicious_rejections")]
    assert office.letters == []
    assert handled.totals.parked == {"suspicious_rejections": 1}


@pytest.mark.parametrize("error", [AccountingError("1 != 2"), KeyError("a defect"), RecursionError()])
def test_a_message_that_shows_a_defect_of_ours_is_kept_whole(error: Exception) -> None:
    office = Office()
    handled = handler(Loader(error), office)
    assert not handled.handle("1", BODY, receives=2)
    assert handled.handle("1", BODY, receives=3)
    (letter,) = office.letters
    assert (letter.stage, letter.reason, letter.raw.decode()) == ("message", "defect", BODY)


def test_a_subscription_is_kept_whole_since_nothing_else_holds_it() -> None:
    envelope = {"logGroup": "g", "logStream": "s", "logEvents": [{"id": "1", "timestamp": 0, "message": "{}"}]}
    sent = json.dumps({"awslogs": {"data": b64encode(compress(json.dumps(envelope).encode())).decode()}})
    loader, office = Loader(SUSPICIOUS), Office()
    assert handler(loader, office).handle("1", sent, receives=3)
    assert loader.parked == []
    (letter,) = office.letters
    assert (letter.stage, letter.reason, letter.raw.decode()) == ("message", "suspicious_rejections", sent)


@pytest.mark.parametrize("error", [ClusterError("away"), TransientSourceError("slow")])
def test_what_time_cures_is_never_parked(error: Exception) -> None:
    office = Office()
    assert not handler(Loader(error), office).handle("1", BODY, receives=1000)
    assert office.letters == []


def test_what_cannot_be_parked_goes_back() -> None:
    assert not handler(Loader(KeyError("a defect")), Office(away=True)).handle("1", BODY, receives=3)


class Each:
    """Loads objects as their keys say: ``ok``, ``slow`` (S3), ``odd`` (a defect), ``none`` (no time)."""

    OUTCOMES: ClassVar[dict[str, Exception | None]] = {
        "slow": TransientSourceError("slow"),
        "odd": KeyError("a defect"),
        "none": None,
    }

    def __init__(self) -> None:
        self.groups: list[list[str]] = []

    def load_together(self, arrivals: Sequence[Arrival], allowance: Allowance) -> list[Outcome]:
        self.groups.append([arrival.ref.key for arrival in arrivals])
        return [self.OUTCOMES.get(arrival.ref.key, ObjectReport(arrival.ref)) for arrival in arrivals]


def test_messages_are_loaded_together_and_told_apart() -> None:
    loader, office = Each(), Office()
    handled = handler(loader, office)
    messages = [
        Message("1", body("ok", "ok2")),
        Message("2", body("ok", "slow")),
        Message("3", "no notification"),
        Message("4", body("none")),
        Message("5", body("none", "odd")),
        Message("6", body()),
        Message("7", body("odd"), receives=3),
    ]
    assert handled.handle_together(messages) == [
        Handled.DONE,
        Handled.AGAIN,
        Handled.DONE,
        Handled.NOT_BEGUN,
        Handled.AGAIN,
        Handled.DONE,
        Handled.DONE,
    ]
    assert loader.groups == [["ok", "ok2", "ok", "slow", "none", "none", "odd", "odd"]]
    assert [(letter.ref.key, letter.reason) for letter in office.letters] == [
        ("3", "not_a_notification"),
        ("7", "defect"),
    ]
    totals = handled.totals
    assert (totals.objects, totals.messages, totals.returned) == (3, 3, 2)


def test_a_message_that_cannot_be_parked_takes_no_other_along() -> None:
    handled = handler(Each(), Office(away=True))
    assert handled.handle_together([Message("1", "no notification"), Message("2", body("ok"))]) == [
        Handled.AGAIN,
        Handled.DONE,
    ]


def test_both_lags_are_in_the_metrics() -> None:
    metrics = Metrics()
    metrics.object(ObjectReport(ObjectRef("b", "k"), lag_from_event=400.0, lag_from_delivery=-1.0))
    sample = metrics.registry.get_sample_value
    assert sample("siem_event_lag_seconds_sum") == 400
    assert sample("siem_delivery_lag_seconds_sum") == 0
    assert sample("siem_delivery_lag_seconds_count") == 1
