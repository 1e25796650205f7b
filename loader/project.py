"""Where the project's own data files are: rules, mappings, dashboards, sample events."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

from loader.errors import ConfigError

_MARK = Path("mappings") / "component"


@cache
def home() -> Path:
    """Return the folder that holds ``rules/``, ``mappings/`` and ``dashboards/``.

    Looked for in this order: ``SIEM_HOME``, the checkout this package runs from, and where a wheel puts its data
    (``<prefix>/share/siem``).

    Raises:
        ConfigError: none of these holds the files.
    """
    named = os.environ.get("SIEM_HOME")
    candidates = [Path(named)] if named else []
    candidates += [Path(__file__).resolve().parent.parent, Path(sys.prefix) / "share" / "siem"]
    for candidate in candidates:
        if (candidate / _MARK).is_dir():
            return candidate
    raise ConfigError(
        "the project's data files (rules/, mappings/, dashboards/) were not found",
        where=", ".join(map(str, candidates)),
        hint="Set SIEM_HOME to a checkout of the project.",
    )


def mappings_dir() -> Path:
    """Return ``mappings/``."""
    return home() / "mappings"


def rules_dir() -> Path:
    """Return ``rules/``."""
    return home() / "rules"


def dashboards_dir() -> Path:
    """Return ``dashboards/``."""
    return home() / "dashboards"


def sample_events_dir() -> Path:
    """Return the bundled real CloudTrail files (their licence is beside them)."""
    return home() / "tests" / "events" / "cloudtrail"
