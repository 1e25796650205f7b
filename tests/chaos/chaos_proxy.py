"""A proxy on loopback that stands between the loader and one server, and breaks requests by a schedule."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit

from chaos_faults import Schedule

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}
_BUSY = {"error": {"type": "rejected_execution_exception", "reason": "chaos: queue full"}, "status": 429}
_S3_BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>chaos</Message></Error>"
_SQS_BUSY = b'{"__type":"com.amazonaws.sqs#ServiceUnavailable","message":"chaos"}'


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


def node_kind(method: str, path: str) -> str:
    """The schedule's kind of a request to the node."""
    return "bulk" if method == "POST" and path.partition("?")[0].endswith("/_bulk") else "node"


def aws_kind(method: str, path: str) -> str:
    """The schedule's kind of a request to the emulator: S3 objects are fetched, queues are posted to."""
    return "s3" if method in ("GET", "HEAD") else "sqs"


class FaultProxy:
    """Forwards to ``upstream`` what the schedule lets through. Use as a context manager.

    ``stall_s`` is longer than a message's visibility: a stalled request loses the message to another worker, since
    extending it is refused meanwhile. ``late_s`` is longer than the client waits for an answer.
    """

    def __init__(
        self,
        upstream: str,
        schedule: Schedule,
        kind: Callable[[str, str], str],
        *,
        stall_s: float,
        late_s: float,
    ) -> None:
        parts = urlsplit(upstream)
        self.upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.schedule = schedule
        self.kind = kind
        self.stall_s = stall_s
        self.late_s = late_s
        #: While set, every request is dropped, as by a node that is away.
        self.away = threading.Event()
        self.requests = 0
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="proxy", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    proxy: FaultProxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that are killed in mid-request are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        proxy = self.server.proxy
        proxy.requests += 1
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        if len(body) < length or proxy.away.is_set():
            self._drop()
            return
        kind = proxy.kind(self.command, self.path)
        if "ChangeMessageVisibility" in self.headers.get("X-Amz-Target", "") and proxy.schedule.stalled:
            self._send(Answer(503, [("Content-Type", "application/x-amz-json-1.0")], _SQS_BUSY))
            return
        try:
            self._answer(kind, proxy.schedule.decide(kind), body)
        except (OSError, http.client.HTTPException):
            self._drop()  # the server behind is away

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815  # the base class's names

    def _answer(self, kind: str, fault: str | None, body: bytes) -> None:
        proxy = self.server.proxy
        if fault is None:
            self._send(self._forward(body))
        elif fault in ("busy_429", "busy_503", "error_500", "gateway_502_html"):
            self._send(_refusal(kind, fault))
        elif fault == "partial_429":
            self._partial(kind, body)
        elif fault == "drop_before":
            self._drop()
        elif fault == "drop_after":
            self._forward(body)
            self._drop()
        elif fault == "cut_answer":
            self._cut(self._forward(body), proxy.schedule.random(kind))
        elif fault == "delay":
            time.sleep(proxy.schedule.random(kind) * 0.5)
            self._send(self._forward(body))
        elif fault == "late_answer":
            answer = self._forward(body)
            time.sleep(proxy.late_s)
            self._send(answer)
        else:
            with proxy.schedule.stall():
                time.sleep(proxy.stall_s)
            self._send(self._forward(body))

    def _forward(self, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(*self.server.proxy.upstream, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            if body or self.command in ("POST", "PUT"):
                headers["Content-Length"] = str(len(body))
            connection.request(self.command, self.path, body=body or None, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
            if self.command == "HEAD" and answer.getheader("Content-Length"):
                kept.append(("Content-Length", str(answer.getheader("Content-Length"))))
            return Answer(answer.status, kept, content)
        finally:
            connection.close()

    def _partial(self, kind: str, body: bytes) -> None:
        """Forward some items of a bulk request; answer 429 for the others, as a node with a full queue does."""
        lines = body.split(b"\n")[:-1]
        pairs = [b"\n".join(lines[at : at + 2]) + b"\n" for at in range(0, len(lines), 2)]
        share = self.server.proxy.schedule.random(kind)
        chosen = [at for at in range(len(pairs)) if (at * 7919 + int(share * 1000)) % 1000 < share * 1000]
        entries = [{"create": {"status": 429, "error": _BUSY["error"]}} for _ in pairs]
        if chosen:
            answer = self._forward(b"".join(pairs[at] for at in chosen))
            if answer.status != 200:
                self._send(answer)
                return
            for at, entry in zip(chosen, json.loads(answer.body)["items"], strict=True):
                entries[at] = entry
        content = json.dumps({"errors": True, "items": entries}).encode()
        self._send(Answer(200, [("Content-Type", "application/json")], content))

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _cut(self, answer: Answer, share: float) -> None:
        """Announce the whole body, send a part of it, and hang up."""
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body[: int(len(answer.body) * share)])
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        """Hang up without a word: the other side sees a reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The stream objects keep the socket open: nothing of them may be flushed or kept.
        self.rfile.close()
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing: thousands of requests are answered."""


def _refusal(kind: str, fault: str) -> Answer:
    status = int(fault.split("_")[1])
    if fault == "gateway_502_html":
        return Answer(502, [("Content-Type", "text/html")], b"<html><body>502 Bad Gateway</body></html>")
    if kind == "s3":
        return Answer(status, [("Content-Type", "application/xml")], _S3_BUSY)
    if kind == "sqs":
        return Answer(status, [("Content-Type", "application/x-amz-json-1.0")], _SQS_BUSY)
    return Answer(status, [("Content-Type", "application/json")], json.dumps({**_BUSY, "status": status}).encode())
