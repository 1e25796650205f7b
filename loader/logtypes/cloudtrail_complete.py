"""The complete path: any JSON that may be a CloudTrail record → its document. Careful, and slower for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec import UNSET, Struct, structs

from loader.errors import RecordError
from loader.logtypes.cloudtrail_actor import read_actor
from loader.logtypes.cloudtrail_build import finish
from loader.logtypes.cloudtrail_identity import NOBODY, Acting, acting_as, actor_of
from loader.logtypes.cloudtrail_insight import InsightPart, insight_of
from loader.logtypes.cloudtrail_parts import NO_TLS, Origin, Tls, read_tls, tls_of
from loader.logtypes.cloudtrail_payload import ABSENT, READERS, Payload, make_payload
from loader.logtypes.cloudtrail_record import NO_PAYLOAD, PAYLOADS, Identity, Record, TlsDetails, encode
from loader.logtypes.cloudtrail_salvage import DEEPEST, Salvage, compact, repair, take_apart, take_out
from loader.logtypes.leaves import UNUSUAL, CuttingLeaves, Leaves, escape_key
from loader.logtypes.model import Rendered
from loader.logtypes.residue import LONGEST_KEY, quoted, stored, write_json
from loader.logtypes.shorten import LONGEST_KEYWORD, shorten
from loader.logtypes.times import LONGEST_TIME, Moment, parse_time

#: Leaves may take this many times the record's own length and this many bytes more, and never more than that.
_LEAVES_FACTOR: Final = 8
LEAVES_FREE: Final = 65536
_LEAVES_MOST: Final = 16 * 2**20


def render(raw: bytes, origin: Origin, *, carefully: bool = False) -> Rendered:
    """Return the document of any record.

    Each part is read the quick way first, and by the careful one if it is odd; with ``carefully`` (for tests) no part
    is read the quick way.

    Raises:
        RecordError: it can never become one; ``kind`` says why.
    """
    repaired = repair(raw)
    tags = () if repaired is raw else ("invalid_unicode",)
    record_json = compact(repaired)
    # Of a repaired record the id is that of what stood there: two that are repaired alike are two.
    identifying = raw if len(record_json) == len(repaired) else record_json
    if len(record_json) <= LONGEST_KEYWORD:
        leaves = Leaves()
        parts = _parts(record_json, origin, leaves, carefully=carefully)
        if len(parts.leaves) <= LEAVES_FREE:
            return finish(identifying, *structs.astuple(parts), tags=tags)
    cutting = CuttingLeaves(min(_LEAVES_FACTOR * len(record_json) + LEAVES_FREE, _LEAVES_MOST))
    parts = _parts(record_json, origin, cutting, carefully=True)
    return shorten(finish(identifying, *structs.astuple(parts), tags=tags, truncated=tuple(cutting.cut)))


class _Parts(Struct, gc=False):
    """A record's parts, ready for the document: what :func:`finish` takes."""

    record: Record
    moment: Moment
    origin: Origin
    acting: Acting
    tls: Tls
    request: Payload
    response: Payload
    additional: Payload
    details: Payload
    insight: InsightPart | None
    payloads: Iterable[Payload]
    stored: bytes
    leaves: bytes
    error_code: Any
    error_message: Any


def _parts(record_json: bytes, origin: Origin, leaves: Leaves, *, carefully: bool) -> _Parts:
    salvage = take_apart(record_json, carefully=carefully)
    record, residue = salvage.record, salvage.residue
    moment = parse_time(record.event_time) if len(record.event_time) <= LONGEST_TIME else None
    if moment is None:
        raise RecordError(f"eventTime is no time: {record.event_time[:64]!r}", kind="bad_event_time")
    if not moment.exact:
        residue["eventTime"] = record.event_time
    payloads = {
        attribute: _payload(attribute, name, salvage, leaves, carefully)
        for attribute, name in PAYLOADS.items()
        if getattr(record, attribute) is not NO_PAYLOAD
    }
    start = len(leaves.found)
    tls = _tls(salvage, carefully)
    acting = _acting(salvage, carefully)
    for leaf in (*tls.leaves, *acting.actor.leaves):
        leaves.take(leaf)
    more = _residue(salvage, leaves)
    if acting.actor.stored:
        more.insert(0, acting.actor.stored)
    rest = encode(leaves.found[start:])[1:-1]
    found = [payload.leaves for payload in payloads.values() if payload.leaves]
    is_lake = "insightState" in residue or "insightType" in residue
    details = salvage.value("insightDetails")
    return _Parts(
        record,
        moment,
        origin,
        acting,
        tls,
        payloads.get("request_parameters", ABSENT),
        payloads.get("response_elements", ABSENT),
        payloads.get("additional_event_data", ABSENT),
        payloads.get("service_event_details", ABSENT),
        insight_of(details, residue if is_lake else {}, moment),
        payloads.values(),
        b",".join([payload.stored for payload in payloads.values()] + more),
        b",".join([*found, rest] if rest else found),
        record.error_code if record.error_code is not UNSET else salvage.value("errorCode"),
        record.error_message if record.error_message is not UNSET else salvage.value("errorMessage"),
    )


def _payload(attribute: str, name: str, salvage: Salvage, leaves: Leaves, carefully: bool) -> Payload:
    raw = bytes(getattr(salvage.record, attribute))
    if not carefully:
        try:
            return READERS[attribute](raw)
        except UNUSUAL:
            pass  # the careful way judges, here and below
    value = salvage.value(name)
    start = len(leaves.found)
    leaves.walk(value, name, DEEPEST)
    return make_payload(b'"%b":' % attribute.encode(), value, stored(value, raw), leaves.found[start:])


def _tls(salvage: Salvage, carefully: bool) -> Tls:
    raw = salvage.content("tlsDetails")
    if raw is None:
        return NO_TLS
    if not carefully:
        try:
            tls = read_tls(raw)
        except UNUSUAL:
            pass
        else:
            salvage.residue.pop("tlsDetails", None)
            return tls
    details = take_out(salvage, "tlsDetails", TlsDetails)
    if details is None:
        return NO_TLS
    tls = tls_of(details)
    if tls.odd:
        odd = salvage.residue.setdefault("tlsDetails", {})
        if details.tls_version is not UNSET:
            odd["tlsVersion"] = details.tls_version
    return tls


def _acting(salvage: Salvage, carefully: bool) -> Acting:
    raw = salvage.content("userIdentity")
    if raw is None:
        return NOBODY
    if not carefully:
        try:
            found = read_actor(raw)
        except UNUSUAL:
            pass
        else:
            salvage.residue.pop("userIdentity", None)
            return found
    identity = take_out(salvage, "userIdentity", Identity)
    if identity is None:
        return NOBODY
    actor = actor_of(identity)
    if actor.odd_date is not UNSET:
        context = salvage.residue.setdefault("userIdentity", {}).setdefault("sessionContext", {})
        context.setdefault("attributes", {})["creationDate"] = actor.odd_date
    return acting_as(actor)


def _residue(salvage: Salvage, leaves: Leaves) -> list[bytes]:
    """Return the residue as members of ``aws.cloudtrail.flattened``, and list its leaves."""
    found: list[bytes] = []
    residue = salvage.residue
    if isinstance(residue.get("userIdentity"), dict):
        identity = residue.pop("userIdentity")
        leaves.walk(identity, "userIdentity", DEEPEST)
        found.append(b'"user_identity":%b' % stored(identity, write_json(identity)))
    others = []
    for name, value in residue.items():
        leaves.walk(value, escape_key(name), DEEPEST)
        # A part of an object is written anew, a whole value passed on as it is.
        whole = name not in _IN_PARTS or not isinstance(value, (dict, list))
        others.append(_member(name, value, (salvage.content(name) if whole else None) or write_json(value)))
    if others:
        found.append(b'"other":%b' % _object(others, residue))
    doubled = []
    for path, earlier in salvage.doubled.items():
        for value in earlier:
            leaves.walk(value, path, DEEPEST)
        doubled.append(_member(path, earlier, write_json(earlier)))
    if doubled:
        found.append(b'"doubled":%b' % _object(doubled, salvage.doubled))
    return found


#: What may be in the residue in part.
_IN_PARTS: Final = frozenset({"userIdentity", "tlsDetails", "addendum", "resources"})


def _member(name: str, value: Any, raw: bytes) -> bytes:
    return b"%b:%b" % (encode(name), stored(value, raw))


def _object(members: list[bytes], names: Iterable[str]) -> bytes:
    whole = b"{%b}" % b",".join(members)
    return whole if all(len(name) <= LONGEST_KEY for name in names) else quoted(whole)
