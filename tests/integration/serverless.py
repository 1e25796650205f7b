"""A stand-in for a search collection of OpenSearch Serverless: a real node behind a door that knows what AWS lists.

AWS itself is not asked. The list is of "Supported OpenSearch API operations and permissions" in
https://docs.aws.amazon.com/opensearch-service/latest/developerguide/serverless-genref.html, read in 2026; that ``/``,
``_refresh``, shard statistics and component templates answer 404, that ``refresh=true`` answers 400, and that requests
must carry a signed ``x-amz-content-sha256``, is what users of it report. Signatures are recomputed and compared.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.integration.doors import Door

REGION = "eu-central-1"
CREDENTIALS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "a session token")

_INDEX = r"/[^_/][^/]*"
_ALLOWED = [
    (methods.split("|"), re.compile(path))
    for methods, path in (
        ("PUT|GET|HEAD|DELETE", _INDEX),
        ("GET|PUT", _INDEX + "/_mappings?"),
        ("GET|PUT", _INDEX + "/_settings?"),
        ("POST", f"({_INDEX})?/_bulk"),
        ("PUT|POST", _INDEX + "/_create/[^/]+"),
        ("POST", _INDEX + "/_doc"),
        ("PUT|GET|DELETE", _INDEX + "/_doc/[^/]+"),
        ("POST", _INDEX + "/_update/[^/]+"),
        ("GET", f"({_INDEX})?/_mget"),
        ("GET|POST", f"({_INDEX})?/(_search|_count|_msearch)"),
        ("GET|PUT|POST|HEAD|DELETE", "/_index_template/[^/]+"),
    )
]


class Collection:
    """What was asked for, and what was refused."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.url = ""
        self.asked: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()


@contextmanager
def collection(node: str) -> Iterator[Collection]:
    """Open a collection in front of ``node`` (its URL), and close it."""
    made = Collection(node)
    pool = urllib3.PoolManager()

    class Gate(Door):
        def handle_one(self) -> None:
            body = self.body()
            parts = urlsplit(self.path)
            what = f"{self.command} {parts.path}"
            made.asked[what] += 1
            trouble = _trouble(self.command, parts.path, parts.query)
            if not _is_signed(self, made.url, body):
                trouble = (403, b'{"status":403,"error":{"reason":"403 Forbidden","type":"Forbidden"}}')
            if trouble:
                made.refused[what] += 1
                self.answer(*trouble)
                return
            self.pass_on(pool, made.node, body)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = handle_one  # noqa: N815  # the base class's names

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gate)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        pool.clear()


def _trouble(method: str, path: str, query: str) -> tuple[int, bytes] | None:
    if not any(method in methods and pattern.fullmatch(path) for methods, pattern in _ALLOWED):
        return 404, b""
    if parse_qs(query).get("refresh", ["false"])[0] not in ("false", "wait_for"):
        return (
            400,
            b'{"error":{"type":"status_exception","reason":"true refresh policy is not supported."},"status":400}',
        )
    return None


def _is_signed(request: BaseHTTPRequestHandler, url: str, body: bytes) -> bool:
    """Tell whether the request carries the signature that its content calls for."""
    sent: dict[str, Any] = {name.lower(): value for name, value in request.headers.items()}
    match = re.search(r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})", sent.get("authorization", ""))
    if not match or sent.get("x-amz-content-sha256") != hashlib.sha256(body).hexdigest():
        return False
    names = match.group(1).split(";")
    if not {"host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"} <= set(names):
        return False
    again = AWSRequest(request.command, url + request.path, data=body, headers={name: sent[name] for name in names})
    again.context["timestamp"] = sent["x-amz-date"]
    signer = SigV4Auth(CREDENTIALS, "aoss", REGION)
    signature = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    return f"/{REGION}/aoss/aws4_request" in sent["authorization"] and signature == match.group(2)
