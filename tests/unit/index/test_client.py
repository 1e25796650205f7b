"""How the client signs in, what it trusts, and that no secret is seen: against a web server over HTTP and TLS."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from opensearchpy.exceptions import ConnectionError as ClusterConnectionError
from opensearchpy.exceptions import SSLError, TransportError

from loader.config import Settings
from loader.errors import ConfigError
from loader.index.client import make_client
from loader.telemetry import configure_logging
from tests.unit.notify.test_mail import certificate

SECRET = "very-secret-0451"


class Door(ThreadingHTTPServer):
    """Notes who comes, and answers with ``status``."""

    def __init__(self) -> None:
        self.came: list[str | None] = []
        #: Paths with their queries, headers and bodies.
        self.requests: list[tuple[str, Message, bytes]] = []
        self.status = 200
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                door.came.append(self.headers.get("Authorization"))
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                door.requests.append((self.path, self.headers, content))
                body = json.dumps({"version": {"number": "9.0.0"}, "error": "no"}).encode()
                self.send_response(door.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815  # the base class's name

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@contextmanager
def door(certified: tuple[Path, Path] | None = None) -> Iterator[Door]:
    server = Door()
    if certified:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certified)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def test_a_user_signs_in_by_basic_authentication() -> None:
    with door() as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        make_client(Settings(cluster_url=url, cluster_user="loader", cluster_password=SECRET)).info()
    assert server.came == ["Basic " + base64.b64encode(f"loader:{SECRET}".encode()).decode()]


def test_an_api_key_is_sent_as_elasticsearch_wants_it() -> None:
    with door() as server:
        make_client(Settings(cluster_url=f"http://127.0.0.1:{server.server_address[1]}", cluster_api_key=SECRET)).info()
    assert server.came == [f"ApiKey {SECRET}"]


def test_nobody_signs_in_where_nothing_is_set() -> None:
    with door() as server:
        make_client(Settings(cluster_url=f"http://127.0.0.1:{server.server_address[1]}")).info()
    assert server.came == [None]


@pytest.mark.parametrize("service", ["es", "aoss"])
def test_requests_to_aws_are_signed_for_the_service(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signature is worked out again from what arrived: host, time, token and content are in it."""
    keys = Credentials("AKIAIOSFODNN7EXAMPLE", SECRET, "a session token")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", keys.token)
    with door() as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        made = Settings(cluster_url=url, cluster_aws_service=service, aws_region="eu-central-1")
        make_client(made).search(index="siem-alerts-*", params={"size": "3"})
    ((path, headers, body),) = server.requests
    sent = {name.lower(): value for name, value in headers.items()}
    signed, signature = sent["authorization"].split("SignedHeaders=")[1].split(", Signature=")
    assert {"host", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"} <= set(signed.split(";"))
    assert sent["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()
    again = AWSRequest("POST", url + path, data=body, headers={name: sent[name] for name in signed.split(";")})
    again.context["timestamp"] = sent["x-amz-date"]
    signer = SigV4Auth(keys, service, "eu-central-1")
    assert signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again) == signature
    assert f"/eu-central-1/{service}/aws4_request" in sent["authorization"]
    assert SECRET not in str(sent)


def test_two_ways_of_signing_in_exclude_each_other() -> None:
    settings = Settings(
        cluster_url="http://127.0.0.1:9", cluster_user="loader", cluster_password=SECRET, cluster_api_key=SECRET
    )
    with pytest.raises(ConfigError, match="SIEM_CLUSTER_USER and SIEM_CLUSTER_API_KEY exclude each other") as refused:
        make_client(settings)
    assert SECRET not in str(refused.value)


def test_no_cluster_is_an_error_with_a_next_step() -> None:
    with pytest.raises(ConfigError) as refused:
        make_client(Settings())
    assert (refused.value.where, "siem up" in (refused.value.hint or "")) == ("SIEM_CLUSTER_URL", True)


def test_a_certificate_has_to_be_trusted(tmp_path: Path) -> None:
    certified = certificate(tmp_path)
    with door(certified) as server:
        url = f"https://localhost:{server.server_address[1]}"
        signed_in = {"cluster_user": "loader", "cluster_password": SECRET}
        with pytest.raises(SSLError):
            make_client(Settings(cluster_url=url, **signed_in)).info()
        assert server.came == [], "a secret was sent to somebody unknown"
        make_client(Settings(cluster_url=url, cluster_ca_file=certified[0], **signed_in)).info()
        assert len(server.came) == 1


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_trusting_anybody_has_to_be_asked_for(tmp_path: Path) -> None:
    with door(certificate(tmp_path)) as server:
        url = f"https://localhost:{server.server_address[1]}"
        make_client(Settings(cluster_url=url, cluster_verify_tls=False)).info()
    assert server.came == [None]


@pytest.mark.parametrize("way", ["password", "key"])
def test_no_secret_is_seen_when_a_request_fails(
    way: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the error, nor in any library's log at its most talkative, nor in the settings as text."""
    options = (
        {"cluster_user": "loader", "cluster_password": SECRET} if way == "password" else {"cluster_api_key": SECRET}
    )
    configure_logging("DEBUG")
    said = []
    with door() as server, caplog.at_level(logging.DEBUG):
        server.status = 403
        for port in (server.server_address[1], 9):
            settings = Settings(cluster_url=f"http://127.0.0.1:{port}", **options)
            with pytest.raises((TransportError, ClusterConnectionError)) as refused:
                make_client(settings).info()
            logging.getLogger("loader.test").exception("failed", extra={"error": str(refused.value)})
            said += [str(refused.value), repr(refused.value), repr(settings), str(settings)]
    assert len(server.came) == 1
    said += [caplog.text, *capsys.readouterr()]
    encoded = base64.b64encode(f"loader:{SECRET}".encode()).decode()
    assert not [text for text in said if SECRET in text or encoded in text]


@pytest.mark.parametrize("key", [f"{SECRET}\n", f" {SECRET}\r\n"])
def test_an_api_key_from_a_file_is_taken_without_its_line_break(key: str) -> None:
    with door() as server:
        make_client(Settings(cluster_url=f"http://127.0.0.1:{server.server_address[1]}", cluster_api_key=key)).info()
        assert server.came == [f"ApiKey {SECRET}"]


@pytest.mark.parametrize("key", [f"{SECRET}\nX-Other: y", f"{SECRET}\x00", f"{SECRET}é"])
def test_an_api_key_that_is_none_is_refused_without_being_shown(key: str) -> None:
    with door() as server, pytest.raises(ConfigError) as caught:
        make_client(Settings(cluster_url=f"http://127.0.0.1:{server.server_address[1]}", cluster_api_key=key))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "localhost", "ftp://a", "http://", "http://a:b", "http://a:99999", f"https://u:{SECRET}@[a"]
)
def test_an_address_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="no address") as caught:
        make_client(Settings(cluster_url=url))
    assert SECRET not in str(caught.value)


def test_a_password_of_nobody_is_refused() -> None:
    with pytest.raises(ConfigError, match="nobody"):
        make_client(Settings(cluster_url="http://127.0.0.1:9", cluster_password=SECRET))
