"""Who did it in real logs, each line of the table read in the records by eye."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from loader.identity.extract import edges, identity
from loader.identity.resolve import Resolver
from loader.identity.store import MemoryStore
from loader.identity.times import epoch

pytestmark = pytest.mark.reference_data

BERT_JAN = "AIDATFQR7NSC5AU2ZV3IE"

#: userIdentity.principalId, first letters of the key, records, certainty, the first principal's id or service, links.
SESSIONS = [
    ("AROATFQR7NSC4RHD6IN2N:aws-go-sdk-1688990797103471741", "ASIA", 1, "certain", BERT_JAN, ("access_key",)),
    ("AROATFQR7NSCRI4ZA26CX:aws-go-sdk-1688990515440126480", "ASIA", 1, "certain", BERT_JAN, ("access_key",)),
    ("AROATFQR7NSCWCZMFXMXZ:aws-go-sdk-1688990565286187801", "ASIA", 15, "certain", BERT_JAN, ("access_key",)),
    ("AROATFQR7NSCWWVLB7BES:aws-go-sdk-1688990082523310002", "ASIA", 29, "certain", BERT_JAN, ("access_key",)),
    ("AROATFQR7NSCYGNOX4QAJ:aws-go-sdk-1688990966084647983", "ASIA", 1, "certain", BERT_JAN, ("access_key",)),
    # Instance roles: the credentials were given to EC2, in records without the session's id.
    ("AROATFQR7NSC6Q6YRQ2Q7:i-0dbc91f429e48eeed", "ASIA", 15, "certain", "ec2.amazonaws.com", ("access_key",)),
    ("AROATFQR7NSCQNEXZHIOB:i-05c30218156bcc246", "ASIA", 8, "certain", "ec2.amazonaws.com", ("access_key",)),
    # Services' own roles: no access key in the records, one session name again and again, told apart by their start.
    ("AROATFQR7NSCRR66DMFTC:SLRManagement", "", 4, "inferred", "rds.amazonaws.com", ("session_start",)),
    *(
        (f"AROATFQR7NSC3K2SEQDM2:{name}", "", 1, "inferred", "inspector2.amazonaws.com", ("session_start",))
        for name in ("MandoService2842426183934887787", "MandoService364061179539770931")
    ),
]


@pytest.fixture(scope="module")
def records(reference_data: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in sorted((reference_data / "invictus-aws_dataset" / "CloudTrail").glob("*.json")):
        found += json.loads(path.read_bytes())["Records"]
    return found


@pytest.fixture(scope="module")
def resolver(records: list[dict[str, Any]]) -> Resolver:
    return Resolver(MemoryStore(edge for record in records for edge in edges(record)))


def test_calls_that_issued_credentials(records: list[dict[str, Any]]) -> None:
    found = [edge for record in records for edge in edges(record)]
    assert Counter(edge.caller.invoked_by or edge.caller.name for edge in found) == {
        "bert-jan": 10,
        "rds.amazonaws.com": 10,
        "rolesanywhere.amazonaws.com": 6,
        "ec2.amazonaws.com": 4,
        "inspector2.amazonaws.com": 4,
        "lambda.amazonaws.com": 2,
    }
    assert {edge.end_basis for edge in found} == {"expiration"}
    assert all(edge.issued.access_key_id and edge.issued.arn for edge in found)


def test_every_assumed_role_is_traced(records: list[dict[str, Any]], resolver: Resolver) -> None:
    found: Counter[tuple[Any, ...]] = Counter()
    for record in records:
        who = identity(record)
        if who.type == "AssumedRole":
            actor = resolver.resolve_identity(who, at=epoch(record["eventTime"]))
            assert actor.principal is not None
            links = tuple(step.link for step in actor.steps)
            principal = actor.principal.id or actor.principal.name
            found[who.principal_id, (who.access_key_id or "")[:4], actor.certainty, principal, links] += 1
    assert found == {(pid, key, sure, who, links): n for pid, key, n, sure, who, links in SESSIONS}


def test_everybody_else_is_whom_the_record_names(records: list[dict[str, Any]], resolver: Resolver) -> None:
    for record in records:
        who = identity(record)
        if who.type != "AssumedRole":
            actor = resolver.resolve_identity(who, at=epoch(record["eventTime"]))
            assert actor.certainty == "certain"
            assert actor.principal is not None
            assert (actor.principal.id or actor.principal.name) == (who.principal_id or who.invoked_by)
