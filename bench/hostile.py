"""What content costs that somebody made to hurt: processor seconds and memory of splitting it.

    python bench/hostile.py [--mib 64] [--only NAME] [--json]

Each kind of content is split in a process of its own, as an object that fits the buffer and as one that streams.
Reading ends after 10,000 things that are no record, as the loader's does. Beside each stands what an ordinary file
of that size costs in the same process. Prints figures; never fails on one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HEAD = b'{"Records":['
_NESTED = b'{"eventVersion":"1.08","eventName":"Nested"},'
_CHUNK = 2**20
#: As the loader: an object with more unusable records is no log file.
_MOST_BROKEN = 10_000


def _record(payload: bytes) -> bytes:
    return b'{"eventVersion":"1.08","eventName":"A","requestParameters":' + payload + b"},"


#: What is repeated, and whether a caller of an API could bring it about: then all of it has to be loaded.
CONTENTS = {
    "brackets": (b"", b"[", False),
    "objects in objects": (b"", b'{"a":', False),
    "empty lists": (b"", b"[]", False),
    "lists without an end": (_HEAD, b'{"eventVersion":"1","x":[1,', False),
    "strings without an end": (_HEAD, b'{"eventVersion":"1","x":"a,', False),
    "braces on lines": (b"", b"{\n", False),
    "line breaks": (b"x", b"\n", False),
    "escaped quotes": (_HEAD + b'{"eventVersion":"', rb"\"", False),
    "numbers in a list": (_HEAD, b"1,", False),
    "empty objects": (_HEAD, b"{},", False),
    "log events that are none": (b'{"logEvents":[', b"{},", False),
    "records of empty lists": (_HEAD, _record(b"[" + b"[]," * 80_000 + _NESTED * 1_000 + b"1]"), True),
    "the same with half a surrogate pair": (
        _HEAD,
        _record(b"[" + b"[]," * 80_000 + _NESTED * 1_000 + rb'"\ud800"]'),
        True,
    ),
    "the same, 2,000 deep": (
        _HEAD,
        _record(b"[" * 2_000 + b"[]," * 80_000 + _NESTED * 1_000 + b"1" + b"]" * 2_000),
        True,
    ),
    "brackets, 120,000 deep": (_HEAD, _record(b"[" * 120_000 + b"]" * 120_000), True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=64, help="MiB of each content")
    parser.add_argument("--only", choices=CONTENTS, help="only this content")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--child", nargs=2, metavar=("NAME", "WAY"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(_split(chosen.child[0], chosen.child[1], chosen.mib)))
        return
    rows = []
    for name in [chosen.only] if chosen.only else CONTENTS:
        for way in ("buffered", "streamed"):
            command = [sys.executable, __file__, "--mib", str(chosen.mib), "--child", name, way]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            rows.append(json.loads(done.stdout) if not done.returncode else {"content": name, "error": done.stderr})
            if not chosen.json:
                _show(rows[-1])
    if chosen.json:
        print(json.dumps({"mib": chosen.mib, "contents": rows}))


def _show(row: dict[str, Any]) -> None:
    if "error" in row:
        print(f"{row['content']}: {row['error'].strip().splitlines()[-1]}", flush=True)
        return
    found = ", ".join(f"{count:,} {kind}" for kind, count in row["found"].items())
    print(
        f"{row['content']:36} {row['way']:8} {row['seconds']:6.1f} s ({row['ratio']:6.0f} times an ordinary file)"
        f" {row['peak_mib']:4.0f} MiB  {found}",
        flush=True,
    )


def _split(name: str, way: str, mib: int) -> dict[str, Any]:
    from generated_records import records

    ordinary = b"".join(record + b"," for record in records(2_000))
    floor, _ = _run(_HEAD, ordinary, mib, way)
    head, unit, _ = CONTENTS[name]
    seconds, found = _run(head, unit, mib, way)
    return {
        "content": name,
        "way": way,
        "seconds": round(seconds, 2),
        "ratio": round(seconds / floor, 1),
        "peak_mib": round(_peak(), 1),
        "found": found,
    }


def _run(head: bytes, unit: bytes, mib: int, way: str) -> tuple[float, dict[str, int]]:
    from loader.source.objects import Limits, Piece
    from loader.source.split import read_pieces

    found: Counter[str] = Counter()
    started = time.process_time()
    for piece in read_pieces(_chunks(head, unit, mib * 2**20), Limits(), stored=2**40 if way == "streamed" else None):
        is_record = isinstance(piece, Piece) and b'"event' in piece.raw[:50]
        found["records" if is_record else "no records" if isinstance(piece, Piece) else piece.kind] += 1
        if sum(found.values()) - found["records"] >= _MOST_BROKEN:
            break
    return time.process_time() - started, dict(found)


def _chunks(head: bytes, unit: bytes, size: int) -> Iterator[bytes]:
    """Yield ``head`` and whole units up to ``size`` bytes, then the end of a list; made as it is asked for."""
    yield head
    together = unit * max(1, _CHUNK // len(unit))
    for _ in range(size // len(together)):
        yield together
    yield b"1]}"


def _peak() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
