"""Event names CloudTrail can write: those of botocore's service models, and those that are no API call.

A rule about an event that does not exist is silent for ever: ``PassRole`` is a permission, never an ``eventName``.
"""

from __future__ import annotations

import gzip
import re
from functools import cache
from pathlib import Path

import orjson

_SUFFIX = ".amazonaws.com"
#: Lambda and CloudFront add their API's date to a name: ``CreateFunction20150331``, ``CreateDistribution2020_05_31``.
_DATED = re.compile(r"_?\d{4}_?\d{2}_?\d{2}(v\d+)?$")

#: First label of an event source → folders of botocore's models, where it is not the folder's own name.
_SERVICES: dict[str, tuple[str, ...]] = {
    "access-analyzer": ("accessanalyzer",),
    "airflow": ("mwaa",),
    "aoss": ("opensearchserverless",),
    "apigateway": ("apigateway", "apigatewayv2"),
    "aps": ("amp",),
    "aws-marketplace": ("marketplace-agreement", "marketplace-catalog", "meteringmarketplace"),
    "bedrock": ("bedrock", "bedrock-agent", "bedrock-agent-runtime", "bedrock-runtime", "bedrock-data-automation"),
    "bedrock-agentcore": ("bedrock-agentcore", "bedrock-agentcore-control"),
    "cassandra": ("keyspaces",),
    "cloudcontrolapi": ("cloudcontrol",),
    "cloudhsm": ("cloudhsm", "cloudhsmv2"),
    "dynamodb": ("dynamodb", "dynamodbstreams"),
    "elasticfilesystem": ("efs",),
    "elasticloadbalancing": ("elb", "elbv2"),
    "elasticmapreduce": ("emr",),
    "email": ("ses", "sesv2"),
    "es": ("es", "opensearch"),
    "execute-api": ("apigatewaymanagementapi",),
    "greengrass": ("greengrass", "greengrassv2"),
    "kinesisanalytics": ("kinesisanalytics", "kinesisanalyticsv2"),
    "monitoring": ("cloudwatch",),
    "rds": ("rds", "docdb", "neptune"),
    "s3": ("s3", "s3control"),
    "sagemaker": ("sagemaker", "sagemaker-runtime", "sagemaker-featurestore-runtime"),
    "servicecatalog": ("servicecatalog", "servicecatalog-appregistry"),
    "servicequotas": ("service-quotas",),
    "ses": ("ses", "sesv2", "mailmanager"),
    "sms-voice": ("pinpoint-sms-voice", "pinpoint-sms-voice-v2"),
    "sso": ("sso", "sso-admin", "sso-oidc"),
    "sso-directory": ("identitystore",),
    "states": ("stepfunctions",),
    "tagging": ("resourcegroupstaggingapi",),
    "timestream": ("timestream-query", "timestream-write"),
}

#: Events of a source that are no operation of its API: sign-in, service events, CloudTrail's own names for S3. A source
#: without any is one whose events are not listed anywhere.
_OTHERS_TEXT = """
signin: ConsoleLogin CheckMfa SwitchRole ExitRole RenewRole GetSigninToken PasswordRecoveryRequested
signin: PasswordRecoveryCompleted CredentialChallenge CredentialVerification UserAuthentication EmailUpdated
signin: PasswordUpdated EnableMFA DisableMFA CreateOAuth2Token AuthorizeOAuth2Access
sso: Authenticate Federate Logout ListApplications ListProfilesForApplication
sso: AssociateDirectory DisassociateDirectory AssociateProfile DisassociateProfile UpdateSSOConfiguration StartSSO
sso: DeleteSSO CreateApplicationInstance DeleteApplicationInstance
sso-directory: CreateExternalIdPConfigurationForDirectory EnableExternalIdPConfigurationForDirectory
sso-directory: DisableExternalIdPConfigurationForDirectory UpdateMfaDeviceManagementForDirectory
sso-directory: DeleteMfaDeviceForUser DisableUser EnableUser UpdatePassword AddMemberToGroup RemoveMemberFromGroup
codecommit: GitPull GitPush
bedrock: PutFoundationModelEntitlement
kms: RotateKey DeleteKey SynchronizeMultiRegionKey
ec2-instance-connect: OpenTunnel
ec2: SharedSnapshotVolumeCreated SharedSnapshotCopyInitiated BidEvictedEvent CreateDefaultSecurityGroup
s3: PutBucketPublicAccessBlock DeleteBucketPublicAccessBlock GetBucketPublicAccessBlock PutAccountPublicAccessBlock
s3: DeleteAccountPublicAccessBlock GetAccountPublicAccessBlock PutBucketLifecycle DeleteBucketLifecycle
s3: GetBucketLifecycle PutBucketReplication DeleteBucketReplication GetBucketReplication PutBucketNotification
s3: GetBucketNotification PutBucketObjectLockConfiguration InitiateMultipartUpload
secretsmanager: RotationStarted RotationSucceeded RotationFailed RotationAbandoned SecretVersionDeletion
secretsmanager: StartSecretVersionDelete CancelSecretVersionDelete EndSecretVersionDelete
organizations: CreateAccountResult CloseAccountResult CreateGovCloudAccountResult
controltower: SetupLandingZone UpdateLandingZone CreateManagedAccount UpdateManagedAccount EnableGuardrail
controltower: DisableGuardrail RegisterOrganizationalUnit DeregisterOrganizationalUnit PrecheckOrganizationalUnit
aws-portal:
billingconsole:
console:
health:
"""
_OTHERS: dict[str, frozenset[str]] = {}
for _line in _OTHERS_TEXT.split("\n"):
    _label, _, _names = _line.partition(":")
    if _label:
        _OTHERS[_label] = _OTHERS.get(_label, frozenset()) | frozenset(_names.split())


@cache
def names_of(event_source: str) -> frozenset[str] | None:
    """Return the event names of ``iam.amazonaws.com``; ``None`` when nothing is known about them."""
    label = event_source.lower().removesuffix(_SUFFIX)
    others = _OTHERS.get(label)
    operations = [_operations(service) for service in services_of(label)]
    if not any(operations):
        return others or None
    found = {undated(name) for names in operations for name in names}
    return frozenset(found | (others or frozenset()))


def services_of(event_source: str) -> tuple[str, ...]:
    """Return the names of botocore's services behind ``iam.amazonaws.com``, whether it has them or not."""
    label = event_source.lower().removesuffix(_SUFFIX)
    return _SERVICES.get(label, (label,))


def is_source(event_source: str) -> bool:
    """Say whether AWS has an event source of this name, as far as can be known here."""
    label = event_source.lower().removesuffix(_SUFFIX)
    return event_source.lower().endswith(_SUFFIX) and (label in _OTHERS or names_of(event_source) is not None)


def undated(name: str) -> str:
    """Return an event's name without the date of the API's version."""
    return _DATED.sub("", name)


@cache
def _operations(service: str) -> frozenset[str]:
    import botocore

    folder = Path(botocore.__file__).parent / "data" / service
    if not re.fullmatch(r"[a-z0-9-]+", service) or not folder.is_dir():
        return frozenset()
    names: set[str] = set()
    for path in folder.glob("*/service-2.json*"):
        content = path.read_bytes()
        model = orjson.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
        names.update(model.get("operations", {}))
    return frozenset(names)
