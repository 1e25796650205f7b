"""What stands before a real node: a door that looks at requests, and passes them on or answers itself."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler

import urllib3


class Door(BaseHTTPRequestHandler):
    """Answers requests, or has ``node`` answer them."""

    protocol_version = "HTTP/1.1"

    def body(self) -> bytes:
        """Return what was sent."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def pass_on(self, pool: urllib3.PoolManager, node: str, body: bytes) -> None:
        """Answer as the node at the URL ``node`` does."""
        kind = self.headers.get("content-type")
        headers = {"content-type": kind} if kind else {}
        reply = pool.request(self.command, node + self.path, body=body or None, headers=headers, retries=False)
        self.answer(reply.status, reply.data, reply.headers.get("content-type", "application/json"))

    def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        """Answer with ``body``."""
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""
