"""Resident memory of a loading process over the size of the object.

    python bench/memory.py [--sizes 1,16,30,63,256,1024] [--workers 1] [--json]

For each size (MiB of uncompressed JSON) a fresh process loads one generated object (``--workers`` of them at the same
time) with the real loader over HTTP. The cluster is a stand-in in the parent that answers each bulk request at once:
what is measured is the loader. The limit is 256 MiB for one object of any size.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LIMIT_MIB = 256
_ITEM = b'{"create":{"status":201}}'
_BLOCK_RECORDS = 2000


class _Sink(BaseHTTPRequestHandler):
    """Answers like a node that takes everything."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.partition("?")[0].endswith("/_bulk"):
            items = b",".join([_ITEM] * (body.count(b"\n") // 2))
            answer = b'{"errors":false,"items":[' + items + b"]}"
        else:
            answer = b"{}"
        self.send_response_only(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815  # the base class's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1,16,30,63,256,1024", help="MiB of uncompressed JSON, with commas")
    parser.add_argument("--workers", type=int, default=1, help="objects loaded at the same time")
    parser.add_argument("--plain", action="store_true", help="objects that are not compressed")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--child", nargs=3, metavar=("URL", "FILE", "WORKERS"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(_load(chosen.child[0], Path(chosen.child[1]), int(chosen.child[2]))))
        return
    rows = []
    sink = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{sink.server_address[1]}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            for size in [int(part) for part in chosen.sizes.split(",")]:
                _say(f"{size} MiB: generate")
                path = Path(folder) / f"object-{size}.json{'' if chosen.plain else '.gz'}"
                count = _generate(path, size * 2**20, plain=chosen.plain)
                _say(f"{size} MiB: load {count} records")
                rows.append(
                    {"mib": size, "stored_mib": round(path.stat().st_size / 2**20, 1), **_child(url, path, chosen)}
                )
                path.unlink()
    finally:
        sink.shutdown()
        sink.server_close()
    worst = max(row["peak_mib"] for row in rows)
    if chosen.json:
        print(json.dumps({"limit_mib": LIMIT_MIB, "workers": chosen.workers, "worst_mib": worst, "objects": rows}))
        return
    print(f"{'object':>9} {'stored':>9} {'records':>9} {'peak RSS':>9} {'over idle':>9} {'of limit':>9} {'MiB/s':>7}")
    for row in rows:
        print(
            f"{row['mib']:>5} MiB {row['stored_mib']:>5} MiB {row['records']:>9} {row['peak_mib']:>5.0f} MiB"
            f" {row['peak_mib'] - row['idle_mib']:>5.0f} MiB {row['peak_mib'] / LIMIT_MIB:>9.2f}"
            f" {row['mib'] * chosen.workers / row['seconds']:>7.1f}"
        )


def _child(url: str, path: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", url, str(path), str(chosen.workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        _say(done.stderr)
        return {"records": 0, "peak_mib": 0.0, "idle_mib": 0.0, "seconds": 1.0, "error": done.stderr[-500:]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _load(url: str, path: Path, workers: int) -> dict[str, Any]:
    from loader.config import Settings
    from loader.ingest.assemble import assemble
    from loader.source.fetch import LOCAL_BUCKET, file_fetch
    from loader.source.objects import ObjectRef

    loader = assemble(Settings(cluster_url=url, workers=workers), fetch=file_fetch).loader
    idle, started = _status("VmRSS"), time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        ref = ObjectRef(LOCAL_BUCKET, str(path), size=path.stat().st_size)
        reports = list(pool.map(loader.load, [ref] * workers))
    return {
        "records": sum(report.counts.read for report in reports),
        "indexed": sum(report.counts.indexed for report in reports),
        "dead_lettered": sum(report.counts.dead_lettered for report in reports),
        "idle_mib": round(idle, 1),
        "peak_mib": round(_status("VmHWM"), 1),
        "seconds": round(time.monotonic() - started, 2),
    }


def _status(name: str) -> float:
    """Return a size out of /proc/self/status, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _generate(path: Path, size: int, *, plain: bool) -> int:
    from generated_records import records

    block = list(records(_BLOCK_RECORDS))
    written = count = 0
    machine = zlib.compressobj(1, wbits=31)
    with path.open("wb") as file:

        def put(content: bytes) -> None:
            file.write(content if plain else machine.compress(content))

        put(b'{"Records":[')
        while written < size:
            for record in block:
                put(b"," + record if count else record)
                written += len(record) + 1
                count += 1
                if written >= size:
                    break
        put(b"]}")
        if not plain:
            file.write(machine.flush())
    return count


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, http.client.HTTPException):
        os._exit(0)
