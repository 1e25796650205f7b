"""Where the document of a record is, told without making it: its index by its time, its id by its bytes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec

from loader.logtypes.cloudtrail_build import derive_id
from loader.logtypes.cloudtrail_taxonomy import issues_credentials
from loader.logtypes.model import ObjectContext, Whereabouts
from loader.logtypes.times import LONGEST_TIME, Window, believable, delivery, index_day, parse_time


class _Told(msgspec.Struct, rename="camel", gc=False):
    """All that is read of a record. The rest of it must be JSON, or it has no whereabouts."""

    event_time: str
    event_source: Any = None
    event_name: Any = None


_decode: Final = msgspec.json.Decoder(_Told).decode


def locate(raw: bytes, context: ObjectContext) -> Whereabouts | None:
    """Return where the document of ``raw`` is, if it is anywhere.

    An id is derived from the compact record: of one that is not compact the answer leads nowhere, and it is rendered.
    """
    try:
        told = _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    time = told.event_time
    moment = parse_time(time) if len(time) <= LONGEST_TIME else None
    if moment is None:
        return None
    return Whereabouts(
        index_day(moment, _window(context.key)),
        derive_id(raw),
        moment.text,
        issues_credentials(told.event_source, told.event_name),
    )


@lru_cache(maxsize=64)
def _window(key: str) -> Window | None:
    delivered = delivery(key)
    return believable(delivered) if delivered else None
