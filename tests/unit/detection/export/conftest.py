from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from loader.detection.compile import Pack, compile_rules
from loader.detection.load import RuleSet, load_rules
from loader.project import rules_dir

Made = tuple[RuleSet, Pack]


def rule_text(title: str = "A title", **parts: Any) -> dict[str, Any]:
    """Return a rule's content: ``detection`` and whatever else is to be there."""
    body: dict[str, Any] = {
        "title": title,
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, title + repr(sorted(parts)))),
        "status": "test",
        "level": "high",
        "logsource": {"product": "aws", "service": "cloudtrail"},
        "detection": {"selection": {"eventName": "StopLogging"}, "condition": "selection"},
    }
    return {**body, **parts}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Made]:
    """Write documents into ``made.yml``, load and compile them."""

    def make(*documents: dict[str, Any]) -> Made:
        path = tmp_path / "made.yml"
        path.write_text(yaml.safe_dump_all(documents, allow_unicode=True), encoding="utf-8")
        rules = load_rules([path])
        return rules, compile_rules(rules)

    return make


@pytest.fixture(scope="session")
def whole_pack() -> Made:
    rules = load_rules([rules_dir()])
    return rules, compile_rules(rules)
