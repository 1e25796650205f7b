"""A worker process for the harness: ``python chaos_worker.py QUEUE_URL VISIBILITY_SECONDS``.

What ``siem load worker`` runs, with one difference: a message that is given back comes again within two seconds and not
within up to fifteen minutes, since a test has no such time.
"""

from __future__ import annotations

import random
import signal
import sys

from loader.config import read_settings
from loader.ingest.assemble import assemble, aws_client, message_handler
from loader.ingest.worker import QueueOptions, QueueWorker
from loader.telemetry import configure_logging


class _Hasty(random.Random):
    def randint(self, a: int, b: int) -> int:
        return min(super().randint(a, b), 2)


def main(queue_url: str, visibility: str) -> None:
    configure_logging("WARNING")
    settings = read_settings()
    assembly = assemble(settings)
    handler = message_handler(assembly, queue=queue_url.rsplit("/", 1)[-1])
    options = QueueOptions(queue_url, workers=settings.workers, wait=1, visibility=int(visibility))
    worker = QueueWorker(aws_client(settings, "sqs"), handler, options, clock=assembly.clock, rng=_Hasty())
    signal.signal(signal.SIGTERM, lambda _number, _frame: worker.stop())
    worker.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
