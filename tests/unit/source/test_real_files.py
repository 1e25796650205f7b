"""The public sample logs through the reader: all forms in which people keep CloudTrail records."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from loader.source.fetch import LOCAL_BUCKET, file_fetch
from loader.source.objects import Broken, Limits, ObjectRef
from loader.source.split import read_pieces
from tests.unit.logtypes.samples import real_files, real_records

pytestmark = pytest.mark.reference_data

#: What is no record in the sample files: braces too many.
NOT_RECORDS = {
    "samples-large.json": 2,
}


@pytest.mark.parametrize("limits", [Limits(), Limits(buffer=0)], ids=["buffered", "streamed"])
def test_every_record_of_the_sample_files_is_read(reference_data: Path, limits: Limits) -> None:
    expected: dict[str, Counter[str]] = {}
    for where, raw in real_records(reference_data):
        expected.setdefault(where.rpartition("#")[0], Counter())[_sorted(raw)] += 1
    seen = 0
    for path in real_files(reference_data):
        found: Counter[str] = Counter()
        others = 0
        for piece in read_pieces(file_fetch(ObjectRef(LOCAL_BUCKET, str(path))), limits):
            if isinstance(piece, Broken) or b'"eventTime"' not in piece.raw:
                others += 1
            else:
                found[_sorted(piece.raw)] += 1
        assert found == expected.get(path.name, Counter()), path.name
        if found:
            assert others == NOT_RECORDS.get(path.name, 0), path.name
        seen += found.total()
    assert seen >= 3783


def _sorted(raw: bytes) -> str:
    return json.dumps(json.loads(raw), sort_keys=True)
