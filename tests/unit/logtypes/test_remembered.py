"""What is remembered of texts that come again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loader.logtypes.remembered import Remembered


def test_a_text_is_kept_when_it_comes_again() -> None:
    remembered = Remembered[int](10)
    remembered.keep(b"a", 1)
    assert remembered.get(b"a") is None
    remembered.keep(b"a", 1)
    assert remembered.get(b"a") == 1
    assert remembered.get(b"b") is None


@given(st.lists(st.binary(max_size=2)), st.integers(1, 5))
def test_nothing_wrong_is_remembered_and_never_more_than_asked_for(texts: list[bytes], most: int) -> None:
    remembered = Remembered[bytes](most)
    for text in texts:
        found = remembered.get(text)
        assert found in (None, text)
        if found is None:
            remembered.keep(text, bytes(text))
        assert len(remembered._made) <= most
        assert len(remembered._seen) <= most
