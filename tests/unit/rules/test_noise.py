"""How many alerts people get: on attack simulations, and on records without an attack (docs/detection-quality.md)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from loader.detection.compile import Pack
from loader.detection.event import Event
from loader.detection.model import Rule
from loader.detection.testing import read_event

pytestmark = pytest.mark.reference_data
FOR_PEOPLE = ("medium", "high", "critical")
Alerts = Callable[[Pack, list[Event]], Iterator[tuple[Rule, str, int]]]


def attack_records(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "invictus-aws_dataset" / "CloudTrail").glob("*.json"))
    return [record for file in files for record in json.loads(file.read_text())["Records"]]


def benign_records(folder: Path) -> list[dict[str, Any]]:
    """The file is several documents in a row, and not all of them whole: take what begins as a record does."""
    path = folder / "opensearch-catalog/integrations/observability/aws_cloudtrail/data/samples-large.json"
    text = path.read_text()
    decoder, end, records = json.JSONDecoder(), 0, []
    for start in re.finditer(r'\{\s*"eventVersion"', text):
        if start.start() >= end:
            record, end = decoder.raw_decode(text, start.start())
            records.append(record)
    return records


def shown(pack: Pack, alerts: Alerts, records: list[dict[str, Any]]) -> Counter[str]:
    events = [read_event(orjson.dumps(record))[1] for record in records]
    return Counter(rule.name for rule, _, _ in alerts(pack, events) if rule.level in FOR_PEOPLE)


def test_attack_simulations_raise_at_most_ten_alerts_in_a_thousand(
    pack: Pack, alerts: Alerts, reference_data: Path
) -> None:
    records = attack_records(reference_data)
    found = shown(pack, alerts, records)
    assert len(records) == 2900
    assert sum(found.values()) <= len(records) / 100, found


def test_each_kind_of_alert_on_the_simulations_is_explained(pack: Pack, alerts: Alerts, reference_data: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "detection-quality.md").read_text()
    found = shown(pack, alerts, attack_records(reference_data))
    assert [name for name in found if f"`{name}`" not in page] == []


def test_benign_records_raise_at_most_one_alert_in_a_thousand(pack: Pack, alerts: Alerts, reference_data: Path) -> None:
    records = benign_records(reference_data)
    assert len(records) > 800
    assert sum(shown(pack, alerts, records).values()) <= len(records) / 1000
