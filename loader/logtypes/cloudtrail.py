"""AWS CloudTrail: one record → one document (docs/fields.md).

There are two ways from a record to its document. The fast one decodes strictly and gives up on anything unusual; the
complete one takes whatever JSON there is. Both end in :func:`loader.logtypes.cloudtrail_build.build` and give the same
document, which a test holds for any record.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from loader.errors import RecordError
from loader.logtypes.cloudtrail_build import Parts, build
from loader.logtypes.cloudtrail_identity import NOBODY, Actor, actor_of
from loader.logtypes.cloudtrail_insight import insight_of
from loader.logtypes.cloudtrail_parts import NO_TLS, Origin, Tls, origin_of, tls_of
from loader.logtypes.cloudtrail_record import (
    NO_PAYLOAD,
    PAYLOADS,
    Record,
    TlsDetails,
    decode_identity,
    decode_record,
    decode_tls,
)
from loader.logtypes.cloudtrail_salvage import DEEPEST, Salvage, compact, repair, take_apart
from loader.logtypes.leaves import (
    OddPayloadError,
    decode_payload,
    escape_key,
    fit_term,
    leaves_of,
    walk_carefully,
)
from loader.logtypes.model import LogType, ObjectContext, Rendered
from loader.logtypes.residue import stored, write_json
from loader.logtypes.shorten import LONGEST_KEYWORD, shorten
from loader.logtypes.times import Moment, is_misdated, parse_time

#: Longer records take the complete path: in shorter ones no value can be too long for its field.
_SHORT: Final = LONGEST_KEYWORD
#: Leaves may take this many times the record's own length, and this many characters more.
_LEAVES_FACTOR: Final = 8
_LEAVES_FREE: Final = 65536


def normalise(raw: bytes, context: ObjectContext, complete: bool) -> Rendered:
    """Return the document of one record.

    ``raw`` is the record's JSON as it is in the file. With ``complete`` nothing is taken for granted.

    Raises:
        RecordError: ``invalid_json``, ``not_an_object``, ``too_deep``, ``no_event_time`` or ``bad_event_time``.
    """
    origin = _origin(context)
    if not complete:
        rendered = _fast(raw, origin)
        if rendered is not None:
            return rendered
    return _complete(raw, origin)


class _Latest:
    """The object read last: its records come one after the other."""

    pair: tuple[ObjectContext | None, Origin | None] = (None, None)


def _origin(context: ObjectContext) -> Origin:
    known, origin = _Latest.pair
    if known is not context or origin is None:
        origin = origin_of(context)
        _Latest.pair = (context, origin)
    return origin


def derive_id(record: bytes) -> str:
    """Return a document's ``_id``: base64url of BLAKE2b-128 over the compact record and nothing else."""
    return urlsafe_b64encode(blake2b(record, digest_size=16).digest())[:22].decode()


def _fast(raw: bytes, origin: Origin) -> Rendered | None:
    """Return the document of a record in which nothing is unusual, ``None`` for any other."""
    if len(raw) > _SHORT:
        return None
    try:
        record = decode_record(raw)
        if msgspec.json.format(raw, indent=-1) != raw:
            return None
        actor, tls = _actor(record), _tls(record)
        values: dict[str, Any] = {}
        flattened: dict[str, Raw] = {}
        leaves: list[str] = []
        keys = actor.keys + tls.keys
        for attribute, name in PAYLOADS.items():
            payload = getattr(record, attribute)
            if payload is not NO_PAYLOAD:
                content = bytes(payload)
                value = values[name] = decode_payload(content)
                more, count = leaves_of(value, name, content)
                leaves += more
                keys += count
                flattened[attribute] = payload
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OddPayloadError):
        return None
    moment = parse_time(record.event_time)
    if moment is None or not moment.exact or tls.odd or _is_unusual(record):
        return None
    if _keys(record) + keys != _colons(raw) or len(leaves) * len(raw) > _LEAVES_FREE:
        return None
    leaves += tls.leaves
    leaves += actor.leaves
    if actor.stored is not UNSET:
        flattened["user_identity"] = actor.stored
    parts = Parts(
        record,
        moment,
        origin,
        values,
        flattened,
        leaves,
        actor,
        tls,
        insight_of(values["insightDetails"], {}, moment) if "insightDetails" in values else None,
        record.error_code,
        record.error_message,
    )
    return _rendered(parts, derive_id(raw))


def _is_unusual(record: Record) -> bool:
    """Return whether a part of the record that decoded well leaves something behind that has no typed field."""
    if record.addendum is not UNSET:
        return True
    if record.resources is UNSET:
        return False
    return not record.resources or any(
        resource.arn is UNSET and resource.account_id is UNSET and resource.type is UNSET
        for resource in record.resources
    )


def _keys(record: Record) -> int:
    """Return the number of JSON keys at the record's own level and in ``resources``."""
    keys = 0
    for value in msgspec.structs.astuple(record):
        if value is not UNSET and value is not NO_PAYLOAD:
            keys += 1
    for resource in record.resources or ():
        keys += (resource.arn is not UNSET) + (resource.account_id is not UNSET) + (resource.type is not UNSET)
    return keys


def _colons(raw: bytes) -> int:
    """Return the number of keys in compact JSON, or more, or -1: never the right number if a key is doubled."""
    found = raw.count(b'":')
    if b"\\" in raw:
        if b'\\\\":' in raw:
            return -1
        found -= raw.count(b'\\":')
    return found


def _actor(record: Record) -> Actor:
    return NOBODY if record.user_identity is NO_PAYLOAD else actor_of(decode_identity(record.user_identity), {})


def _tls(record: Record) -> Tls:
    return NO_TLS if record.tls_details is NO_PAYLOAD else tls_of(decode_tls(record.tls_details))


class _LeavesFullError(Exception):
    """The leaves take more room than a record of this length may ask for."""


class _Leaves:
    """Collects leaves: cuts those that are too long, and stops when there are too many."""

    def __init__(self, room: int) -> None:
        self.found: list[str] = []
        self.cut: dict[str, None] = {}
        self._room = room

    def add(self, leaf: str) -> None:
        fitting = fit_term(leaf)
        if fitting is not leaf:
            path = leaf.partition("=")[0]
            self.cut[path if len(path) <= 1024 else "aws.cloudtrail.leaves"] = None
        self._room -= len(fitting)
        if self._room < 0:
            self.cut["aws.cloudtrail.leaves"] = None
            raise _LeavesFullError
        self.found.append(fitting)

    def walk(self, value: Any, path: str) -> None:
        """List the leaves of ``value``, as far as there is room."""
        if self._room >= 0:
            try:
                walk_carefully(value, path, self.add, DEEPEST + 1)
            except _LeavesFullError:
                return


def _complete(raw: bytes, origin: Origin) -> Rendered:
    """Return the document of any record."""
    repaired = repair(raw)
    record_json = compact(repaired)
    salvage = take_apart(record_json)
    record, values = salvage.record, salvage.values
    moment = parse_time(record.event_time)
    if moment is None:
        raise RecordError(f"eventTime is no time: {record.event_time[:64]!r}", kind="bad_event_time")
    if not moment.exact:
        salvage.residue["eventTime"] = record.event_time
    leaves = _Leaves(_LEAVES_FACTOR * len(record_json) + _LEAVES_FREE)
    flattened: dict[str, Raw] = {}
    for attribute, name in PAYLOADS.items():
        payload = getattr(record, attribute)
        if payload is not NO_PAYLOAD:
            leaves.walk(values[name], name)
            flattened[attribute] = stored(values[name], bytes(payload))
    tls = _salvaged_tls(salvage)
    actor = NOBODY
    if salvage.identity is not None:
        actor = actor_of(salvage.identity, salvage.residue.pop("userIdentity", {}))
    for leaf in (*tls.leaves, *actor.leaves):
        leaves.add(leaf)
    if actor.stored is not UNSET:
        flattened["user_identity"] = actor.stored
    flattened.update(_others(salvage, leaves))
    parts = Parts(
        record,
        moment,
        origin,
        {name: values[name] for name in PAYLOADS.values() if name in values},
        flattened,
        leaves.found,
        actor,
        tls,
        insight_of(values.get("insightDetails"), values, moment),
        values.get("errorCode"),
        values.get("errorMessage"),
        tags=["invalid_unicode"] if repaired is not raw else [],
        truncated=list(leaves.cut),
    )
    rendered = _rendered(parts, derive_id(_identifying(raw, record_json)))
    return shorten(rendered) if len(record_json) > _SHORT else rendered


def _identifying(raw: bytes, repaired: bytes) -> bytes:
    """Return what a record's id is derived from: its compact form, of the repaired record only if it has no other."""
    try:
        return msgspec.json.format(raw, indent=-1)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return repaired


def _salvaged_tls(salvage: Salvage) -> Tls:
    if salvage.tls is None:
        return NO_TLS
    tls = tls_of(salvage.tls)
    if tls.odd and salvage.tls != TlsDetails():
        salvage.residue.setdefault("tlsDetails", {})["tlsVersion"] = salvage.tls.tls_version
    return tls


def _others(salvage: Salvage, leaves: _Leaves) -> dict[str, Raw]:
    """Return the residue as ``other`` and ``doubled`` of ``aws.cloudtrail.flattened``, and list its leaves."""
    others: dict[str, Raw] = {}
    for name, value in salvage.residue.items():
        leaves.walk(value, escape_key(name))
        others[name] = stored(value, write_json(value))
    doubled: dict[str, Raw] = {}
    for path, earlier in salvage.doubled.items():
        for value in earlier:
            leaves.walk(value, path)
        doubled[path] = stored(earlier, write_json(earlier))
    found: dict[str, Raw] = {}
    if others:
        found["other"] = Raw(msgspec.json.encode(others))
    if doubled:
        found["doubled"] = Raw(msgspec.json.encode(doubled))
    return found


def _rendered(parts: Parts, identifier: str) -> Rendered:
    moment: Moment = parts.moment
    day = moment.day
    delivered = parts.origin.delivered
    if delivered is not None and is_misdated(moment, delivered):
        day = "misdated"
        parts.tags.append("misdated")
    return Rendered(day, identifier, build(parts), moment.text)


#: The log type, for the registry.
CLOUDTRAIL: Final = LogType(
    name="aws-cloudtrail", dataset="aws.cloudtrail", normalise=normalise, key_marks=("/CloudTrail/",)
)
