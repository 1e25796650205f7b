"""Every public sample record becomes a document that the mapping takes and that holds all of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.cloudtrail_complete import render
from loader.logtypes.cloudtrail_parts import origin_of
from tests.unit.logtypes.conformance import missing, problems, read_mapping
from tests.unit.logtypes.samples import CONTEXT, real_records

pytestmark = pytest.mark.reference_data


def test_every_real_record_fits_and_nothing_of_it_is_lost(reference_data: Path) -> None:
    mapping = read_mapping()
    seen = 0
    for where, raw in real_records(reference_data):
        rendered = CLOUDTRAIL.normalise(raw, CONTEXT, False)
        assert problems(rendered.body, mapping) == [], where
        assert missing(raw, rendered.body) == [], where
        assert CLOUDTRAIL.normalise(raw, CONTEXT, True) == rendered, where
        assert render(raw, origin_of(CONTEXT), carefully=True) == rendered, where
        seen += 1
    assert seen >= 3740


def test_ids_of_real_records_differ_unless_the_records_are_equal(reference_data: Path) -> None:
    ids: dict[str, bytes] = {}
    for _, raw in real_records(reference_data):
        identifier = CLOUDTRAIL.normalise(raw, CONTEXT, False).id
        assert ids.setdefault(identifier, raw) == raw


def test_a_pretty_printed_record_is_the_same_document(reference_data: Path) -> None:
    for number, (where, raw) in enumerate(real_records(reference_data)):
        if number % 50 == 0:
            pretty = json.dumps(json.loads(raw), indent=2, ensure_ascii=False).encode()
            assert CLOUDTRAIL.normalise(pretty, CONTEXT, False) == CLOUDTRAIL.normalise(raw, CONTEXT, False), where
