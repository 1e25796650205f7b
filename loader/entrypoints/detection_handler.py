"""Detection on AWS Lambda, by schedule: ``loader.entrypoints.detection_handler.handler``.

Each call runs one cycle within its time and sends what the outbox holds. EventBridge Scheduler calls the function every
minute or so; reserved concurrency of 1 keeps calls from meeting. What a call does not reach, the next one does.
"""

from __future__ import annotations

from functools import cache
from typing import Any

#: Of the time a call has, what is kept for working out correlations, and for sending.
_RESERVED, _SENDING_MS = 0.35, 30_000


@cache
def _detector() -> Any:
    """Wire detection on the first call; warm starts reuse it."""
    from loader.clock import SystemClock
    from loader.config import read_settings
    from loader.health.detector import make_detector
    from loader.telemetry import configure_logging

    configure_logging()
    return make_detector(read_settings(), clock=SystemClock())


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda passes it
    """Run one cycle. ``context`` is Lambda's (``get_remaining_time_in_millis`` and ``function_name`` are used).

    Returns the cycle's figures, ``{"held_by": …}`` if another detector is at work.

    Raises:
        SiemError: the cluster cannot be asked, or no rules are there. Nothing is lost; the next call goes on.
    """
    left = context.get_remaining_time_in_millis
    reserve = left() * _RESERVED
    result: dict[str, Any] = _detector().run(
        holder=f"lambda:{context.function_name}",
        stop=lambda: left() < reserve,
        stop_sending=lambda: left() < _SENDING_MS,
    )
    return result
