"""Golden pairs: what a message of each kind announces, to the letter.

``tests/golden/notifications/NAME.in.json`` is a message: recorded by others (see NOTICE there) or written by us after
AWS's documentation; ``NAME.out.json`` is what is read in it. After a change that is meant to change what is read:
``pytest tests/unit/ingest/test_notification_golden.py --write-golden``, then read the difference.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loader.ingest.notification import parse_notification
from loader.source.objects import Limits, ObjectRef, Piece
from loader.source.split import read_pieces

FOLDER = Path(__file__).resolve().parents[2] / "golden" / "notifications"
NAMES = sorted(path.name.removesuffix(".in.json") for path in FOLDER.glob("*.in.json"))


def ref_as_json(ref: ObjectRef) -> dict[str, Any]:
    found = {name: getattr(ref, name) for name in ref.__slots__}
    return {name: value for name, value in found.items() if value is not None}


def read(text: str) -> dict[str, Any]:
    found = parse_notification(text)
    made: dict[str, Any] = {"objects": [ref_as_json(ref) for ref in found.objects]}
    if found.subscriptions:
        made["subscriptions"] = [
            {
                **ref_as_json(sent.ref),
                "records": [
                    piece.raw.decode() if isinstance(piece, Piece) else piece.kind
                    for piece in read_pieces([sent.content], Limits(), members=True)
                ],
            }
            for sent in found.subscriptions
        ]
    if found.skipped:
        made["skipped"] = found.skipped
    if found.trouble:
        made["trouble"] = found.trouble
    return made


@pytest.mark.parametrize("name", NAMES)
def test_a_message_announces_what_it_always_did(name: str, pytestconfig: pytest.Config) -> None:
    read_now = read((FOLDER / f"{name}.in.json").read_text(encoding="utf-8"))
    written = FOLDER / f"{name}.out.json"
    if pytestconfig.getoption("--write-golden"):
        written.write_text(json.dumps(read_now, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_now == json.loads(written.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_every_message_is_dealt_with_by_name(name: str) -> None:
    found = parse_notification((FOLDER / f"{name}.in.json").read_text(encoding="utf-8"))
    empty = name == "no-records"
    assert found.objects or found.subscriptions or found.skipped or found.trouble or empty
