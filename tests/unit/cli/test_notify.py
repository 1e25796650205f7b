"""``siem notify check`` and ``test``: no cluster is needed to know whether a channel works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loader.cli.main import main
from loader.errors import SiemError
from tests.unit.notify.receivers import Answer, web_receiver
from tests.unit.notify.test_configuration import GOOD


def siem(*words: str) -> Any:
    return CliRunner().invoke(main, list(words))


def test_check_tells_every_mistake_and_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notify.yml"
    path.write_text(GOOD, encoding="utf-8")
    good = siem("notify", "check", str(path))
    assert good.exit_code == 0
    assert "5 channels: oncall (pagerduty), chat (slack)" in good.stdout
    path.write_text(GOOD.replace("type: slack", "type: slak").replace("hihg", ""), encoding="utf-8")
    monkeypatch.setenv("SIEM_NOTIFY", str(path))
    bad = siem("notify", "check")
    assert bad.exit_code == 1
    assert "notify.yml:8: error: channels.chat.type must be one of" in bad.stdout
    problems = json.loads(siem("notify", "check", "--json").stdout)["problems"]
    assert problems[0]["where"].endswith("notify.yml:8")


def test_without_a_file_the_next_step_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIEM_NOTIFY", raising=False)
    error = siem("notify", "check").exception
    assert isinstance(error, SiemError)
    assert "docs/notifications.md" in str(error.hint)


def test_a_trial_message_arrives_or_the_reason_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with web_receiver() as receiver:
        path = tmp_path / "notify.yml"
        path.write_text(
            "channels:\n  chat: {type: slack, url: 'env:TEST_SLACK'}\nroutes:\n  - channels: [chat]\n", encoding="utf-8"
        )
        monkeypatch.setenv("SIEM_NOTIFY", str(path))
        monkeypatch.setenv("TEST_SLACK", receiver.url + "/sesame-street")
        assert siem("notify", "test", "chat").stdout == "chat took the message\n"
        assert receiver.requests[0].json["text"] == "TEST, INFORMATIONAL: Channel chat works"
        receiver.answer = Answer(404, b"no_service for sesame-street")
        refused = siem("notify", "test", "chat")
        assert "the receiver answers 404" in str(refused.exception)
        assert receiver.url not in str(refused.exception)
    unknown = siem("notify", "test", "chatt")
    assert "there are chat" in str(unknown.exception)
