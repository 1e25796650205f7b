"""Single fields, in tables: who, whom, from where, over what, and which things a record is about."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loader.logtypes.cloudtrail import CLOUDTRAIL
from tests.unit.logtypes.conformance import missing, values_at
from tests.unit.logtypes.samples import CONTEXT, dump, record

ACCOUNT, OTHER = "111122223333", "444455556666"
ARN = f"arn:aws:iam::{ACCOUNT}"
STS = f"arn:aws:sts::{ACCOUNT}"
ISSUER = {"type": "Role", "principalId": "AROA1", "arn": f"{ARN}:role/ops/Deploy", "accountId": ACCOUNT}


def document(**changes: Any) -> dict[str, Any]:
    """The document of a plain record with changes; both paths must agree."""
    raw = dump(record(**changes))
    rendered = CLOUDTRAIL.normalise(raw, CONTEXT, False)
    assert CLOUDTRAIL.normalise(raw, CONTEXT, True) == rendered
    assert missing(raw, rendered.body) == []
    found: dict[str, Any] = json.loads(rendered.body)
    return found


def at(found: dict[str, Any], path: str) -> list[str]:
    return values_at(found, path)


@pytest.mark.parametrize(
    ("identity", "kind", "identifier", "name", "session"),
    [
        ({"type": "Root", "principalId": ACCOUNT, "arn": f"{ARN}:root"}, "root", ACCOUNT, "root", None),
        ({"type": "Root", "principalId": ACCOUNT, "userName": "my-alias"}, "root", ACCOUNT, "my-alias", None),
        (
            {"type": "IAMUser", "principalId": "AIDA1", "arn": f"{ARN}:user/staff/bob", "userName": "bob"},
            *("iam_user", "AIDA1", "bob", None),
        ),
        ({"type": "IAMUser", "principalId": "AIDA1", "arn": f"{ARN}:user/a/bob"}, "iam_user", "AIDA1", "bob", None),
        (
            {
                "type": "AssumedRole",
                "principalId": "AROA1:ci",
                "arn": f"{STS}:assumed-role/Deploy/ci",
                "sessionContext": {"sessionIssuer": {**ISSUER, "userName": "Deploy"}},
            },
            *("assumed_role", "AROA1:ci", "Deploy", "ci"),
        ),
        (
            {"type": "AssumedRole", "principalId": "AROA1:ci", "arn": f"{STS}:assumed-role/Deploy/ci"},
            *("assumed_role", "AROA1:ci", "Deploy", "ci"),
        ),
        ({"type": "AssumedRole", "arn": f"{STS}:assumed-role/Deploy/ci"}, "assumed_role", None, "Deploy", "ci"),
        ({"type": "AssumedRole", "principalId": "AROA1:"}, "assumed_role", "AROA1:", None, None),
        (
            {"type": "Role", "principalId": "AROA1", "arn": f"{ARN}:role/service-role/Backup"},
            *("role", "AROA1", "Backup", None),
        ),
        (
            {
                "type": "FederatedUser",
                "principalId": f"{ACCOUNT}:agent",
                "arn": f"{STS}:federated-user/agent",
                "sessionContext": {"sessionIssuer": {"type": "IAMUser", "userName": "alice"}},
            },
            *("federated_user", f"{ACCOUNT}:agent", "alice", "agent"),
        ),
        (
            {"type": "FederatedUser", "principalId": f"{ACCOUNT}:agent", "arn": f"{STS}:federated-user/agent"},
            *("federated_user", f"{ACCOUNT}:agent", "agent", "agent"),
        ),
        ({"type": "SAMLUser", "principalId": "K=:erin", "userName": "erin"}, "saml_user", "K=:erin", "erin", None),
        (
            {"type": "WebIdentityUser", "principalId": "idp:app:7", "userName": "7", "identityProvider": "idp"},
            *("web_identity_user", "idp:app:7", "7", None),
        ),
        (
            {"type": "IdentityCenterUser", "onBehalfOf": {"userId": "9418", "identityStoreArn": "arn:x"}},
            *("identity_center_user", "9418", None, None),
        ),
        (
            {"type": "IdentityCenterUser", "principalId": "p", "onBehalfOf": {"userId": "9418"}},
            *("identity_center_user", "p", None, None),
        ),
        ({"type": "Directory", "userName": "frank"}, "directory", None, "frank", None),
        ({"type": "AWSAccount", "principalId": "AIDA9", "accountId": OTHER}, "aws_account", "AIDA9", None, None),
        ({"type": "AWSAccount", "principalId": "AROA9:x", "accountId": OTHER}, "aws_account", "AROA9:x", None, "x"),
        ({"type": "AWSService", "invokedBy": "ec2.amazonaws.com"}, "aws_service", None, None, None),
        ({"invokedBy": "AWS Internal", "accountId": ACCOUNT}, "aws_service", None, None, None),
        ({"type": "Unknown", "principalId": "", "userName": ""}, "unknown", None, None, None),
        ({"type": "Unknown", "userName": "grace"}, "unknown", None, "grace", None),
        ({"type": "SomethingNew", "principalId": "p"}, "unknown", "p", None, None),
        ({"accountId": ACCOUNT}, None, None, None, None),
        ({}, None, None, None, None),
        (..., None, None, None, None),
        ("HIDDEN_DUE_TO_SECURITY_REASONS", None, None, None, None),
        (None, None, None, None, None),
    ],
)
def test_identities(
    identity: Any, kind: str | None, identifier: str | None, name: str | None, session: str | None
) -> None:
    found = document(userIdentity=identity, requestParameters=None)
    user = found.get("user", {})
    assert (user.get("type"), user.get("id"), user.get("name")) == (kind, identifier, name)
    assert at(found, "siem.session.name") == ([session] if session else [])
    assert set(at(found, "related.user")) >= {text for text in (identifier, name, session) if text}


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("AKIAEXAMPLE", "long_term"),
        ("ASIAEXAMPLE", "temporary"),
        ("ABIAEXAMPLE", "service_bearer_token"),
        ("ACCAEXAMPLE", "context_specific_credential"),
        ("AROAEXAMPLE", "role"),
        ("AIDAEXAMPLE", "user"),
        ("ZZZZEXAMPLE", None),
        ("AKI", None),
        ("", None),
    ],
)
def test_the_kind_of_a_key(key: str, kind: str | None) -> None:
    found = document(userIdentity={"type": "IAMUser", "accessKeyId": key})["aws"]["cloudtrail"]["user_identity"]
    assert (found["access_key_id"], found.get("access_key_kind")) == (key, kind)


@pytest.mark.parametrize(
    ("identity", "service"),
    [
        ({"type": "AWSService", "invokedBy": "ec2.amazonaws.com"}, "ec2.amazonaws.com"),
        ({"type": "AWSService"}, None),
        ({"type": "IAMUser", "principalId": "AIDA1", "invokedBy": "cloudformation.amazonaws.com"}, None),
        (
            {
                "type": "AssumedRole",
                "invokedBy": "autoscaling.amazonaws.com",
                "sessionContext": {
                    "sessionIssuer": {"arn": f"{ARN}:role/aws-service-role/autoscaling.amazonaws.com/Role"}
                },
            },
            "autoscaling.amazonaws.com",
        ),
    ],
)
def test_services_that_act(identity: dict[str, Any], service: str | None) -> None:
    found = document(userIdentity=identity)
    assert found.get("service", {}).get("name") == service
    assert at(found, "aws.cloudtrail.user_identity.invoked_by") == (
        [identity["invokedBy"]] if "invokedBy" in identity else []
    )


@pytest.mark.parametrize(
    ("caller", "recipient", "cloud", "flag"),
    [
        (ACCOUNT, ACCOUNT, ACCOUNT, False),
        (OTHER, ACCOUNT, OTHER, True),
        (..., ACCOUNT, ACCOUNT, None),
        (ACCOUNT, ..., ACCOUNT, None),
        ("ANONYMOUS_PRINCIPAL", ACCOUNT, ACCOUNT, None),
        ("", ACCOUNT, ACCOUNT, None),
        (..., ..., None, None),
    ],
)
def test_accounts(caller: Any, recipient: Any, cloud: str | None, flag: bool | None) -> None:
    identity = {"type": "AWSAccount", "principalId": "AIDA9"} | ({} if caller is ... else {"accountId": caller})
    found = document(userIdentity=identity, recipientAccountId=recipient)
    assert found["cloud"].get("account", {}).get("id") == cloud
    assert found.get("siem", {}).get("cross_account") is flag
    assert at(found, "aws.cloudtrail.recipient_account_id") == ([] if recipient is ... else [recipient])


@pytest.mark.parametrize(
    ("address", "ip", "ips", "hosts"),
    [
        ("192.0.2.1", "192.0.2.1", ["192.0.2.1"], []),
        ("2001:db8::7", "2001:db8::7", ["2001:db8::7"], []),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1", ["::ffff:192.0.2.1"], []),
        ("fe80::1%eth0", None, [], []),
        ("192.0.2.1, 10.0.0.5", None, ["192.0.2.1", "10.0.0.5"], []),
        ("192.0.2.1,192.0.2.1, words", None, ["192.0.2.1"], []),
        ("AWS Internal", None, [], []),
        ("ec2.amazonaws.com", None, [], []),
        ("s3.cn-north-1.amazonaws.com.cn", None, [], []),
        ("signin.amazonaws.cn", None, [], []),
        ("VPN.Example.COM", None, [], ["vpn.example.com"]),
        ("amazonaws.com.evil.example", None, [], ["amazonaws.com.evil.example"]),
        ("192.0.2.256", None, [], []),
        ("1", None, [], []),
        ("", None, [], []),
    ],
)
def test_addresses(address: str, ip: str | None, ips: list[str], hosts: list[str]) -> None:
    found = document(sourceIPAddress=address)
    assert found["source"]["address"] == address
    assert found["source"].get("ip") == ip
    assert found["related"].get("ip", []) == ips
    assert found["related"].get("hosts", []) == hosts


@pytest.mark.parametrize(
    ("written", "version", "protocol"),
    [
        *[("TLSv1.3", "1.3", "tls"), ("TLSv1.2", "1.2", "tls"), ("1.3", "1.3", None), ("TLSv1", "1", "tls")],
        *[("SSLv3", "3", "ssl"), ("TLS_1_2", "1.2", "tls"), ("tlsVersion", None, None), ("", None, None)],
        *[("TLSv1.3x", None, None), ("-", None, None)],
    ],
)
def test_tls_versions(written: str, version: str | None, protocol: str | None) -> None:
    found = document(
        tlsDetails={"tlsVersion": written, "cipherSuite": "C", "clientProvidedHostHeader": "h.example.com"}
    )
    tls = found["tls"]
    assert (tls.get("version"), tls.get("version_protocol")) == (version, protocol)
    assert (tls["cipher"], tls["client"]["server_name"]) == ("C", "h.example.com")
    assert found["related"]["hosts"] == ["h.example.com"]
    assert f"tlsDetails.tlsVersion={written}" in found["aws"]["cloudtrail"]["leaves"]


@pytest.mark.parametrize(
    ("changes", "target", "new", "group"),
    [
        ({"requestParameters": {"userName": "bob"}}, {"name": "bob"}, None, None),
        ({"requestParameters": {"userName": "bob", "newUserName": "rob"}}, {"name": "bob"}, {"name": "rob"}, None),
        ({"requestParameters": None, "responseElements": {"user": {"userId": "AIDA2"}}}, {"id": "AIDA2"}, None, None),
        ({"requestParameters": {"userName": ""}}, None, None, None),
        ({"requestParameters": {"userName": 7}}, None, None, None),
        ({"requestParameters": {"userName": {"a": "b"}}}, None, None, None),
        ({"requestParameters": {"groupName": "Admins"}}, None, None, {"name": "Admins"}),
        (
            {"requestParameters": {"groupName": "A"}, "responseElements": {"group": {"groupId": "AGPA1"}}},
            *(None, None, {"id": "AGPA1", "name": "A"}),
        ),
        # a group of hosts is none of users
        ({"eventSource": "ec2.amazonaws.com", "requestParameters": {"groupName": "web"}}, None, None, None),
        (
            {"eventSource": "transfer.amazonaws.com", "requestParameters": {"userName": "sftp"}},
            *({"name": "sftp"}, None, None),
        ),
    ],
)
def test_whom(changes: dict[str, Any], target: Any, new: Any, group: Any) -> None:
    found = document(**changes)
    assert found["user"].get("target") == target
    assert found["user"].get("changes") == new
    assert found.get("group") == group
    assert found["user"]["name"] == "alice"
    named = {text for part in (target, new) if part for text in part.values()}
    assert named <= set(found["related"]["user"])


def test_a_hidden_name_is_no_name_to_relate_by() -> None:
    found = document(
        userIdentity={"type": "IAMUser", "userName": "HIDDEN_DUE_TO_SECURITY_REASONS"}, requestParameters=None
    )
    assert "user" not in found["related"]


def test_an_e_mail_address_is_related_by_its_name_too() -> None:
    found = document(userIdentity={"type": "SAMLUser", "userName": "erin@example.com"}, requestParameters=None)
    assert found["user"]["email"] == "erin@example.com"
    assert found["related"]["user"] == ["erin@example.com", "erin"]


def test_who_signed_in_to_identity_center() -> None:
    found = document(
        eventName="UserAuthentication",
        userIdentity={"type": "Unknown", "principalId": "9418", "accountId": ACCOUNT},
        additionalEventData={"UserName": "grace@example.com"},
        requestParameters=None,
    )
    assert found["user"]["name"] == found["user"]["email"] == "grace@example.com"
    assert found["related"]["user"] == ["9418", "grace@example.com", "grace"]


def test_instances_are_hosts_wherever_they_are_named() -> None:
    one, two, three, four = (f"i-{n:017x}" for n in range(1, 5))
    found = document(
        requestParameters={
            "instancesSet": {"items": [{"instanceId": one}, {"instanceId": "i-nope"}]},
            "note": f"x {one}",
        },
        responseElements={"instanceId": two},
        resources=[{"ARN": f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/{three}"}],
        userIdentity={"type": "AssumedRole", "principalId": f"AROA1:{four}"},
    )
    assert sorted(found["related"]["hosts"]) == [one, two, three, four]


def test_hashes() -> None:
    found = document(requestParameters={"imageDigest": "sha256:ab"}, responseElements={"codeSha256": "cd="})
    assert found["related"]["hash"] == ["sha256:ab", "cd="]


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (
            [{"ARN": "arn:a", "accountId": ACCOUNT, "type": "AWS::S3::Bucket"}],
            [{"arn": "arn:a", "account_id": ACCOUNT, "type": "AWS::S3::Bucket"}],
        ),
        ([{"ARN": "arn:a"}, {"ARN": "arn:a"}, {"ARN": "arn:b"}], [{"arn": "arn:a"}, {"arn": "arn:b"}]),
        ([{"ARN": "arn:a", "ARNPrefix": "p"}], [{"arn": "arn:a"}]),
        ([{"ARNPrefix": "p"}, "odd", {}, {"type": "t"}], [{"type": "t"}]),
        ([], None),
        ({"ARN": "arn:a"}, None),
        ("arn:a", None),
        (None, None),
    ],
)
def test_resources(resources: Any, expected: Any) -> None:
    assert document(resources=resources)["aws"]["cloudtrail"].get("resources") == expected


@pytest.mark.parametrize(
    "version", [*(f"1.{minor:02d}" if minor > 2 else f"1.0{minor}" for minor in range(12)), "1.0", ...]
)
def test_versions(version: Any) -> None:
    found = document(eventVersion=version)
    assert at(found, "aws.cloudtrail.event_version") == ([] if version is ... else [version])
    assert found["event"]["action"] == "CreateUser"


@pytest.mark.parametrize(
    ("flag", "field"),
    [
        ("readOnly", "read_only"),
        ("managementEvent", "management_event"),
        ("sessionCredentialFromConsole", "session_credential_from_console"),
    ],
)
@pytest.mark.parametrize(
    ("written", "value"), [(True, True), ("true", True), ("false", False), ("perhaps", None), (1, None)]
)
def test_flags(flag: str, field: str, written: Any, value: bool | None) -> None:
    assert document(**{flag: written})["aws"]["cloudtrail"].get(field) is value


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            {"MFAUsed": "Yes", "MobileVersion": "No", "LoginTo": "u"},
            {"mfa_used": True, "mobile_version": False, "login_to": "u"},
        ),
        ({"MFAUsed": "No"}, {"mfa_used": False}),
        ({"MFAUsed": "Maybe"}, None),
        ("odd", None),
        (None, None),
    ],
)
def test_console_login(data: Any, expected: Any) -> None:
    found = document(eventSource="signin.amazonaws.com", eventName="ConsoleLogin", additionalEventData=data)
    assert found["aws"]["cloudtrail"].get("console_login", {}).get("additional_eventdata") == expected
    other = document(eventSource="signin.amazonaws.com", eventName="SwitchRole", additionalEventData=data)
    assert "console_login" not in other["aws"]["cloudtrail"]
