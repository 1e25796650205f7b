"""The table of calls: its rows name calls that exist, and the verbs give what the table does not."""

from __future__ import annotations

from functools import cache

import botocore.session
import pytest

from loader.logtypes.cloudtrail_taxonomy import TABLE, classify, service_name

#: Events that are no API operation: sign-in pages, sessions that AWS's own agents keep, events of services themselves.
#: Source: "CloudTrail record contents" and each service's own page "Logging … with AWS CloudTrail".
NOT_OPERATIONS = {
    "sts": {"GetServiceBearerToken"},
    "signin": {
        *("ConsoleLogin", "SwitchRole", "ExitRole", "RenewRole", "CheckMfa", "GetSigninToken", "UserAuthentication"),
        *("CredentialChallenge", "CredentialVerification", "AuthorizeOAuth2Access", "ExternalIdPDirectoryLogin"),
        *("PasswordRecoveryRequested", "PasswordRecoveryCompleted", "PasswordUpdated", "EmailUpdated"),
    },
    "sso": {
        *("Authenticate", "Federate", "UserAuthentication", "CredentialVerification", "CredentialChallenge"),
        *("CreateToken", "CreateTokenWithIAM", "DescribePermissionsPolicies", "ListProfilesForApplication"),
    },
    # The console's own service behind IAM Identity Center's directory; it has no public client.
    "sso-directory": {
        *("Authenticate", "CreateUser", "DeleteUser", "UpdateUser", "UpdatePassword", "EnableUser", "DisableUser"),
        *("VerifyEmail", "CreateMfaDevice", "DeleteMfaDeviceForUser", "AddMemberToGroup", "RemoveMemberFromGroup"),
        "UpdateGroup",
    },
    "rolesanywhere": {"CreateSession"},
    "cognito-idp": {"Login_GET"},
    "ec2": {"BidEvictedEvent"},
    "ec2-instance-connect": {"OpenTunnel", "CloseTunnel"},
    "ssmmessages": {"CreateControlChannel", "OpenControlChannel", "CreateDataChannel", "OpenDataChannel"},
    "lambda": {"InvokeExecution"},
}


@cache
def operations() -> dict[str, frozenset[str]]:
    """Name of a service as in ``eventSource`` → the operations of botocore's models of it."""
    session = botocore.session.get_session()
    found: dict[str, set[str]] = {}
    wanted = {service for service, _ in TABLE}
    for name in session.get_available_services():
        if name.split("-")[0] not in {service.split("-")[0] for service in wanted} | {"stepfunctions", "sesv2"}:
            continue
        model = session.get_service_model(name)
        for alias in {name, model.endpoint_prefix, model.signing_name}:
            found.setdefault(alias, set()).update(model.operation_names)
    return {name: frozenset(names) for name, names in found.items()}


def test_every_row_names_an_operation_of_its_service() -> None:
    unknown = {
        f"{service}:{name}"
        for service, name in TABLE
        if name not in operations().get(service, ()) and name not in NOT_OPERATIONS.get(service, ())
    }
    assert unknown == set()


def test_every_exception_is_a_row() -> None:
    listed = {(service, name) for service, names in NOT_OPERATIONS.items() for name in names}
    assert listed <= set(TABLE)


@pytest.mark.parametrize(
    ("source", "name", "category", "types"),
    [
        # the table, by source and name: one name means another thing elsewhere
        ("sts.amazonaws.com", "AssumeRole", "authentication", "start"),
        ("signin.amazonaws.com", "ConsoleLogin", "authentication", "start"),
        ("signin.amazonaws.cn", "ConsoleLogin", "authentication", "start"),
        ("iam.amazonaws.com", "CreateUser", "iam", "user creation"),
        ("transfer.amazonaws.com", "CreateUser", "file", "creation"),
        ("iam.amazonaws.com", "CreateGroup", "iam", "group creation"),
        ("resource-groups.amazonaws.com", "CreateGroup", "api", "creation"),
        ("iam.amazonaws.com", "CreateAccessKey", "iam", "user change"),
        ("iam.amazonaws.com", "AttachRolePolicy", "iam", "change"),
        ("iam.amazonaws.com", "CreateRole", "iam", "creation"),
        ("iam.amazonaws.com", "DeleteRole", "iam", "deletion"),
        ("iam.amazonaws.com", "PutGroupPolicy", "iam", "group change"),
        ("iam.amazonaws.com", "AddUserToGroup", "iam", "group change"),
        ("iam.amazonaws.com", "UpdateAssumeRolePolicy", "iam", "admin change"),
        ("cloudtrail.amazonaws.com", "StopLogging", "configuration", "change"),
        ("cloudtrail.amazonaws.com", "DeleteTrail", "configuration", "deletion"),
        ("events.amazonaws.com", "DeleteRule", "configuration", "deletion"),
        ("waf.amazonaws.com", "DeleteRule", "configuration", "deletion"),
        ("dynamodb.amazonaws.com", "ListTables", "database", "info"),
        ("glue.amazonaws.com", "GetTables", "api", "info"),
        ("s3.amazonaws.com", "DeleteObject", "file", "deletion"),
        ("s3.amazonaws.com", "PutBucketPolicy", "file", "change"),
        ("ec2.amazonaws.com", "RunInstances", "host", "start"),
        ("ec2.amazonaws.com", "TerminateInstances", "host", "end"),
        ("ec2.amazonaws.com", "DescribeSecurityGroups", "network", "info"),
        ("ec2.amazonaws.com", "DescribeInstances", "host", "info"),
        ("ec2.amazonaws.com", "CreateVpc", "configuration", "creation"),
        ("ec2.amazonaws.com", "CreateKeyPair", "iam", "admin creation"),
        ("kms.amazonaws.com", "Decrypt", "api", "access"),
        ("kms.amazonaws.com", "ScheduleKeyDeletion", "api", "deletion"),
        ("secretsmanager.amazonaws.com", "GetSecretValue", "api", "access"),
        ("lambda.amazonaws.com", "CreateFunction20150331", "configuration", "creation"),
        ("rds.amazonaws.com", "DeleteDBInstance", "configuration", "deletion"),
        ("ssm.amazonaws.com", "SendCommand", "process", "start"),
        # verbs, on a service that nobody has heard of
        ("new.amazonaws.com", "CreateThing", "api", "creation"),
        ("new.amazonaws.com", "PutThing", "api", "change"),
        ("new.amazonaws.com", "DeleteThing", "api", "deletion"),
        ("new.amazonaws.com", "DescribeThing", "api", "info"),
        ("new.amazonaws.com", "BatchDeleteThing", "api", "deletion"),
        ("new.amazonaws.com", "StartThing", "api", "start"),
        ("new.amazonaws.com", "StopThing", "api", "end"),
        ("new.amazonaws.com", "FrobnicateThing", "api", "info"),
        ("new.amazonaws.com", "thing_created", "api", "info"),
        ("new.amazonaws.com", "", "api", "info"),
        ("", "", "api", "info"),
    ],
)
def test_classes(source: str, name: str, category: str, types: str) -> None:
    found = classify(source, name)
    assert (" ".join(found.category), " ".join(found.type)) == (category, types)


@pytest.mark.parametrize(
    ("source", "service"),
    [
        ("ec2.amazonaws.com", "ec2"),
        ("ec2.amazonaws.com.cn", "ec2"),
        ("signin.amazonaws.cn", "signin"),
        ("s3.amazonaws.eu", "s3"),
        ("iq.amazonaws.com.evil.example", "iq.amazonaws.com.evil.example"),
        ("", ""),
    ],
)
def test_the_service_of_a_source(source: str, service: str) -> None:
    assert service_name(source) == service
