"""Records per CPU second, one core: bytes of gzip in, bulk body out; against merely parsing and printing each record.

    python bench/normalise.py [FILE.json.gz ...] [--generate 20000] [--rounds 9] [--json]

The floor, measured in the same run, is isal's gunzip, ``orjson.loads`` of the file and ``orjson.dumps`` of each record,
results dropped. ``ratio_to_floor`` is our CPU time over the floor's; the median of the rounds is in ``median_ratio``.
Garbage collection is off while either is measured (``gc.collect()`` before); both run in turns, in one process, on
fresh copies of the bytes. Three forms of the same records are measured: as they are, with an unknown key in every
record, and with everything on the complete path. Caches are as a worker has them after the first file: warm.

Without a file, records are generated (see generated_records.py). Files that are no gzip are taken as they are.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import resource
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import orjson
from generated_records import log_file, records
from isal import igzip

from loader.config import Settings
from loader.errors import RecordError
from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import ObjectContext
from loader.source.objects import Broken, Limits
from loader.source.split import read_pieces

_KEY = (
    "AWSLogs/111111111111/CloudTrail/us-east-1/2023/07/13/"
    "111111111111_CloudTrail_us-east-1_20230713T0005Z_0123456789abcdef.json.gz"
)
_BULK_BYTES = Settings().bulk_max_bytes
_CHUNK = 2**20
_REACH = {"plain": 2.0, "unknown_key": 2.6, "complete": 3.2}


@dataclass
class Work:
    """What one pass over the files did."""

    records: int = 0
    errors: int = 0
    bytes_out: int = 0


def render(content: bytes, complete: bool) -> Work:
    """The loader's way from an object's bytes to bulk bodies, without the network."""
    done = Work()
    body: list[bytes] = []
    size = 0
    first = ""
    context = ObjectContext("example-trail", _KEY, "2023-07-13T00:06:02.003Z")
    chunks = (content[start : start + _CHUNK] for start in range(0, len(content), _CHUNK))
    normalise = CLOUDTRAIL.normalise
    for piece in read_pieces(chunks, Limits()):
        done.records += 1
        if isinstance(piece, Broken):
            done.errors += 1
            continue
        try:
            document = normalise(piece.raw, context, complete)
        except RecordError:
            done.errors += 1
            continue
        if not body:
            first = document.day
        # As loader.index.bulk does: the request's path says the index, a document only if it is another.
        head = b"" if document.day == first else b'"_index":"%b",' % CLOUDTRAIL.index(document.day).encode()
        body += (b'{"create":{%b"_id":"%b"}}\n' % (head, document.id.encode()), document.body, b"\n")
        size += len(document.body) + 80
        if size >= _BULK_BYTES:
            done.bytes_out += len(b"".join(body))
            body, size = [], 0
    done.bytes_out += len(b"".join(body))
    return done


def floor(content: bytes) -> Work:
    """Parsing and printing each record, and nothing else."""
    done = Work()
    for record in orjson.loads(igzip.decompress(content))["Records"]:
        done.bytes_out += len(orjson.dumps(record))
        done.records += 1
    return done


def measured(work: Callable[[], Work]) -> tuple[float, Work]:
    """CPU seconds of ``work`` with the garbage collector off."""
    gc.collect()
    gc.disable()
    try:
        start = process_time()
        done = work()
        return process_time() - start, done
    finally:
        gc.enable()


def compare(contents: list[bytes], rounds: int, complete: bool) -> dict[str, Any]:
    """Measure both in turns; the first round warms up and does not count."""

    def ours() -> Work:
        return total([render(content, complete) for content in contents])

    def theirs() -> Work:
        return total([floor(content) for content in contents])

    times: dict[str, list[float]] = {"ours": [], "floor": []}
    done = Work()
    for number in range(rounds + 1):
        pair = (("ours", ours), ("floor", theirs))
        for name, work in pair if number % 2 else reversed(pair):
            seconds, result = measured(work)
            if name == "ours":
                done = result
            if number:
                times[name].append(seconds)
    best, base = min(times["ours"]), min(times["floor"])
    return {
        "records": done.records,
        "errors": done.errors,
        "records_per_cpu_second": round(done.records / best),
        "floor_records_per_cpu_second": round(done.records / base),
        "ratio_to_floor": round(best / base, 3),
        "median_ratio": round(statistics.median(times["ours"]) / statistics.median(times["floor"]), 3),
        "bytes_out": done.bytes_out,
    }


def total(parts: list[Work]) -> Work:
    """The sum of the work on several files."""
    return Work(
        sum(part.records for part in parts), sum(part.errors for part in parts), sum(part.bytes_out for part in parts)
    )


def with_unknown_key(content: bytes) -> bytes:
    """The same file with a key that no version of CloudTrail has in every record."""
    found = orjson.loads(igzip.decompress(content))["Records"]
    return log_file([orjson.dumps({**record, "brandNew": {"of": number % 7}}) for number, record in enumerate(found)])


def read_files(paths: list[Path]) -> list[bytes]:
    """The files as gzip."""
    found = [path.read_bytes() for path in paths]
    return [content if content[:2] == b"\x1f\x8b" else gzip.compress(content) for content in found]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="CloudTrail log files")
    parser.add_argument("--generate", type=int, default=20_000, metavar="N", help="records, if no file is given")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


def main() -> int:
    """Measure and print; exit code 1 if a record could not be rendered."""
    chosen = arguments()
    contents = read_files(chosen.files) or [log_file(list(records(chosen.generate)))]
    bytes_in = sum(len(igzip.decompress(content)) for content in contents)
    results = {
        "plain": compare(contents, chosen.rounds, complete=False),
        "unknown_key": compare([with_unknown_key(content) for content in contents], chosen.rounds, complete=False),
        "complete": compare(contents, chosen.rounds, complete=True),
    }
    plain = results["plain"]
    report = {
        **plain,
        "bytes_out_per_byte_in": round(plain["bytes_out"] / bytes_in, 3),
        "bytes_in_per_record": round(bytes_in / max(1, plain["records"])),
        "gc": "off while measuring, both",
        "rounds": chosen.rounds,
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "unknown_key": results["unknown_key"],
        "complete": results["complete"],
        "reach": _REACH,
    }
    if chosen.json:
        print(json.dumps(report, indent=2))
    else:
        print(f"{plain['records']} records, {report['bytes_in_per_record']} bytes each; garbage collection off in both")
        print(f"bytes out per byte in: {report['bytes_out_per_byte_in']}")
        for name, result in results.items():
            print(
                f"{name:12} {result['records_per_cpu_second']:>8} records/s, floor"
                f" {result['floor_records_per_cpu_second']:>8}, ratio {result['ratio_to_floor']:.2f}"
                f" (median {result['median_ratio']:.2f}, to reach {_REACH[name]})"
            )
    return 1 if any(result["errors"] for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
