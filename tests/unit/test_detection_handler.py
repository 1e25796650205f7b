"""The Lambda handler of detection: its time, its name, and no work at import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from loader.entrypoints import detection_handler


class Context:
    """Lambda's context object (AWS itself cannot run here)."""

    function_name = "siem-detect"

    def __init__(self, left: int) -> None:
        self.left = left

    def get_remaining_time_in_millis(self) -> int:
        return self.left


def test_a_call_stops_in_time_and_keeps_some_for_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context(120_000)
    seen: list[tuple[int, bool, bool]] = []

    class Detector:
        def run(self, *, holder: str, stop: Callable[[], bool], stop_sending: Callable[[], bool]) -> dict[str, Any]:
            assert holder == "lambda:siem-detect"
            for left in (120_000, 43_000, 41_000, 31_000, 29_000):
                context.left = left
                seen.append((left, stop(), stop_sending()))
            return {"examined": 1}

    monkeypatch.setattr(detection_handler, "_detector", Detector)
    assert detection_handler.handler({}, context) == {"examined": 1}
    assert seen == [
        (120_000, False, False),
        (43_000, False, False),
        (41_000, True, False),
        (31_000, True, False),
        (29_000, True, True),
    ]


def test_nothing_is_done_at_import() -> None:
    code = (
        "import sys; import loader.entrypoints.detection_handler; "
        "print([name for name in ('boto3', 'opensearchpy', 'sigma', 'pydantic', 'yaml') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
