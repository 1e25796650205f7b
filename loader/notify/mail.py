"""E-mail over SMTP, plain text and HTML in one."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from typing import Any

from loader.notify.channel import ChannelType, Option, Tools
from loader.notify.errors import SendError
from loader.notify.message import Message
from loader.notify.post import is_loopback

_TIMEOUT_S = 20.0
_SUBJECT = 200


class Mail:
    """Sends messages to some addresses through one server."""

    def __init__(self, options: Mapping[str, Any], tools: Tools) -> None:
        self._options = options
        self._tools = tools

    def send(self, message: Message) -> str | None:
        """Send ``message``."""
        options = self._options
        letter = compose(message, sender=options["from"][0], to=options["to"])
        letter["Date"] = format_datetime(self._tools.clock.now())
        handed_over = False
        try:
            with self._connect() as server:
                if options["user"] is not None:
                    server.login(options["user"], self._tools.secrets.read(options["password"]))
                handed_over = True
                refused = server.send_message(letter)
        except smtplib.SMTPRecipientsRefused as error:
            raise _refusal(next(iter(error.recipients.values()))[0], "refuses every recipient") from None
        except smtplib.SMTPAuthenticationError as error:
            raise SendError(f"the mail server refuses user and password ({error.smtp_code})") from None
        except smtplib.SMTPResponseException as error:
            raise _refusal(error.smtp_code, "refuses the message") from None
        except ssl.SSLError:
            raise SendError("the mail server's certificate cannot be trusted") from None
        except (OSError, smtplib.SMTPException) as error:
            what = type(error).__name__
            raise SendError(f"the mail server cannot be reached: {what}", maybe_taken=handed_over) from None
        return f"refused for {len(refused)} of {len(options['to'])} recipients" if refused else None

    def _connect(self) -> smtplib.SMTP:
        options = self._options
        host, port = str(options["host"]), int(options["port"])
        if options["tls"] == "tls":
            return smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT_S, context=ssl.create_default_context())
        server = smtplib.SMTP(host, port, timeout=_TIMEOUT_S)
        try:
            if options["tls"] == "starttls":
                server.starttls(context=ssl.create_default_context())
        except BaseException:
            server.close()
            raise
        return server


def compose(message: Message, *, sender: str, to: list[str]) -> EmailMessage:
    """Return the letter. Its id is made from the message's key, so that one sent twice can be told to be one."""
    letter = EmailMessage(policy=SMTP)
    domain = sender.rpartition("@")[2]
    letter["From"] = sender
    letter["To"] = ", ".join(to)
    # Nothing printable ends a header's line, and nothing else is left in it.
    letter["Subject"] = "".join(c if c.isprintable() else " " for c in message.subject)[:_SUBJECT]
    letter["Message-ID"] = f"<{message.key}@{domain}>"
    if message.about:
        letter["In-Reply-To"] = letter["References"] = f"<{message.about}@{domain}>"
    letter["Auto-Submitted"] = "auto-generated"
    letter["X-Siem-Level"] = message.level
    letter["X-Siem-Kind"] = message.kind
    letter.set_content(message.plain())
    letter.add_alternative(html(message), subtype="html")
    return letter


def html(message: Message) -> str:
    """Return the message as HTML. Everything in it is escaped; it loads nothing and has no script."""
    rows = "".join(
        f"<tr><th align=left valign=top>{escape(fact.label)}</th><td>{escape(fact.value)}</td></tr>"
        for fact in message.facts
    )
    parts = [f"<h3>{escape(message.subject)}</h3>", f"<p>{escape(message.text)}</p>"]
    if message.lines:
        parts.append(f"<pre>{escape(chr(10).join(message.lines))}</pre>")
    if rows:
        parts.append(f"<table cellpadding=4>{rows}</table>")
    if message.runbook:
        parts.append(f"<p><b>What to do:</b> {escape(message.runbook)}</p>")
    if message.link and message.link.startswith(("https://", "http://")):
        parts.append(f'<p><a href="{escape(message.link)}">Open in Discover</a></p>')
    if message.next_command:
        parts.append(f"<p><code>{escape(message.next_command)}</code></p>")
    return "<!doctype html><html><body>" + "\n".join(parts) + "</body></html>\n"


def _refusal(code: int, what: str) -> SendError:
    # 4xx is "later" (RFC 5321, 4.2.1); what the server says may repeat addresses and names, so only the code is kept.
    return SendError(f"the mail server {what} ({code})", whole_channel=code < 500 or code in (530, 535, 550, 553))


def _check(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    problems = []
    if options["tls"] == "none" and not is_loopback(str(options["host"])):
        problems.append(("tls", "may be none only for a server on this machine: alerts name people and what they did"))
    if (options["user"] is None) != (options["password"] is None):
        problems.append(("user", "and password belong together"))
    if len(options["from"]) != 1:
        problems.append(("from", "must be one address"))
    return problems


MAIL = ChannelType(
    "email",
    {
        "host": Option(required=True),
        "port": Option("number", default=587),
        "tls": Option("choice", default="starttls", choices=("starttls", "tls", "none")),
        "user": Option(),
        "password": Option("secret"),
        "from": Option("addresses", required=True),
        "to": Option("addresses", required=True),
    },
    Mail,
    _check,
)
