"""Retention by name: what is deleted, what is kept, what is not even looked at."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opensearchpy.exceptions import NotFoundError, RequestError

from loader.errors import ConfigError
from loader.index.retention import RetentionPlan, apply_retention, day_of, plan_retention

TODAY = date(2026, 11, 24)


@pytest.mark.parametrize(
    ("index", "verdict"),
    [
        ("log-aws-cloudtrail-2026.11.24", "keep"),
        ("log-aws-cloudtrail-2026.11.25", "keep"),
        ("log-aws-cloudtrail-2099.01.01", "keep"),
        ("log-aws-cloudtrail-2026.11.17", "keep"),
        ("log-aws-cloudtrail-2026.11.16", "delete"),
        ("log-aws-cloudtrail-insight-2023.07.10", "delete"),
        ("log-aws-vpc_flow-1970.01.01", "delete"),
        ("log-aws-cloudtrail-misdated", "refuse"),
        ("log-aws-cloudtrail-2023.02.30", "refuse"),
        ("log-aws-cloudtrail-2023.7.1", "refuse"),
        ("log-aws-cloudtrail-2023.07.10-000001", "refuse"),
        ("log-aws-cloudtrail-\u0662\u0660\u0662\u0663.07.10", "refuse"),
        ("log-aws--2023.07.10", "refuse"),
        ("log-aws-*-2023.07.10", "refuse"),
        ("log-aws-a,b-2023.07.10", "refuse"),
        ("log-gcp-audit-2023.07.10", "refuse"),
        ("siem-alerts-2023.07", "refuse"),
        ("restored-log-aws-cloudtrail-2023.07.10", "refuse"),
        (".opensearch-security", "refuse"),
        ("", "refuse"),
    ],
)
def test_verdicts(index: str, verdict: str) -> None:
    plan = plan_retention([index], today=TODAY, days=7)
    assert [entry.verdict for entry in plan.indices] == [verdict]
    assert plan.indices[0].reason


@pytest.mark.parametrize("days", [0, -1])
def test_no_retention_at_all_is_a_mistake(days: int) -> None:
    with pytest.raises(ConfigError):
        plan_retention([], today=TODAY, days=days)


@given(st.dates(), st.dates(), st.integers(1, 10**8))
def test_only_what_is_older_is_deleted(today: date, day: date, days: int) -> None:
    index = f"log-aws-cloudtrail-{day.year:04}.{day:%m.%d}"
    assert day_of(index) == day
    deleted = plan_retention([index], today=today, days=days).of("delete")
    assert deleted == ([index] if today - day > timedelta(days=days) else [])


@given(st.text(max_size=60))
def test_no_other_name_is_ever_deleted(index: str) -> None:
    if plan_retention([index], today=date.max, days=1).of("delete"):
        assert index.startswith("log-aws-")
        assert not set(index) & set("*,? /")


class Cluster:
    """Stands for the cluster to make deletions fail, which a healthy one does not."""

    def __init__(self, failing: dict[str, Exception] | None = None) -> None:
        self.failing = failing or {}
        self.deleted: list[str] = []
        self.indices = self

    def delete(self, *, index: str) -> None:
        if index in self.failing:
            raise self.failing[index]
        self.deleted.append(index)


OLD, OLDER, NEW = (f"log-aws-cloudtrail-{day}" for day in ("2026.01.02", "2026.01.01", "2026.11.24"))


def plan() -> RetentionPlan:
    return plan_retention([OLD, OLDER, NEW], today=TODAY, days=30)


def run(cluster: Any, the_plan: RetentionPlan, **options: bool) -> Any:
    return apply_retention(cluster, the_plan, **options)


def test_a_dry_run_is_the_default() -> None:
    cluster = Cluster()
    result = run(cluster, plan())
    assert result.would_delete == [OLDER, OLD]
    assert cluster.deleted == result.deleted == []


def test_one_that_cannot_be_deleted_does_not_keep_the_others() -> None:
    cluster = Cluster({OLDER: RequestError(400, "snapshot_in_progress_exception", {})})
    result = run(cluster, plan(), dry_run=False)
    assert result.deleted == cluster.deleted == [OLD]
    assert result.failed == {OLDER: "snapshot_in_progress_exception"}
    gone = run(Cluster({OLD: NotFoundError(404, "index_not_found_exception", {})}), plan(), dry_run=False)
    assert (gone.gone, gone.deleted) == ([OLD], [OLDER])


def test_a_clock_gone_wrong_does_not_empty_the_cluster() -> None:
    cluster = Cluster()
    far = plan_retention([OLD, NEW], today=date(2126, 1, 1), days=730)
    with pytest.raises(ConfigError, match="all 2 dated indices"):
        run(cluster, far, dry_run=False)
    assert cluster.deleted == []
    assert run(cluster, far).would_delete == [OLD, NEW]
    assert run(cluster, far, dry_run=False, everything=True).deleted == [OLD, NEW]


def test_a_plan_that_was_tampered_with_deletes_nothing() -> None:
    good = plan()
    broken = RetentionPlan(good.oldest, tuple(type(entry)(NEW, "delete", "", entry.day) for entry in good.indices))
    result = run(Cluster(), broken, dry_run=False, everything=True)
    assert result.deleted == []
    assert NEW in result.failed
