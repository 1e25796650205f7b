"""One record of each call that hands out credentials, in the form that AWS documents or real logs show."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.identity.extract import ISSUING, edges, identity
from loader.identity.model import Edge, Identity, Issued, Principal, first_principal
from loader.identity.times import epoch, text_of

T = 1_700_000_000  # 2023-11-14T22:13:20Z
BOB: dict[str, Any] = {
    "type": "IAMUser",
    "principalId": "AIDABOBBOBBOBBOBBOBBO",
    "arn": "arn:aws:iam::111111111111:user/staff/bob",
    "accountId": "111111111111",
    "accessKeyId": "AKIABOBBOBBOBBOBBOBB",
    "userName": "bob",
}


def record(name: str, request: Any, response: Any, user: Any = BOB, **more: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.09",
        "userIdentity": user,
        "eventTime": "2023-11-14T22:13:20Z",
        "eventSource": "sts.amazonaws.com",
        "eventName": name,
        "awsRegion": "us-east-1",
        "sourceIPAddress": "192.0.2.1",
        "requestParameters": request,
        "responseElements": response,
        "eventID": "e-1",
        "recipientAccountId": "111111111111",
        **more,
    }


CREDENTIALS = {"accessKeyId": "ASIAONE", "expiration": "Nov 14, 2023, 11:13:20 PM", "sessionToken": "x"}
ROLE = {
    "assumedRoleId": "AROAROLE:ci",
    "arn": "arn:aws:sts::222222222222:assumed-role/Deploy/ci",
}


def one(found: list[Edge]) -> Edge:
    assert len(found) == 1
    return found[0]


def test_assume_role() -> None:
    edge = one(
        edges(
            record(
                "AssumeRole",
                {
                    "roleArn": "arn:aws:iam::222222222222:role/x/Deploy",
                    "roleSessionName": "ci",
                    "sourceIdentity": "bob@example",
                },
                {"credentials": CREDENTIALS, "assumedRoleUser": ROLE},
                sharedEventID="s-1",
            )
        )
    )
    assert edge == Edge(
        issued=Issued(
            "ASIAONE",
            "AROAROLE:ci",
            "arn:aws:sts::222222222222:assumed-role/Deploy/ci",
            "arn:aws:iam::222222222222:role/x/Deploy",
            "222222222222",
        ),
        caller=Identity(
            type="IAMUser",
            principal_id="AIDABOBBOBBOBBOBBOBBO",
            arn="arn:aws:iam::111111111111:user/staff/bob",
            account_id="111111111111",
            name="bob",
            access_key_id="AKIABOBBOBBOBBOBBOBB",
            assumed_root=False,
        ),
        event_name="AssumeRole",
        start=T,
        end=T + 3600,
        end_basis="expiration",
        event_id="e-1",
        shared_event_id="s-1",
        recipient_account_id="111111111111",
        region="us-east-1",
        source_address="192.0.2.1",
        source_identity="bob@example",
    )


def test_a_service_s_record_without_the_session_s_id_still_says_its_arn() -> None:
    user = {"type": "AWSService", "invokedBy": "ec2.amazonaws.com"}
    request = {"roleArn": "arn:aws-cn:iam::222222222222:role/a/b/Web", "roleSessionName": "i-0abc"}
    edge = one(edges(record("AssumeRole", request, {"credentials": CREDENTIALS}, user)))
    assert edge.issued.arn == "arn:aws-cn:sts::222222222222:assumed-role/Web/i-0abc"
    assert edge.issued.principal_id is None
    assert first_principal(edge.caller) == Principal("AWSService", None, "ec2.amazonaws.com")


@pytest.mark.parametrize(
    ("name", "user", "principal"),
    [
        (
            "AssumeRoleWithSAML",
            {"type": "SAMLUser", "principalId": "NQ=:alice", "userName": "alice", "identityProvider": "NQ="},
            Principal("SAMLUser", "NQ=:alice", "alice"),
        ),
        (
            "AssumeRoleWithWebIdentity",
            {
                "type": "WebIdentityUser",
                "principalId": "token.actions.githubusercontent.com:sts.amazonaws.com:repo:o/r:ref:refs/heads/main",
                "userName": "repo:o/r:ref:refs/heads/main",
                "identityProvider": "token.actions.githubusercontent.com",
            },
            Principal(
                "WebIdentityUser",
                "token.actions.githubusercontent.com:sts.amazonaws.com:repo:o/r:ref:refs/heads/main",
                "repo:o/r:ref:refs/heads/main",
            ),
        ),
    ],
)
def test_federation_ends_at_the_external_user(name: str, user: dict[str, Any], principal: Principal) -> None:
    request = {"roleArn": "arn:aws:iam::222222222222:role/Deploy", "durationSeconds": 900}
    edge = one(edges(record(name, request, {"credentials": CREDENTIALS, "assumedRoleUser": ROLE}, user)))
    assert edge.issued.principal_id == "AROAROLE:ci"
    assert edge.caller.provider == user["identityProvider"]
    assert first_principal(edge.caller) == principal


@pytest.mark.parametrize("target", ["222222222222", "arn:aws:iam::222222222222:root"])
def test_assume_root_is_a_session_of_the_member_account_s_root(target: str) -> None:
    request = {"targetPrincipal": target, "taskPolicyArn": {"arn": "arn:aws:iam::aws:policy/root-task/S3Unlock"}}
    edge = one(edges(record("AssumeRoot", request, {"credentials": {"accessKeyId": "ASIAROOT"}})))
    assert edge.issued == Issued("ASIAROOT", "222222222222", "arn:aws:iam::222222222222:root", None, "222222222222")
    assert (edge.end, edge.end_basis) == (T + 900, "default")


def test_get_federation_token() -> None:
    federated = {"federatedUserId": "111111111111:Bob", "arn": "arn:aws:sts::111111111111:federated-user/Bob"}
    edge = one(
        edges(
            record(
                "GetFederationToken",
                {"name": "Bob", "durationSeconds": 7200},
                {"credentials": {"accessKeyId": "ASIAFED"}, "federatedUser": federated},
            )
        )
    )
    assert edge.issued.principal_id == "111111111111:Bob"
    assert (edge.end, edge.end_basis) == (T + 7200, "duration")


def test_get_session_token_is_the_same_user() -> None:
    edge = one(edges(record("GetSessionToken", None, {"credentials": CREDENTIALS})))
    assert edge.issued.principal_id == edge.caller.principal_id == BOB["principalId"]


def test_the_console_s_switch_role_turns_the_identities_round() -> None:
    session = {
        "type": "AssumedRole",
        "principalId": "AROAROLE:bob",
        "arn": "arn:aws:sts::222222222222:assumed-role/Deploy/bob",
        "accountId": "222222222222",
    }
    signin = {
        "eventSource": "signin.amazonaws.com",
        "eventType": "AwsConsoleSignIn",
        "additionalEventData": {"SwitchFrom": BOB["arn"], "RedirectTo": "https://console.aws.amazon.com/"},
    }
    edge = one(edges(record("SwitchRole", None, {"SwitchRole": "Success"}, session, **signin)))
    assert edge.issued.access_key_id is None
    assert edge.issued.principal_id == "AROAROLE:bob"
    assert edge.caller == Identity(arn=BOB["arn"], account_id="111111111111")
    assert (edge.end, edge.end_basis) == (T + 12 * 3600, "default")
    assert edges(record("SwitchRole", None, {"SwitchRole": "Failure"}, session, **signin)) == []


def test_a_failed_call_states_nothing() -> None:
    assert edges(record("AssumeRole", None, None, errorCode="AccessDenied")) == []


@pytest.mark.parametrize(
    ("user", "principal"),
    [
        (BOB, Principal("IAMUser", BOB["principalId"], "bob", BOB["arn"], "111111111111")),
        (
            {"type": "AWSAccount", "principalId": "AIDAX", "accountId": "111111111111"},
            Principal("IAMUser", "AIDAX", None, None, "111111111111"),
        ),
        ({"type": "AWSAccount", "principalId": "AROAX:s", "accountId": "111111111111"}, None),
        (
            {"type": "Root", "principalId": "111111111111", "arn": "arn:aws:iam::111111111111:root"},
            Principal("Root", "111111111111", "root", "arn:aws:iam::111111111111:root", "111111111111"),
        ),
        ({"type": "Root", "principalId": "1", "sessionContext": {"assumedRoot": "true"}}, None),
        (
            {
                "type": "FederatedUser",
                "principalId": "111111111111:Bob",
                "sessionContext": {
                    "sessionIssuer": {
                        "type": "IAMUser",
                        "principalId": BOB["principalId"],
                        "arn": BOB["arn"],
                        "accountId": "111111111111",
                        "userName": "bob",
                    }
                },
            },
            Principal("IAMUser", BOB["principalId"], "bob", BOB["arn"], "111111111111"),
        ),
        ({"type": "FederatedUser", "principalId": "111111111111:Bob"}, None),
        (
            {"type": "IdentityCenterUser", "accountId": "1", "onBehalfOf": {"userId": "u-1"}},
            Principal("IdentityCenterUser", "u-1", None, None, "1"),
        ),
        ({"type": "AssumedRole", "principalId": "AROAX:s"}, None),
        ({"type": "Unknown"}, None),
        ({}, None),
    ],
)
def test_who_a_record_alone_says_it_is(user: dict[str, Any], principal: Principal | None) -> None:
    assert first_principal(identity({"userIdentity": user})) == principal


def test_an_account_number_with_a_temporary_key_may_be_root_or_assume_root() -> None:
    assert first_principal(Identity(principal_id="111111111111", access_key_id="ASIAX")) is None
    assert first_principal(Identity(principal_id="111111111111", access_key_id="AKIAX")) is not None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Jul 10, 2023, 12:31:14 PM", "2023-07-10T12:31:14Z"),
        ("Jul 10, 2023, 12:31:14 AM", "2023-07-10T00:31:14Z"),
        ("Mar 1, 2022 4:00:14\u202fPM", "2022-03-01T16:00:14Z"),
        ("2023-07-10T12:31:14.999Z", "2023-07-10T12:31:14Z"),
        ("20230710T123114Z", "2023-07-10T12:31:14Z"),
        (1688992274, "2023-07-10T12:31:14Z"),
        (1688992274000, "2023-07-10T12:31:14Z"),
    ],
)
def test_times_of_sts(value: Any, text: str) -> None:
    found = epoch(value)
    assert found is not None
    assert text_of(found) == text


@pytest.mark.parametrize("value", [None, "", "soon", "Jul 41, 2023, 12:31:14 PM", "Xyz 1, 2023, 1:00:00 PM", True, -1])
def test_no_time(value: Any) -> None:
    assert epoch(value) is None


def test_a_number_beyond_doubles_hides_nobody() -> None:
    parsed = record("AssumeRole", {"n": 0}, {"credentials": CREDENTIALS, "assumedRoleUser": ROLE})
    for number in ("7" * 999, "7" * 9999, "1e400"):
        raw = json.dumps(parsed).replace('{"n": 0}', f'{{"n": {number}}}').encode()
        assert edges(raw) == edges(parsed) != []


def test_raw_bytes_and_parsed_records_say_the_same() -> None:
    parsed = record("AssumeRole", {"roleArn": "r"}, {"credentials": CREDENTIALS, "assumedRoleUser": ROLE})
    assert edges(json.dumps(parsed).encode()) == edges(parsed)
    assert edges(b'{"eventSource":"s3.amazonaws.com"}') == []
    assert ("sts", parsed["eventName"]) in ISSUING
    assert edges(b'["sts.amazonaws.com"]') == []
    assert edges(b'{"sts.amazonaws.com"') == []
    assert edges(json.dumps({"a": {"eventSource": "s3"}, **parsed}, indent=1).encode()) == edges(parsed)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.sampled_from(["AssumeRole", "AssumeRoot", "GetFederationToken", "GetSessionToken", "GetRoleCredentials"]),
    json_values,
    json_values,
    json_values,
    json_values,
)
def test_no_record_breaks_it(name: str, user: Any, request: Any, response: Any, time: Any) -> None:
    for source in ("sts.amazonaws.com", "signin.amazonaws.com", "sso.amazonaws.com"):
        for answer in (response, {"credentials": response}, {"credentials": {"accessKeyId": "A", "expiration": time}}):
            found = edges(record(name, request, answer, user, eventTime=time, eventSource=source))
            assert all(isinstance(edge, Edge) for edge in found)
