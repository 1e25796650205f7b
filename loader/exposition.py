"""A web page of metrics for Prometheus, and a health endpoint beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from loader.errors import ConfigError


class MetricsServer:
    """Serves ``/metrics`` and ``/healthz`` (200, or 503 with the reason) while its ``with`` block runs.

    Raises:
        ConfigError: there is no listening on this address and port.
    """

    def __init__(self, registry: CollectorRegistry, trouble: Callable[[], str | None], *, host: str, port: int) -> None:

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # http.server's name
                if self.path == "/metrics":
                    self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
                elif self.path == "/healthz":
                    reason = trouble()
                    self._answer(503 if reason else 200, (reason or "ok").encode() + b"\n", "text/plain")
                else:
                    self._answer(404, b"/metrics and /healthz are here\n", "text/plain")

            def _answer(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Requests for metrics are no news."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise ConfigError(
                f"metrics cannot be served: {error.strerror or error}",
                where=f"{host}:{port}",
                hint="Choose another --metrics-port (0 takes a free one), and a --metrics-host of this machine.",
            ) from None
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    @property
    def port(self) -> int:
        """Return the port it listens on."""
        return int(self._server.server_address[1])

    def __enter__(self) -> MetricsServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
