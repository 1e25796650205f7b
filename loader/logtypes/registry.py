"""The log types that can be loaded."""

from __future__ import annotations

from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import LogType

#: In the order in which an object's key is tried.
LOG_TYPES: tuple[LogType, ...] = (CLOUDTRAIL,)
