"""What would be deployed, and whether what is deployed is still the rule it was."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from loader.detection.compile import compile_rules
from loader.detection.deployed import (
    Deployed,
    current_version,
    deployed_rules,
    document,
    key_of,
    plan_rules,
    previous_version,
)
from loader.detection.load import RuleSet, load_rules
from loader.detection.versions import compile_version, deployed_version, find, git_version
from loader.errors import RuleError
from loader.project import rules_dir

NOW = datetime(2026, 5, 4, tzinfo=timezone.utc)
FIRST, SECOND = "4ad6bd94-1f0e-4c1e-9d3c-6a3b1f0c2e11", "7b1f5f7e-67cf-4a2e-9d53-0f5b1cc1a222"


def _rule(name: str, identifier: str, **more: Any) -> dict[str, Any]:
    return {
        "title": f"Rule {name}",
        "id": identifier,
        "level": "low",
        "date": "2026-05-04",
        "logsource": {"product": "aws", "service": "cloudtrail"},
        "detection": {"s": {"eventName": name}, "condition": "s"},
        **more,
    }


def _rules(folder: Path, *documents: dict[str, Any]) -> RuleSet:
    for content in documents:
        name = content["detection"]["s"]["eventName"] if "detection" in content else "other"
        (folder / f"rule_{name.lower()}.yml").write_text(yaml.safe_dump(content))
    return load_rules([folder])


def _deploy(rules: RuleSet, before: dict[str, Deployed] | None = None, folder: Path = Path("/")) -> dict[str, Deployed]:
    everything = (*rules.rules, *rules.correlations, *rules.filters)
    return {
        key_of(rule): Deployed(
            key_of(rule), document(rule, (before or {}).get(key_of(rule)), now=NOW, folder=folder), (1, 1)
        )
        for rule in everything
    }


def test_the_first_plan_adds_everything_and_the_next_nothing(tmp_path: Path) -> None:
    rules = _rules(tmp_path, _rule("A", FIRST), _rule("B", SECOND))
    assert [(change.action, change.name) for change in plan_rules(rules, {})] == [("add", "rule_a"), ("add", "rule_b")]
    assert {change.action for change in plan_rules(rules, _deploy(rules))} == {"keep"}


def test_changes_are_told_by_content_and_not_by_form(tmp_path: Path) -> None:
    deployed = _deploy(_rules(tmp_path, _rule("A", FIRST), _rule("B", SECOND)))
    path = tmp_path / "rule_a.yml"
    path.write_text("# a remark\n" + yaml.safe_dump(dict(reversed(_rule("A", FIRST).items())), sort_keys=False))
    (tmp_path / "rule_b.yml").write_text(yaml.safe_dump(_rule("B", SECOND, level="high")))
    assert {change.name: change.action for change in plan_rules(load_rules([tmp_path]), deployed)} == {
        "rule_a": "keep",
        "rule_b": "change",
    }


def test_a_rule_without_a_file_is_to_be_removed_and_one_that_moved_is_changed(tmp_path: Path) -> None:
    deployed = _deploy(_rules(tmp_path, _rule("A", FIRST), _rule("B", SECOND)))
    (tmp_path / "rule_a.yml").unlink()
    (tmp_path / "rule_b.yml").rename(tmp_path / "rule_c.yml")
    assert {change.name: change.action for change in plan_rules(load_rules([tmp_path]), deployed)} == {
        "rule_a": "remove",
        "rule_c": "change",
    }


def test_every_rule_of_ours_asks_the_same_once_it_is_deployed() -> None:
    rules = load_rules([rules_dir()])
    files, cluster = compile_rules(rules), compile_rules(deployed_rules(_deploy(rules, folder=rules_dir()).values()))
    assert not cluster.errors
    assert {rule.rule.uuid: (rule.rule.content_hash, rule.rule.name, rule.query_hash) for rule in files.rules} == {
        rule.rule.uuid: (rule.rule.content_hash, rule.rule.name, rule.query_hash) for rule in cluster.rules
    }
    assert {one.rule.uuid: (one.rule.content_hash, tuple(one.rules)) for one in files.correlations} == {
        one.rule.uuid: (one.rule.content_hash, tuple(one.rules)) for one in cluster.correlations
    }


def test_rules_of_two_folders_with_one_file_name_are_both_run(tmp_path: Path) -> None:
    """Places are kept relative to the first folder; of another only the file's name is."""
    for name, identifier in (("one", FIRST), ("two", SECOND)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "aws_same.yml").write_text(yaml.safe_dump(_rule(name, identifier)), encoding="utf-8")
    deployed = _deploy(load_rules([tmp_path / "one", tmp_path / "two"]), folder=tmp_path / "one")
    pack = compile_rules(deployed_rules(deployed.values()))
    assert sorted(rule.rule.uuid for rule in pack.rules) == sorted([FIRST, SECOND])
    assert {rule.rule.name for rule in pack.rules} == {"aws_same"}


def test_the_version_before_is_kept_until_there_is_another(tmp_path: Path) -> None:
    first = _rules(tmp_path, _rule("A", FIRST))
    one = _deploy(first)
    second = _rules(tmp_path, _rule("A", FIRST, level="high"))
    two = _deploy(second, one)
    again = _deploy(second, two)
    for deployed in (two, again):
        (there,) = deployed.values()
        current, before = current_version(there), previous_version(there)
        assert current is not None
        assert before is not None
        assert (current.level, before.level) == ("high", "low")
    (rule,) = second.rules
    found = deployed_version(rule, one)
    assert found is not None
    assert found.rule.level == "low"
    found = deployed_version(rule, again)
    assert found is not None
    assert found.rule.level == "low", "what is deployed is the same: the one before it is compared with"
    assert deployed_version(rule, _deploy(second)) is None


def test_a_path_outside_the_folder_is_not_told(tmp_path: Path) -> None:
    (rule,) = _rules(tmp_path, _rule("A", FIRST)).rules
    assert document(rule, None, now=NOW, folder=tmp_path)["path"] == "rule_a.yml"
    assert document(rule, None, now=NOW, folder=Path("/somewhere"))["path"] == "rule_a.yml"


@pytest.fixture
def git(tmp_path: Path) -> Callable[..., None]:
    def run(*arguments: str) -> None:
        settings = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *settings, *arguments], check=True, capture_output=True)

    run("init", "-q")
    return run


def test_git_has_the_last_version_that_differs(tmp_path: Path, git: Callable[..., None]) -> None:
    _rules(tmp_path, _rule("A", FIRST))
    git("add", ".")
    git("commit", "-qm", "one")
    (rule,) = _rules(tmp_path, _rule("A", FIRST, level="high")).rules
    found = git_version(rule)
    assert found is not None
    assert found.label.startswith("git ")
    assert found.rule.level == "low"
    git("commit", "-qam", "two")
    (tmp_path / "rule_a.yml").write_text("# a remark\n" + (tmp_path / "rule_a.yml").read_text())
    git("commit", "-qam", "three")
    (rule,) = load_rules([tmp_path]).rules
    found = git_version(rule)
    assert found is not None
    assert found.rule.level == "low", "commits that changed nothing are passed over"


def test_without_git_or_history_there_is_no_earlier_version(tmp_path: Path, git: Callable[..., None]) -> None:
    (rule,) = _rules(tmp_path, _rule("A", FIRST)).rules
    assert git_version(rule) is None


def test_a_version_is_compiled_with_what_it_refers_to(tmp_path: Path) -> None:
    correlation = {
        "title": "Burst",
        "id": "0f2a7a52-7a5e-4c1f-9d0e-6a3b1f0c2e12",
        "level": "low",
        "correlation": {
            "type": "event_count",
            "rules": ["rule_a"],
            "group-by": ["userIdentity.userName"],
            "timespan": "10m",
            "condition": {"gte": 10},
        },
    }
    rules = _rules(tmp_path, _rule("A", FIRST), _rule("B", SECOND), correlation)
    node = compile_version(find(rules, "rule_other"), rules)
    assert list(node.rules) == ["rule_a"]  # type: ignore[union-attr]
    with pytest.raises(RuleError, match="no such rule"):
        find(rules, "nothing")
    (tmp_path / "rule_b.yml").write_text(
        yaml.safe_dump(_rule("B", SECOND) | {"detection": {"s": {"nofield": 1}, "condition": "s"}})
    )
    broken = load_rules([tmp_path])
    with pytest.raises(RuleError, match="nofield") as caught:
        compile_version(find(broken, "rule_b"), broken)
    assert "rule_b.yml:" in str(caught.value.where)
