r"""What is no Unicode text is spelled out: lone surrogates and bytes that are no UTF-8, and nothing else is touched."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.errors import RecordError
from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.cloudtrail_salvage import repair
from tests.unit.logtypes.samples import CONTEXT, dump, record

#: The plain way to say it: every escape is looked at. It costs memory for each of them.
ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def plainly(raw: bytes) -> bytes:
    letters = raw.decode("utf-8", "surrogateescape")
    spelt = "".join(f"\\\\u{ord(letter):04x}" if "\udc80" <= letter <= "\udcff" else letter for letter in letters)
    return ESCAPE.sub(lambda match: b"\\\\" + match[1] if match[1] else match.group(), spelt.encode())


PIECES = [b"\\", b"\\\\", b"u", b"\\ud83d", b"\\ude00", b"\\uD83D\\uDE00", b"\\udcff", b"d800", b'\\"', b"a", b"\xff"]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
def test_both_ways_say_the_same(text: bytes) -> None:
    if len(re.findall(rb"\\", text)) % 2 == 0 or not text.endswith(b"\\"):  # a string does not end in half an escape
        assert repair(text) == plainly(text)


@given(st.text(st.characters(categories=["Cs", "Ll", "Lo", "Zs"]), max_size=12))
def test_what_is_repaired_is_unicode_text(text: str) -> None:
    raw = json.dumps({"a": text}).encode()
    json.loads(repair(raw))["a"].encode("utf-8")


def test_what_needs_no_repair_is_itself() -> None:
    for raw in (b'{"a":"\\ud83d\\ude00"}', b'{"a":"\\\\ud800"}', "{'ä'}".encode(), b"{}"):
        assert repair(raw) is raw


def test_records_that_are_repaired_alike_are_two() -> None:
    texts = [b"\\ud800", b"\\\\ud800", b"\xff", b"\\udcff", b"\\\\udcff"]
    raws = [dump(record(userAgent="@")).replace(b'"@"', b'"%b"' % text) for text in texts]
    ids = {CLOUDTRAIL.normalise(raw, CONTEXT, complete).id for raw in raws for complete in (False, True)}
    assert len(ids) == len(texts)
    # White space between tokens says nothing, with and without repair.
    spaced = raws[0].replace(b'":', b'": ')
    assert CLOUDTRAIL.normalise(spaced, CONTEXT, False).id == CLOUDTRAIL.normalise(spaced + b" ", CONTEXT, True).id


def test_a_record_of_nothing_but_bad_bytes_is_refused() -> None:
    raw = dump(record(userAgent="@")).replace(b'"@"', b'"%b"' % (b"\xff" * 3 * 2**20))
    with pytest.raises(RecordError) as caught:
        CLOUDTRAIL.normalise(raw, CONTEXT, False)
    assert caught.value.kind == "not_unicode"
