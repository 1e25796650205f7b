"""notify.yml: what is accepted, and that every mistake is told with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loader.errors import ConfigError
from loader.notify.configuration import check_configuration, load_configuration
from loader.notify.secret import Secret

GOOD = """\
channels:
  oncall:
    type: pagerduty
    routing_key: secretsmanager:siem/pagerduty#routing_key
    rate: 5 in 10m
    give_up_after: 2d
  chat:
    type: slack
    url: env:SLACK_URL
  hook:
    type: webhook
    url: https://hooks.example.com/siem
    secret: env:HOOK_SECRET
    headers: {X-Team: secops, Authorization: env:HOOK_TOKEN}
  topic:
    type: sns
    topic_arn: arn:aws:sns:eu-central-1:123456789012:alerts.fifo
  mail:
    type: email
    host: smtp.example.com
    user: siem
    password: env:MAIL_PASSWORD
    from: siem@example.com
    to: [oncall@example.com, soc@example.com]
routes:
  - levels: [critical, high]
    channels: [oncall, chat]
  - rules: [aws_root_*]
    tags: [attack.t1078*]
    accounts: ["012345678901"]
    historic: true
    channels: [mail, hook, topic]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "notify.yml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_whole_file(tmp_path: Path) -> None:
    found = load_configuration(write(tmp_path, GOOD))
    assert found.problems == ()
    assert {name: channel.type.name for name, channel in found.channels.items()} == {
        "oncall": "pagerduty",
        "chat": "slack",
        "hook": "webhook",
        "topic": "sns",
        "mail": "email",
    }
    oncall, mail = found.channels["oncall"], found.channels["mail"]
    assert (oncall.rate.messages, oncall.rate.period.total_seconds()) == (5, 600)
    assert oncall.give_up_after.total_seconds() == 2 * 86400
    assert oncall.options["routing_key"] == Secret("secretsmanager:siem/pagerduty#routing_key")
    assert (mail.options["port"], mail.options["tls"], mail.rate.messages) == (587, "starttls", 10)
    assert found.routes[0].levels == {"critical", "high"}
    assert found.routes[1].levels == {"medium", "high", "critical"}
    assert found.routes[1].historic


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("type: pagerduty", "type: pager", 3, "must be one of webhook, slack, sns, email, pagerduty"),
        ("routing_key: secretsmanager:siem/pagerduty#routing_key", "routing_key: R0123456789ABCDEF", 4, "env:NAME"),
        ("rate: 5 in 10m", "rate: lots", 5, "20 in 10m"),
        ("rate: 5 in 10m", "rate: 0 in 10m", 5, "20 in 10m"),
        ("give_up_after: 2d", "give_up_after: never", 6, "30m, 24h or 7d"),
        ("url: env:SLACK_URL", "url: https://hooks.slack.com/services/T0/B0/xyz", 9, "is a secret"),
        ("url: https://hooks", "url: http://hooks", 12, "must begin with https"),
        ("url: https://hooks", "url: https://me:word@hooks", 12, "must not carry a password"),
        ("url: https://hooks.example.com/siem", "url: https://", 12, "not a web address"),
        ("url: https://hooks.example.com/siem", "uri: https://x", 12, "is not known here"),
        ("Authorization: env:HOOK_TOKEN", "Authorization: Bearer abc", 14, "is a secret"),
        ("X-Team: secops", '"X-Team\\r\\nEvil": x', 14, "no header can have"),
        ("X-Team: secops", 'X-Team: "a\\r\\nEvil: x"', 14, "one line"),
        ("topic_arn: arn:aws:sns", "topic_arn: arn:aws:sqs", 17, "no ARN of a topic"),
        ("    user: siem\n", "", 18, "password belong together"),
        ("from: siem@example.com", 'from: "siem@example.com\\nBcc: all@example.com"', 23, "e-mail addresses"),
        ("to: [oncall@example.com, soc@example.com]", "to: []", 24, "e-mail addresses"),
        ("host: smtp.example.com", "host: smtp.example.com\n    tls: none", 21, "on this machine"),
        ("host: smtp.example.com", "host: smtp.example.com\n    port: true", 21, "1 to 65535"),
        ("levels: [critical, high]", "levels: [critical, hihg]", 26, "hihg is none of"),
        ("levels: [critical, high]", "levels: []", 26, "at least one level"),
        ("channels: [oncall, chat]", "channels: [oncall, chta]", 27, "there is no such channel"),
        ("channels: [oncall, chat]", "channels: []", 27, "at least one channel"),
        ('["012345678901"]', "[123456789012]", 30, "in quotes"),
        ("historic: true", "historic: perhaps", 31, "true or false"),
        ("  - rules: [aws_root_*]", "  - rule: [aws_root_*]", 28, "is not known here"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    found = check_configuration(write(tmp_path, GOOD.replace(old, new)))
    told = [(problem.line, problem.message) for problem in found.errors]
    assert [(number, text) for number, text in told if number == line and said in text], told
    assert all("R0123456789ABCDEF" not in text and "xyz" not in text and "word@" not in text for _, text in told)


def test_all_mistakes_at_once_and_a_file_that_is_none(tmp_path: Path) -> None:
    text = GOOD.replace("type: slack", "type: slak").replace("historic: true", "historic: 1").replace("5 in", "x in")
    with pytest.raises(ConfigError) as error:
        load_configuration(write(tmp_path, text))
    assert all(f"line {number}: " in error.value.message for number in (5, 8, 31))
    assert str(tmp_path / "notify.yml") + ":5" == error.value.where
    for broken in ("", "- a\n", "channels: [", "channels: {}\nroutes: []\n", "a: 1\na: 2\n", "a: 1\n---\nb: 2\n"):
        with pytest.raises(ConfigError):
            load_configuration(write(tmp_path, broken))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_configuration(tmp_path / "missing.yml")


def test_a_channel_that_no_route_leads_to_is_a_warning(tmp_path: Path) -> None:
    found = load_configuration(write(tmp_path, GOOD.replace("[mail, hook, topic]", "[mail]")))
    assert [(problem.severity, problem.line) for problem in found.problems] == [("warning", 10), ("warning", 15)]


def routed(tmp_path: Path, routes: str, **alert: Any) -> list[str]:
    from loader.notify.routing import channels_of
    from tests.unit.notify.receivers import alert as make

    head = GOOD.partition("routes:")[0]
    found = load_configuration(write(tmp_path, f"{head}routes:\n{routes}"))
    return channels_of(found.routes, make(**alert).body)


def test_low_alerts_and_old_ones_go_to_nobody_unless_a_route_says_so(tmp_path: Path) -> None:
    everything = "  - channels: [chat]\n"
    assert routed(tmp_path, everything, level="medium") == ["chat"]
    assert routed(tmp_path, everything, level="low") == []
    assert routed(tmp_path, everything, level="informational") == []
    assert routed(tmp_path, everything, level="critical", historic=True) == []
    assert routed(tmp_path, "  - levels: [low]\n    channels: [chat]\n", level="low") == ["chat"]
    assert routed(tmp_path, "  - historic: true\n    channels: [chat]\n", historic=True) == ["chat"]


def test_a_route_by_rule_tag_and_account(tmp_path: Path) -> None:
    for said, there in {
        "rules: [aws_root_*]": True,
        "rules: [Root signed in]": True,
        "rules: [6a2b1c1e-0000-4000-8000-000000000001]": True,
        "rules: [aws_iam_*]": False,
        "tags: [attack.t1078*]": True,
        "tags: [attack.t1098]": False,
        'accounts: ["123456789012"]': True,
        'accounts: ["210987654321"]': False,
    }.items():
        assert routed(tmp_path, f"  - {said}\n    channels: [chat]\n") == (["chat"] if there else []), said
    both = "  - rules: [aws_root_*]\n    levels: [low]\n    channels: [chat]\n  - channels: [mail, hook, mail]\n"
    assert routed(tmp_path, both) == ["mail", "hook"]
    assert routed(tmp_path, "  - channels: [mail]\n  - channels: [chat, mail]\n") == ["mail", "chat"]
