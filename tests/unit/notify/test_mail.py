"""E-mail through a real SMTP server on this machine."""

from __future__ import annotations

import email
import ssl
from collections.abc import Iterator
from email.policy import default
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from hypothesis import given

from loader.notify.errors import SendError
from loader.notify.mail import MAIL, compose, html
from loader.notify.message import alert_message, digest_message
from loader.notify.secret import Secret
from tests.unit.notify.receivers import alert, tools
from tests.unit.notify.test_channels import LINK, NASTY, message, nasty


class Mailbox:
    """What an SMTP server calls: it keeps letters, or refuses as it is told."""

    def __init__(self) -> None:
        self.letters: list[tuple[list[str], email.message.EmailMessage]] = []
        self.refuse: dict[str, str] = {}
        self.answer = "250 OK"
        self.logins: list[tuple[bytes, bytes]] = []

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.answer.startswith("250"):
            letter = email.message_from_bytes(envelope.content, policy=default)
            assert isinstance(letter, email.message.EmailMessage)
            self.letters.append((envelope.rcpt_tos, letter))
        return self.answer

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"mail-password", handled=False)


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for localhost that signs itself, and its key."""
    from datetime import datetime, timedelta, timezone

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "cert.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return public, private


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Plain(Controller):
    """Without encryption."""


class Encrypting(Controller):
    """With STARTTLS, which it insists on, and a login."""

    def __init__(self, handler: Mailbox, context: ssl.SSLContext, **more: Any) -> None:
        self._context = context
        super().__init__(handler, **more)

    def factory(self) -> SMTP:
        return SMTP(
            self.handler,
            tls_context=self._context,
            require_starttls=True,
            authenticator=self.handler.authenticate,
            auth_required=True,
        )


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def port(mailbox: Mailbox) -> Iterator[int]:
    controller = Plain(mailbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield controller.port
    controller.stop()


def channel(port: int, **more: Any) -> Any:
    options = {
        "host": "127.0.0.1",
        "port": port,
        "tls": "none",
        "user": None,
        "password": None,
        "from": ["siem@example.com"],
        "to": ["oncall@example.com", "soc@example.com"],
        **more,
    }
    return MAIL.make(options, tools(PASSWORD="mail-password", WRONG="another-word"))


def test_a_letter_arrives_in_two_forms_with_the_key_as_its_id(mailbox: Mailbox, port: int) -> None:
    assert channel(port).send(message()) is None
    ((recipients, letter),) = mailbox.letters
    assert recipients == ["oncall@example.com", "soc@example.com"]
    assert letter["Subject"] == "HIGH: Root signed in (account 123456789012)"
    assert letter["Message-ID"] == "<key-1@example.com>"
    assert letter["Auto-Submitted"] == "auto-generated"
    plain, rich = letter.get_body(("plain",)), letter.get_body(("html",))
    assert plain is not None
    assert rich is not None
    assert "Who            mallory (arn:aws:iam::123456789012:user/mallory)" in plain.get_content()
    assert f'<a href="{LINK.replace("&", "&amp;")}">' in rich.get_content()
    channel(port).send(message(alert(verdict="withdrawn"), about="key-1"))
    assert mailbox.letters[1][1]["In-Reply-To"] == "<key-1@example.com>"


@given(NASTY)
def test_nothing_an_attacker_wrote_makes_a_header_or_a_tag(text: str) -> None:
    class Tags(HTMLParser):
        found: list[tuple[str, Any]]

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.found.append((tag, attrs))

    for found in (message(nasty(text)), digest_message([nasty(text)] * 2, key="k", link=LINK)):
        raw = compose(found, sender="siem@example.com", to=["a@example.com"]).as_bytes()
        letter = email.message_from_bytes(raw, policy=default)
        assert letter["To"] == "a@example.com"
        assert set(letter.keys()) == {
            "From", "To", "Subject", "Message-ID", "Auto-Submitted", "X-Siem-Level", "X-Siem-Kind", "MIME-Version",
            "Content-Type",
        }  # fmt: skip
        parser = Tags()
        parser.found = []
        parser.feed(html(found))
        allowed = {"html", "body", "h3", "p", "pre", "table", "tr", "th", "td", "b", "a", "code"}
        assert {tag for tag, _ in parser.found} <= allowed
        assert [dict(attributes) for tag, attributes in parser.found if tag == "a"] == [{"href": LINK}]


def test_refusals(mailbox: Mailbox, port: int) -> None:
    mailbox.refuse = {"soc@example.com": "550 nobody here"}
    assert channel(port).send(message()) == "refused for 1 of 2 recipients"
    mailbox.refuse["oncall@example.com"] = "550 nobody here"
    with pytest.raises(SendError, match=r"every recipient \(550\)"):
        channel(port).send(message())
    mailbox.refuse = {}
    mailbox.answer = "451 later"
    with pytest.raises(SendError) as later:
        channel(port).send(message())
    assert later.value.whole_channel
    mailbox.answer = "554 too nasty"
    with pytest.raises(SendError) as never:
        channel(port).send(message())
    assert not never.value.whole_channel
    with pytest.raises(SendError) as away:
        channel(free_port()).send(message())
    assert not away.value.maybe_taken


def test_encryption_and_login(mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public, private = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    controller = Encrypting(mailbox, context, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        secured = {"host": "localhost", "tls": "starttls", "user": "siem", "password": Secret("env:PASSWORD")}
        with pytest.raises(SendError, match="certificate cannot be trusted"):
            channel(controller.port, **secured).send(message())
        monkeypatch.setenv("SSL_CERT_FILE", str(public))
        channel(controller.port, **secured).send(message())
        assert mailbox.logins == [(b"siem", b"mail-password")]
        with pytest.raises(SendError, match=r"refuses user and password \(535\)"):
            channel(controller.port, **secured | {"password": Secret("env:WRONG")}).send(message())
    finally:
        controller.stop()
    assert len(mailbox.letters) == 1


def test_a_server_that_does_not_encrypt_is_given_nothing(mailbox: Mailbox, port: int) -> None:
    with pytest.raises(SendError):
        channel(port, tls="starttls").send(message())
    with pytest.raises(SendError):
        channel(port, tls="tls").send(message())
    assert mailbox.letters == []


def test_a_long_digest_is_a_letter(mailbox: Mailbox, port: int) -> None:
    many = [alert(identifier=f"a{number}") for number in range(500)]
    channel(port).send(digest_message(many, key="d", link=None))
    assert mailbox.letters[0][1]["Subject"].startswith("HIGH: 500 alerts: 500 high")
    assert alert_message(many[0], key="k", link=None).link is None
