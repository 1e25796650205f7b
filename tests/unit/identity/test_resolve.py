"""Who did it: certain by access key, inferred by name and time, listed where several fit, unknown where it is."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.identity.actor import Actor
from loader.identity.documents import identity_of_event
from loader.identity.extract import identity
from loader.identity.merge import sessions
from loader.identity.model import Edge, Identity, Issued, Principal
from loader.identity.resolve import Resolver
from loader.identity.store import MemoryStore
from tests.unit.identity.graphs import World, deliveries, worlds

T = 1_700_000_000
HOUR = 3600
BOB = Identity(
    "IAMUser", "AIDABOB", "arn:aws:iam::111111111111:user/bob", "111111111111", "bob", "AKIABOB", assumed_root=False
)
EVE = replace(
    BOB, principal_id="AIDAEVE", arn="arn:aws:iam::111111111111:user/eve", name="eve", access_key_id="AKIAEVE"
)
P_BOB = Principal("IAMUser", "AIDABOB", "bob", "arn:aws:iam::111111111111:user/bob", "111111111111")
P_EVE = Principal("IAMUser", "AIDAEVE", "eve", "arn:aws:iam::111111111111:user/eve", "111111111111")


def session(role: str, name: str, key: str | None) -> Issued:
    arn = f"arn:aws:sts::222222222222:assumed-role/{role}/{name}"
    return Issued(key, f"AROA{role}:{name}", arn, f"arn:aws:iam::222222222222:role/{role}", "222222222222")


def acting(issued: Issued, **more: object) -> Identity:
    base = Identity(
        "AssumedRole", issued.principal_id, issued.arn, issued.account_id, access_key_id=issued.access_key_id
    )
    return replace(base, **more)


def edge(issued: Issued, caller: Identity, start: int = T, **more: object) -> Edge:
    base = Edge(issued, caller, "AssumeRole", start, start + HOUR, "expiration", event_id=f"e{start}{issued}{caller}")
    return replace(base, **more)


def ask(edges: list[Edge], who: Identity, at: int = T + 60) -> Actor:
    return Resolver(MemoryStore(edges)).resolve_identity(who, at=at)


ONE, TWO, THREE = session("A", "ci", "ASIA1"), session("B", "ci", "ASIA2"), session("C", "ci", "ASIA3")


def test_a_chain_over_three_roles_is_followed_by_access_key() -> None:
    chain = [edge(ONE, BOB), edge(TWO, acting(ONE), T + 1), edge(THREE, acting(TWO), T + 2)]
    actor = ask(chain, acting(THREE))
    assert (actor.certainty, actor.principal) == ("certain", P_BOB)
    assert actor.chain == [BOB.arn, ONE.arn, TWO.arn, THREE.arn]
    assert [step.link for step in actor.steps] == ["access_key"] * 3
    assert actor.document() == {
        "actor": {
            "certainty": "certain",
            "id": "AIDABOB",
            "name": "bob",
            "arn": BOB.arn,
            "type": "IAMUser",
            "account_id": "111111111111",
        },
        "session": {"chain": [BOB.arn, ONE.arn, TWO.arn, THREE.arn]},
    }


def test_the_access_key_alone_is_enough() -> None:
    actor = Resolver(MemoryStore([edge(ONE, BOB)])).resolve(access_key="ASIA1")
    assert (actor.certainty, actor.principal) == ("certain", P_BOB)


def test_without_a_key_the_session_s_id_and_the_moment_decide() -> None:
    known = [edge(ONE, BOB), edge(replace(ONE, access_key_id="ASIA9"), EVE, T + 2 * HOUR)]
    keyless = acting(replace(ONE, access_key_id=None))
    assert ask(known, keyless, T + 60).principal == P_BOB
    assert ask(known, keyless, T + 2 * HOUR + 60).principal == P_EVE
    assert ask(known, keyless, T + 60).certainty == "inferred"
    assert ask(known, keyless, T + 90 * 60).certainty == "unknown"


def test_two_that_fit_are_listed_not_guessed() -> None:
    known = [edge(ONE, BOB), edge(replace(ONE, access_key_id="ASIA9"), EVE, T + 10)]
    actor = ask(known, acting(replace(ONE, access_key_id=None)))
    assert (actor.certainty, actor.principal) == ("ambiguous", None)
    assert {candidate.principal for candidate in actor.candidates} == {P_BOB, P_EVE}
    assert actor.document() == {"actor": {"certainty": "ambiguous"}}


def test_two_that_lead_to_the_same_user_are_no_ambiguity() -> None:
    known = [edge(ONE, BOB), edge(replace(ONE, access_key_id="ASIA9"), BOB, T + 10)]
    assert ask(known, acting(replace(ONE, access_key_id=None))).principal == P_BOB


def test_one_that_fits_and_one_whose_caller_is_unknown_are_ambiguous() -> None:
    known = [edge(ONE, BOB), edge(replace(ONE, access_key_id="ASIA9"), acting(TWO), T + 10)]
    actor = ask(known, acting(replace(ONE, access_key_id=None)))
    assert actor.certainty == "ambiguous"
    assert [candidate.principal for candidate in actor.candidates] == [P_BOB, None]


def test_another_key_of_a_session_of_the_same_name_is_only_a_candidate() -> None:
    actor = ask([edge(ONE, BOB)], acting(replace(ONE, access_key_id="ASIAELSE")))
    assert (actor.certainty, actor.principal) == ("ambiguous", None)
    assert [candidate.principal for candidate in actor.candidates] == [P_BOB]
    assert "another access key" in actor.reason


def test_the_start_of_a_console_session_tells_which_it_is() -> None:
    known = [edge(ONE, BOB), edge(replace(ONE, access_key_id="ASIA9"), EVE, T + 100)]
    console = acting(replace(ONE, access_key_id="ASIACONSOLE"))
    assert ask(known, replace(console, session_started=T), T + 200).principal == P_BOB
    assert ask(known, replace(console, session_started=T + 100), T + 200).principal == P_EVE
    assert ask(known, replace(console, session_started=T + 50), T + 200).certainty == "unknown"
    # A console session may outlive the credentials it was opened with.
    assert ask(known, replace(console, session_started=T), T + 5 * HOUR).principal == P_BOB


def test_switch_role_gives_the_name_and_assume_role_the_unique_id() -> None:
    """As in the records of a real switch: the console's own key is in no record of its issue."""
    switched = session("Admin", "bob", None)
    from_name = Edge(switched, Identity(arn=BOB.arn, account_id="111111111111"), "SwitchRole", T, T + 12 * HOUR)
    console = acting(replace(switched, access_key_id="ASIACONSOLE"), session_started=T)
    alone = ask([from_name], console)
    assert (alone.certainty, alone.principal) == ("inferred", replace(P_BOB, id=None))
    both = ask([from_name, edge(replace(switched, access_key_id="ASIAAPI"), BOB)], console)
    assert (both.certainty, both.principal) == ("inferred", P_BOB)


def test_a_name_that_two_users_bore_is_ambiguous() -> None:
    switched = session("Admin", "bob", None)
    from_name = Edge(switched, Identity(arn=BOB.arn, account_id="111111111111"), "SwitchRole", T, T + 12 * HOUR)
    earlier = edge(ONE, replace(BOB, principal_id="AIDABOBOLD", access_key_id="AKIAOLD"), T - 1000)
    later = edge(TWO, BOB, T - 100)
    actor = ask([from_name, earlier, later], acting(switched))
    assert actor.certainty == "ambiguous"
    assert {c.principal.id for c in actor.candidates if c.principal} == {"AIDABOB", "AIDABOBOLD"}


CROSS_CALLER = Identity("AWSAccount", "AROAA:ci", None, "222222222222")


def test_both_accounts_records_of_one_call_are_one_session() -> None:
    seen_by_caller = edge(TWO, acting(ONE), T + 1, shared_event_id="s", recipient_account_id="222222222222")
    seen_by_owner = edge(TWO, CROSS_CALLER, T + 1, shared_event_id="s", recipient_account_id="333333333333")
    (merged,) = sessions([seen_by_owner, seen_by_caller])
    assert merged.callers == (acting(ONE),)
    for known in ([seen_by_caller, seen_by_owner], [seen_by_owner, seen_by_caller]):
        actor = ask([*known, edge(ONE, BOB)], acting(TWO))
        assert (actor.certainty, actor.principal) == ("certain", P_BOB)
    alone = ask([seen_by_owner, edge(ONE, BOB)], acting(TWO))
    assert (alone.certainty, alone.principal) == ("inferred", P_BOB)


def test_the_other_account_s_record_is_found_by_shared_event_id() -> None:
    hidden = replace(TWO, access_key_id=None)
    seen_by_caller = edge(hidden, acting(ONE), T + 1, shared_event_id="s", recipient_account_id="222222222222")
    seen_by_owner = edge(TWO, CROSS_CALLER, T + 1, shared_event_id="s", recipient_account_id="333333333333")
    actor = ask([seen_by_caller, seen_by_owner, edge(ONE, BOB)], acting(TWO))
    assert (actor.certainty, actor.principal) == ("certain", P_BOB)


def test_a_user_of_another_account_gets_his_name_from_any_record_that_tells_it() -> None:
    cross = edge(TWO, Identity("AWSAccount", "AIDABOB", None, "111111111111"), T + 5)
    assert ask([cross], acting(TWO)).principal == Principal("IAMUser", "AIDABOB", None, None, "111111111111")
    assert ask([cross, edge(ONE, BOB)], acting(TWO)).principal == P_BOB


def test_a_renamed_user_bears_the_name_of_the_time() -> None:
    new = replace(BOB, arn="arn:aws:iam::111111111111:user/robert", name="robert")
    named = [edge(ONE, BOB, T - 1000), edge(THREE, new, T + 1000)]
    for at, name in ((T, "bob"), (T + 2000, "robert"), (T - 5000, "bob")):
        cross = edge(TWO, Identity("AWSAccount", "AIDABOB", None, "111111111111"), at)
        principal = ask([*named, cross], acting(TWO), at + 1).principal
        assert principal is not None
        assert (principal.id, principal.name) == ("AIDABOB", name)


def test_records_that_contradict_each_other_are_ambiguous() -> None:
    actor = ask([edge(ONE, BOB), edge(ONE, EVE)], acting(ONE))
    assert actor.certainty == "ambiguous"
    assert {candidate.principal for candidate in actor.candidates} == {P_BOB, P_EVE}


def test_a_role_made_anew_under_its_name_is_another() -> None:
    old = replace(ONE, principal_id="AROAOLD:ci")
    actor = ask([edge(old, BOB)], acting(replace(ONE, access_key_id=None)))
    assert actor.certainty == "unknown"


def test_assume_root_leads_to_who_asked_for_it() -> None:
    issued = Issued("ASIAROOT", "222222222222", "arn:aws:iam::222222222222:root", None, "222222222222")
    root = Identity("Root", "222222222222", issued.arn, "222222222222", access_key_id="ASIAROOT", assumed_root=True)
    assert ask([edge(issued, BOB)], root).principal == P_BOB
    assert ask([edge(issued, BOB)], replace(root, access_key_id=None)).certainty == "inferred"
    assert ask([], root).certainty == "unknown"
    assert ask([], replace(root, assumed_root=False)).certainty == "certain"


def test_get_session_token_is_a_step_to_the_same_user() -> None:
    issued = Issued("ASIATOKEN", "AIDABOB", BOB.arn, None, "111111111111")
    actor = ask([edge(issued, BOB, event_name="GetSessionToken")], replace(BOB, access_key_id="ASIATOKEN"))
    assert (actor.certainty, actor.principal, len(actor.steps)) == ("certain", P_BOB, 1)


def test_an_identity_center_user_acts_through_an_application_s_session() -> None:
    service = Identity("AWSService", invoked_by="athena.amazonaws.com")
    actor = ask([edge(ONE, service)], acting(ONE, on_behalf_of="u-1"))
    assert (actor.certainty, actor.principal) == ("certain", Principal("IdentityCenterUser", "u-1"))
    assert ask([edge(ONE, service)], acting(ONE)).principal == Principal("AWSService", None, "athena.amazonaws.com")


def test_a_permission_set_leads_to_the_saml_user_of_identity_center() -> None:
    role = session("AWSReservedSSO_Admin_0123456789abcdef", "alice@example.com", "ASIASSO")
    alice = Identity("SAMLUser", "NQ=:alice@example.com", name="alice@example.com", provider="NQ=")
    actor = ask(
        [edge(role, alice, event_name="AssumeRoleWithSAML")],
        acting(replace(role, access_key_id="ASIAWEB"), session_started=T),
    )
    assert (actor.certainty, actor.principal) == (
        "inferred",
        Principal("SAMLUser", "NQ=:alice@example.com", "alice@example.com"),
    )


def test_an_event_document_gives_the_same_identity_as_its_record() -> None:
    source = {
        "aws": {
            "cloudtrail": {
                "user_identity": {
                    "type": "AssumedRole",
                    "principal_id": "AROAA:ci",
                    "arn": ONE.arn,
                    "account_id": "222222222222",
                    "access_key_id": "ASIA1",
                    "session_context": {
                        "creation_date": "2023-11-14T22:13:20Z",
                        "session_issuer": {"type": "Role", "principal_id": "AROAA", "user_name": "A"},
                    },
                }
            }
        }
    }
    record = {
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": "AROAA:ci",
            "arn": ONE.arn,
            "accountId": "222222222222",
            "accessKeyId": "ASIA1",
            "sessionContext": {
                "attributes": {"creationDate": "2023-11-14T22:13:20Z"},
                "sessionIssuer": {"type": "Role", "principalId": "AROAA", "userName": "A"},
            },
        }
    }
    assert identity_of_event(source) == identity(record)
    assert identity_of_event({}) == identity({})


def test_unknown_says_how_far_the_trail_led() -> None:
    actor = ask([edge(TWO, acting(ONE))], acting(TWO))
    assert (actor.certainty, actor.principal) == ("unknown", None)
    assert actor.reached == acting(ONE)
    assert "no record" in actor.reason


def test_a_circle_ends_and_says_so() -> None:
    a, b = session("A", "x", None), session("B", "x", None)
    actor = ask([edge(a, acting(b)), edge(b, acting(a))], acting(a), T)
    assert actor.certainty == "unknown"
    assert "circle" in actor.reason


def test_depth_is_bounded_and_said() -> None:
    links = [session("R", f"s{n}", f"ASIA{n}") for n in range(30)]
    chain = [edge(links[0], BOB)] + [edge(b, acting(a), T + n) for n, (a, b) in enumerate(pairwise(links), 1)]
    store = MemoryStore(chain)
    assert Resolver(store).resolve(access_key="ASIA29").principal == P_BOB
    short = Resolver(store, max_steps=10).resolve(access_key="ASIA29")
    assert (short.certainty, len(short.steps)) == ("unknown", 10)
    assert "longer than 10" in short.reason


def test_a_dense_tangle_of_names_ends_soon() -> None:
    names = [session("R", f"s{n}", None) for n in range(12)]
    tangle = [edge(a, acting(b), T + n) for n, a in enumerate(names) for b in names if a != b] + [edge(names[0], BOB)]
    assert ask(tangle, acting(names[-1]), T + 30).certainty in ("ambiguous", "inferred")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_order_of_delivery_leads_to_the_real_user(data: st.DataObject) -> None:
    world: World = data.draw(worlds())
    store = MemoryStore()
    for delivered in data.draw(deliveries(world.edges())):
        store.add([delivered])
    resolver = Resolver(store)
    for truth in world.sessions:
        actor = resolver.resolve(access_key=truth.key, at=truth.start + 30)
        assert actor.certainty == "certain"
        assert actor.principal is not None
        assert actor.principal.id == truth.root
        assert len(actor.steps) == truth.depth


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_without_the_key_the_real_user_is_the_answer_or_among_those_listed(data: st.DataObject) -> None:
    world: World = data.draw(worlds())
    resolver = Resolver(MemoryStore(data.draw(deliveries(world.edges()))))
    for truth in world.sessions:
        actor = resolver.resolve(principal_id=truth.principal_id, arn=truth.arn, at=truth.start + 30)
        if actor.certainty == "ambiguous":
            assert truth.root in {c.principal.id for c in actor.candidates if c.principal}
        else:
            assert actor.certainty == "inferred"
            assert actor.principal is not None
            assert actor.principal.id == truth.root


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_with_records_missing_nobody_is_named_with_certainty_but_the_real_user(data: st.DataObject) -> None:
    world: World = data.draw(worlds())
    all_edges = world.edges()
    kept = [e for e in all_edges if data.draw(st.booleans())]
    resolver = Resolver(MemoryStore(kept))
    for truth in world.sessions:
        actor = resolver.resolve(access_key=truth.key, at=truth.start + 30)
        if actor.certainty == "certain":
            assert actor.principal is not None
            assert actor.principal.id == truth.root


@given(st.data())
def test_merging_does_not_depend_on_order(data: st.DataObject) -> None:
    found = data.draw(worlds()).edges()
    assert sessions(data.draw(deliveries(found))) == sessions(found)


@pytest.mark.parametrize("certainty", ["certain", "unknown"])
def test_identities_that_need_no_session(certainty: str) -> None:
    who = BOB if certainty == "certain" else Identity("Unknown")
    assert ask([], who).certainty == certainty
