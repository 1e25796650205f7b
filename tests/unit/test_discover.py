"""Links into Discover: RISON read by another's parser, and nothing an attacker chose that ends a link early."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import prison
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.config import Settings
from loader.dashboards.build import build_all
from loader.discover import LONGEST, Screen, data_view, link_maker, link_to, rison
from loader.errors import ConfigError

OSD = Screen("https://search.example/_dashboards/")
KIBANA = Screen("https://kibana.example", "kibana", "blue team")
#: What JavaScript's own parser takes: no lone surrogates, which a URL cannot carry.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def alert(events: int = 2, **more: Any) -> dict[str, Any]:
    evidence = [
        {
            "index": "log-aws-cloudtrail-2026.05.04",
            "id": f"{number:022d}",
            "timestamp": f"2026-05-04T10:{number % 60:02d}:00.000Z",
        }
        for number in range(events)
    ]
    return {
        "@timestamp": "2026-05-04T10:00:00.000Z",
        "aws": {"cloudtrail": {"user_identity": {"arn": "arn:aws:iam::123456789012:user/alice"}}},
        "siem": {
            "evidence": evidence,
            "evidence_total": events,
            "first_event": "2026-05-04T10:00:00.000Z",
            "last_event": "2026-05-04T10:30:00.000Z",
            **more,
        },
    }


def state(link: str) -> dict[str, Any]:
    """Read a link as the screens do: the fragment's query, percent-decoded, each part RISON."""
    fragment = urlsplit(link).fragment
    return {name: prison.loads(value) for name, (value,) in parse_qs(fragment.partition("?")[2]).items()}


def test_opensearch_gets_the_events_the_time_around_them_and_the_actor_ready_to_switch_on() -> None:
    link = link_to(OSD, "a", alert())
    assert link is not None
    assert link.startswith("https://search.example/_dashboards/app/data-explorer/discover#?_a=")
    found = state(link)
    assert found["_a"]["metadata"] == {"indexPattern": "siem-index-pattern-log-aws-cloudtrail", "view": "discover"}
    assert found["_g"]["time"] == {"from": "2026-05-04T09:59:00.000Z", "to": "2026-05-04T10:31:00.000Z"}
    events, actor = found["_q"]["filters"]
    assert events["query"] == {"ids": {"values": [f"{number:022d}" for number in range(2)]}}
    assert events["meta"]["disabled"] is False
    assert actor["query"] == {
        "match_phrase": {"aws.cloudtrail.user_identity.arn": "arn:aws:iam::123456789012:user/alice"}
    }
    assert actor["meta"]["disabled"] is True


def test_kibana_has_spaces_and_keeps_filters_elsewhere() -> None:
    link = link_to(KIBANA, "a", alert())
    assert link is not None
    assert link.startswith("https://kibana.example/s/blue%20team/app/discover#/?_g=")
    found = state(link)
    assert found["_a"]["index"] == "siem-index-pattern-log-aws-cloudtrail"
    assert [entry["meta"]["key"] for entry in found["_a"]["filters"]] == ["ids", "aws.cloudtrail.user_identity.arn"]


def test_a_tenant_is_before_the_fragment() -> None:
    link = link_to(Screen("https://x.example", space="a&b#c"), "a", alert())
    assert link is not None
    assert parse_qs(urlsplit(link).query) == {"security_tenant": ["a&b#c"]}


def test_more_events_than_a_link_holds_are_found_by_actor_and_time() -> None:
    for whole in (alert(60), alert(2, evidence_total=500)):
        link = link_to(OSD, "a", whole)
        assert link is not None
        (actor,) = state(link)["_q"]["filters"]
        assert actor["meta"] == {
            "alias": None,
            "disabled": False,
            "type": "phrase",
            "key": "aws.cloudtrail.user_identity.arn",
            "params": {"query": "arn:aws:iam::123456789012:user/alice"},
            "index": "siem-index-pattern-log-aws-cloudtrail",
            "negate": False,
        }


def test_several_actors_are_one_filter() -> None:
    body = alert(60) | {"aws": {}, "user": {"name": ["alice", "bob"]}}
    link = link_to(OSD, "a", body)
    assert link is not None
    (actor,) = state(link)["_q"]["filters"]
    assert [clause["match_phrase"]["user.name"] for clause in actor["query"]["bool"]["should"]] == ["alice", "bob"]


def test_an_alert_about_the_siem_itself_is_shown_itself() -> None:
    link = link_to(OSD, "the-id", {"@timestamp": "2026-05-04T10:00:00.000Z", "siem": {}})
    assert link is not None
    found = state(link)
    assert found["_a"]["metadata"]["indexPattern"] == "siem-index-pattern-siem-alerts"
    assert found["_q"]["filters"][0]["query"] == {"ids": {"values": ["the-id"]}}


@pytest.mark.parametrize("broken", [{}, {"siem": None}, {"siem": {"evidence": [{}]}}, {"@timestamp": "0001-01-01"}])
def test_an_alert_that_says_too_little_has_no_link(broken: dict[str, Any]) -> None:
    assert link_to(OSD, "a", broken) is None


@given(name=st.text(), events=st.integers(1, 80))
def test_whatever_an_attacker_is_called_the_link_stays_one_and_says_it(name: str, events: int) -> None:
    body = alert(events) | {"aws": {"cloudtrail": {"user_identity": {"arn": name}}}}
    for screen in (OSD, KIBANA):
        link = link_to(screen, "a", body)
        assert link is not None
        assert len(link) <= LONGEST
        assert link.isascii()
        assert not set(link) & set(" \"'()<>[]{}|\\^`!*\n\r\t")
        parts = state(link)
        filters = parts.get("_q", parts["_a"])["filters"]
        named = [f["query"]["match_phrase"] for f in filters if "match_phrase" in f["query"]]
        if name and len(name) < 100 and events < 10 and not any(0xD800 <= ord(char) < 0xE000 for char in name):
            assert named == [{"aws.cloudtrail.user_identity.arn": name}]


def test_a_name_that_would_fill_the_link_is_left_out_and_the_events_stay() -> None:
    body = alert() | {"aws": {"cloudtrail": {"user_identity": {"arn": "💣" * 1000}}}}
    link = link_to(OSD, "a", body)
    assert link is not None
    (events,) = state(link)["_q"]["filters"]
    assert events["meta"]["key"] == "ids"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(bool), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_rison_is_read_back_as_it_was(value: Any) -> None:
    assert prison.loads(rison(value)) == value
    assert prison.loads(unquote(rison(value).replace("%", "%25"))) == value


def test_the_views_are_those_that_are_imported() -> None:
    imported = b"".join(build_all().values()).decode()
    for index in ("log-aws-cloudtrail-2026.05.04", "log-aws-cloudtrail-misdated", "siem-alerts-2026.05"):
        assert f'"id":"{data_view(index)}"' in imported


@pytest.mark.parametrize(
    "url", ["search.example", "javascript:alert(1)", "https://u:secret@x.example", "https://x.example/#a", "https://"]
)
def test_an_address_that_cannot_be_one_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        link_maker(Settings(dashboards_url=url))
    assert "secret" not in str(caught.value)


def test_no_address_no_links() -> None:
    assert link_maker(Settings()) is None
