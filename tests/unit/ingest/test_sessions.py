"""Records that issue credentials are told apart without parsing the others again."""

from __future__ import annotations

import pytest

from loader.identity.extract import ISSUING
from loader.ingest.sessions import MARKS, edges_of


@pytest.mark.parametrize("name", sorted(ISSUING))
def test_no_call_that_issues_credentials_is_passed_over(name: str) -> None:
    assert any(mark in f'{{"eventName":"{name}"}}'.encode() for mark in MARKS)


@pytest.mark.parametrize(
    "raw", [b"", b"17", b'{"eventName":"AssumeRole"}', b'{"x":"\\"AssumeRole\\""}', b'"AssumeRole']
)
def test_what_issues_nothing_has_no_edges(raw: bytes) -> None:
    assert edges_of(raw) == []
