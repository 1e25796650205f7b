"""The complete path: any JSON that may be a CloudTrail record → its document. Careful, and slower for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import UNSET

from loader.errors import RecordError
from loader.logtypes.cloudtrail_build import Parts, finish
from loader.logtypes.cloudtrail_identity import NOBODY, actor_of
from loader.logtypes.cloudtrail_insight import insight_of
from loader.logtypes.cloudtrail_parts import NO_TLS, Origin, Tls, tls_of
from loader.logtypes.cloudtrail_payload import ABSENT, Payload, make_payload
from loader.logtypes.cloudtrail_record import NO_PAYLOAD, PAYLOADS, encode
from loader.logtypes.cloudtrail_salvage import DEEPEST, Salvage, compact, repair, take_apart
from loader.logtypes.leaves import Leaves, escape_key
from loader.logtypes.model import Rendered
from loader.logtypes.residue import LONGEST_KEY, quoted, stored, write_json
from loader.logtypes.shorten import LONGEST_KEYWORD, shorten
from loader.logtypes.times import LONGEST_TIME, parse_time

#: Leaves may take this many times the record's own length, and this many characters more.
_LEAVES_FACTOR: Final = 8
LEAVES_FREE: Final = 65536


def render(raw: bytes, origin: Origin) -> Rendered:
    """Return the document of any record.

    Raises:
        RecordError: it can never become one; ``kind`` says why.
    """
    repaired = repair(raw)
    record_json = compact(repaired)
    salvage = take_apart(record_json)
    record, values = salvage.record, salvage.values
    moment = parse_time(record.event_time) if len(record.event_time) <= LONGEST_TIME else None
    if moment is None:
        raise RecordError(f"eventTime is no time: {record.event_time[:64]!r}", kind="bad_event_time")
    if not moment.exact:
        salvage.residue["eventTime"] = record.event_time
    leaves = Leaves(_LEAVES_FACTOR * len(record_json) + LEAVES_FREE)
    payloads = {
        attribute: _payload(attribute, values[name], bytes(payload), name, leaves)
        for attribute, name in PAYLOADS.items()
        if (payload := getattr(record, attribute)) is not NO_PAYLOAD
    }
    tls = _tls(salvage)
    actor = actor_of(salvage.identity) if salvage.identity is not None else NOBODY
    if actor.odd_date is not UNSET:
        context = salvage.residue.setdefault("userIdentity", {}).setdefault("sessionContext", {})
        context.setdefault("attributes", {})["creationDate"] = actor.odd_date
    for leaf in (*tls.leaves, *actor.leaves):
        leaves.take(leaf)
    more = _residue(salvage, leaves)
    parts = Parts(
        record,
        moment,
        origin,
        actor,
        actor.trail,
        tls,
        payloads.get("request_parameters", ABSENT),
        payloads.get("response_elements", ABSENT),
        payloads.get("additional_event_data", ABSENT),
        payloads.get("service_event_details", ABSENT),
        insight_of(values.get("insightDetails"), values, moment),
        list(payloads.values()),
        [payload.stored for payload in payloads.values()] + more,
        [encode(leaves.found)[1:-1]],
        values.get("errorCode", UNSET),
        values.get("errorMessage", UNSET),
        None if repaired is raw else ["invalid_unicode"],
        list(leaves.cut),
        kept=len(record_json) <= LONGEST_KEYWORD,
    )
    rendered = finish(parts, record_json if repaired is raw else _identifying(raw, record_json))
    return rendered if parts.kept else shorten(rendered)


def _identifying(raw: bytes, repaired: bytes) -> bytes:
    """Return what a record's id is derived from: its compact form, of the repaired record only if it has no other."""
    try:
        return msgspec.json.format(raw, indent=-1)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return repaired


def _payload(attribute: str, value: Any, raw: bytes, name: str, leaves: Leaves) -> Payload:
    start = len(leaves.found)
    leaves.walk(value, name, DEEPEST)
    return make_payload(b'"%b":' % attribute.encode(), value, stored(value, raw), leaves.found[start:])


def _tls(salvage: Salvage) -> Tls:
    if salvage.tls is None:
        return NO_TLS
    tls = tls_of(salvage.tls)
    if tls.odd:
        odd = salvage.residue.setdefault("tlsDetails", {})
        if salvage.tls.tls_version is not UNSET:
            odd["tlsVersion"] = salvage.tls.tls_version
    return tls


def _residue(salvage: Salvage, leaves: Leaves) -> list[bytes]:
    """Return the residue as members of ``aws.cloudtrail.flattened``, and list its leaves."""
    found: list[bytes] = []
    residue = salvage.residue
    if salvage.identity is not None or isinstance(salvage.values.get("userIdentity"), dict):
        identity = residue.pop("userIdentity", None)
        if identity is not None:
            leaves.walk(identity, "userIdentity", DEEPEST)
            found.append(b'"user_identity":%b' % stored(identity, write_json(identity)))
    others = []
    for name, value in residue.items():
        leaves.walk(value, escape_key(name), DEEPEST)
        raw = salvage.members.get(name)
        whole = raw is not None and value is salvage.values.get(name)
        others.append(_member(name, value, bytes(raw) if whole and raw is not None else write_json(value)))
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


def _member(name: str, value: Any, raw: bytes) -> bytes:
    return b"%b:%b" % (encode(name), stored(value, raw))


def _object(members: list[bytes], names: Iterable[str]) -> bytes:
    whole = b"{%b}" % b",".join(members)
    return whole if all(len(name) <= LONGEST_KEY for name in names) else quoted(whole)
