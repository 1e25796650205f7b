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


@pytest.fixture(scope="module")
def attacks(pack: Pack, alerts: Alerts, reference_data: Path) -> tuple[int, Counter[str]]:
    """How many records of attack simulations there are, and the alerts they raise by rule."""
    records = attack_records(reference_data)
    return len(records), shown(pack, alerts, records)


def test_attack_simulations_raise_at_most_ten_alerts_in_a_thousand(attacks: tuple[int, Counter[str]]) -> None:
    records, found = attacks
    assert records == 2900
    assert sum(found.values()) <= records / 100, found


def test_each_kind_of_alert_on_the_simulations_is_explained(attacks: tuple[int, Counter[str]]) -> None:
    """The page names each rule that fires, with how often, and no other number."""
    page = (Path(__file__).parents[3] / "docs" / "detection-quality.md").read_text(encoding="utf-8")
    table = {name: int(count) for count, name in re.findall(r"^\| (\d+) \| `(\w+)` \| \w+ \|", page, re.MULTILINE)}
    assert table == attacks[1]


def test_benign_records_raise_at_most_one_alert_in_a_thousand(pack: Pack, alerts: Alerts, reference_data: Path) -> None:
    records = benign_records(reference_data)
    assert len(records) > 800
    assert sum(shown(pack, alerts, records).values()) <= len(records) / 1000
