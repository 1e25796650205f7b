"""Hints on documents: what a process has seen is added and nothing else is touched, in any order of files."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader.identity.documents import identity_of_event
from loader.identity.extract import edges
from loader.identity.hints import Hint
from loader.identity.resolve import Resolver
from loader.identity.store import MemoryStore
from loader.index.bulk import Item
from loader.ingest.hinting import Hinter, add_hint
from loader.logtypes.cloudtrail import CLOUDTRAIL
from tests.unit.logtypes.nasty import RECORDS
from tests.unit.logtypes.samples import CONTEXT, dump, record
from tests.unit.logtypes.test_cloudtrail_golden import NAMES, raw_of
from tests.unit.logtypes.test_cloudtrail_properties import identities, known, plausible, values

HINT = Hint(actor={"id": "AIDA1", "name": 'b"ob', "certainty": "hint"}, session={"chain": ["arn:a", "arn:}}}"]})
ALICE = record()["userIdentity"]


def role(name: str, key: str, started: str = "2023-07-10T11:40:00Z") -> dict[str, Any]:
    return {
        "type": "AssumedRole",
        "principalId": f"AROA{name.upper()}:ci",
        "arn": f"arn:aws:sts::111122223333:assumed-role/{name}/ci",
        "accountId": "111122223333",
        "accessKeyId": key,
        "sessionContext": {"attributes": {"creationDate": started, "mfaAuthenticated": "false"}},
    }


def assume(caller: dict[str, Any], name: str, key: str) -> bytes:
    return dump(
        record(
            userIdentity=caller,
            eventTime="2023-07-10T11:40:00Z",
            eventSource="sts.amazonaws.com",
            eventName="AssumeRole",
            requestParameters={"roleArn": f"arn:aws:iam::111122223333:role/{name}", "roleSessionName": "ci"},
            responseElements={
                "credentials": {"accessKeyId": key, "expiration": "Jul 10, 2023, 12:40:00 PM"},
                "assumedRoleUser": {
                    "assumedRoleId": f"AROA{name.upper()}:ci",
                    "arn": f"arn:aws:sts::111122223333:assumed-role/{name}/ci",
                },
            },
        )
    )


FIRST = assume(ALICE, "one", "ASIAONE00000000000001")
SECOND = assume(role("one", "ASIAONE00000000000001"), "two", "ASIATWO00000000000001")
USE = dump(record(userIdentity=role("two", "ASIATWO00000000000001"), requestParameters=None))


def load(hinter: Hinter, *raws: bytes) -> list[dict[str, Any]]:
    """One file: its documents as they would be sent."""
    items = []
    for number, raw in enumerate(raws, 1):
        rendered = CLOUDTRAIL.normalise(raw, CONTEXT, False)
        index = CLOUDTRAIL.index(rendered.day)
        items.append(Item(number, raw, index, rendered.id, rendered.body, who=rendered.who))
    hinter.mark(items, [edge for raw in raws for edge in edges(raw)])
    return [json.loads(item.body) for item in items]


def merged(body: bytes, hint: Hint) -> dict[str, Any]:
    """What a hint adds, done the slow way."""
    document: dict[str, Any] = json.loads(body)
    siem = document.setdefault("siem", {})
    siem["actor"] = hint["actor"]
    siem.setdefault("session", {})["chain"] = hint["session"]["chain"]
    return document


def no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)


def hold(raw: bytes) -> None:
    for complete in (False, True):
        body = CLOUDTRAIL.normalise(raw, CONTEXT, complete).body
        hinted = add_hint(body, HINT)
        assert json.loads(hinted, object_pairs_hook=no_doubles) == merged(body, HINT)
        assert b"\n" not in hinted


@pytest.mark.parametrize("name", NAMES)
def test_a_hint_is_added_and_nothing_else_changes(name: str) -> None:
    hold(raw_of(name))


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_a_hint_fits_into_any_document(name: str) -> None:
    hold(RECORDS[name])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(known, plausible | values, max_size=4), identities)
def test_a_hint_fits_whatever_stands_in_a_record(changes: dict[str, Any], identity: dict[str, Any]) -> None:
    raw = dump(record(**{"userIdentity": identity, **changes}))
    hold(raw)
    rendered = CLOUDTRAIL.normalise(raw, CONTEXT, True)
    Hinter().mark([Item(1, raw, "i", rendered.id, rendered.body, who=rendered.who)], edges(raw))


def test_a_chain_is_known_when_its_edges_were_seen_in_any_order() -> None:
    for order in permutations((FIRST, SECOND)):
        hinter = Hinter()
        load(hinter, order[0])
        load(hinter, order[1])
        (used,) = load(hinter, USE)
        assert used["siem"]["actor"] == {
            "id": ALICE["principalId"],
            "name": "alice",
            "arn": ALICE["arn"],
            "type": "IAMUser",
            "account_id": "111122223333",
            "certainty": "hint",
        }
        chain = [ALICE["arn"], *(f"arn:aws:sts::111122223333:assumed-role/{name}/ci" for name in ("one", "two"))]
        assert used["siem"]["session"] == {"name": "ci", "chain": chain}


def test_the_order_inside_a_file_does_not_matter() -> None:
    expected = sorted(json.dumps(found) for found in load(Hinter(), FIRST, SECOND, USE))
    for order in permutations((FIRST, SECOND, USE)):
        assert sorted(json.dumps(found) for found in load(Hinter(), *order)) == expected
    assert all("actor" in json.loads(text)["siem"] for text in expected)


def test_a_file_that_comes_too_early_has_no_hint_and_the_same_id() -> None:
    hinter = Hinter()
    (early,) = load(hinter, USE)
    assert "actor" not in early["siem"]
    assert "chain" not in early["siem"]["session"]
    load(hinter, FIRST, SECOND)
    (late,) = load(hinter, USE)
    assert late["siem"].pop("actor")["certainty"] == "hint"
    late["siem"]["session"].pop("chain")
    assert late == early, "a hint changes nothing else"
    assert CLOUDTRAIL.normalise(USE, CONTEXT, False).id == CLOUDTRAIL.normalise(USE, CONTEXT, True).id


def test_who_is_named_by_the_record_itself_is_certain() -> None:
    (found,) = load(Hinter(), dump(record()))
    assert (found["siem"]["actor"]["certainty"], found["siem"]["actor"]["id"]) == ("certain", ALICE["principalId"])


def test_the_resolver_does_not_listen_to_hints() -> None:
    (early,) = load(Hinter(), USE)
    (wrong,) = load(Hinter(), USE)
    wrong["siem"]["actor"] = {"id": "AIDAWRONG", "certainty": "certain"}
    resolver = Resolver(MemoryStore(edge for raw in (FIRST, SECOND) for edge in edges(raw)))
    for source in (early, wrong):
        answer = resolver.resolve_identity(identity_of_event(source), at=1_688_989_500)
        assert answer.certainty == "certain"
        assert answer.principal is not None
        assert answer.principal.id == ALICE["principalId"]


@pytest.mark.parametrize("identity", [..., None, {}, {"type": "Unknown", "principalId": "", "accessKeyId": ""}])
def test_nothing_is_said_of_nobody(identity: Any) -> None:
    (found,) = load(Hinter(), dump(record(userIdentity=identity)))
    assert "actor" not in found.get("siem", {})
