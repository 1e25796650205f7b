"""Structured logs: one JSON object a line, to standard error, with no secret and no control character."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone

import orjson

from loader.clock import rfc3339

_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

#: Characters that JSON leaves as they are, and that a terminal or a reader may obey: DEL, C1 controls, separators of
#: lines and paragraphs, and what changes the direction of text or cannot be seen.
_UNSEEN = (
    0x7F,
    *range(0x80, 0xA0),
    0xAD,
    0x61C,
    *range(0x200B, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
)
_ESCAPED = {code: f"\\u{code:04x}" for code in (*_UNSEEN, 0xFEFF, *range(0xFFF9, 0xFFFC))}


class JsonFormatter(logging.Formatter):
    """Format a record as one line of JSON: what an attacker wrote into a field cannot start a new line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "@timestamp": rfc3339(datetime.fromtimestamp(record.created, timezone.utc)),
            "log.level": record.levelname.lower(),
            "log.logger": record.name,
            "message": record.getMessage(),
        }
        line.update({key: value for key, value in vars(record).items() if key not in _RESERVED})
        if record.exc_info:
            line["error.stack_trace"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str).decode().translate(_ESCAPED)
        except TypeError:  # a number beyond 64 bits, or text that is no Unicode: no reason to lose the line
            return json.dumps(line, default=str)


def configure_logging(level: str = "INFO") -> None:
    """Send this project's logs as JSON lines to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("loader")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
