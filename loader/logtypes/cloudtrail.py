"""AWS CloudTrail: one record → one document (docs/fields.md).

There are two ways from a record to its document. The fast one decodes strictly and gives up on anything unusual; the
complete one takes whatever JSON there is. Both end in :func:`loader.logtypes.cloudtrail_build.finish` and give the same
document, which a test holds for any record.
"""

from __future__ import annotations

from itertools import filterfalse
from typing import Final

from msgspec import UNSET

from loader.logtypes.cloudtrail_actor import read_actor
from loader.logtypes.cloudtrail_build import finish
from loader.logtypes.cloudtrail_complete import LEAVES_FREE, render
from loader.logtypes.cloudtrail_identity import NOBODY
from loader.logtypes.cloudtrail_insight import InsightPart, insight_of
from loader.logtypes.cloudtrail_locate import locate
from loader.logtypes.cloudtrail_parts import NO_TLS, Origin, origin_of, read_tls
from loader.logtypes.cloudtrail_payload import (
    ABSENT,
    READERS,
    Payload,
    read_additional,
    read_request,
    read_response,
    read_unknown,
)
from loader.logtypes.cloudtrail_record import (
    KNOWN_KEYS,
    NO_PAYLOAD,
    Record,
    decode_members,
    decode_record,
    encode,
)
from loader.logtypes.cloudtrail_salvage import leaves_something
from loader.logtypes.leaves import UNUSUAL, OddPayloadError
from loader.logtypes.model import LogType, ObjectContext, Rendered
from loader.logtypes.shorten import LONGEST_KEYWORD
from loader.logtypes.times import Moment, parse_time

#: Longer records take the complete path: in shorter ones no value can be too long for its field.
_SHORT: Final = LONGEST_KEYWORD


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
        except UNUSUAL:
            pass
    return render(raw, origin)


def _fast(raw: bytes, origin: Origin) -> Rendered:
    """Return the document of a record in which nothing is unusual.

    Raises one of ``UNUSUAL`` for any other.
    """
    record = decode_record(raw)
    rest = len(raw) - len(encode(record))  # see `is_plain`
    unknown = _read_unknown(raw, rest) if rest else ()
    moment = parse_time(record.event_time)
    if moment is None or not moment.exact:
        raise OddPayloadError
    if (record.resources is not UNSET or record.addendum is not UNSET) and leaves_something(record):
        raise OddPayloadError
    request, response, additional, more, insight, payloads = _read_payloads(record, moment)
    stored: list[bytes] = []
    leaves: list[bytes] = []
    for payload in payloads:
        stored.append(payload.stored)
        leaves.append(payload.leaves)
    tls, acting = NO_TLS, NOBODY
    if record.tls_details is not NO_PAYLOAD:
        tls = read_tls(bytes(record.tls_details))
        if tls.leaves_json:
            leaves.append(tls.leaves_json)
    if record.user_identity is not NO_PAYLOAD:
        acting = read_actor(bytes(record.user_identity))
        actor = acting.actor
        if actor.leaves_json:
            leaves.append(actor.leaves_json)
        if actor.stored:
            stored.append(actor.stored)
    if unknown:
        leaves += [payload.leaves for payload in unknown]
        stored.append(b'"other":{%b}' % b",".join([payload.stored for payload in unknown]))
    listed = b",".join(leaves)
    if len(listed) > LEAVES_FREE:
        raise OddPayloadError
    return finish(
        raw,
        record,
        moment,
        origin,
        acting,
        tls,
        request,
        response,
        additional,
        more,
        insight,
        payloads,
        b",".join(stored),
        listed,
        record.error_code,
        record.error_message,
    )


def _read_payloads(
    record: Record, moment: Moment
) -> tuple[Payload, Payload, Payload, Payload, InsightPart | None, list[Payload]]:
    """Return the payloads in which something is looked up, the Insight, and all payloads there are."""
    request = response = additional = more = ABSENT
    insight = None
    payloads: list[Payload] = []
    if record.request_parameters is not NO_PAYLOAD:
        request = read_request(bytes(record.request_parameters))
        payloads.append(request)
    if record.response_elements is not NO_PAYLOAD:
        response = read_response(bytes(record.response_elements))
        payloads.append(response)
    if record.additional_event_data is not NO_PAYLOAD:
        additional = read_additional(bytes(record.additional_event_data))
        payloads.append(additional)
    if not (
        record.service_event_details is NO_PAYLOAD
        and record.insight_details is NO_PAYLOAD
        and record.event_context is NO_PAYLOAD
        and record.edge_device_details is NO_PAYLOAD
    ):
        more, insight = _read_more(record, moment, payloads)
    return request, response, additional, more, insight, payloads


def _read_unknown(raw: bytes, rest: int) -> list[Payload]:
    """Return what stands under keys of the record that are not known; ``rest`` is the length of it, names included.

    Raises:
        OddPayloadError: there is something else in ``raw``: white space, a doubled key, a needless escape, an Insight.
    """
    members = decode_members(raw)
    unknown = list(filterfalse(KNOWN_KEYS.__contains__, members))
    for key in unknown:
        rest -= len(encode(key)) + len(members[key]) + 2  # a colon and a comma
        if key.startswith("insight"):
            raise OddPayloadError
    if rest:
        raise OddPayloadError
    return [read_unknown(key, bytes(members[key])) for key in unknown]


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


#: The log type, for the registry.
CLOUDTRAIL: Final = LogType(
    name="aws-cloudtrail", dataset="aws.cloudtrail", normalise=normalise, key_marks=("/CloudTrail/",), locate=locate
)
