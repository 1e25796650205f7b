"""What docs/notifications.md shows works."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path
from typing import Any

from loader.notify.configuration import check_configuration
from loader.notify.webhook import signature

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "notifications.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "notify.yml"
    path.write_text(block("yaml"), encoding="utf-8")
    found = check_configuration(path)
    assert found.problems == ()
    assert {channel.type.name for channel in found.channels.values()} == {
        "webhook",
        "slack",
        "sns",
        "email",
        "pagerduty",
    }


def test_receivers_can_check_signatures_as_shown() -> None:
    names: dict[str, Any] = {"hmac": hmac, "hashlib": hashlib}
    exec(block("python"), names)
    is_genuine = names["is_genuine"]
    header = signature("sesame", 1_700_000_000, b"body")
    assert is_genuine(b"sesame", header, b"body", 1_700_000_010)
    assert not is_genuine(b"sesame", header, b"Body", 1_700_000_010)
    assert not is_genuine(b"other", header, b"body", 1_700_000_010)
    assert not is_genuine(b"sesame", header, b"body", 1_700_000_400)
