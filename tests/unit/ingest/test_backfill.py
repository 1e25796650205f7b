"""A backfill's own account: what was parked, what failed, and what was not tried.

The cluster and the bucket are the stand-ins of test_groups.py: tests/integration/test_backfill.py asks real ones.
"""

from __future__ import annotations

import logging
import threading

import pytest

from loader.ingest.backfill import load_all
from loader.ingest.objects import ObjectLoader
from loader.source.fetch import TransientSourceError
from loader.source.objects import FetchError
from tests.unit.ingest.test_groups import Bucket, Cluster, bucket, cluster, loader

__all__ = ["bucket", "cluster", "loader"]


def test_what_is_not_loaded_is_told_apart(
    loader: ObjectLoader, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    refs = [bucket.put(f"k{number}", 1) for number in range(5)]
    bucket.objects["k1"] = FetchError("gone", kind="missing")
    bucket.objects["k2"] = TransientSourceError("slow")
    bucket.objects["k3"] = KeyError("of ours")
    with caplog.at_level(logging.ERROR, "loader.ingest.backfill"):
        result = load_all(loader, refs, workers=2)
    assert result.totals.objects == 3
    assert [(ref.key, reason) for ref, reason in result.parked] == [("k1", "missing")]
    assert [(ref.key, error.message) for ref, error in result.failed] == [
        ("k2", "slow"),
        ("k3", "a defect of the loader, please report it: KeyError: 'of ours'"),
    ]
    assert result.not_tried == 0
    assert [record.exc_info is not None for record in caplog.records] == [True], "a defect is logged with its place"


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("after", [1, 20, 100, 200])
def test_what_is_not_tried_when_it_stops_is_counted(
    loader: ObjectLoader, cluster: Cluster, bucket: Bucket, workers: int, after: int
) -> None:
    refs = [bucket.put(f"k{number}", 1) for number in range(200)]
    bucket.objects["k0"] = TransientSourceError("slow")
    stop = threading.Event()
    told = []

    def on_report(*report: object) -> None:
        told.append(report)
        if len(told) == after:
            stop.set()

    result = load_all(loader, refs, workers=workers, on_report=on_report, stop=stop)
    assert len(cluster.entries) == result.totals.objects
    assert result.totals.objects + len(result.failed) == len(told) >= after
    assert result.not_tried == 200 - len(told)
    # The same again goes on.
    again = load_all(loader, refs, workers=workers)
    assert (again.totals.objects, again.not_tried, len(again.failed)) == (199, 0, 1)
    assert again.totals.counts.duplicates == result.totals.objects


def test_nothing_is_begun_after_the_stop(loader: ObjectLoader, bucket: Bucket) -> None:
    refs = [bucket.put(f"k{number}", 1) for number in range(30)]
    stop = threading.Event()
    stop.set()
    result = load_all(loader, refs, workers=2, stop=stop)
    assert (result.totals.objects, result.not_tried, bucket.asked) == (0, 30, [])
