"""Where values end: what the parser says, and what the walk says of what the parser refuses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.source.scan import DenseError, Patience, Unsound, Walk, skip_space_back, sound_end

DEEP = b"[" * 5_000 + b"]" * 5_000


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"a":1},{"b"', 7),
        (b'{"a":1} \n ,', 10),
        (b'{"a":1}', 7),
        (b'{"a":1}]', 7),
        (b'{"a":"\xff"},', 9),
        (b"12,", 2),
        (b"12", 2),
        (b'"a\\"b"]', 6),
        (b'{"a":1', Unsound.TRUNCATED),
        (b'"a', Unsound.TRUNCATED),
        (b"", Unsound.TRUNCATED),
        (b'{"a":tru}', Unsound.MALFORMED),
        (b'{"a":{},{"b":1}', Unsound.MALFORMED),
        (b'{"a":"\n"}', Unsound.MALFORMED),
        (b"}", Unsound.MALFORMED),
        (DEEP, Unsound.DEEP),
    ],
)
def test_what_the_parser_says(data: bytes, expected: int | Unsound) -> None:
    assert sound_end(data, 0, len(data)) == expected
    moved = sound_end(bytearray(b"xx" + data + b"x"), 2, len(data) + 2)
    assert moved == (expected if isinstance(expected, Unsound) else expected + 2)


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=VALUES, behind=st.sampled_from([b",", b"]", b"}", b",{", b"x", b"\x00"]), ascii_only=st.booleans())
def test_a_value_ends_where_it_was_written_to_its_end(value: object, behind: bytes, ascii_only: bool) -> None:
    written = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    data = written + behind
    if behind != b"x" or written[-1:] in b'}]"':
        end = sound_end(data, 0, len(data))
        assert end == len(written)
    if written[:1] in b'{["':
        walk = Walk(Patience(10_000))
        assert walk.end(data, 0, len(data)) == len(written)
        assert not walk.crossed


@given(value=VALUES, size=st.integers(1, 9))
def test_a_walk_goes_on_where_it_stopped(value: object, size: int) -> None:
    data = json.dumps([value]).encode() + b","
    walk = Walk(Patience(10_000))
    ends = [walk.end(data, 0, stop) for stop in [*range(1, len(data) - 1, size), len(data)]]
    assert ends == [None] * (len(ends) - 1) + [len(data) - 1]


@pytest.mark.parametrize("space", [0, 1, 4095, 4096, 10_000])
def test_white_space_is_passed_over_from_behind(space: int) -> None:
    data = b"ab" + b" \n" * (space // 2) + b"\t" * (space % 2) + b"c"
    assert skip_space_back(data, 1, len(data) - 1) == 2
    assert skip_space_back(data, 2, len(data) - 1) == 2
    assert skip_space_back(data, 0, len(data)) == len(data)


@pytest.mark.parametrize("size", [10, 2**14 - 3, 2**14, 2**18])
def test_halves_of_surrogate_pairs_are_no_trouble_wherever_they_are(size: int) -> None:
    for escape in (rb"\ud800", rb"\uDFFF", rb"\ud83d\ude00", rb"\ud83d\ud83d\ude00"):
        value = b'{"a":"' + b"x" * size + escape + b'"}'
        assert sound_end(value + b",", 0, len(value) + 1) == len(value)
        assert sound_end(value + b' "', 0, len(value) + 1) == len(value) + 1


def test_brackets_of_different_kinds_are_seen_to_cross() -> None:
    for data, crossed in ((b'{"a":[1}]', True), (b'[{"a":[[]]}]', False), (b"[[}]", True), (DEEP, False)):
        walk = Walk(Patience(100))
        assert walk.end(data, 0, len(data)) == len(data)
        assert walk.crossed is crossed


def test_the_end_of_a_value_may_lie_within_brackets_in_a_row() -> None:
    walk = Walk(Patience(100))
    assert walk.end(b'{"a":[{}]}}]}', 0, 13) == 10


def test_steps_are_limited() -> None:
    with pytest.raises(DenseError):
        Walk(Patience(100)).end(b"[" + b"[1]," * 100, 0, 401)
    with pytest.raises(DenseError):
        Walk(Patience(2)).end(b'[[],"' + b"a" * 10_000, 0, 10_005)
