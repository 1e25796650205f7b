"""The envelopes in which records travel outside of CloudTrail's own files: one whole value → the records in it.

A subscription of CloudWatch Logs, to Firehose and to Lambda alike:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html
An event of EventBridge, one record each:
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html
A document of an integration that keeps the record below ``aws.cloudtrail``. Any of these inside of any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Raw

from loader.source.scan import Unsound, skip_commas, sound_end, without_surrogates
from loader.source.starts import HEAD, SPACE

#: What CloudTrail begins each record with.
RECORD = b'{"eventVersion":'
#: The head of a document of an integration; the record follows.
WRAPPER = re.compile(rb'\{%(s)s"aws"%(s)s:%(s)s\{%(s)s"cloudtrail"%(s)s:%(s)s(?=\{)' % {b"s": SPACE})
#: A list of records, as long as the first of them can be told from anything else.
LIST_OF_RECORDS = re.compile(rb"\[%s(?=%s)" % (SPACE, HEAD.pattern))
#: Content denser in commas than this is walked value by value: millions of tiny "records" in one list are a memory
#: bomb. (Real records have a comma every 40 bytes.)
MIN_BYTES_A_COMMA = 20
#: Envelopes inside of each other. AWS puts a record into one, a pipeline of somebody's perhaps into a second.
MOST_ENVELOPES = 4
#: Names that only records have: where one stands beside records, it may be a part of one.
RECORD_NAME = re.compile(
    rb'"(?:event(?:Version|Name|Source|Time|ID)|userIdentity|sourceIPAddress|requestParameters|responseElements)"'
)
_VIA = b' via CloudTrail"'
_BY_AWS = b'"aws.'
_CONTROL = b'"CONTROL_MESSAGE"'
_NONE = Raw()
_T = TypeVar("_T")
#: What decoding raises. Deeper than Python's own stack is for the normaliser to judge.
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class Found(NamedTuple):
    """A record, or with ``kind`` a stretch that is none and why. ``event_id`` is CloudWatch Logs' own."""

    raw: bytes
    event_id: str | None = None
    kind: str = ""
    message: str = ""


class _Members(msgspec.Struct):
    """What an object is known by. Anything else in it costs no memory."""

    records: Raw = msgspec.field(name="Records", default=_NONE)
    log_events: Raw = msgspec.field(name="logEvents", default=_NONE)
    message_type: Raw = msgspec.field(name="messageType", default=_NONE)
    detail_type: Raw = msgspec.field(name="detail-type", default=_NONE)
    detail: Raw = _NONE
    source: Raw = _NONE
    event_name: Raw = msgspec.field(name="eventName", default=_NONE)
    event_source: Raw = msgspec.field(name="eventSource", default=_NONE)
    event_time: Raw = msgspec.field(name="eventTime", default=_NONE)
    event_id: Raw = msgspec.field(name="eventID", default=_NONE)

    @property
    def is_record(self) -> bool:
        return bool(len(self.event_name) or len(self.event_source) or len(self.event_time) or len(self.event_id))


class _Wrapped(msgspec.Struct):
    cloudtrail: Raw


class _Wrapper(msgspec.Struct):
    aws: _Wrapped


class _LogEvent(msgspec.Struct):
    message: Raw = _NONE
    id: Raw = _NONE


_decode_members = msgspec.json.Decoder(_Members).decode
_decode_wrapper = msgspec.json.Decoder(_Wrapper).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_event = msgspec.json.Decoder(_LogEvent).decode
_decode_text = msgspec.json.Decoder(str).decode


def records_in(raw: bytes, *, alone: bool, event_id: str | None = None, depth: int = 0) -> Iterator[Found]:
    """Yield the records in a value: the value itself, or what it is the envelope of.

    ``alone`` says that it stood between other values, and not in a list of records: an object that is neither a record
    nor an envelope is reported then. In a list, whatever there is counts as a record, and its normaliser says what is
    wrong with it. ``event_id`` is that of the log event it came in, ``depth`` counts the lists of records around it.
    """
    if raw.startswith(RECORD) or depth >= MOST_ENVELOPES:
        yield Found(raw, event_id)
    elif LIST_OF_RECORDS.match(raw):
        yield from _listed(raw, event_id, depth)
    else:
        try:
            members, clean = _decoded(_decode_members, raw)
        except _UNREADABLE as error:
            # A record of its own (JSON lines) is judged by its normaliser, which also says what is wrong with it.
            if not alone or b'"event' in raw:
                yield Found(raw, event_id)
            else:
                yield Found(raw, None, "not_json", f"neither JSON nor a CloudTrail file: {error}")
        else:
            yield from _opened(raw, clean, members, alone, event_id, depth)


def _opened(
    raw: bytes, clean: bytes, members: _Members, alone: bool, event_id: str | None, depth: int
) -> Iterator[Found]:
    """Yield the records in an object, which as JSON is ``clean``."""
    inner = bytes(members.records or members.log_events)
    if inner.startswith(b"["):
        inner, around = _taken_out(raw, clean, inner)
        if members.records:
            yield from _listed(inner, event_id, depth)
            if members.log_events:
                yield Found(
                    bytes(members.log_events), event_id, "beside_records", "log events beside a list of records"
                )
        else:
            yield from _logged(inner, members.message_type, depth)
    elif inner and alone:
        kind = "no_records" if members.records else "bad_envelope"
        yield Found(inner, None, kind, f"{'Records' if members.records else 'logEvents'} is not an array")
        return
    elif not members.is_record and (wrapped := _wrapped(raw, clean, members)):
        inner, around = _taken_out(raw, clean, wrapped)
        yield from records_in(inner, alone=False, event_id=event_id, depth=depth + 1)
    elif alone and not members.is_record:
        yield Found(raw, event_id, "no_records", "a JSON object without Records")
        return
    else:
        yield Found(raw, event_id)
        return
    if RECORD_NAME.search(around) or HEAD.search(around):
        yield Found(around, event_id, "beside_records", "records that are not where such a file has them")


def _wrapped(raw: bytes, clean: bytes, members: _Members) -> bytes:
    """Return the record in an event of EventBridge, or in a document of an integration; nothing if it is neither."""
    # "AWS API Call via CloudTrail, AWS Console Sign In via CloudTrail, AWS Insight via CloudTrail", … Who puts events
    # of his own cannot choose such a source: those that begin with aws. are for AWS's services.
    if bytes(members.detail_type).endswith(_VIA) and bytes(members.source).startswith(_BY_AWS):
        return bytes(members.detail)
    if WRAPPER.match(raw):
        try:
            return bytes(_decode_wrapper(clean).aws.cloudtrail)
        except _UNREADABLE:
            return b""
    return b""


def _listed(raw: bytes, event_id: str | None, depth: int) -> Iterator[Found]:
    for record in _elements(raw):
        yield from records_in(record, alone=False, event_id=event_id, depth=depth + 1)


def _logged(raw: bytes, message_type: Raw, depth: int) -> Iterator[Found]:
    """Yield what the log events of a subscription hold: each message is a record, as text, or an envelope of some."""
    asks = bytes(message_type) == _CONTROL
    for event in _elements(raw):
        event_id = None
        try:
            members, clean = _decoded(_decode_event, event)
            event_id = _decode_text(members.id) if bytes(members.id).startswith(b'"') else None
            message = _decode_text(members.message).encode()
            if clean is not event:
                # The message is JSON itself, where half of a pair is written just so.
                message = json.loads(event)["message"].encode("utf-8", "backslashreplace")
        except _UNREADABLE as error:
            yield Found(event, event_id, "bad_envelope", f"a log event without a message that is text: {error}")
            continue
        if event.count(b'"message"') > 1:
            yield Found(event, event_id, "bad_envelope", "a log event with several messages")
        elif not asks or message.lstrip().startswith(b"{"):
            # CloudWatch Logs asks whether the destination can be reached: there is no record in that.
            yield from records_in(message, alone=False, event_id=event_id, depth=depth + 1)


def _elements(raw: bytes) -> Iterator[bytes]:
    """Yield the elements of a list: all at once if it is one of records, one by one if it is one of crumbs."""
    if raw.count(b",") * MIN_BYTES_A_COMMA <= len(raw):
        try:
            listed, clean = _decoded(_decode_list, raw)
        except _UNREADABLE:
            pass
        else:
            position = 0
            for element in map(bytes, listed):
                if clean is raw:
                    yield element
                else:
                    position = clean.index(element, position)
                    yield raw[position : position + len(element)]
                    position += len(element)
            return
    position = skip_commas(raw, 1)
    while position < len(raw) - 1:
        end = sound_end(raw, position, len(raw))
        if isinstance(end, Unsound):  # deeper than the parser goes
            end = len(raw) - 1
        yield raw[position:end].rstrip()
        position = skip_commas(raw, end)


def _taken_out(raw: bytes, clean: bytes, inner: bytes) -> tuple[bytes, bytes]:
    """Return ``inner``, which is a part of ``clean``, as it is in ``raw``, and what is around it there."""
    start = clean.index(inner)
    end = start + len(inner)
    return inner if clean is raw else raw[start:end], raw[1:start] + raw[end:]


def _decoded(decode: Callable[[bytes], _T], raw: bytes) -> tuple[_T, bytes]:
    """Decode ``raw``, if need be without the halves of surrogate pairs, and return what was decoded as well.

    Raises:
        msgspec.MsgspecError, RecursionError, UnicodeDecodeError: it is not what the decoder expects.
    """
    try:
        return decode(raw), raw
    except _UNREADABLE:
        clean = without_surrogates(raw)
        if clean is None:
            raise
    return decode(clean), clean
