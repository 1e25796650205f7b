"""Hypothesis strategies for log files that are wrong in every way we could think of."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass

import orjson
from hypothesis import strategies as st

#: Keys that the loader reads: values of a wrong kind are most interesting there.
# fmt: off
_KEYS = [
    "eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "awsRegion", "sourceIPAddress",
    "userAgent", "errorCode", "errorMessage", "requestParameters", "responseElements", "additionalEventData",
    "requestID", "eventID", "readOnly", "resources", "eventType", "apiVersion", "managementEvent",
    "recipientAccountId", "sharedEventID", "vpcEndpointId", "eventCategory", "addendum",
    "sessionCredentialFromConsole", "edgeDeviceDetails", "tlsDetails", "serviceEventDetails", "insightDetails",
]
# fmt: on
_TOKENS = (
    b'{"create":{"_index":"log-aws-cloudtrail-1999.01.01","_id":"forged"}}\n{}\n',
    b"\n",
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",  # a surrogate, in what is called CESU-8
    b"\\ud800",
    b"NaN",
    b"1e999",
    b"-0.0",
    b"]}",
    b'{"Records":[',
    b'{"eventVersion":"1.08",',
    b"[" * 600,
    b'{"a":' * 600,
    b"9" * 400,
    b"/* */",
)
_TIMES = (
    "2023-07-10T11:45:00Z",
    "1970-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "0000-00-00T00:00:00Z",
    "2023-07-10T11:45:00.123456789Z",
    "2023-07-10T11:45:00+14:00",
    "2023-07-10T24:00:00Z",
    "2023-07-10 11:45:00",
    "now",
    "",
)
_STRINGS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(_TIMES),
    st.sampled_from(["AWS Internal", "true", "null", "::1", "999.1.1.1", "x" * 9000, "\u2603" * 12_000, "a=b\\", "\n"]),
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    _STRINGS,
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(_KEYS), st.text(max_size=12)), inner, max_size=4),
    ),
    max_leaves=12,
)


def canary(name: str) -> bytes:
    """A record that is in order, and can be found again."""
    return orjson.dumps(
        {
            "eventVersion": "1.08",
            "eventTime": "2023-07-10T11:45:00Z",
            "eventSource": "ec2.amazonaws.com",
            "eventName": "DescribeInstances",
            "awsRegion": "us-east-1",
            "sourceIPAddress": "203.0.113.7",
            "eventID": name,
        }
    )


@dataclass(frozen=True)
class Malformed:
    """``content`` is what the file holds before it is stored; the rest says how it is stored."""

    content: bytes
    storing: str
    share: float
    flip: int
    tail: bytes

    @property
    def readable(self) -> bool:
        """Whether all of the content can be read back."""
        return self.storing in ("gzip", "plain", "trailing data")

    def body(self) -> bytes:
        """Return the object's bytes."""
        if self.storing == "plain":
            return self.content
        stored = zlib.compress(self.content) if self.storing == "zlib" else gzip.compress(self.content, mtime=0)
        place = int(self.share * (len(stored) - 1))
        if self.storing == "cut off":
            return stored[:place]
        if self.storing == "flipped":
            return stored[:place] + bytes([stored[place] ^ self.flip]) + stored[place + 1 :]
        return stored + self.tail if self.storing == "trailing data" else stored


@st.composite
def _record(draw: st.DrawFn) -> bytes:
    """A record with values of any kind in it."""
    made = orjson.loads(canary("an-event"))
    made["eventTime"] = draw(st.one_of(st.just(_TIMES[0]), st.sampled_from(_TIMES), _VALUES))
    made |= draw(st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=5))
    made |= draw(st.dictionaries(st.text(max_size=8), _VALUES, max_size=2))
    for key in draw(st.lists(st.sampled_from(_KEYS), max_size=2)):
        made.pop(key, None)
    indent = orjson.OPT_INDENT_2 if draw(st.integers(0, 5)) == 0 else 0
    raw = orjson.dumps(made, option=indent)
    if draw(st.integers(0, 7)) == 0:
        raw = raw[:-1] + b',"eventName":"Again","requestParameters":{"a":1,"a":2}}'
    return raw


@st.composite
def _damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """``whole`` with pieces put in, taken out, changed or repeated."""
    raw = bytearray(draw(whole))
    for _ in range(draw(st.integers(1, 3))):
        if not raw:
            break
        place = draw(st.integers(0, len(raw) - 1))
        way = draw(st.integers(0, 4))
        if way == 0:
            raw[place:place] = draw(st.sampled_from(_TOKENS))
        elif way == 1:
            del raw[place : place + draw(st.integers(1, 20))]
        elif way == 2:
            raw[place] = draw(st.integers(0, 255))
        elif way == 3:
            del raw[place:]
        else:
            raw[place:place] = raw[place : place + draw(st.integers(1, 60))]
    return bytes(raw)


_RECORDS = st.one_of(
    _record(),
    _damaged(_record()),
    _VALUES.map(orjson.dumps),
    st.sampled_from(_TOKENS),
    st.binary(max_size=40),
)


@st.composite
def malformed_files(draw: st.DrawFn, first: bytes, last: bytes) -> Malformed:
    """A file of a few records that are wrong, between two that are right, in some kind of wrapping."""
    records = [first, *draw(st.lists(_RECORDS, max_size=6)), last]
    wrapping = draw(st.integers(0, 9))
    if wrapping <= 4:
        content = b'{"Records":[' + b",".join(records) + b"]}"
    elif wrapping == 5:
        content = b"[" + b" ,\n".join(records) + b"]"
    elif wrapping == 6:
        content = b"\n".join(records)
    elif wrapping == 7:
        content = b'{"x":1,"Records":[' + b",".join(records) + b'],"y":{"z":[2]}}\n'
    elif wrapping == 8:
        content = b"\xef\xbb\xbf" + b'{"Records":[' + b",".join(records) + b"]}"
    else:
        content = draw(_damaged(st.just(b'{"Records":[' + b",".join(records) + b"]}")))
    return Malformed(
        content,
        draw(st.sampled_from(["gzip"] * 4 + ["plain"] * 3 + ["trailing data", "cut off", "flipped", "zlib"])),
        draw(st.floats(0, 1)),
        draw(st.integers(1, 255)),
        draw(st.binary(min_size=1, max_size=20)),
    )
