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


def raised(pack: Pack, alerts: Alerts, records: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """Return how many alerts there are, by rule and level."""
    events = [read_event(orjson.dumps(record))[1] for record in records]
    return Counter((rule.name, rule.level) for rule, _, _ in alerts(pack, events))


def for_people(found: Counter[tuple[str, str]]) -> Counter[str]:
    return Counter({name: count for (name, level), count in found.items() if level in FOR_PEOPLE})


@pytest.fixture(scope="module")
def simulations(pack: Pack, alerts: Alerts, reference_data: Path) -> tuple[int, Counter[tuple[str, str]]]:
    """How many records of attack simulations there are, and the alerts they raise by rule and level."""
    records = attack_records(reference_data)
    return len(records), raised(pack, alerts, records)


@pytest.fixture(scope="module")
def attacks(simulations: tuple[int, Counter[tuple[str, str]]]) -> tuple[int, Counter[str]]:
    """The same for alerts to people only."""
    return simulations[0], for_people(simulations[1])


def page() -> str:
    return (Path(__file__).parents[3] / "docs" / "detection-quality.md").read_text(encoding="utf-8")


def test_attack_simulations_raise_at_most_ten_alerts_in_a_thousand(attacks: tuple[int, Counter[str]]) -> None:
    records, found = attacks
    assert records == 2900
    assert sum(found.values()) <= records / 100, found


def test_each_kind_of_alert_on_the_simulations_is_explained(attacks: tuple[int, Counter[str]]) -> None:
    """The page names each rule that fires, with how often, and no other number."""
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| \w+ \|", page(), re.MULTILINE)
    assert {name: int(count) for count, name in rows} == attacks[1]


def test_the_page_gives_the_measured_rate(attacks: tuple[int, Counter[str]]) -> None:
    records, found = attacks
    alerts = sum(found.values())
    assert f"| {alerts} | {alerts / records * 1000:.1f} | 10 |" in page()


def test_each_technique_said_to_be_found_is_found_at_that_level(
    simulations: tuple[int, Counter[tuple[str, str]]],
) -> None:
    """The table of recall, row by row; how many rows there are is said above it."""
    rows = re.findall(r"^\| ([\w-]+\.[\w-]+) \| `(\w+)` \| (\w+) \|", page(), re.MULTILINE)
    assert {(rule, level) for _, rule, level in rows} <= set(simulations[1])
    people = sum(level in FOR_PEOPLE for _, _, level in rows)
    assert f"{len(rows)} were carried out. {people} were found at a level for people" in page()


def test_benign_records_raise_at_most_one_alert_in_a_thousand(pack: Pack, alerts: Alerts, reference_data: Path) -> None:
    records = benign_records(reference_data)
    assert len(records) > 800
    assert sum(for_people(raised(pack, alerts, records)).values()) <= len(records) / 1000
