"""What the pack covers, and that the page says so."""

from __future__ import annotations

from functools import cache

from loader.detection.compile import compile_rules
from loader.detection.load import load_rules
from loader.detection.pack_coverage import PackCoverage, cover, coverage_page, navigator_layer, read_targets
from loader.project import home, rules_dir


@cache
def coverage() -> PackCoverage:
    pack = compile_rules(load_rules([rules_dir()]))
    return cover(pack.known, read_targets())


def test_the_committed_page_is_the_one_the_rules_make() -> None:
    page = (home() / "docs" / "coverage.md").read_text(encoding="utf-8")
    assert page == coverage_page(coverage()), "run: siem rules coverage --write"


def test_cis_and_guarddutys_signals_have_no_gap() -> None:
    assert [number for number, rules in coverage().cis.items() if not rules] == []
    assert [name for name, rules in coverage().signals.items() if not rules] == []
    assert len(coverage().cis) == 15
    assert len(coverage().signals) == 33


def test_the_lists_name_only_rules_that_exist() -> None:
    known = {rule.name for rule in coverage().rules}
    listed = {name for names in read_targets()["guardduty_findings"].values() for name in names}
    assert listed <= known


def test_a_layer_scores_each_technique_by_its_rules() -> None:
    layer = navigator_layer(coverage())
    scores = {entry["techniqueID"]: entry["score"] for entry in layer["techniques"]}
    assert scores == {key: len(names) for key, names in coverage().techniques.items()}
    assert layer["domain"] == "enterprise-attack"


def test_rules_on_objects_say_that_they_need_data_events() -> None:
    needed = {rule.name: rule.data for rule in coverage().rules}
    assert needed["aws_cloudtrail_root_use"] == "management events"
    assert "data events" in needed.values()
