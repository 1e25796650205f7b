"""Athena's statements, run on DuckDB over every test event of the pack: the same verdicts as in memory."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from loader.detection import evaluate, offline
from loader.detection.cases import read_cases
from loader.detection.event import Event
from loader.detection.export.athena import athena_statement, athena_table
from loader.detection.export.athena_period import AthenaOptions
from loader.detection.export.athena_table import Table
from loader.detection.export.collect import Selection, collect
from loader.detection.export.model import Export, UnsaidError
from loader.detection.model import CompiledCorrelation, CompiledRule
from loader.detection.testing import read_event

from .athena_engine import Athena
from .conftest import Made, rule_text

#: A period of ten years: all test events are in it.
DECADE = AthenaOptions(every=60 * 24 * 3650, lateness=0, now="TIMESTAMP '2030-01-01 00:00:00 UTC'")
History = list[tuple[str, dict[str, Any], Event]]


@pytest.fixture(scope="module")
def histories(whole_pack: Made) -> dict[str, History]:
    """Every test event of the pack by ``rule/kind/number``: an id of its own, the raw record, the document."""
    pack = whole_pack[1]
    found: dict[str, History] = {}
    for node in (*pack.rules, *pack.base_rules, *pack.correlations):
        cases = read_cases(node.rule)
        for kind, entries in (("match", cases.match), ("near_miss", cases.near_miss)):
            for number, records in enumerate(entries):
                name = f"{node.rule.name}/{kind}/{number}"
                found[name] = [(f"{name}#{at}", json.loads(raw), read_event(raw)[1]) for at, raw in enumerate(records)]
    return found


@pytest.fixture(scope="module")
def athena(histories: dict[str, History]) -> Athena:
    return Athena((id_, name, record) for name, history in histories.items() for id_, record, _ in history)


def export(made: Made, options: AthenaOptions = DECADE, **selection: Any) -> Export:
    table = [athena_table(options)]
    return collect("athena", *made, Selection(**selection), lambda node: athena_statement(node, options), preface=table)


def test_every_rule_finds_what_it_means(athena: Athena, whole_pack: Made, histories: dict[str, History]) -> None:
    athena.look_at()
    everything = [(id_, event) for history in histories.values() for id_, _, event in history]
    tried = 0
    for rule in whole_pack[1].rules:
        try:
            text = str(athena_statement(rule, DECADE).body)
        except UnsaidError:
            continue
        found = {id_ for row in athena.run(text) for id_ in row["event_ids"]}
        assert found == {id_ for id_, event in everything if evaluate.fires(rule, event)}, rule.rule.name
        assert found, rule.rule.name
        tried += 1
    assert tried > 0.9 * len(whole_pack[1].rules)


def test_correlations_fire_at_the_same_events(athena: Athena, whole_pack: Made, histories: dict[str, History]) -> None:
    tried = 0
    for node in whole_pack[1].correlations:
        try:
            text = str(athena_statement(node, DECADE).body)
        except UnsaidError:
            continue
        for name, history in histories.items():
            if not name.startswith(f"{node.rule.name}/"):
                continue
            athena.look_at(name)
            expected = set()
            for trigger in offline.triggers(node, [event for _, _, event in history]):
                group = dict(trigger.group)
                key = tuple(str(group[path]) for path in node.group_by) or ("all",)
                expected.add((key, history[int(trigger.event.id)][0]))
            found = {
                (tuple(list(row.values())[: len(node.group_by) or 1]), id_)
                for row in athena.run(text)
                for id_ in row["event_ids"]
            }
            assert found == expected, name
            if "/match/" in name:
                assert expected, name
            tried += 1
    assert tried > 80


def test_every_rule_is_accounted_for_and_bound_in_time(whole_pack: Made) -> None:
    found, pack = export(whole_pack, AthenaOptions()), whole_pack[1]
    assert len(found.documents) + len(found.refused) == len(pack.alerting) + len(pack.waiting)
    for document in found.documents:
        (statement,) = [one for one in sqlglot.parse(str(document.body), read="athena") if one is not None]
        scans = [
            select for select in statement.find_all(exp.Select) if select.find(exp.Table).name == "cloudtrail_logs"
        ]  # type: ignore[union-attr]
        assert scans
        for scan in scans:
            bounds = [one for one in scan.find_all(exp.Between) if one.this.name == "day"]
            assert bounds, document.name
            assert len([one for one in scan.find_all(exp.GTE, exp.LT) if "eventtime" in one.this.sql()]) >= 2


def test_refusals_name_file_line_and_reason(whole_pack: Made) -> None:
    refused = {one.rule: one for one in export(whole_pack).refused}
    assert "geo database" in refused["aws_signin_impossible_travel"].reason
    whole = refused["aws_ec2_gpu_or_huge_instance_started"]
    path, _, line = whole.where.rpartition(":")
    assert "detection" in Path(path).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    assert "all of a payload" in whole.reason


def runs(athena: Athena, node: CompiledRule | CompiledCorrelation, first: str, hours: int) -> list[list[str]]:
    """Return what each of so many hourly runs found, each some minutes into its hour."""
    found = []
    for hour in range(hours):
        now = datetime.fromisoformat(first) + timedelta(hours=hour, minutes=(hour * 17) % 60)
        options = AthenaOptions(now=f"TIMESTAMP '{now:%Y-%m-%d %H:%M:%S} UTC'")
        rows = athena.run(str(athena_statement(node, options).body))
        found.append(sorted(id_ for row in rows for id_ in row["event_ids"]))
    return found


def record(name: str, time: datetime, actor: str = "a", **more: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.11", "eventID": str(uuid.uuid4()), "eventTime": f"{time:%Y-%m-%dT%H:%M:%SZ}",
        "eventName": name,
        "eventSource": "iam.amazonaws.com", "awsRegion": "eu-central-1", "sourceIPAddress": "198.51.100.7",
        "userAgent": "x", "eventType": "AwsApiCall", "recipientAccountId": "111122223333",
        "userIdentity": {"type": "IAMUser", "arn": f"arn:aws:iam::111122223333:user/{actor}", "userName": actor},
        **more,
    }  # fmt: skip


def table_of(records: list[dict[str, Any]]) -> Athena:
    return Athena((str(at), "all", one) for at, one in enumerate(records))


def test_runs_of_one_interval_see_every_event_once(make: Callable[..., Made]) -> None:
    start = datetime(2026, 3, 2, 21, tzinfo=timezone.utc)
    athena = table_of([record("StopLogging", start + timedelta(minutes=7 * at)) for at in range(40)])
    (rule,) = make(rule_text("Plain"))[1].rules
    found = runs(athena, rule, "2026-03-02T21:05:00+00:00", 9)
    seen = [id_ for one in found for id_ in one]
    assert sorted(seen, key=int) == [str(at) for at in range(40)]
    assert found[0] == []
    base = rule_text("Base", name="base")
    (node,) = make(correlation("Many", type="event_count", condition={"gte": 3}), base)[1].correlations
    seen = [id_ for one in runs(athena, node, "2026-03-02T21:05:00+00:00", 9) for id_ in one]
    assert seen == []  # 14 minutes for three of them; the window is ten
    (node,) = make(correlation("Many", type="event_count", timespan="14m", condition={"gte": 3}), base)[1].correlations
    seen = [id_ for one in runs(athena, node, "2026-03-02T21:05:00+00:00", 9) for id_ in one]
    assert sorted(seen, key=int) == [str(at) for at in range(2, 40)]


def correlation(title: str, **parts: Any) -> dict[str, Any]:
    content = {key: value for key, value in rule_text(title).items() if key not in ("detection", "logsource")}
    made = {"rules": ["base"], "timespan": "10m", "group-by": ["userIdentity.arn"], **parts}
    return {**content, "name": title.lower(), "correlation": made}


def named(name: str) -> dict[str, Any]:
    return rule_text(name, name=name, detection={"selection": {"eventName": name}, "condition": "selection"})


KINDS = [
    {"type": "event_count", "condition": {"gte": 3}},
    {"type": "event_count", "rules": ["one", "two"], "condition": {"gt": 2, "lte": 4}},
    {"type": "value_count", "condition": {"field": "awsRegion", "gte": 2}},
    {"type": "value_count", "condition": {"field": ["awsRegion", "eventName"], "gte": 3}, "rules": ["one", "two"]},
    {"type": "value_sum", "condition": {"field": "requestParameters.count", "gte": 6}},
    {"type": "temporal", "rules": ["one", "two", "three"]},
    {"type": "temporal", "rules": ["one", "two", "three"], "condition": {"gte": 2}},
    {"type": "temporal", "rules": ["one", "two"], "condition": "one and not two"},
    {"type": "temporal_ordered", "rules": ["one", "two"]},
    {"type": "temporal_ordered", "rules": ["one", "two", "three"]},
    {"type": "temporal_ordered", "rules": ["below", "two"]},
    {"type": "new_terms", "condition": {"field": "awsRegion"}, "timespan": "20m"},
    {"type": "new_terms", "timespan": "20m"},
    {"type": "spike", "condition": {"gte": 3}, "baseline": "30m", "minimum": 2},
    {"type": "absence", "baseline": "30m", "minimum": 2},
]
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 60), st.sampled_from(["one", "two", "three"]), st.sampled_from("ab"),
        st.sampled_from(["eu-west-1", "eu-west-2", "EU-WEST-2"]), st.one_of(st.none(), st.integers(0, 5)),
    ),
    min_size=1, max_size=14,
)  # fmt: skip


@pytest.fixture(scope="module")
def scratch() -> Athena:
    return Athena([])


CASES = [(kind, True) for kind in KINDS] + [(KINDS[0], False), (KINDS[9], False), (KINDS[11], False)]


@pytest.mark.parametrize(("kind", "grouped"), CASES)
def test_windows_of_random_events(
    make: Callable[..., Made], scratch: Athena, kind: dict[str, Any], grouped: bool
) -> None:
    content = {"rules": ["one"], **kind} | ({} if grouped else {"group-by": []})
    below = correlation("Below", type="event_count", rules=["one"], condition={"gte": 2})
    _, pack = make(correlation("Top", **content), below, *(named(name) for name in ("one", "two", "three")))
    (node,) = [one for one in pack.correlations if one.rule.title == "Top"]
    text = str(athena_statement(node, DECADE).body)
    start = datetime(2026, 3, 2, 10, tzinfo=timezone.utc)

    @settings(max_examples=8, deadline=None)
    @given(EVENTS)
    def check(events: list[tuple[int, str, str, str, int | None]]) -> None:
        records = [
            record(name, start + timedelta(minutes=minute), actor, awsRegion=region, requestParameters={"count": count})
            for minute, name, actor, region, count in events
        ]
        scratch.put((str(at), "all", one) for at, one in enumerate(records))
        found = {(next(iter(row.values())), id_) for row in scratch.run(text) for id_ in row["event_ids"]}
        triggers = offline.triggers(node, [read_event(json.dumps(one).encode())[1] for one in records])
        expected = {(next((str(value) for _, value in one.group), "all"), str(int(one.event.id))) for one in triggers}
        if kind["type"] == "value_sum":  # an event without a value adds nothing, and is no row in SQL
            expected = {(key, at) for key, at in expected if events[int(at)][4] is not None}
        if kind["type"] == "absence":  # of events of one moment ours names the last, SQL all
            assert {key for key, _ in found} == {key for key, _ in expected}
            assert expected <= found
        else:
            assert found == expected

    check()


PARTS = [*"'\"\\%_*?;-/$.()[]{}|^+ \n", "a", "B", "é", "É", "--", "/*"]
NASTY = st.lists(st.sampled_from(PARTS), min_size=1, max_size=6).map("".join)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=NASTY,
    modifier=st.sampled_from(["", "|contains", "|startswith", "|endswith", "|cased"]),
    texts=st.lists(NASTY),
)
def test_values_are_text_whatever_they_look_like(
    make: Callable[..., Made], scratch: Athena, value: str, modifier: str, texts: list[str]
) -> None:
    selections = [{f"errorCode{modifier}": value}, {f"requestParameters.name{modifier}": value}]
    detection = {
        "one": selections[0],
        "two": selections[1],
        "base": {"eventName": "x"},
        "condition": "base and (one or not two)",
    }
    _, pack = make(rule_text(f"T{value}", description=value, detection=detection))
    (rule,) = pack.rules
    start = datetime(2026, 3, 2, 10, tzinfo=timezone.utc)
    records = [
        record("x", start, errorCode=code, requestParameters=payload)
        for text in (value, value.swapcase(), f"a{value}b", *texts)
        for code, payload in ((text, {"name": "a"}), ("a", {"name": text}), (None, {"name": [text, "a"]}), ("a", None))
    ]
    text = str(athena_statement(rule, DECADE).body)
    scratch.put((str(at), "all", one) for at, one in enumerate(records))
    rows = scratch.run(text)
    expected = {
        str(at) for at, one in enumerate(records) if evaluate.fires(rule, read_event(json.dumps(one).encode())[1])
    }
    assert {id_ for row in rows for id_ in row["event_ids"]} == expected


def test_a_title_ends_no_comment(make: Callable[..., Made]) -> None:
    (document,) = export(make(rule_text("x\n; DROP TABLE a; --\r\u2028b"))).documents
    statements = [one for one in sqlglot.parse(str(document.body), read="athena") if one is not None]
    assert len(statements) == 1
    assert not list(statements[0].find_all(exp.Drop))


def test_the_table() -> None:
    table = Table(
        "logs", "trail", "s3://bucket/some/prefix/", ("111122223333", "444455556666"), ("eu-west-1",), "o-a1b2c3d4e5"
    )
    text = table.ddl()
    parsed = sqlglot.parse_one(text, read="athena")
    assert isinstance(parsed, exp.Create)
    assert "LOCATION 's3://bucket/some/prefix/AWSLogs/o-a1b2c3d4e5/'" in text
    for wanted in (
        "'s3://bucket/some/prefix/AWSLogs/o-a1b2c3d4e5/${account}/CloudTrail/${region}/${day}'",
        "'projection.account.values' = '111122223333,444455556666'",
        "'projection.region.values' = 'eu-west-1'",
        "'projection.day.format' = 'yyyy/MM/dd'",
    ):
        assert wanted in text
    columns = {column.name for column in parsed.this.find_all(exp.ColumnDef)}
    assert {"useridentity", "requestparameters", "resources", "tlsdetails"} <= columns


@pytest.mark.parametrize(
    "parts",
    [
        {"name": "a;b"}, {"database": 'a"b'}, {"location": "s3://x'y/z"}, {"location": "https://bucket"},
        {"accounts": ("1",)}, {"regions": ("eu'west",)}, {"organisation": "o-x"},
    ],
)  # fmt: skip
def test_names_of_the_table_are_no_code(parts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no "):
        Table(**parts)
