"""Answers that say success and are none. A proxy between here and the cluster gives them; a stand-in of one, which
answers from a list over real HTTP, does here (no cluster can be made to)."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from loader.clock import SystemClock
from loader.config import Settings
from loader.errors import ClusterError
from loader.index.bulk import Backoff, BulkWriter, Item, UnavailableError, bulk_body
from loader.index.client import make_client
from loader.index.gate import IndexGate
from loader.index.ledger import Ledger
from loader.index.outcomes import Outcome
from loader.index.parked import DeadLetter, DeadLetterOffice
from loader.source.objects import ObjectRef

GOOD = (
    "application/json",
    b'{"items":[{"create":{"status":201}},{"create":{"status":409,"error":{"type":"version_conflict_engine_exception"}}}]}',
)
HTML = ("text/html; charset=utf-8", b"<html>Just a moment</html>")
STRANGE = [
    HTML,
    ("text/plain", b"OK"),
    ("application/json", b"<html>"),
    ("application/json", b'{"errors":false,"items":[{"create":{"sta'),
    ("application/json", b"[]"),
    ("application/json", b"null"),
    ("application/json", b"{}"),
    ("application/json", b'{"items":[{"create":{"status":201}}]}'),
    ("application/json", b'{"items":[{"index":{"status":201}},{"index":{"status":201}}]}'),
    ("application/json", b'{"items":[{"create":{"status":201}},{"create":{"status":"\xff"}}]}'),
    ("application/octet-stream", b"\x00\xff"),
    ("", b""),
]
ITEMS = [Item(number, b"{}", "log-aws-cloudtrail-2023.07.10", f"id-{number}", b"{}") for number in (1, 2)]


class Proxy:
    """Answers each POST and PUT with the next of ``answers`` (the last one for ever) and remembers the bodies."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, bytes]] = []
        self.bodies: list[bytes] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                proxy.bodies.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
                kind, body = proxy.answers.pop(0) if len(proxy.answers) > 1 else proxy.answers[0]
                self._answer(kind, body)

            def do_HEAD(self) -> None:
                self._answer("application/json", b"")

            do_PUT = do_POST  # noqa: N815  # http.server's names

            def _answer(self, kind: str, body: bytes) -> None:
                self.send_response(200)
                if kind:
                    self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.client = make_client(Settings(cluster_url=f"http://127.0.0.1:{self.server.server_address[1]}"))


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    threading.Thread(target=made.server.serve_forever, daemon=True).start()
    yield made
    made.client.close()
    made.server.shutdown()
    made.server.server_close()


def writer(proxy: Proxy) -> BulkWriter:
    clock = SystemClock()
    gate = IndexGate(proxy.client, clock=clock)
    return BulkWriter(proxy.client, clock=clock, gate=gate, backoff=Backoff(0.001, 0.002, 3), rng=random.Random(1))


def office(proxy: Proxy) -> DeadLetterOffice:
    return DeadLetterOffice(proxy.client, writer(proxy), clock=SystemClock(), bulk_max_bytes=5 * 2**20)


@pytest.mark.parametrize("strange", STRANGE)
def test_an_answer_that_says_nothing_is_asked_again(proxy: Proxy, strange: tuple[str, bytes]) -> None:
    proxy.answers = [strange, GOOD]
    verdicts = writer(proxy).write(ITEMS)
    assert [verdict.outcome for verdict in verdicts] == [Outcome.INDEXED, Outcome.DUPLICATE]
    assert proxy.bodies[0] == proxy.bodies[1]


@pytest.mark.parametrize("strange", STRANGE)
def test_answers_that_go_on_saying_nothing_send_the_message_back(proxy: Proxy, strange: tuple[str, bytes]) -> None:
    proxy.answers = [strange]
    with pytest.raises(UnavailableError):
        writer(proxy).write(ITEMS)
    assert len(proxy.bodies) == 3


@pytest.mark.parametrize("strange", STRANGE)
def test_a_dead_letter_is_not_written_before_the_cluster_says_so(proxy: Proxy, strange: Any) -> None:
    proxy.answers = [strange]
    letters = [DeadLetter(ObjectRef("b", "k"), "split", "r", "m", b"x", number) for number in (1, 2)]
    with pytest.raises(ClusterError):
        office(proxy).write(letters)


@pytest.mark.parametrize("strange", STRANGE[:4])
def test_the_ledger_takes_no_page_for_a_yes(proxy: Proxy, strange: Any) -> None:
    proxy.answers = [strange]
    with pytest.raises(ClusterError):
        Ledger(proxy.client, clock=SystemClock()).write([(ObjectRef("b", "k"), {"outcome": "loaded"})])


def test_a_document_says_its_index_only_if_it_is_not_that_of_the_request() -> None:
    other = Item(3, b"{}", "log-aws-cloudtrail-2023.07.11", "id-3", b'{"a":1}')
    assert bulk_body([*ITEMS, other], ITEMS[0].index).split(b"\n") == [
        b'{"create":{"_id":"id-1"}}',
        b"{}",
        b'{"create":{"_id":"id-2"}}',
        b"{}",
        b'{"create":{"_index":"log-aws-cloudtrail-2023.07.11","_id":"id-3"}}',
        b'{"a":1}',
        b"",
    ]
