"""Every field is explained and shown, and the page is the one the code makes."""

from __future__ import annotations

from loader.cli.fields_page import (
    ORIGINS,
    RESERVED,
    direct_origins,
    example,
    fields,
    golden_documents,
    origin,
    page,
    target,
)

#: Written only for records too odd to be golden ones.
NO_EXAMPLE = {"siem.truncated"}


def test_the_committed_page_is_the_one_the_code_makes() -> None:
    assert target().read_text(encoding="utf-8") == page(), "run: python -m loader.cli.fields_page"


def test_every_field_says_where_it_comes_from() -> None:
    assert [name for name, body in fields().items() if not origin(name, body)] == []


def test_nothing_is_explained_that_is_no_field() -> None:
    every = set(fields())
    assert set(ORIGINS) <= every
    assert every >= RESERVED
    assert set(direct_origins()) <= every


def test_every_field_has_an_example_unless_nobody_writes_it() -> None:
    documents = golden_documents()
    without = {name for name, body in fields().items() if body["type"] != "alias" and example(name, documents) is None}
    assert without == RESERVED | NO_EXAMPLE
