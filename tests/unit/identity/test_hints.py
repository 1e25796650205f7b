"""Hints: right or absent, in any order, bounded, and cheap."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from loader.identity.hints import ActorHints
from loader.identity.model import Edge, Identity, Issued
from loader.logtypes.model import Who
from tests.unit.identity.graphs import World, deliveries, worlds

T = 1_700_000_000
STARTED = "2023-11-14T22:13:20Z"
BOB = Identity("IAMUser", "AIDABOB", "arn:aws:iam::111111111111:user/bob", "111111111111", "bob", "AKIABOB")
ONE = Issued("ASIA1", "AROAA:ci", "arn:aws:sts::222222222222:assumed-role/A/ci", None, "222222222222")
TWO = Issued("ASIA2", "AROAB:ci", "arn:aws:sts::333333333333:assumed-role/B/ci", None, "333333333333")
FIRST = Edge(ONE, BOB, "AssumeRole", T)
SECOND = Edge(TWO, Identity("AssumedRole", ONE.principal_id, ONE.arn, access_key_id="ASIA1"), "AssumeRole", T + 1)
EXPECTED = {
    "actor": {
        "id": "AIDABOB",
        "name": "bob",
        "arn": BOB.arn,
        "type": "IAMUser",
        "account_id": "111111111111",
        "certainty": "hint",
    },
    "session": {"chain": [BOB.arn, ONE.arn, TWO.arn]},
}


def test_edges_in_either_order() -> None:
    for order in ([FIRST, SECOND], [SECOND, FIRST]):
        hints = ActorHints()
        for edge in order:
            hints.learn(edge)
        assert hints.hint(Who("AssumedRole", "ASIA2", TWO.principal_id, TWO.arn)) == EXPECTED


def test_nothing_is_said_of_a_session_whose_beginning_is_not_known() -> None:
    hints = ActorHints()
    hints.learn(SECOND)
    assert hints.hint(Who("AssumedRole", "ASIA2", TWO.principal_id, TWO.arn)) is None
    assert hints.hint(Who("AssumedRole", "ASIA9", "AROAZ:x")) is None
    assert hints.hint(Who(None, None, None)) is None


def test_the_console_s_own_key_is_known_by_the_session_s_start() -> None:
    hints = ActorHints()
    hints.learn(FIRST)
    found = hints.hint(Who("AssumedRole", "ASIACONSOLE", ONE.principal_id, ONE.arn, STARTED))
    assert found is not None
    assert found["actor"]["id"] == "AIDABOB"
    assert hints.hint(Who("AssumedRole", "ASIACONSOLE", ONE.principal_id, ONE.arn, "2023-11-14T22:13:21Z")) is None
    assert hints.hint(Who("AssumedRole", "ASIACONSOLE", ONE.principal_id, ONE.arn)) is None


def test_two_callers_of_one_name_at_one_moment_are_not_told() -> None:
    hints = ActorHints()
    hints.learn(FIRST)
    eve = replace(BOB, principal_id="AIDAEVE", arn="arn:aws:iam::111111111111:user/eve", access_key_id="AKIAEVE")
    hints.learn(replace(FIRST, issued=replace(ONE, access_key_id="ASIA7"), caller=eve))
    assert hints.hint(Who("AssumedRole", "ASIACONSOLE", ONE.principal_id, ONE.arn, STARTED)) is None
    by_key = hints.hint(Who("AssumedRole", "ASIA7", ONE.principal_id, ONE.arn, STARTED))
    assert by_key is not None
    assert by_key["actor"]["id"] == "AIDAEVE"


def test_records_that_name_the_principal_are_certain() -> None:
    hints = ActorHints()
    found = hints.hint(Who("IAMUser", "AKIABOB", "AIDABOB", BOB.arn))
    assert found is not None
    assert found["actor"] == {**EXPECTED["actor"], "certainty": "certain"}
    issuer = ("IAMUser", "AIDABOB", BOB.arn, "bob")
    federated = hints.hint(Who("FederatedUser", "ASIAF", "111111111111:x", None, None, issuer))
    assert federated is not None
    assert federated["actor"]["id"] == "AIDABOB"
    root = hints.hint(Who("Root", "ASIAR", "111111111111", "arn:aws:iam::111111111111:root"))
    assert root is not None
    assert root["actor"]["type"] == "Root"
    assert hints.hint(Who("Root", "ASIAR", "111111111111", assumed_root=True)) is None
    hints.learn(replace(FIRST, caller=Identity("AWSService", invoked_by="athena.amazonaws.com")))
    behalf = hints.hint(Who("AssumedRole", "ASIA1", ONE.principal_id, on_behalf_of="u-1"))
    assert behalf is not None
    assert behalf["actor"] == {"type": "IdentityCenterUser", "id": "u-1", "certainty": "certain"}


def test_the_fuller_record_of_a_call_wins_in_any_order() -> None:
    other = replace(FIRST, caller=Identity("AWSAccount", "AIDABOB", None, "111111111111"), event_id="o")
    for order in ([FIRST, other], [other, FIRST]):
        hints = ActorHints()
        for edge in order:
            hints.learn(edge)
        found = hints.hint(Who("AssumedRole", "ASIA1", ONE.principal_id))
        assert found is not None
        assert found["actor"]["name"] == "bob"


def test_memory_is_bounded_and_what_is_used_stays() -> None:
    hints = ActorHints(size=100)
    hints.learn(FIRST)
    for number in range(5_000):
        issued = Issued(f"ASIAX{number}", f"AROAX:{number}")
        hints.learn(Edge(issued, BOB, "AssumeRole", T))
        hints.learn(Edge(Issued(f"ASIAY{number}"), Identity(access_key_id=f"ASIAW{number}"), "AssumeRole", T))
        assert hints.hint(Who("AssumedRole", "ASIA1", ONE.principal_id)) is not None
    assert len(hints._by_key) <= 200
    assert len(hints._waiting) <= 20
    assert hints.hint(Who("AssumedRole", "ASIAX1", None)) is None


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_hints_are_right_or_absent_whatever_arrives_when(data: st.DataObject) -> None:
    world: World = data.draw(worlds())
    hints = ActorHints()
    delivered = data.draw(deliveries([edge for edge in world.edges() if data.draw(st.integers(0, 4))]))
    for edge in delivered:
        hints.learn(edge)
        for truth in world.sessions:
            found = hints.hint(Who("AssumedRole", truth.key, truth.principal_id, truth.arn))
            assert found is None or found["actor"]["id"] == truth.root


def test_a_complete_delivery_leaves_no_key_without_a_hint() -> None:
    hints = ActorHints()
    links = [Issued(f"ASIA{n}", f"AROAR:{n}", f"arn:{n}") for n in range(20)]
    edges = [Edge(links[0], BOB, "AssumeRole", T)]
    for before, after in pairwise(links):
        edges.append(Edge(after, Identity("AssumedRole", before.principal_id, access_key_id=before.access_key_id), "x"))
    for edge in reversed(edges):
        hints.learn(edge)
    for issued in links:
        found = hints.hint(Who("AssumedRole", issued.access_key_id, issued.principal_id))
        assert found is not None
        assert found["actor"]["id"] == "AIDABOB"


def test_names_without_end_are_not_remembered() -> None:
    hints = ActorHints()
    long = "x" * 10_000
    assert hints.hint(Who("IAMUser", None, "AIDABOB", f"arn:aws:iam::111111111111:user/{long}")) is None
    assert hints.hint(Who("FederatedUser", None, "1:x", None, None, ("IAMUser", "AIDABOB", long, "bob"))) is None
    hints.learn(Edge(Issued(f"ASIA{long}", "AROAX:x"), BOB, "AssumeRole", T))
    hints.learn(Edge(Issued("ASIA1", "AROAX:x"), Identity(access_key_id=long), "AssumeRole", T))
    assert all(not len(kept) for kept in (hints._by_key, hints._by_start, hints._direct, hints._waiting))
