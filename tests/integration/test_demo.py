"""The whole way, twice: every record accounted for, nothing loaded twice, no alert raised twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opensearchpy import OpenSearch

from loader.cli.demo import Summary, run_demo
from loader.cli.output import progress
from loader.config import Settings
from loader.local.aws import CREDENTIALS
from loader.local.trail import find_log_files
from loader.project import sample_events_dir

#: The rules that the first issue asked for.
SIX = {
    "AWS call refused for lack of permission (CIS 4.1)",
    "CloudTrail trail stopped, changed or deleted (CIS 4.5)",
    "EC2 instances launched, started, stopped or terminated",
    "IAM policy changed (CIS 4.4)",
    "Network gateway, route or network ACL changed",
    "AWS root user was used (CIS 4.3)",
}
pytestmark = pytest.mark.integration


def run(servers: Any, folder: Path, tmp_path: Path) -> Summary:
    settings = Settings(
        cluster_url=servers.opensearch_url,
        aws_endpoint_url=servers.aws_endpoint_url,
        aws_region=CREDENTIALS["AWS_REGION"],
    )
    with progress(quiet=True) as bars:
        return run_demo(settings, find_log_files(folder), folder, tmp_path, bars)


def alert_ids(client: OpenSearch) -> set[str]:
    hits = client.search(index="siem-alerts-*", body={"size": 10_000, "_source": False})["hits"]["hits"]
    return {hit["_id"] for hit in hits}


def test_the_bundled_attack_is_loaded_once_and_raises_the_same_alerts(
    clean_cluster: OpenSearch, servers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    first = run(servers, sample_events_dir(), tmp_path)
    counts = first.totals.counts
    assert (first.totals.objects, counts.read) == (55, 2900)
    assert counts.balanced
    assert (counts.dead_lettered, counts.dropped) == (0, 0)
    assert first.new_in_cluster == counts.indexed == first.documents
    assert counts.indexed + counts.duplicates == 2900
    rules = {entry.name for entry in first.alerts}
    assert len(rules & SIX) >= 3
    assert first.problems == []
    assert [Path(path).name for path in first.dashboards] == ["cloudtrail_overview.ndjson"]
    before = alert_ids(clean_cluster)
    assert len(before) == sum(entry.count for entry in first.alerts) == first.alerts_new

    again = run(servers, sample_events_dir(), tmp_path)
    assert (again.totals.counts.indexed, again.totals.counts.duplicates) == (0, 2900)
    assert again.new_in_cluster == 0
    assert again.alerts_new == 0
    assert alert_ids(clean_cluster) == before
