"""The AWS emulator's process, started by :mod:`loader.local.aws`.

``python -m loader.local.aws_server PORT RUN_DIR``
"""

from __future__ import annotations

import logging
import sys


def main(arguments: list[str]) -> None:
    """Serve moto on 127.0.0.1. The run folder is an argument only so that the process can be recognised by it."""
    from moto.server import main as serve

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # not one line a request
    serve(["-H", "127.0.0.1", "-p", arguments[0]])


if __name__ == "__main__":
    main(sys.argv[1:])
