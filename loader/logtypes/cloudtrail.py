"""AWS CloudTrail: one record → one document (docs/fields.md).

There are two ways from a record to its document. The fast one decodes strictly and gives up on anything unusual; the
complete one takes whatever JSON there is. Both end in :func:`loader.logtypes.cloudtrail_build.finish` and give the same
document, which a test holds for any record.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec
from msgspec import UNSET

from loader.logtypes.cloudtrail_actor import read_actor
from loader.logtypes.cloudtrail_build import Parts, finish
from loader.logtypes.cloudtrail_complete import LEAVES_FREE, render
from loader.logtypes.cloudtrail_identity import NOBODY
from loader.logtypes.cloudtrail_insight import InsightPart, insight_of
from loader.logtypes.cloudtrail_parts import NO_TLS, Origin, Tls, origin_of, tls_of
from loader.logtypes.cloudtrail_payload import ABSENT, READERS, Payload, read_additional, read_request, read_response
from loader.logtypes.cloudtrail_record import (
    NO_PAYLOAD,
    Record,
    decode_record,
    decode_tls,
    encode,
    is_plain,
)
from loader.logtypes.leaves import OddPayloadError
from loader.logtypes.model import LogType, ObjectContext, Rendered
from loader.logtypes.shorten import LONGEST_KEYWORD
from loader.logtypes.times import Moment, parse_time

#: Longer records take the complete path: in shorter ones no value can be too long for its field.
_SHORT: Final = LONGEST_KEYWORD
#: Leaves repeat the keys above them; those of a record this short have room whatever its keys are.
_NEVER_CROWDED: Final = 500
_UNUSUAL: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OddPayloadError)


class _Latest:
    """The object read last: its records come one after the other."""

    pair: tuple[ObjectContext | None, Origin | None] = (None, None)


def normalise(raw: bytes, context: ObjectContext, complete: bool) -> Rendered:
    """Return the document of one record.

    ``raw`` is the record's JSON as it is in the file. With ``complete`` nothing is taken for granted.

    Raises:
        RecordError: ``invalid_json``, ``not_an_object``, ``too_deep``, ``no_event_time`` or ``bad_event_time``.
    """
    known, origin = _Latest.pair
    if known is not context or origin is None:
        origin = origin_of(context)
        _Latest.pair = (context, origin)
    if not complete and len(raw) <= _SHORT:
        try:
            return _fast(raw, origin)
        except _UNUSUAL:
            pass
    return render(raw, origin)


def _fast(raw: bytes, origin: Origin) -> Rendered:
    """Return the document of a record in which nothing is unusual.

    Raises one of ``_UNUSUAL`` for any other.
    """
    record = decode_record(raw)
    if len(encode(record)) != len(raw):  # see `is_plain`
        raise OddPayloadError
    identity, details = record.user_identity, record.tls_details
    actor, user_identity = (NOBODY, b"") if identity is NO_PAYLOAD else read_actor(bytes(identity))
    tls = NO_TLS if details is NO_PAYLOAD else _tls(bytes(details))
    moment = parse_time(record.event_time)
    if moment is None or not moment.exact or tls.odd:
        raise OddPayloadError
    if (record.resources is not UNSET or record.addendum is not UNSET) and _leaves_something(record):
        raise OddPayloadError
    request = response = additional = more = ABSENT
    insight = None
    if record.request_parameters is not NO_PAYLOAD:
        request = read_request(bytes(record.request_parameters))
    if record.response_elements is not NO_PAYLOAD:
        response = read_response(bytes(record.response_elements))
    if record.additional_event_data is not NO_PAYLOAD:
        additional = read_additional(bytes(record.additional_event_data))
    payloads = [payload for payload in (request, response, additional) if payload is not ABSENT]
    if not (
        record.service_event_details is NO_PAYLOAD
        and record.insight_details is NO_PAYLOAD
        and record.event_context is NO_PAYLOAD
        and record.edge_device_details is NO_PAYLOAD
    ):
        more, insight = _read_more(record, moment, payloads)
    stored = [payload.stored for payload in payloads]
    leaves = [payload.leaves for payload in payloads]
    if len(raw) > _NEVER_CROWDED and sum(map(len, leaves)) > LEAVES_FREE:
        raise OddPayloadError
    if tls.leaves_json:
        leaves.append(tls.leaves_json)
    if actor.leaves_json:
        leaves.append(actor.leaves_json)
    if actor.stored:
        stored.append(actor.stored)
    return finish(
        Parts(
            record,
            moment,
            origin,
            actor,
            user_identity,
            tls,
            request,
            response,
            additional,
            more,
            insight,
            payloads,
            stored,
            leaves,
            record.error_code,
            record.error_message,
        ),
        raw,
    )


def _read_more(record: Record, moment: Moment, payloads: list[Payload]) -> tuple[Payload, InsightPart | None]:
    """Add the payloads that few records have; return ``serviceEventDetails`` and the Insight."""
    found = {
        attribute: read(bytes(getattr(record, attribute)))
        for attribute, read in READERS.items()
        if getattr(record, attribute) is not NO_PAYLOAD
    }
    payloads[:] = found.values()
    insight = found.get("insight_details")
    return (
        found.get("service_event_details", ABSENT),
        insight_of(insight.value, {}, moment) if insight is not None else None,
    )


def _leaves_something(record: Record) -> bool:
    """Return whether a part of the record that decoded well has something that has no typed field."""
    if record.addendum is not UNSET:
        return True
    if record.resources is UNSET:
        return False
    for resource in record.resources:
        if resource.arn is UNSET and resource.account_id is UNSET and resource.type is UNSET:
            return True
    return not record.resources


@lru_cache(maxsize=4096)
def _tls(raw: bytes) -> Tls:
    details = decode_tls(raw)
    tls = tls_of(details)
    if tls.odd or not is_plain(details, raw):
        raise OddPayloadError
    return tls


#: The log type, for the registry.
CLOUDTRAIL: Final = LogType(
    name="aws-cloudtrail", dataset="aws.cloudtrail", normalise=normalise, key_marks=("/CloudTrail/",)
)
