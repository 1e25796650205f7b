"""Receivers on this machine: a web server that answers what it is told to, and the tools that channels work with."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from loader.notify.channel import Tools
from loader.notify.message import Subject
from loader.notify.post import Poster
from loader.notify.secret import SecretReader

NOW = datetime(2026, 11, 26, 3, 0, tzinfo=timezone.utc)


class SettableClock:
    """A clock that stands until it is told; sleeping moves it."""

    def __init__(self, now: datetime = NOW) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    def sleep(self, seconds: float) -> None:
        self.forward(seconds)

    def forward(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass
class Answer:
    status: int = 200
    body: bytes = b"ok"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class WebReceiver:
    """A real web server. ``answers`` are given in turn, then ``answer``."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self.answer = Answer()
        #: Called with each request before it is answered.
        self.during: list[Any] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                receiver.requests.append(Request(self.path, dict(self.headers.items()), body))
                for action in receiver.during:
                    action()
                answer = receiver.answers.pop(0) if receiver.answers else receiver.answer
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(answer.body)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """A sender that does not wait for the whole answer is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def web_receiver() -> Iterator[WebReceiver]:
    receiver = WebReceiver()
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()


def no_aws(service: str, region: str | None) -> Any:
    raise AssertionError(f"nothing of AWS was to be asked, but {service} is")


def tools(clock: SettableClock | None = None, aws: Any = no_aws, **environment: str) -> Tools:
    clock = clock or SettableClock()
    secrets = SecretReader(environment=environment, manager=lambda: aws("secretsmanager", None), clock=clock)
    return Tools(secrets, clock, Poster(connect_s=2, read_s=2), aws)


def alert(level: str = "high", *, name: str = "Root signed in", identifier: str = "a1", **siem: Any) -> Subject:
    body: dict[str, Any] = {
        "@timestamp": "2026-11-26T02:58:00.000Z",
        "message": f"{name}: mallory used ConsoleLogin from 203.0.113.9",
        "tags": ["attack.initial-access", "attack.t1078.004"],
        "event": {
            "kind": "signal",
            "severity": 70,
            "reason": "mallory used ConsoleLogin from 203.0.113.9 in us-east-1 (account 123456789012): success",
        },
        "rule": {"id": "aws_root_login", "uuid": "6a2b1c1e-0000-4000-8000-000000000001", "name": name},
        "threat": {"technique": {"id": ["T1078"]}},
        "user": {"name": "mallory"},
        "source": {"address": "203.0.113.9"},
        "cloud": {"account": {"id": "123456789012"}, "region": "us-east-1"},
        "aws": {"cloudtrail": {"user_identity": {"arn": "arn:aws:iam::123456789012:user/mallory", "type": "IAMUser"}}},
        "siem": {
            "status": "open",
            "level": level,
            "count": 3,
            "first_event": "2026-11-26T02:58:00.000Z",
            "last_event": "2026-11-26T02:59:00.000Z",
            "evidence": [{"index": "log-aws-cloudtrail-2026.11.26", "id": f"e{number}"} for number in range(30)],
            "evidence_total": 30,
            "runbook": "siem alerts show <id>; was it planned?",
            **siem,
        },
    }
    return Subject("siem-alerts-2026.11", identifier, body)
