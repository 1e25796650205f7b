"""Monitors: the schema, the time bound, the account of what was refused, and values that look like templates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.detection import evaluate
from loader.detection.export.alerting import AlertingOptions, alerting_monitor
from loader.detection.export.collect import Selection, collect
from loader.detection.export.model import Export, UnsaidError
from loader.detection.export.mustache import without_tags

from .conftest import Made, rule_text

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas" / "opensearch-monitor.json").read_bytes())
NOTIFYING = AlertingOptions(every=5, channel="a-channel")


def export(made: Made, options: AlertingOptions = AlertingOptions(), **selection: Any) -> Export:  # noqa: B008
    return collect("alerting", *made, Selection(**selection), lambda node: alerting_monitor(node, options))


@pytest.mark.parametrize("options", [AlertingOptions(), NOTIFYING], ids=["plain", "notifying"])
def test_every_monitor_passes_the_schema_and_every_rule_is_accounted_for(
    whole_pack: Made, options: AlertingOptions
) -> None:
    found = export(whole_pack, options)
    for document in found.documents:
        jsonschema.validate(document.body, SCHEMA)
    assert len(found.documents) + len(found.refused) == len(whole_pack[1].alerting) + len(whole_pack[1].waiting)
    assert len({document.name for document in found.documents}) == len(found.documents)
    assert found == export(whole_pack, options)


def test_every_monitor_is_bound_in_time_and_holds_no_other_tag(whole_pack: Made) -> None:
    for document in export(whole_pack).documents:
        assert isinstance(document.body, dict)
        body = document.body["inputs"][0]["search"]["query"]
        bounds = [part["range"] for part in body["query"]["bool"]["filter"] if "range" in part]
        ((field, period),) = bounds[0].items()
        assert field in ("event.ingested", "@timestamp")
        assert period["gte"].startswith("{{period_end}}||-")
        assert period["lte"] == "{{period_end}}"
        assert "{{" not in json.dumps(body).replace("{{period_end}}", "")


def test_refusals_name_file_line_and_reason(whole_pack: Made) -> None:
    refused = {one.rule: one for one in export(whole_pack).refused}
    absent = refused["aws_cloudtrail_account_silent"]
    path, _, line = absent.where.rpartition(":")
    assert "type: absence" in Path(path).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    assert "absence" in absent.reason
    assert "fieldref" in refused["aws_iam_access_key_for_other_user"].reason


def test_a_rule_that_does_not_compile_is_refused_with_the_compilers_reason(make: Callable[..., Made]) -> None:
    bad = rule_text("Bad", detection={"selection": {"noSuchField": "x"}, "condition": "selection"})
    found = export(make(rule_text("Good"), bad))
    assert [document.rule.title for document in found.documents if document.rule] == ["Good"]
    (refusal,) = found.refused
    assert "noSuchField" in refusal.reason
    assert refusal.rule == "made#1"


def test_conditions_that_can_become_untrue_are_refused(make: Callable[..., Made]) -> None:
    base = rule_text("Base", name="base")
    few = {
        **{key: value for key, value in rule_text("Few").items() if key not in ("detection", "logsource")},
        "correlation": {
            "type": "event_count", "rules": ["base"], "group-by": ["eventSource"], "timespan": "10m",
            "condition": {"gte": 1, "lt": 5},
        },
    }  # fmt: skip
    found = export(make(few, base))
    assert [one.reason for one in found.refused if "< 5" in one.reason]


def test_selection_by_name_tag_and_level(whole_pack: Made) -> None:
    assert [one.name for one in export(whole_pack, names=("AWS_SIGNIN_BRUTE_FORCE",)).documents] == [
        "aws_signin_brute_force.monitor.json"
    ]
    critical = export(whole_pack, level="critical")
    assert critical.documents
    assert all(document.rule.level == "critical" for document in critical.documents if document.rule)
    tagged = export(whole_pack, tags=("attack.t1098*",))
    assert 0 < len(tagged.documents) < len(export(whole_pack).documents)
    with pytest.raises(Exception, match="no such rule: nothing"):
        export(whole_pack, names=("nothing",))


PARTS = ["{{", "}}", "{{period_end}}", *"{}#/^!&>=<%\"'\\*? \n", "a", "é"]
NASTY = st.lists(st.sampled_from(PARTS), min_size=1, max_size=6).map("".join)


@given(value=NASTY, modifier=st.sampled_from(["", "|contains", "|startswith", "|endswith"]), texts=st.lists(NASTY))
def test_values_that_look_like_templates_mean_what_they_say(value: str, modifier: str, texts: list[str]) -> None:
    from sigma.collection import SigmaCollection

    from loader.detection.backend import SiemBackend

    backend = SiemBackend()
    field = f"requestParameters.name{modifier}"
    content = rule_text(
        detection={"selection": [{field: value}, {f"errorCode{modifier}": value}], "condition": "selection"}
    )
    (clause,) = backend.convert(SigmaCollection.from_dicts([content]), "clause")
    rewritten = without_tags(clause.upper)
    assert "{{" not in json.dumps(rewritten)
    for text in [*texts, value, "a", f"a{value}b"]:
        for source in (
            {"aws": {"cloudtrail": {"error_code": text}}},
            {"aws": {"cloudtrail": {"flattened": {"request_parameters": {"name": text}}}}},
        ):
            assert evaluate.matches(rewritten, source) == evaluate.matches(clause.upper, source)


def test_a_template_in_a_regular_expression_is_refused() -> None:
    with pytest.raises(UnsaidError, match="template"):
        without_tags({"regexp": {"event.action": {"value": "[{{]"}}})


def test_titles_are_no_templates_and_one_line(make: Callable[..., Made]) -> None:
    (document,) = export(make(rule_text("{{ctx.x}}\nline\x1b[31m")), NOTIFYING).documents
    assert isinstance(document.body, dict)
    monitor = document.body
    assert "\n" not in monitor["name"]
    assert "\x1b" not in monitor["name"]
    (trigger,) = monitor["triggers"]
    for template in ("subject_template", "message_template"):
        # Alerting renders templates, not names: a title reaches them as a value only.
        assert "ctx.x" not in trigger["query_level_trigger"]["actions"][0][template]["source"]
