"""Logs Insights queries: AWS's own shapes, and what the filters find, read after AWS's grammar."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from itertools import product
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader.detection import evaluate, offline
from loader.detection.cases import read_cases
from loader.detection.event import Event
from loader.detection.export.collect import Selection, collect
from loader.detection.export.insights import InsightsOptions, insights_query
from loader.detection.export.model import Export, UnsaidError
from loader.detection.matches import values
from loader.detection.model import CompiledCorrelation, CompiledRule, Rule
from loader.detection.testing import read_event

from .conftest import Made, rule_text
from .insights_engine import Condition, commands, flattened

OPTIONS = InsightsOptions(("aws-cloudtrail-logs",))
SCHEDULED = InsightsOptions(("aws-cloudtrail-logs",), role="arn:aws:iam::111122223333:role/queries")
LOGS = botocore.session.get_session().get_service_model("logs")


def export(made: Made, options: InsightsOptions = OPTIONS, **selection: Any) -> Export:
    return collect("logs-insights", *made, Selection(**selection), lambda node: insights_query(node, options))


def query_of(node: CompiledRule | CompiledCorrelation) -> str | None:
    try:
        body = insights_query(node, OPTIONS).body
    except UnsaidError:
        return None
    assert isinstance(body, dict)
    return str(body["queryString"])


def own_events(rule: Rule) -> dict[str, list[tuple[dict[str, Any], Event]]]:
    cases = read_cases(rule)
    return {
        f"{kind}/{number}": [(json.loads(raw), read_event(raw)[1]) for raw in records]
        for kind, entries in (("match", cases.match), ("near_miss", cases.near_miss))
        for number, records in enumerate(entries)
    }


@pytest.mark.parametrize(("options", "operation"), [(OPTIONS, "StartQuery"), (SCHEDULED, "CreateScheduledQuery")])
def test_every_query_is_what_the_service_takes(whole_pack: Made, options: InsightsOptions, operation: str) -> None:
    found, pack = export(whole_pack, options), whole_pack[1]
    assert len(found.documents) + len(found.refused) == len(pack.alerting) + len(pack.waiting)
    assert len(found.documents) > 0.7 * len(pack.alerting)
    shape = LOGS.operation_model(operation).input_shape
    for document in found.documents:
        assert isinstance(document.body, dict)
        times = {"startTime": 1, "endTime": 2} if operation == "StartQuery" else {}
        report = ParamValidator().validate({**document.body, **times}, shape)
        assert not report.has_errors(), report.generate_report()
        if operation == "CreateScheduledQuery":
            body = document.body
            assert body["startTimeOffset"] - body["endTimeOffset"] >= options.every * 60
            assert re.fullmatch(r"[A-Za-z0-9_./#-]+", body["name"])


@pytest.mark.parametrize("booleans", [True, False], ids=["as numbers", "as words"])
def test_filters_find_what_the_rules_mean(whole_pack: Made, booleans: bool) -> None:
    tried = 0
    for rule in (*whole_pack[1].rules, *whole_pack[1].base_rules):
        query = query_of(rule)
        if query is None:
            continue
        condition = Condition(commands(query)[0].removeprefix("filter "))
        for name, history in own_events(rule.rule).items():
            for record, event in history:
                found = condition.holds(flattened(record, booleans=booleans))
                assert found == evaluate.fires(rule, event), f"{rule.rule.name} {name}"
                tried += 1
    assert tried > 800


def test_counts_find_what_the_rules_find_and_no_more_than_their_notes_say(whole_pack: Made) -> None:
    tried = 0
    for node in whole_pack[1].correlations:
        query = query_of(node)
        if query is None:
            continue
        first, *_, last, limit = commands(query)
        assert limit.startswith("limit")
        least = int(last.removeprefix("filter measure >= "))
        condition = Condition(first.removeprefix("filter "))
        for name, history in own_events(node.rule).items():
            counted: dict[tuple[str, ...], set[Any]] = defaultdict(set)
            for at, (record, event) in enumerate(history):
                if not condition.holds(flattened(record)):
                    continue
                keys = list(product(*([str(one) for one in values(event.source, path)] for path in node.group_by)))
                told = [values(event.source, path) for path in node.condition.fields] or [[at]]
                for key in keys:
                    counted[key] |= set(product(*told))
            fired = {key for key, seen in counted.items() if len(seen) >= least}
            triggers = offline.triggers(node, [event for _, event in history])
            ours = {tuple(str(dict(one.group)[path]) for path in node.group_by) for one in triggers}
            assert ours <= fired, f"{node.rule.name} {name}"
            assert bool(ours) == name.startswith("match"), f"{node.rule.name} {name}"
            tried += 1
    assert tried > 25


def test_refusals_say_why(whole_pack: Made) -> None:
    reasons = {one.rule: one.reason for one in export(whole_pack).refused}
    assert "list" in reasons["aws_ec2_security_group_public_database"]
    assert "several" not in reasons.get("aws_any_denied_burst", "")
    for name, part in (("aws_cloudtrail_account_silent", "absence"), ("aws_ec2_stop_user_data_start", "one pass")):
        assert part in reasons[name]


@pytest.mark.parametrize(
    ("every", "schedule"),
    [(1, "cron(0/1 * * * ? *)"), (15, "cron(0/15 * * * ? *)"), (60, "cron(0 * * * ? *)"), (360, "cron(0 0/6 * * ? *)"),
     (1440, "cron(0 0 * * ? *)"), (7, None), (90, None)],
)  # fmt: skip
def test_schedules(every: int, schedule: str | None) -> None:
    if schedule is None:
        with pytest.raises(ValueError, match="no schedule"):
            InsightsOptions(("x",), every=every, role="arn")
    else:
        assert InsightsOptions(("x",), every=every, role="arn").schedule == schedule


PARTS = [*"'\"\\\\%_*?;-/$.()[]{}|^+` \n", "a", "B", "é", "É", "#", "| limit 1"]
NASTY = st.lists(st.sampled_from(PARTS), min_size=1, max_size=6).map("".join)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=NASTY,
    modifier=st.sampled_from(["", "|contains", "|startswith", "|endswith", "|cased"]),
    texts=st.lists(NASTY),
)
def test_values_are_text_whatever_they_look_like(
    make: Callable[..., Made], value: str, modifier: str, texts: list[str]
) -> None:
    detection = {
        "one": {f"errorCode{modifier}": value},
        "two": {f"requestParameters.name{modifier}": value},
        "base": {"eventName": "x"},
        "condition": "base and (one or not two)",
    }
    (rule,) = make(rule_text("T", detection=detection))[1].rules
    query = query_of(rule)
    assert query is not None
    first, *rest = query.rsplit("\n| ", 3)
    assert [one.split()[0] for one in rest] == ["fields", "sort", "limit"]
    condition = Condition(first.removeprefix("filter "))
    for text in (value, value.swapcase(), f"a{value}b", *texts):
        for code, payload in ((text, {"name": "a"}), ("a", {"name": text}), (None, {}), ("a", None)):
            record = {
                "eventVersion": "1.11", "eventTime": "2026-03-02T10:00:00Z", "eventSource": "iam.amazonaws.com",
                "eventName": "x", "awsRegion": "eu-west-1", "eventID": "e", "errorCode": code,
                "requestParameters": payload,
            }  # fmt: skip
            if text.endswith("\n"):
                continue  # $ is also before a line's last break
            found = condition.holds(flattened(record))
            assert found == evaluate.fires(rule, read_event(json.dumps(record).encode())[1]), (text, code, payload)
