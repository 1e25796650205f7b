"""Webhook, Slack and PagerDuty against a real local web server."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.errors import ConfigError
from loader.notify.errors import SecretError, SendError
from loader.notify.message import Subject, alert_message, digest_message
from loader.notify.message import test_message as trial_message
from loader.notify.pagerduty import PAGERDUTY, event
from loader.notify.post import checked_url
from loader.notify.secret import Secret
from loader.notify.slack import SLACK, payload
from loader.notify.webhook import WEBHOOK
from tests.unit.notify.receivers import Answer, WebReceiver, alert, tools, web_receiver

LINK = "https://search.example/_dashboards/app/discover#/?_g=%28time:%28from:now%29%29"


@pytest.fixture
def receiver() -> Iterator[WebReceiver]:
    with web_receiver() as started:
        yield started


def message(subject: Subject | None = None, **more: Any) -> Any:
    return alert_message(subject or alert(), key="key-1", link=LINK, **more)


def webhook(receiver: WebReceiver, *, secret: str | None = None, headers: Any = None, **environment: str) -> Any:
    options = {"url": receiver.url, "secret": Secret(secret) if secret else None, "headers": headers or {}}
    return WEBHOOK.make(options, tools(**environment))


def test_a_webhook_is_signed_and_carries_its_key(receiver: WebReceiver) -> None:
    headers = {"Authorization": Secret("env:TOKEN"), "X-Team": "secops"}
    channel = webhook(receiver, secret="env:SECRET", headers=headers, SECRET="s3cret-value", TOKEN="Bearer token-1")
    channel.send(message())
    (request,) = receiver.requests
    assert request.headers["Idempotency-Key"] == "key-1"
    assert (request.headers["Authorization"], request.headers["X-Team"]) == ("Bearer token-1", "secops")
    # As docs/notifications.md tells receivers to check it.
    time, _, given_digest = request.headers["X-Siem-Signature"].partition(",v1=")
    signed = time.removeprefix("t=").encode() + b"." + request.body
    assert hmac.new(b"s3cret-value", signed, hashlib.sha256).hexdigest() == given_digest
    body = request.json
    assert (body["kind"], body["level"], body["title"]) == ("alert", "high", "Root signed in")
    assert body["alert"]["user"]["name"] == "mallory"
    assert len(body["alert"]["siem"]["evidence"]) == 20
    assert body["facts"]["Who"] == "mallory (arn:aws:iam::123456789012:user/mallory)"
    assert body["runbook"] == "siem alerts show a1; was it planned?"
    assert body["command"] == "siem alerts show a1"
    assert body["facts"]["When (events)"] == "2026-11-26 02:58:00 to 02:59:00 UTC"
    assert body["link"] == LINK


@pytest.mark.parametrize(
    ("answer", "maybe_taken", "whole_channel", "retry_after"),
    [
        (Answer(429, b"slow down", {"Retry-After": "30"}), False, True, 30),
        (Answer(429, b"", {"Retry-After": "99999999"}), False, True, 3600),
        (Answer(429, b"", {"Retry-After": "soon"}), False, True, None),
        (Answer(503, b""), True, True, None),
        (Answer(400, b"bad"), False, False, None),
        (Answer(403, b"no"), False, True, None),
        (Answer(404, b"no"), False, True, None),
    ],
)
def test_what_an_answer_means(
    receiver: WebReceiver, answer: Answer, maybe_taken: bool, whole_channel: bool, retry_after: float | None
) -> None:
    receiver.answer = answer
    with pytest.raises(SendError) as error:
        webhook(receiver).send(message())
    assert (error.value.maybe_taken, error.value.whole_channel, error.value.retry_after) == (
        maybe_taken,
        whole_channel,
        retry_after,
    )
    assert str(answer.status) in str(error.value)


def test_retry_after_as_a_date(receiver: WebReceiver) -> None:
    from datetime import datetime, timezone

    until = datetime.now(timezone.utc) + timedelta(seconds=100)
    receiver.answer = Answer(503, b"", {"Retry-After": format_datetime(until, usegmt=True)})
    with pytest.raises(SendError) as error:
        webhook(receiver).send(message())
    assert error.value.retry_after is not None
    assert 80 < error.value.retry_after <= 100


def test_redirects_are_not_followed_and_long_answers_not_read(receiver: WebReceiver) -> None:
    with web_receiver() as elsewhere:
        receiver.answer = Answer(307, b"", {"Location": elsewhere.url})
        with pytest.raises(SendError, match="another address"):
            webhook(receiver).send(message())
        assert elsewhere.requests == []
    receiver.answer = Answer(500, b"x" * 2**22)
    with pytest.raises(SendError) as error:
        webhook(receiver).send(message())
    assert len(str(error.value)) < 300


def test_a_receiver_that_is_away_or_silent(receiver: WebReceiver) -> None:
    from time import sleep

    receiver.during.append(lambda: sleep(2.5))
    with pytest.raises(SendError) as error:
        webhook(receiver).send(message())
    assert error.value.maybe_taken  # it may have read the message before it fell silent
    with web_receiver() as gone:
        channel = webhook(gone)
    with pytest.raises(SendError) as error:
        channel.send(message())
    assert not error.value.maybe_taken


def test_no_secret_is_in_an_error(receiver: WebReceiver) -> None:
    made = tools(URL=receiver.url + "/T000/B000/sesame", KEY="routing-key-value")
    receiver.answer = Answer(403, b"invalid token: routing-key-value")
    channel = PAGERDUTY.make({"url": Secret("env:URL"), "routing_key": Secret("env:KEY")}, made)
    with pytest.raises(SendError) as error:
        channel.send(message())
    assert "routing-key-value" not in made.secrets.redact(str(error.value))
    with web_receiver() as gone:
        made = tools(URL=gone.url + "/sesame")
        channel = SLACK.make({"url": Secret("env:URL")}, made)
    with pytest.raises(SendError) as error:
        channel.send(message())
    assert "sesame" not in str(error.value)
    with pytest.raises(SecretError, match="env:OTHER is not set"):
        SLACK.make({"url": Secret("env:OTHER")}, made).send(message())
    with pytest.raises(ConfigError) as unencrypted:
        SLACK.make({"url": Secret("env:URL")}, tools(URL="http://hooks.example/sesame")).send(message())
    assert "sesame" not in str(unencrypted.value)
    with pytest.raises(SecretError, match="cannot be sent"):
        webhook(receiver, headers={"Authorization": Secret("env:T")}, T="a\r\nEvil: b").send(message())
    assert all("Evil" not in request.headers for request in receiver.requests)


@pytest.mark.parametrize(
    "url", ["ftp://x.example", "http://example.com/", "https://a b.example/", "https:///x", "https://x.example:p/", ""]
)
def test_addresses_that_nothing_is_sent_to(url: str) -> None:
    with pytest.raises(ConfigError):
        checked_url(url)


def test_this_machine_may_be_reached_without_encryption() -> None:
    for url in ("http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]:1/", "https://example.com"):
        assert checked_url(url) == url


def test_slack_is_sent_blocks_and_has_to_be_slack(receiver: WebReceiver) -> None:
    channel = SLACK.make({"url": receiver.url}, tools())
    channel.send(message())
    body = receiver.requests[0].json
    assert body["blocks"][0]["text"]["text"] == "HIGH: Root signed in (account 123456789012)"
    assert "What to do: siem alerts show a1; was it planned?" in [
        block["text"]["text"] for block in body["blocks"] if block["type"] == "section" and "text" in block
    ]
    assert f"<{LINK}|Open in Discover>" in str(body)
    receiver.answer = Answer(200, b"<html>a captive portal</html>")
    with pytest.raises(SendError, match="not Slack"):
        channel.send(message())


def texts(value: Any) -> Iterator[tuple[str, str]]:
    """Yield every text object of a Slack payload: type and text."""
    if isinstance(value, dict):
        if value.get("type") in ("plain_text", "mrkdwn"):
            yield value["type"], value["text"]
        for part in value.values():
            yield from texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts(part)


NASTY = st.one_of(
    st.text(max_size=300),
    st.sampled_from(
        [
            "<!channel> <@U024BE7LR> <https://evil.example|Reset your password>",
            "*bold* _it_ `code` ~no~ :fire: @here &lt;!here&gt;",
            "a\r\nBcc: all@example.com\r\n\r\n<script>alert(1)</script>",
            "https://evil.example/login www.evil.example",
            "\u202egnp.exe \u2028 \x00\x1b[2J \ud83d\ude00",
            "&" * 5000,
            '"><img src=x onerror=alert(1)>',
        ]
    ),
)


def nasty(text: str) -> Subject:
    subject = alert()
    body = {
        **subject.body,
        "event": {"reason": f"x used {text} from y"},
        "message": text,
        "user": {"name": text},
        "source": {"address": text},
        "cloud": {"account": {"id": text}, "region": text},
        "aws": {"cloudtrail": {"user_identity": {"arn": text}}},
    }
    return Subject(subject.index, subject.id, body)


@given(NASTY)
def test_what_an_attacker_wrote_is_never_markup_in_slack(text: str) -> None:
    for found in (message(nasty(text)), digest_message([nasty(text)] * 3, key="k", link=LINK)):
        body = payload(found)
        assert body["mrkdwn"] is False
        assert (body["parse"], body["link_names"]) == ("none", False)
        assert not set("<>") & set(body["text"])
        assert len(body["blocks"]) <= 50
        for kind, shown in texts(body["blocks"]):
            if kind == "mrkdwn":
                assert shown == f"<{LINK}|Open in Discover>".replace("&", "&amp;")
                continue
            assert not set("<>") & set(shown)
            assert "://" not in shown
            assert 0 < len(shown) <= 3000
        assert len(body["blocks"][0]["text"]["text"]) <= 150


@given(NASTY)
def test_people_see_no_control_character_and_no_address_to_click(text: str) -> None:
    for found in (message(nasty(text)), digest_message([nasty(text)], key="k", link=None)):
        shown = found.plain().replace(LINK, "")
        assert "://" not in shown
        assert "www." not in shown.lower()
        assert all(character.isprintable() or character == "\n" for character in shown)
        assert "\n" not in found.subject
        assert len(shown) < 8000


def test_pagerduty_is_sent_triggers_and_never_anything_that_ends_an_incident(receiver: WebReceiver) -> None:
    options = {"url": receiver.url, "routing_key": Secret("env:KEY")}
    receiver.answer = Answer(202, b'{"status":"success"}')
    PAGERDUTY.make(options, tools(KEY="R0UT1NG")).send(message())
    body = receiver.requests[0].json
    assert (body["event_action"], body["dedup_key"], body["routing_key"]) == ("trigger", "key-1", "R0UT1NG")
    assert body["payload"]["severity"] == "error"
    assert body["payload"]["source"] == "AWS account 123456789012"
    assert body["links"] == [{"href": LINK, "text": "Events in Discover"}]
    assert "withdrawn" not in PAGERDUTY.takes
    severities = [event(message(alert(level)), routing_key="k")["payload"]["severity"] for level in LEVELS]
    assert severities == ["info", "info", "warning", "error", "critical"]


LEVELS = ["informational", "low", "medium", "high", "critical"]


def test_a_digest_names_the_count_the_worst_and_the_way_to_all(receiver: WebReceiver) -> None:
    many = [alert("medium", name=f"Rule {n % 20}", identifier=f"m{n}") for n in range(497)]
    worst = [alert("critical", name="Trail stopped", identifier=f"c{n}") for n in range(3)]
    found = digest_message([*many, *worst], key="d", link=LINK, waiting=7)
    assert found.subject == "CRITICAL: 500 alerts: 3 critical, 497 medium (account 123456789012)"
    assert found.lines[0] == "3 x critical: Trail stopped"
    assert "7 more wait" in found.text
    assert "2026-11-26 02:58:00 critical: Trail stopped, mallory from 203.0.113.9 (c0)" in found.lines
    assert "and 490 more alerts" in found.lines
    assert digest_message(worst, key="d", link=None).lines[0].endswith("(c0)")  # each is named: no sums
    assert found.command == "siem alerts list --since 2026-11-26T02:58:00.000Z --limit 500"
    assert len(found.data["digest"]["alerts"]) == 500
    assert len(found.plain()) < 6000
    webhook(receiver).send(found)
    assert receiver.requests[0].json["digest"]["count"] == 500


def test_a_withdrawn_alert_and_a_trial_say_what_they_are() -> None:
    withdrawn = message(alert(verdict="withdrawn"), about="first")
    assert withdrawn.subject.startswith("WITHDRAWN, HIGH: Root signed in")
    assert "refute" in withdrawn.text
    assert withdrawn.runbook == ""
    trial = trial_message("chat", key="k", time="2026-11-26T03:00:00.000Z")
    assert trial.subject == "TEST, INFORMATIONAL: Channel chat works"
    assert "nothing to do" in trial.plain()
