"""What the reader makes of good and bad files. Each bad file ends as a named, counted piece; the rest goes on."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import isal_zlib

from loader.source import decompress, reach, scan, starts
from loader.source.objects import Broken, Limits, Piece
from loader.source.split import read_pieces

A = b'{"eventVersion":"1.08","eventName":"A"}'
B = b'{"eventVersion":"1.08","eventName":"B","x":"}],{\\"eventVersion\\":"}'
NEST = b'{"eventVersion":"1.08","eventName":"N","p":[1,{"eventVersion":"F"}],"eventID":"n"}'
FILE = b'{"Records":[' + A + b"," + B + b"]}"

_MIB = 2**20
_HEAD = b'{"Records":['

BUFFERED = Limits()
STREAMED = Limits(buffer=0)


def chunks(data: bytes, size: int = 7) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def pieces(data: bytes, limits: Limits = BUFFERED, size: int = 7) -> list[tuple[str, bytes]]:
    """Return ``(kind or "ok", raw)`` of every piece, having checked that they are numbered 1, 2, 3, …"""
    found = list(read_pieces(chunks(data, size), limits))
    assert [piece.number for piece in found] == list(range(1, len(found) + 1))
    return [("ok" if isinstance(piece, Piece) else piece.kind, piece.raw) for piece in found]


def bridged(record: bytes, source: bytes = b"aws.s3") -> bytes:
    return (
        b'{"version":"0","detail-type":"AWS API Call via CloudTrail","source":"%s","detail":' % source + record + b"}"
    )


def logged(*messages: object, message_type: str = "DATA_MESSAGE") -> bytes:
    """Return the envelope of a subscription of CloudWatch Logs."""
    events = [
        {"id": str(number), "message": message.decode()} if isinstance(message, bytes) else message
        for number, message in enumerate(messages)
    ]
    return json.dumps({"messageType": message_type, "logGroup": "g", "logEvents": events}).encode()


CASES: dict[str, tuple[bytes, list[tuple[str, bytes]]]] = {
    "CloudTrail's own form": (FILE, [("ok", A), ("ok", B)]),
    "gzip": (gzip.compress(FILE), [("ok", A), ("ok", B)]),
    "pretty-printed": (
        json.dumps(json.loads(b'{"Records":[' + A + b"]}"), indent=2).encode(),
        [("ok", json.dumps(json.loads(A), indent=2).replace("\n", "\n    ").encode())],
    ),
    "no records": (b'{"Records":[]}', []),
    "keys after the records": (b'{"Records":[' + A + b'],"z":{"q":[1]}}', [("ok", A)]),
    "keys before the records": (b'{"z":[1],"Records":[' + A + b"]}", [("ok", A)]),
    "a bare array": (b"[" + A + b"," + B + b"]", [("ok", A), ("ok", B)]),
    "one record": (A, [("ok", A)]),
    "JSON lines": (A + b"\n" + B + b"\n", [("ok", A), ("ok", B)]),
    "several documents in a row": (FILE + b"\n" + FILE, [("ok", A), ("ok", B), ("ok", A), ("ok", B)]),
    "a record that is no object": (b'{"Records":[17,' + A + b"]}", [("ok", b"17"), ("ok", A)]),
    "wrapped records, the last wrapper open": (
        b'[\n{ "aws": { "cloudtrail":'
        + A
        + b"}},\n"
        + B
        + b',\n{"aws":{"cloudtrail":'
        + A
        + b",\n"
        + B
        + b",\n"
        + A
        + b"]",
        [("ok", A), ("ok", B), ("ok", A), ("ok", B), ("ok", A)],
    ),
    "wrapped records, one a line": (
        b'{"aws":{"cloudtrail":' + A + b' } }\n{"aws":{"cloudtrail":' + B + b"}}\n}",
        [("ok", A), ("ok", B), ("not_json", b"}")],
    ),
    "events of EventBridge": (
        bridged(A) + b"\n[" + bridged(B) + b']\n{"detail-type":"GuardDuty Finding","detail":{}}',
        [("ok", A), ("ok", B), ("no_records", b'{"detail-type":"GuardDuty Finding","detail":{}}')],
    ),
    "an event that somebody put on the bus himself": (
        bridged(A, source=b"my.app") + b"\n" + B,
        [("no_records", bridged(A, source=b"my.app")), ("ok", B)],
    ),
    "events of EventBridge in a list of records": (
        b'{"Records":[' + A + b"," + bridged(B) + b"]}",
        [("ok", A), ("ok", B)],
    ),
    "records behind a bracket that stays open": (
        b'{"Records":[{"eventVersion":"1","x":{"y":[{,' + A + b"," + B + b"," + A + b"," + B + b"]}",
        [("invalid_json", b'{"eventVersion":"1","x":{"y":[{'), ("ok", A), ("ok", B), ("ok", A), ("ok", B)],
    ),
    "a CloudWatch Logs subscription": (logged(A, B), [("ok", A), ("ok", B)]),
    "a CloudWatch Logs control message": (logged(b"CWL CONTROL MESSAGE: x", message_type="CONTROL_MESSAGE"), []),
    "a control message with a record in it": (logged(A, message_type="CONTROL_MESSAGE"), [("ok", A)]),
    "envelopes, one a line, one of them cut": (
        logged(A) + b"\n" + logged(B)[:-30] + b"\n" + logged(B) + b"\n" + logged(A),
        [("ok", A), ("invalid_json", logged(B)[:-30]), ("ok", B), ("ok", A)],
    ),
    "odd log events between sound ones": (
        logged(A, None, 17, {"id": "x"}, {"id": "y", "message": None}, "text", B),
        [
            ("ok", A),
            ("bad_envelope", b"null"),
            ("bad_envelope", b"17"),
            ("bad_envelope", b'{"id": "x"}'),
            ("bad_envelope", b'{"id": "y", "message": null}'),
            ("bad_envelope", b'"text"'),
            ("ok", B),
        ],
    ),
    "a log event with half a surrogate pair in its message": (
        logged(A, b'{"eventVersion":"1.08","x":"H"}').replace(b"H", rb"\ud800"),
        [("ok", A), ("ok", rb'{"eventVersion":"1.08","x":"\ud800"}')],
    ),
    "a log event with a deep id": (
        b'{"logEvents":[{"id":' + b"[" * 5000 + b"]" * 5000 + b',"message":""}]}\n' + A,
        [("not_json", b'{"logEvents":[{"id":' + b"[" * 5000 + b"]" * 5000 + b',"message":""}]}'), ("ok", A)],
    ),
    "an event of EventBridge as a message": (logged(bridged(A), bridged(B)), [("ok", A), ("ok", B)]),
    "an envelope in a list": (b"[" + logged(A) + b"," + logged(B) + b"]", [("ok", A), ("ok", B)]),
    "an envelope in a list of records": (b'{"Records":[' + logged(A, B) + b"]}", [("ok", A), ("ok", B)]),
    "log events beside records": (
        b'{"Records":[' + A + b'],"logEvents":[{"message":"{}"}]}',
        [("ok", A), ("beside_records", b'"logEvents":[{"message":"{}"}]')],
    ),
    "several lists of records": (b'{"a":1,"Records":[' + A + b'],"Records":[' + B + b"]}", [("ok", A), ("ok", B)]),
    "a list of records behind an object": (
        b'{"a":{},"Records":[' + A + b'],"Records":[' + B + b"]}",
        [("ok", B), ("beside_records", b'"a":{},"Records":[' + A + b'],"Records":}')],
    ),
    "two details in one event": (
        bridged(A)[:-1] + b',"detail":' + B + b"}",
        [("ok", B), ("beside_records", bridged(A)[1:-1] + b',"detail":}')],
    ),
    "records with keys of envelopes": (
        b'{"Records":[' + A[:-1] + b',"Records":[]},' + A[:-1] + b',"logEvents":[]}]}\n' + A[:-1] + b',"Records":[]}',
        [("ok", A[:-1] + b',"Records":[]}'), ("ok", A[:-1] + b',"logEvents":[]}'), ("ok", A[:-1] + b',"Records":[]}')],
    ),
    "a record whose list of records comes first": (
        b'{"Records":[],"eventName":"A"}',
        [("beside_records", b'"eventName":"A"')],
    ),
    "a damaged subscription": (b'{"logEvents":[{"message":7}]}', [("bad_envelope", b'{"message":7}')]),
    "a CloudWatch Logs export": (
        b"2023-07-10T11:45:00.000Z " + A + b"\n2023-07-10T11:45:01.000Z " + B + b"\n",
        [("ok", A), ("ok", B)],
    ),
    "exports' times as other tools write them": (
        b"2023-07-10T11:45:00+02:00 "
        + A
        + b"\n2023-07-10 11:45:00,123 "
        + B
        + b"\n2023-07-10T11:45:00.123456789+0000\t"
        + A,
        [("ok", A), ("ok", B), ("ok", A)],
    ),
    "a bad line in an export": (
        b"2023-07-10T11:45:00.000Z " + A + b"\n2023-07-10T11:45:01.000Z {cut\n2023-07-10T11:45:02.000Z " + B,
        [("ok", A), ("invalid_json", b"2023-07-10T11:45:01.000Z {cut"), ("ok", B)],
    ),
    "a message that is no record in an export": (
        b"2023-07-10T11:45:00.000Z " + A + b"\n2023-07-10T11:45:01.000Z START x\n2023-07-10T11:45:02.000Z " + B,
        [("ok", A), ("not_json", b"2023-07-10T11:45:01.000Z START x"), ("ok", B)],
    ),
    "a cut line among JSON lines": (
        A + b"\n" + B[:20] + b"\n" + B + b"\n",
        [("ok", A), ("invalid_json", B[:20]), ("ok", B)],
    ),
    "byte order marks": (b"\xef\xbb\xbf" + FILE + b"\n\xef\xbb\xbf" + FILE, [("ok", A), ("ok", B)] * 2),
    "records that begin with another key": (
        b'{"Records":[{"eventTime":"x","y":tru},{"userIdentity":{},"eventName":"A"},' + B + b"]}",
        [("ok", b'{"eventTime":"x","y":tru}'), ("ok", b'{"userIdentity":{},"eventName":"A"}'), ("ok", B)],
    ),
    "a record without a comma behind it, and records in a parameter": (
        _HEAD + NEST + B + b"\n" + NEST + b"\n" + B + b"]}",
        [("ok", NEST), ("ok", B), ("ok", NEST), ("ok", B)],
    ),
    "a colon in place of a comma": (_HEAD + A + b":" + B + b"]}", [("ok", A), ("invalid_json", b":"), ("ok", B)]),
    "a wrapper with another end": (
        b'[{"aws":{"cloudtrail":' + A + b"}]," + B + b"]",
        [("ok", A), ("invalid_json", b"}"), ("ok", B), ("not_json", b"]")],
    ),
    "members of a record behind a list that ended too early": (
        _HEAD + A + b',]"requestParameters":{"secret":"value"},"sourceIPAddress":"192.0.2.4"},' + B + b"]}",
        [
            ("ok", A),
            ("beside_records", b'"requestParameters":{"secret":"value"}'),
            ("beside_records", b'"sourceIPAddress":"192.0.2.4"'),
            ("ok", B),
            ("not_json", b"]}"),
        ],
    ),
    "members behind the list without a comma": (
        _HEAD + A + b']"z":"W","y":1}',
        [("ok", A), ("beside_records", b'"z":"W"'), ("beside_records", b'"y":1')],
    ),
    "a member behind the list that is no JSON": (
        _HEAD + A + b'],"k":[W000]}',
        [("ok", A), ("beside_records", b'"k":[W000]')],
    ),
    "a line break in the name of the list": (
        b'{"Rec\nords":[' + A + b"," + B + b"]}",
        [("no_records", b'{"Rec\nords":['), ("ok", A), ("ok", B)],
    ),
    "no colon behind the name of the list": (
        b'{"Records" [' + A + b"," + B + b"]}",
        [("no_records", b'{"Records" ['), ("ok", A), ("ok", B)],
    ),
    "a comma for the colon behind the name of the list": (
        b'{"Records",[' + A + b"," + B + b"]}",
        [("no_records", b'{"Records",['), ("ok", A), ("ok", B)],
    ),
    "a record by itself that begins with a list": (
        b'{"responseElements":[' + A + b'],"eventName":"A"}\n' + B,
        [("ok", b'{"responseElements":[' + A + b'],"eventName":"A"}'), ("ok", B)],
    ),
    "empty": (b"", [("empty", b"")]),
    "white space only": (b" \r\n", [("empty", b"")]),
    "empty gzip": (gzip.compress(b""), [("empty", b"")]),
    "text": (b"hello world {", [("not_json", b"hello world {")]),
    "a number": (b"17", [("not_json", b"17")]),
    "HTML": (b"<html>\n<b>x</b></html>", [("not_json", b"<html>\n<b>x</b></html>")]),
    "text before JSON lines": (b"# log\n" + A, [("not_json", b"# log"), ("ok", A)]),
    "JSON without Records": (b'{"a":1}', [("no_records", b'{"a":1}')]),
    "Records is null": (b'{"Records":null}', [("no_records", b"null")]),
    "broken JSON": (b'{"Records": oops}', [("not_json", b'{"Records": oops}')]),
    "cut in a record": (FILE[:-20], [("ok", A), ("truncated", B[: len(B) - 18])]),
    "cut between records": (b'{"Records":[' + A, [("ok", A), ("truncated", b"")]),
    "a bad token spoils one record": (
        b'{"Records":[' + A + b',{"eventVersion":"1.08","x":tru},' + B + b"]}",
        [("ok", A), ("ok", b'{"eventVersion":"1.08","x":tru}'), ("ok", B)],
    ),
    "an open string spoils one record": (
        b'{"Records":[{"eventVersion":"1.08","x":"open},' + A + b"," + B + b"]}",
        [("ok", b'{"eventVersion":"1.08","x":"open}'), ("ok", A), ("ok", B)],
    ),
    "an open bracket spoils one record": (
        b'{"Records":[{"eventVersion":"1.08","x":{},' + A + b"," + B + b"]}",
        [("ok", b'{"eventVersion":"1.08","x":{}'), ("ok", A), ("ok", B)],
    ),
    "a brace too many": (b'{"Records":[' + A + b"}," + A + b"]}", [("ok", A), ("invalid_json", b"}"), ("ok", A)]),
    "nested 5,000 deep": (
        b'{"Records":[' + A + b',{"eventVersion":' + b"[" * 5000 + b"]" * 5000 + b"}]}",
        [("ok", A), ("ok", b'{"eventVersion":' + b"[" * 5000 + b"]" * 5000 + b"}")],
    ),
    "damaged gzip": (b"\x1f\x8bgarbage" * 9, [("bad_gzip", b"")]),
    "gzip that ends early": (gzip.compress(FILE)[:-4], [("ok", A), ("ok", B), ("truncated_gzip", b"")]),
}


@pytest.mark.parametrize("limits", [Limits(), STREAMED], ids=["buffered", "streamed"])
@pytest.mark.parametrize("name", CASES)
def test_every_file_ends_as_named_pieces(name: str, limits: Limits) -> None:
    data, expected = CASES[name]
    assert pieces(data, limits) == expected


@pytest.mark.parametrize("tail", [b"junk", gzip.compress(FILE)], ids=["junk", "a second member"])
def test_what_follows_the_gzip_member_is_not_loaded(tail: bytes) -> None:
    assert pieces(gzip.compress(FILE) + tail, size=4096)[:2] == [("ok", A), ("ok", B)]
    kinds = [kind for kind, _ in pieces(gzip.compress(FILE) + tail, size=4096)]
    assert kinds == ["ok", "ok", "trailing_data"]


@pytest.mark.parametrize("limits", [Limits(record=100), Limits(buffer=0, record=100)], ids=["buffered", "streamed"])
def test_a_record_over_the_limit_is_refused_alone(limits: Limits) -> None:
    big = b'{"eventVersion":"1.08","x":"' + b"y" * 200 + b'"}'
    data = b'{"Records":[' + A + b"," + big + b"," + A + b"]}"
    assert [kind for kind, _ in pieces(data, limits)] == ["ok", "record_too_large", "ok"]


def test_a_decompression_bomb_is_stopped_within_the_limits() -> None:
    bomb = gzip.compress(b" " * (30 * 2**20) + b'{"Records":[' + b"0" * (30 * 2**20))
    found = list(read_pieces([bomb], Limits(buffer=2**20, record=2**20)))
    assert [piece.kind for piece in found if isinstance(piece, Broken)] == ["record_too_large"]
    assert sum(len(piece.raw) for piece in found) <= 2**20


def test_reading_stops_at_the_total_limit() -> None:
    bomb = gzip.compress(b" " * (8 * 2**20))
    found = list(read_pieces([bomb], Limits(buffer=2**20, record=2**20, total=4 * 2**20)))
    assert [piece.kind for piece in found if isinstance(piece, Broken)] == ["object_too_large"]


def test_a_million_tiny_values_are_walked_not_listed() -> None:
    data = b'{"Records":[' + b"1," * 100_000 + A + b"]}"
    count = last = 0
    for piece in read_pieces([data], Limits()):
        count, last = count + 1, piece.number
    assert count == last == 100_001


@settings(max_examples=300, deadline=None)
@given(
    records=st.lists(
        st.dictionaries(
            st.sampled_from(["eventVersion", "eventName", "x"]),
            st.recursive(
                st.text() | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=8
            ),
            min_size=1,
        ),
        max_size=6,
    ),
    size=st.integers(1, 64),
    zipped=st.booleans(),
    ascii_only=st.booleans(),
)
def test_buffered_and_streamed_give_the_same_pieces(
    records: list[dict[str, object]], size: int, zipped: bool, ascii_only: bool
) -> None:
    raws = [
        json.dumps(record, ensure_ascii=ascii_only, separators=(",", ":")).encode("utf-8", "replace")
        for record in records
    ]
    data = b'{"Records":[' + b",".join(raws) + b"]}"
    stored = gzip.compress(data) if zipped else data
    expected = [("ok", raw) for raw in raws]
    assert pieces(stored, Limits(), size) == expected
    assert pieces(stored, STREAMED, size) == expected


@settings(max_examples=500, deadline=None)
@given(
    data=st.binary(max_size=200) | st.text(alphabet='{}[]",:\\ Records\neventVersion01', max_size=200).map(str.encode),
    size=st.integers(1, 50),
)
def test_no_bytes_raise(data: bytes, size: int) -> None:
    for limits in (Limits(), STREAMED):
        assert pieces(data, limits, size) or not data.strip() or b"[" in data


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(0, len(FILE)), flip=st.integers(0, len(FILE) - 1), value=st.integers(0, 255))
def test_damage_never_raises_and_never_hides_the_first_record_before_it(cut: int, flip: int, value: int) -> None:
    damaged = bytearray(FILE)
    damaged[flip] = value
    for data in (FILE[:cut], bytes(damaged)):
        for limits in (Limits(), STREAMED):
            found = pieces(data, limits)
            if data[:52] == FILE[:52]:
                assert found[0] == ("ok", A)


@pytest.mark.parametrize("size", [5, 4096])
def test_several_members_are_read_where_they_are_expected(size: int) -> None:
    stored = gzip.compress(A + b"\n") + gzip.compress(B + b"\n")
    for limits in (BUFFERED, STREAMED):
        found = list(read_pieces(chunks(stored, size), limits, members=True))
        assert [piece.raw for piece in found] == [A, B]


def test_of_many_small_members_each_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is copied per member is counted, since machines differ."""
    copied = 0

    class Counting:
        def __init__(self, wbits: int) -> None:
            self._real = isal_zlib.decompressobj(wbits=wbits)

        def __getattr__(self, name: str) -> object:
            nonlocal copied
            found: object = getattr(self._real, name)
            copied += len(found) if isinstance(found, bytes) else 0
            return found

    monkeypatch.setattr(decompress, "isal_zlib", SimpleNamespace(decompressobj=Counting, error=isal_zlib.error))
    stored = (gzip.compress(A + b"\n") + gzip.compress(b"")) * 4_000
    found = list(read_pieces(chunks(stored, 2**20), BUFFERED, members=True))
    assert [piece.raw for piece in found] == [A] * 4_000
    assert copied < 8_000 * 2**15


def test_what_is_kept_of_a_stretch_says_whether_it_is_all_of_it() -> None:
    long = b"x" * (2 * _MIB)
    found = list(read_pieces([long + b"\n" + A + b"\nshort\n" + B], BUFFERED))
    assert [(len(piece.raw), piece.cut) for piece in found if isinstance(piece, Broken)] == [(_MIB, True), (5, False)]


# --- records that are too long, in the middle of others ---------------------------------------------------------------

ODD = b'{"eventTime":"2023-07-10T11:45:00Z","eventVersion":"1.08"}'
FORGED = b'{"eventVersion":"1.08","eventName":"Forged"}'
LONG = {
    "a long string": b'{"eventVersion":"1.08","x":"' + b"y" * 3000 + b'"}',
    "a long string with quotes": b'{"eventVersion":"1.08","x":"' + rb"\"}," * 800 + b'"}',
    "backslashes": b'{"eventVersion":"1.08","x":"' + b"\\" * 3000 + b'"}',
    "what looks like records": b'{"eventVersion":"1.08","x":[{"a":1},' + b",".join([FORGED] * 60) + b"]}",
    "many keys": b'{"eventVersion":"1.08"' + b"".join(b',"key%d":{"a":[%d]}' % (n, n) for n in range(200)) + b"}",
    "a list": b"[" + b",".join(b'{"key%d":"a value"}' % n for n in range(200)) + b"]",
    "a string": b'"' + b"z" * 3000 + b'"',
}


@pytest.mark.parametrize("size", [1, 7, 64, 1000, 10_000])
@pytest.mark.parametrize("name", LONG)
def test_behind_a_record_that_is_too_long_every_record_is_found(name: str, size: int) -> None:
    """Whatever the next one begins with, whatever is inside the long one, buffered and streamed."""
    data = b'{"Records":[' + b",".join([A, LONG[name], ODD, B, LONG[name], A]) + b"]}"
    expected = ["ok", "record_too_large", "ok", "ok", "record_too_large", "ok"]
    for limits in (Limits(record=1000), Limits(buffer=6000, record=1000)):
        found = pieces(data, limits, size)
        assert [kind for kind, _ in found] == expected
        assert [raw for kind, raw in found if kind == "ok"] == [A, ODD, B, A]


@pytest.mark.parametrize("limits", [Limits(record=1000), Limits(buffer=4000, record=1000)])
def test_a_long_record_that_does_not_end_takes_no_record_along(limits: Limits) -> None:
    endless = b'{"eventVersion":"1.08","x":{"y":"' + b"y" * 6000 + b'"'
    data = b'{"Records":[' + b",".join([A, endless, A, B]) + b"]}"
    found = pieces(data, limits, 500)
    assert [raw for kind, raw in found if kind == "ok"] == [A, A, B]
    assert [kind for kind, _ in found if kind != "ok"] == ["record_too_large"]


@pytest.mark.parametrize(
    "line", [b"}", b'{"a":', b"{", b'x\n{"a"', rb'{"a":"\ud800"}', b'{"eventVersion":"1","x":[1,'], ids=repr
)
def test_odd_lines_take_time_in_proportion(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in bytes that are looked at, since machines differ."""

    def looked(count: int) -> int:
        seen = 0

        def counted(pattern: re.Pattern[bytes], data: bytes, begin: int, end: int) -> object:
            nonlocal seen
            seen += end - begin + 1_000
            return first(pattern, data, begin, end)

        monkeypatch.setattr(starts, "_first", counted)
        list(read_pieces([(line + b"\n") * count], BUFFERED))
        return seen

    first = starts._first
    assert looked(700) <= 700 * 20_000
    assert looked(8_000) <= 8 * looked(2_000)


# --- brackets and quotes ----------------------------------------------------------------------------------------------

DENSE = {
    "opening brackets": b"[" * (16 * _MIB),
    "opening braces": b"{" * (16 * _MIB),
    "objects without an end": b'{"a":' * (3 * _MIB),
    "empty lists": b"[]" * (8 * _MIB),
    "brackets in the list": _HEAD + b"[" * (16 * _MIB),
    "a record without an end": _HEAD + b'{"eventVersion":[' + b"[]," * (5 * _MIB),
    "empty strings": _HEAD + b'{"eventVersion":[' + b'"",' * (5 * _MIB),
    "escaped quotes": _HEAD + b'{"eventVersion":"' + rb"\"" * (8 * _MIB),
    "behind the list": _HEAD + b"]," + b"[" * (16 * _MIB),
}


@pytest.mark.parametrize("stored", [None, 2**40], ids=["buffered", "streamed"])
@pytest.mark.parametrize("name", DENSE)
def test_content_of_brackets_and_quotes_is_refused_within_so_many_steps(
    name: str, stored: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in steps, since machines differ: without a limit these would take millions of them."""
    spent: list[int] = []
    monkeypatch.setattr(reach, "_MOST_STEPS", 2**20)
    monkeypatch.setattr(scan.Patience, "spend", _counting(spent, scan.Patience.spend))
    found = list(read_pieces(chunks(DENSE[name], _MIB), Limits(), members=True, stored=stored))
    assert {piece.kind for piece in found if isinstance(piece, Broken)} <= {"too_dense", "record_too_large"}
    assert isinstance(found[-1], Broken)
    assert sum(len(piece.raw) for piece in found) <= 2 * _MIB
    assert sum(spent) <= 32 * _MIB


def _counting(spent: list[int], spend: Callable[[scan.Patience, int], None]) -> Callable[[scan.Patience, int], None]:
    def counted(patience: scan.Patience, steps: int) -> None:
        spent.append(steps)
        spend(patience, steps)

    return counted


def _record(payload: bytes) -> bytes:
    return b'{"eventVersion":"1.08","eventName":"D","requestParameters":' + payload + b"}"


NESTED = b'{"eventVersion":"1.08","eventName":"Forged"}'
SOUND = {
    "empty objects": _record(b"[" + b"{}," * 60_000 + b"1]"),
    "empty strings": _record(b"[" + b'"",' * 60_000 + b"1]"),
    "records in a parameter": _record(b"[1," + (NESTED + b",") * 4_000 + b"{}]"),
    "records in a parameter, first of a list": _record(b'{"a":[' + NESTED + b"]}"),
    "records in a parameter, on lines": _record(b"[1" + (b",\n" + NESTED) * 4_000 + b"]"),
    "half a surrogate pair": _record(b"[1," + (NESTED + b",") * 4_000 + rb'"\ud800"]'),
    "half a surrogate pair at first": _record(rb'["\ud800",' + (NESTED + b",") * 4_000 + b"{}]"),
    "no UTF-8": _record(b'["\xff",' + (NESTED + b",") * 4_000 + b"{}]"),
}
DEEP = {
    "deep": _record(b"[" * 3_000 + b"]" * 3_000),
    "deep, with records": _record(b"[" * 3_000 + (NESTED + b",") * 4_000 + b"1" + b"]" * 3_000),
    "deep, with half a surrogate pair": _record(b"[" * 3_000 + NESTED + rb',"\ud800"' + b"]" * 3_000),
    "objects in objects": _record(b'{"a":' * 3_000 + b"[1," + NESTED + b"]" + b"}" * 3_000),
}


@pytest.mark.parametrize("stored", [None, 2**40], ids=["buffered", "streamed"])
@pytest.mark.parametrize("name", [*SOUND, *DEEP])
def test_whatever_a_caller_puts_into_a_parameter_neither_splits_its_record_nor_ends_the_reading(
    name: str, stored: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = (SOUND | DEEP)[name]
    if name in SOUND:  # no walk is needed for them, whatever is in them
        monkeypatch.setattr(reach, "_MOST_STEPS", 0)
    data = _HEAD + b",".join([A, *[record] * 40, B]) + b"]}"
    # A brace too many, so that the file is not split as a whole.
    found = list(read_pieces(chunks(data + b"}", 2**16), Limits(), stored=stored))
    assert [piece.raw for piece in found if isinstance(piece, Piece)] == [A, *[record] * 40, B]
    assert [piece.kind for piece in found if isinstance(piece, Broken)] == ["not_json"]


def test_a_large_record_full_of_policies_is_not_dense() -> None:
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["*"]}]}
    text = json.dumps(json.dumps({"policies": [policy] * 40}))
    record = (
        b'{"eventVersion":"1.08","requestParameters":{'
        + b",".join(b'"p%d":%s' % (number, text.encode()) for number in range(400))
        + b"}}"
    )
    assert len(record) > _MIB
    found = pieces(_HEAD + b",".join([A, record, B]) + b"],}", Limits(buffer=1), 2**16)
    assert [raw for kind, raw in found if kind == "ok"] == [A, record, B]


@pytest.mark.parametrize("name", CASES)
def test_what_is_known_to_be_large_is_split_alike_without_filling_the_buffer(name: str) -> None:
    data, expected = CASES[name]
    found = list(read_pieces(chunks(data), BUFFERED, stored=2**40))
    assert [("ok" if isinstance(piece, Piece) else piece.kind, piece.raw) for piece in found] == expected


def test_the_first_record_of_a_large_object_comes_before_the_rest_is_read() -> None:
    read = 0

    def content() -> Iterator[bytes]:
        nonlocal read
        for part in (FILE[:-2], b",", B, b"]}"):
            read += 1
            yield part

    assert isinstance(next(read_pieces(content(), BUFFERED, stored=2**30)), Piece)
    assert read == 1


# --- however it comes -------------------------------------------------------------------------------------------------

_TOKENS = [
    *(
        A,
        B,
        FILE,
        _HEAD,
        b"]}",
        b"[",
        b"]",
        b"{",
        b"}",
        b"}}",
        b",",
        b",\n",
        b"\n",
        b" ",
        b":",
        b'"',
        b"\\",
        b"\xff",
        b"\x00",
    ),
    *(b"1", b"-", b'"a"', b"null", b"{}", b"[]", b'{"a":1}', b',"z":1}', b"2023-07-10T11:45:00.000Z ", b"\xef\xbb\xbf"),
    *(
        logged(A),
        bridged(A),
        b'{"aws":{"cloudtrail":',
        b',"Records":[',
        b'"Records" : [',
        b'{"Reco',
        b'{"eventVersion":',
    ),
    *(
        rb'{"eventVersion":"1","p":"\ud800"}',
        b'{"eventVersion":"1","p":[1,{"eventVersion":"2"}]}',
        b'{"eventTime":"x"}',
    ),
]


@settings(max_examples=400, deadline=None)
@given(
    data=st.lists(st.sampled_from(_TOKENS), max_size=25).map(b"".join),
    sizes=st.sets(st.integers(1, 300), min_size=3, max_size=3),
    buffer=st.sampled_from([0, 50, 200, 500]),
    record=st.sampled_from([30, 60, 120, 300]),
)
def test_how_the_content_comes_in_chunks_makes_no_difference(
    data: bytes, sizes: set[int], buffer: int, record: int
) -> None:
    limits = Limits(buffer=buffer, record=record)
    found = [list(read_pieces(chunks(data, size), limits)) for size in sizes]
    assert found[0] == found[1] == found[2]


@settings(max_examples=400, deadline=None)
@given(
    before=st.lists(st.sampled_from(_TOKENS), max_size=8).map(b"".join),
    behind=st.lists(st.sampled_from(_TOKENS), max_size=8).map(b"".join),
)
def test_a_record_on_a_line_of_its_own_is_in_a_piece_or_in_a_stretch_that_is_reported(
    before: bytes, behind: bytes
) -> None:
    record = b'{"eventVersion":"1.08","eventName":"Canary"}'
    data = before + b"\n" + record + b"\n" + behind
    assert sum(raw.count(b"Canary") for _, raw in pieces(data)) == 1
