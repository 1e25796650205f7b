"""What the reader makes of good and bad files. Each bad file ends as a named, counted piece; the rest goes on."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.source import scan
from loader.source.objects import Broken, Limits, Piece
from loader.source.split import read_pieces

A = b'{"eventVersion":"1.08","eventName":"A"}'
B = b'{"eventVersion":"1.08","eventName":"B","x":"}],{\\"eventVersion\\":"}'
FILE = b'{"Records":[' + A + b"," + B + b"]}"

BUFFERED = Limits()
STREAMED = Limits(buffer=0)


def chunks(data: bytes, size: int = 7) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def pieces(data: bytes, limits: Limits = BUFFERED, size: int = 7) -> list[tuple[str, bytes]]:
    """Return ``(kind or "ok", raw)`` of every piece, having checked that they are numbered 1, 2, 3, …"""
    found = list(read_pieces(chunks(data, size), limits))
    assert [piece.number for piece in found] == list(range(1, len(found) + 1))
    return [("ok" if isinstance(piece, Piece) else piece.kind, piece.raw) for piece in found]


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
        b'{"version":"0","detail-type":"AWS API Call via CloudTrail","detail":'
        + A
        + b'}\n[{"detail-type":"AWS Console Sign In via CloudTrail","detail":'
        + B
        + b'}]\n{"detail-type":"GuardDuty Finding","detail":{}}',
        [("ok", A), ("ok", B), ("no_records", b'{"detail-type":"GuardDuty Finding","detail":{}}')],
    ),
    "records behind a bracket that stays open": (
        b'{"Records":[{"eventVersion":"1","x":{"y":[{,' + A + b"," + B + b"," + A + b"," + B + b"]}",
        [("invalid_json", b'{"eventVersion":"1","x":{"y":[{'), ("ok", A), ("ok", B), ("ok", A), ("ok", B)],
    ),
    "a CloudWatch Logs subscription": (
        json.dumps(
            {
                "messageType": "DATA_MESSAGE",
                "logEvents": [{"id": "1", "message": A.decode()}, {"id": "2", "message": B.decode()}],
            }
        ).encode(),
        [("ok", A), ("ok", B)],
    ),
    "a CloudWatch Logs control message": (b'{"messageType":"CONTROL_MESSAGE","logEvents":[{"message":"x"}]}', []),
    "a damaged subscription": (b'{"logEvents":[{"message":7}]}', [("bad_envelope", b'{"logEvents":[{"message":7}]}')]),
    "a CloudWatch Logs export": (
        b"2023-07-10T11:45:00.000Z " + A + b"\n2023-07-10T11:45:01.000Z " + B + b"\n",
        [("ok", A), ("ok", B)],
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


# --- brackets and quotes ----------------------------------------------------------------------------------------------

_MIB = 2**20
_HEAD = b'{"Records":['
DENSE = {
    "opening brackets": b"[" * (16 * _MIB),
    "opening braces": b"{" * (16 * _MIB),
    "empty lists": b"[]" * (8 * _MIB),
    "brackets in the list": _HEAD + b"[" * (16 * _MIB),
    "pairs inside a record": _HEAD + b'{"eventVersion":[' + b"[]," * (5 * _MIB) + b"1]}]}",
    "empty strings": _HEAD + b'{"eventVersion":[' + b'"",' * (5 * _MIB) + b"1]}]}",
    "escaped quotes": _HEAD + b'{"eventVersion":"' + rb"\"" * (8 * _MIB),
    "one record of brackets after the other": _HEAD + b",".join([b"[" * 2**18 + b"]" * 2**18] * 32) + b"]}",
    "behind the list": _HEAD + b"]," + b"[" * (16 * _MIB),
}


@pytest.mark.parametrize("name", DENSE)
def test_content_of_brackets_and_quotes_is_refused_before_it_is_walked(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in steps, since machines differ: 16 MiB would be millions of them."""
    steps = _Steps()
    monkeypatch.setattr(scan, "_TOKEN", steps)
    found = [
        piece for piece in read_pieces(chunks(DENSE[name], _MIB), Limits(), members=True) if isinstance(piece, Broken)
    ]
    assert found[-1].kind == "too_dense"
    assert sum(len(piece.raw) for piece in found) <= 2 * _MIB
    assert steps.taken < 5 * _MIB


class _Steps:
    """The tokens' regular expression, with a counter."""

    def __init__(self) -> None:
        self.taken = 0
        self._real = scan._TOKEN

    def finditer(self, data: bytes, position: int) -> Iterator[re.Match[bytes]]:
        for match in self._real.finditer(data, position):
            self.taken += 1
            yield match


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
