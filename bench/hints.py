"""What a hint costs a record: CPU µs for ``Hinter.mark`` over records that were normalised before, on one core.

    python bench/hints.py [FILE.json ...] [--generate 20000] [--rounds 7] [--json]

Two forms: a process's steady state (identities seen before), and every identity new. ``normalise_us`` is measured in
the same run, for scale. ``hinted`` is the share of records that got a hint. FILEs are CloudTrail log files, plain or
gzip; without one, records are generated: a third of them name a user, and edges are made up for half the sessions.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Iterator
from pathlib import Path
from time import process_time

import orjson
from generated_records import records

from loader.identity.extract import edges, identity
from loader.identity.model import Edge, Identity, Issued
from loader.index.bulk import Item
from loader.ingest.hinting import Hinter
from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import ObjectContext
from loader.source.objects import Broken, Limits
from loader.source.split import read_pieces

_CALLER = Identity("IAMUser", "AIDAEXAMPLE", "arn:aws:iam::111111111111:user/alice", "111111111111", "alice")
#: About as many as one bulk request has.
_BATCH = 1500
_CONTEXT = ObjectContext("example-trail", "records.json", "2023-07-10T12:01:02.003Z")


def _edges(raws: list[bytes]) -> Iterator[Edge]:
    """Yield an edge for every second session among the records."""
    seen: set[str] = set()
    for raw in raws:
        who = identity(orjson.loads(raw))
        if who.type == "AssumedRole" and who.access_key_id and who.access_key_id not in seen:
            seen.add(who.access_key_id)
            if len(seen) % 2:
                yield Edge(Issued(who.access_key_id, who.principal_id, who.arn), _CALLER, "AssumeRole")


def _raws(path: Path) -> Iterator[bytes]:
    for piece in read_pieces(iter([path.read_bytes()]), Limits()):
        if not isinstance(piece, Broken):
            yield piece.raw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="CloudTrail log files")
    parser.add_argument("--generate", type=int, default=20_000, metavar="N", help="records (20000)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds; the fastest counts (7)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()

    raws = [raw for path in options.files for raw in _raws(path)] or list(records(options.generate))
    edges = [edge for raw in raws for edge in edges(raw)] + ([] if options.files else [*_edges(raws)])
    normalise, warm, cold = [], [], []
    kept = Hinter()
    gc.disable()
    for _ in range(options.rounds):
        gc.collect()
        start = process_time()
        rendered = [CLOUDTRAIL.normalise(raw, _CONTEXT, False) for raw in raws]
        normalise.append(process_time() - start)
        for hinter, taken in ((Hinter(), cold), (kept, warm)):
            hinter.mark([], edges)
            hinted, spent = 0, 0.0
            for first in range(0, len(rendered), _BATCH):
                part = rendered[first : first + _BATCH]
                items = [Item(1, b"", "i", one.id, one.body, who=one.who) for one in part]
                start = process_time()
                hinter.mark(items, ())
                spent += process_time() - start
                hinted += sum(item.body is not one.body for item, one in zip(items, part, strict=True))
            taken.append(spent)
    count = len(raws)
    result = {
        "records": count,
        "edges": len(edges),
        "hinted": round(hinted / count, 3),
        "normalise_us": round(min(normalise) / count * 1e6, 2),
        "hint_us_identities_seen_before": round(min(warm) / count * 1e6, 2),
        "hint_us_identities_new": round(min(cold) / count * 1e6, 2),
    }
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:32} {value}")


if __name__ == "__main__":
    main()
