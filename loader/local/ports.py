"""Free TCP ports on loopback."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack

from loader.errors import LocalStackError

HOST = "127.0.0.1"


def free_ports(count: int, preferred: Sequence[int] = ()) -> list[int]:
    """Return ``count`` different ports nothing listens on, at 127.0.0.1; the preferred ones where they are free.

    Another program can take a port before its user binds it: whoever uses them must be ready to ask again.

    Raises:
        LocalStackError: the system has no port left.
    """
    wanted = [*preferred, *([0] * count)][:count]
    with ExitStack() as stack:
        return [_reserve(stack, port) for port in wanted]


def _reserve(stack: ExitStack, port: int) -> int:
    for attempt in dict.fromkeys((port, 0)):
        listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, attempt))
        except OSError as error:
            if attempt == 0:
                raise LocalStackError(
                    f"no free TCP port: {error.strerror}",
                    where=HOST,
                    hint="Stop programs that hold many connections, then try again.",
                ) from error
            continue
        return int(listener.getsockname()[1])
    raise AssertionError("port 0 either binds or raises")
