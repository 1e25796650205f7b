"""Outcomes follow the error's type. The answers below are what OpenSearch 3.8 and Elasticsearch 9 send."""

from __future__ import annotations

from typing import Any

import pytest

from loader.index.outcomes import Outcome, all_created, classify, items_of


def item(status: int, kind: str | None = None, reason: str = "", **error: Any) -> dict[str, Any]:
    return (
        {"status": status} if kind is None else {"status": status, "error": {"type": kind, "reason": reason, **error}}
    )


IMMENSE = (
    'Document contains at least one immense term in field="a" (whose UTF8 encoding is longer than the max length 32766)'
)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (item(201), Outcome.INDEXED),
        (item(200), Outcome.INDEXED),
        (item(409, "version_conflict_engine_exception", "document already exists"), Outcome.DUPLICATE),
        (item(400, "mapper_parsing_exception", "failed to parse field [x]"), Outcome.REJECTED),
        (item(400, "document_parsing_exception", "[1:2] failed to parse"), Outcome.REJECTED),
        (
            item(500, "not_x_content_exception", "Compressor detection can only be called on x-content"),
            Outcome.REJECTED,
        ),
        (item(400, "strict_dynamic_mapping_exception", "not allowed"), Outcome.REJECTED),
        (item(400, "illegal_argument_exception", IMMENSE), Outcome.REJECTED),
        (
            item(
                400,
                "illegal_argument_exception",
                "x",
                caused_by={
                    "type": "max_bytes_length_exceeded_exception",
                    "reason": "bytes can be at most 32766 in length",
                },
            ),
            Outcome.REJECTED,
        ),
        (item(400, "illegal_argument_exception", "Limit of total fields [400] has been exceeded"), Outcome.HOLD),
        (item(400, "validation_exception", "this action would add [2] total shards"), Outcome.HOLD),
        (item(429, "es_rejected_execution_exception", "rejected execution"), Outcome.RETRY),
        (item(429, "circuit_breaking_exception", "[parent] Data too large"), Outcome.RETRY),
        (item(503, "unavailable_shards_exception", "primary shard is not active"), Outcome.RETRY),
        (item(500, "something_new_exception"), Outcome.RETRY),
        (item(403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/8/index write (api)]"), Outcome.HOLD),
        (item(429, "cluster_block_exception", "disk usage exceeded flood-stage watermark"), Outcome.HOLD),
        (item(400, "index_closed_exception", "closed"), Outcome.HOLD),
        (item(404, "index_not_found_exception", "no such index"), Outcome.HOLD),
        (item(403, "security_exception", "no permissions"), Outcome.HOLD),
        (item(0), Outcome.RETRY),
    ],
)
def test_outcome(answer: dict[str, Any], outcome: Outcome) -> None:
    assert classify(answer)[0] is outcome


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "<html>",
        [],
        {},
        {"items": "x"},
        {"items": [{"create": {"status": 201}}]},
        {"items": [{"create": {"status": 201}}] * 3},
        {"items": [{"create": {"status": 201}}, {"index": {"status": 201}}]},
        {"items": [{"create": {"status": 201}}, {"create": {}}]},
        {"items": [{"create": {"status": 201}}, {"create": None}]},
        {"items": [{"create": {"status": 201}}, None]},
    ],
)
def test_an_answer_that_does_not_tell_of_each_document_tells_nothing(answer: Any) -> None:
    assert items_of(answer, 2) is None


def test_type_and_every_reason_are_kept_for_the_dead_letter() -> None:
    answer = item(
        400, "mapper_parsing_exception", "failed to parse", caused_by={"type": "x", "reason": "For input string"}
    )
    assert classify(answer)[1:] == ("mapper_parsing_exception", "failed to parse: For input string")


CREATED = {"create": {"status": 201}}


@pytest.mark.parametrize(
    ("answer", "created"),
    [
        ({"errors": False, "items": [CREATED, CREATED]}, True),
        ({"errors": False, "items": [CREATED]}, False),
        ({"errors": False, "items": [CREATED, CREATED, CREATED]}, False),
        ({"errors": True, "items": [CREATED, {"create": {"status": 409, "error": {"type": "x"}}}]}, False),
        ({"errors": False, "items": [CREATED, {"create": {"status": 201, "error": {"type": "x"}}}]}, False),
        ({"errors": False, "items": [CREATED, {"create": {"status": 200}}]}, False),
        ({"errors": False, "items": [CREATED, {"index": {"status": 201}}]}, False),
        ({"errors": False, "items": [CREATED, None]}, False),
        ({"errors": False, "items": {"0": CREATED, "1": CREATED}}, False),
        ({"errors": False}, False),
        ([CREATED, CREATED], False),
        (None, False),
    ],
)
def test_only_an_answer_that_says_so_of_each_document_says_that_all_were_created(answer: Any, created: bool) -> None:
    assert all_created(answer, 2) is created
