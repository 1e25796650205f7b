"""The Elastic Common Schema, as far as this project writes it: its version, and the values that it allows.

The version is pinned. Source: ECS 9.0.0, ``event`` field set, "Allowed values" and "Expected event types"
(https://www.elastic.co/docs/reference/ecs/ecs-allowed-values-event-category). A test holds this module against ECS's
machine-readable schema, ``tests/schemas/ecs-9.0.0.json``.
"""

from __future__ import annotations

from typing import Final

#: Written into ``ecs.version`` of every document.
ECS_VERSION: Final = "9.0.0"

#: ``event.kind``.
KINDS: Final = frozenset({"alert", "asset", "enrichment", "event", "metric", "pipeline_error", "signal", "state"})

#: ``event.outcome``.
OUTCOMES: Final = frozenset({"failure", "success", "unknown"})

#: ``event.type``.
TYPES: Final = frozenset(
    {
        *("access", "admin", "allowed", "change", "connection", "creation", "deletion", "denied", "end"),
        *("error", "group", "indicator", "info", "installation", "protocol", "start", "user"),
    }
)

#: ``event.category`` → the values of ``event.type`` that may stand beside it.
TYPES_OF_CATEGORY: Final[dict[str, frozenset[str]]] = {
    category: frozenset(types.split())
    for category, types in {
        "api": "access admin allowed change creation deletion denied end info start user",
        "authentication": "start end info",
        "configuration": "access change creation deletion info",
        "database": "access change info error",
        "driver": "change end info start",
        "email": "info",
        "file": "access change creation deletion info",
        "host": "access change end info start",
        "iam": "admin change creation deletion group info user",
        "intrusion_detection": "allowed denied info",
        "library": "start",
        "malware": "info",
        "network": "access allowed connection denied end info protocol start",
        "package": "access change deletion info installation start",
        "process": "access change end info start",
        "registry": "access change creation deletion",
        "session": "start end info",
        "threat": "indicator",
        "vulnerability": "info",
        "web": "access error info",
    }.items()
}


def allowed(category: str, event_type: str) -> bool:
    """Return whether ECS lets ``event.type`` ``event_type`` stand beside ``event.category`` ``category``."""
    return event_type in TYPES_OF_CATEGORY.get(category, ())
