"""Where the loader's own processor time goes, between a message and its acknowledgement.

    python bench/load_parts.py [--files 20] [--records 2000] [--rounds 3] [--workers 2]

The way is that of bench/load.py, new documents only. Each part is a function of the loader, timed on its own thread
without the parts it calls. Timing itself costs about a second a million documents. The last round is what to look at.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any

from load import Bench
from opensearchpy import Transport

from loader.config import Settings
from loader.index import bulk
from loader.index.bulk import BulkWriter
from loader.index.ledger import Ledger
from loader.ingest import shipment
from loader.ingest.hinting import Hinter
from loader.ingest.known import KnownRecords
from loader.ingest.messages import MessageHandler
from loader.ingest.objects import ObjectLoader
from loader.ingest.shipment import Shipment
from loader.ingest.worker import QueueWorker
from loader.local.stack import LocalStack

_PARTS: tuple[tuple[object, str, str], ...] = (
    (ObjectLoader, "_load_group", "beginning objects"),
    (Shipment, "take", "fetching, splitting, and collecting a batch"),
    (KnownRecords, "among", "asking for ids"),
    (Shipment, "_render", "normalising"),
    (shipment, "edges", "credentials handed out"),
    (Hinter, "mark", "hints"),
    (Shipment, "_send", "sending"),
    (Shipment, "_write", "sending"),
    (BulkWriter, "write_each", "sending"),
    (bulk, "bulk_body", "bulk bodies"),
    (Transport, "perform_request", "HTTP to the cluster"),
    (Ledger, "write", "the ledger"),
    (MessageHandler, "handle_together", "messages"),
    (QueueWorker, "_receive", "the queue"),
    (QueueWorker, "_deal_with", "the queue"),
)


class Clockwork:
    """Processor seconds by part."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self._running = threading.local()

    def watch(self, owner: object, name: str, part: str) -> None:
        """Count the time of ``owner.name`` under ``part``."""
        original: Callable[..., Any] = getattr(owner, name)

        @wraps(original)
        def timed(*args: Any, **kwargs: Any) -> Any:
            stack: list[float] = self._running.__dict__.setdefault("stack", [])
            began = time.thread_time()
            stack.append(0.0)
            try:
                return original(*args, **kwargs)
            finally:
                took = time.thread_time() - began
                self.spent[part] += took - stack.pop()
                if stack:
                    stack[-1] += took

        setattr(owner, name, timed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--records", type=int, default=2000, help="records a file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="threads of the worker")
    chosen = parser.parse_args()
    chosen.bulk_bytes = Settings().bulk_max_bytes
    clockwork = Clockwork()
    for part in _PARTS:
        clockwork.watch(*part)
    stack = LocalStack("bench-load-parts", settings=Settings())
    try:
        stack.up()
        bench = Bench(stack, chosen)
        for number in range(1, chosen.rounds + 1):
            bench.empty()
            clockwork.spent.clear()
            measure = bench.measure(bench.load)
            million = 1e6 / bench.count
            print(f"round {number}: {measure.rate:,.0f} documents a second; processor seconds a million documents:")
            for name, seconds in clockwork.spent.most_common():
                print(f"  {seconds * million:6.1f}  {name}")
            print(f"  {measure.self * million:6.1f}  the whole process")
    finally:
        stack.down(delete_data=True)


if __name__ == "__main__":
    main()
