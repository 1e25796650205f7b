"""The import against a receiver that answers as OpenSearch Dashboards 3.3.0 was seen to (it is in no registry)."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from loader.dashboards.build import build_all
from loader.dashboards.push import Pushed, Target, push
from loader.errors import DashboardError

FILES = build_all()


@dataclass
class Receiver:
    """What was received, and what is answered: status and body by file name, else all is imported."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            parts: Any = message_from_bytes(head + body).get_payload()
            (part,) = parts
            content = part.get_payload(decode=True)
            name = part.get_filename()
            state.requests.append({"path": self.path, "headers": self.headers, "file": name, "content": content})
            default = (200, {"successCount": content.count(b"\n"), "success": True})
            status, answer = state.answers.get(name, default)
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Location", "/auth/login")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_port}"
        yield state
        server.shutdown()
        thread.join()


def test_every_file_is_sent_whole_as_an_import_that_overwrites(receiver: Receiver) -> None:
    assert push(FILES, Target(receiver.url)) == [Pushed("cloudtrail_overview.ndjson", 11)]
    (request,) = receiver.requests
    assert request["path"] == "/api/saved_objects/_import?overwrite=true"
    assert request["headers"]["osd-xsrf"] == "true"
    assert "Authorization" not in request["headers"]
    assert request["file"] == "cloudtrail_overview.ndjson"
    assert request["content"] == FILES["cloudtrail_overview.ndjson"]


def test_a_base_path_a_user_and_a_tenant_are_used(receiver: Receiver) -> None:
    push(FILES, Target(f"{receiver.url}/_dashboards/", user="ann", password="pä:ss", tenant="global"))
    (request,) = receiver.requests
    assert request["path"] == "/_dashboards/api/saved_objects/_import?overwrite=true"
    assert base64.b64decode(request["headers"]["Authorization"].removeprefix("Basic ")).decode() == "ann:pä:ss"
    assert request["headers"]["securitytenant"] == "global"


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Target("http://x", user="ann", password="secret"))


def test_success_is_read_not_the_status_and_not_the_count(receiver: Receiver) -> None:
    """With a missing reference the answer is 200, a count, and nothing is written."""
    missing = {
        "id": "panel",
        "type": "visualization",
        "error": {"type": "missing_references", "references": [{"type": "index-pattern", "id": "gone"}]},
    }
    receiver.answers["bad.ndjson"] = (200, {"successCount": 1, "success": False, "errors": [missing]})
    with pytest.raises(DashboardError) as caught:
        push({"bad.ndjson": b"{}\n"}, Target(receiver.url))
    expected = "bad.ndjson: visualization/panel: missing_references index-pattern/gone"
    assert caught.value.message == expected
    assert caught.value.where == receiver.url


def test_a_refused_file_does_not_keep_the_others_back(receiver: Receiver) -> None:
    receiver.answers["1.ndjson"] = (422, {"statusCode": 422, "message": 'Document "x" has property "visualization"'})
    receiver.answers["3.ndjson"] = (200, {"success": False, "successCount": 0})
    with pytest.raises(DashboardError) as caught:
        push(dict.fromkeys(("1.ndjson", "2.ndjson", "3.ndjson"), b"{}\n"), Target(receiver.url))
    assert [request["file"] for request in receiver.requests] == ["1.ndjson", "2.ndjson", "3.ndjson"]
    assert "1.ndjson: Document" in caught.value.message
    assert "3.ndjson: refused without a reason" in caught.value.message
    assert "2.ndjson" not in caught.value.message


@pytest.mark.parametrize(
    ("status", "body", "message", "hint"),
    [
        (401, {"message": "Unauthorized"}, "does not accept us", "user and a password"),
        (403, b"", "does not accept us", "user and a password"),
        (302, b"", "does not accept us", "user and a password"),
        (404, {"message": "Not Found"}, "status 404: Not Found", "Is this OpenSearch Dashboards"),
        (503, b"OpenSearch Dashboards server is not ready yet", "status 503", "finished starting"),
        (200, b"<html>", "status 200", "Is this OpenSearch Dashboards"),
        (200, {"tagline": "The OpenSearch Project"}, "status 200", "Is this OpenSearch Dashboards"),
        (200, [1], "status 200", "Is this OpenSearch Dashboards"),
    ],
)
def test_an_answer_that_is_none_stops_and_says_why(
    receiver: Receiver, status: int, body: Any, message: str, hint: str
) -> None:
    receiver.answers["1.ndjson"] = (status, body)
    with pytest.raises(DashboardError, match=message) as caught:
        push(dict.fromkeys(("1.ndjson", "2.ndjson"), b"{}\n"), Target(receiver.url))
    assert hint in str(caught.value.hint)
    assert len(receiver.requests) == 1


def test_nobody_there() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        port = server.server_port
    with pytest.raises(DashboardError, match="cannot be reached") as caught:
        push(FILES, Target(f"http://127.0.0.1:{port}", timeout_s=2))
    assert caught.value.where == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("url", ["localhost:5601", "file:///etc/passwd", ""])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(DashboardError, match="expected a URL"):
        push(FILES, Target(url))
