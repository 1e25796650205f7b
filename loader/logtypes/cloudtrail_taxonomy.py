"""(eventSource, eventName) → ``event.category`` and ``event.type``, every pair one that ECS allows.

First a table of the calls that matter, then the first word of the call's name, fitted to what the service is about.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from loader.ecs import TYPES_OF_CATEGORY, allowed


class Class(NamedTuple):
    """``event.category`` and ``event.type``."""

    category: tuple[str, ...]
    type: tuple[str, ...]


#: service, category, types (comma between), names of calls. ``*`` is any service.
_ROWS: Final = """
sts authentication start AssumeRole AssumeRoleWithSAML AssumeRoleWithWebIdentity AssumeRoot GetSessionToken
sts authentication start GetFederationToken GetDelegatedAccessToken GetWebIdentityToken
sts authentication info GetCallerIdentity GetAccessKeyInfo DecodeAuthorizationMessage GetServiceBearerToken
signin authentication start ConsoleLogin SwitchRole GetSigninToken UserAuthentication CredentialChallenge
signin authentication start CreateOAuth2Token CredentialVerification AuthorizeOAuth2Access ExternalIdPDirectoryLogin
signin authentication start RenewRole
signin authentication info CheckMfa PasswordRecoveryRequested
signin authentication end ExitRole
signin iam user,change PasswordRecoveryCompleted PasswordUpdated EmailUpdated
sso authentication start Authenticate Federate UserAuthentication CredentialVerification CredentialChallenge
sso authentication start CreateToken GetRoleCredentials CreateTokenWithIAM
sso authentication info DescribePermissionsPolicies ListApplications ListProfilesForApplication ListAccountRoles
sso authentication end Logout
sso-oauth authentication start CreateToken CreateTokenWithIAM StartDeviceAuthorization
sso-directory authentication start Authenticate
sso-directory iam user,creation CreateUser
sso-directory iam user,deletion DeleteUser
sso-directory iam user,change UpdateUser UpdatePassword EnableUser DisableUser VerifyEmail CreateMfaDevice
sso-directory iam user,change DeleteMfaDeviceForUser
sso-directory iam group,change AddMemberToGroup RemoveMemberFromGroup UpdateGroup
rolesanywhere authentication start CreateSession
cognito-idp authentication start InitiateAuth AdminInitiateAuth RespondToAuthChallenge AdminRespondToAuthChallenge
cognito-idp authentication start Login_GET
cognito-idp authentication end GlobalSignOut AdminUserGlobalSignOut RevokeToken
cognito-identity authentication start GetId GetCredentialsForIdentity GetOpenIdToken
cognito-identity authentication start GetOpenIdTokenForDeveloperIdentity
eks-auth authentication start AssumeRoleForPodIdentity
iam iam user,change CreateAccessKey DeleteAccessKey UpdateAccessKey CreateLoginProfile UpdateLoginProfile
iam iam user,change DeleteLoginProfile CreateVirtualMFADevice DeleteVirtualMFADevice EnableMFADevice
iam iam user,change DeactivateMFADevice ResyncMFADevice UploadSSHPublicKey UpdateSSHPublicKey DeleteSSHPublicKey
iam iam user,change UploadSigningCertificate ChangePassword DeleteSigningCertificate CreateServiceSpecificCredential
iam iam user,change ResetServiceSpecificCredential DeleteServiceSpecificCredential
iam iam group,change AddUserToGroup RemoveUserFromGroup
iam iam user,info GetAccessKeyLastUsed ListAccessKeys ListMFADevices ListVirtualMFADevices GetLoginProfile
iam iam user,info ListSSHPublicKeys ListGroupsForUser
iam iam admin,change SetDefaultPolicyVersion SetSecurityTokenServicePreferences UpdateAccountPasswordPolicy
iam iam admin,change DeleteAccountPasswordPolicy UpdateAssumeRolePolicy UpdateSAMLProvider
iam iam admin,change UpdateOpenIDConnectProviderThumbprint AddClientIDToOpenIDConnectProvider
iam iam admin,change EnableOrganizationsRootSessions EnableOrganizationsRootCredentialsManagement
iam iam admin,change DisableOrganizationsRootSessions DisableOrganizationsRootCredentialsManagement
iam iam admin,creation CreateSAMLProvider CreateOpenIDConnectProvider CreateAccountAlias
iam iam admin,deletion DeleteSAMLProvider DeleteOpenIDConnectProvider DeleteAccountAlias
ec2 iam admin,creation CreateKeyPair ImportKeyPair
ec2 iam admin,deletion DeleteKeyPair
ec2 host start RunInstances StartInstances RequestSpotInstances RequestSpotFleet CreateFleet
ec2 host end StopInstances TerminateInstances
ec2 host change RebootInstances ModifyInstanceAttribute ModifyInstanceMetadataOptions AssociateIamInstanceProfile
ec2 host change ReplaceIamInstanceProfileAssociation DisassociateIamInstanceProfile AttachVolume DetachVolume
ec2 host change MonitorInstances UnmonitorInstances BidEvictedEvent
ec2 host access GetPasswordData GetConsoleOutput GetConsoleScreenshot GetLaunchTemplateData
ec2-instance-connect session start SendSSHPublicKey SendSerialConsoleSSHPublicKey OpenTunnel
ec2-instance-connect session end CloseTunnel
ssm process start SendCommand StartAutomationExecution
ssm process end CancelCommand StopAutomationExecution
ssm session start StartSession ResumeSession
ssm session end TerminateSession
ssm api access GetParameter GetParameters GetParametersByPath GetParameterHistory
ssmmessages session start CreateControlChannel OpenControlChannel CreateDataChannel OpenDataChannel
ecs session start ExecuteCommand
ecs process start RunTask StartTask
ecs process end StopTask
s3 file creation CreateBucket
s3 file deletion DeleteBucket DeleteObject DeleteObjects
s3 file access GetObject SelectObjectContent GetObjectTorrent
s3 file change PutObject CopyObject UploadPart UploadPartCopy CompleteMultipartUpload RestoreObject PutObjectAcl
s3 file change CreateMultipartUpload AbortMultipartUpload RenameObject
s3 file info ListBuckets ListObjects ListObjectsV2 HeadObject HeadBucket ListObjectVersions ListMultipartUploads
s3 file info ListParts
ssm file creation CreateDocument
lambda process start Invoke InvokeExecution InvokeAsync InvokeWithResponseStream
states process start StartExecution StartSyncExecution
states process end StopExecution
batch process start SubmitJob
batch process end TerminateJob CancelJob
glue process start StartJobRun
kms api access Decrypt GenerateDataKey GenerateDataKeyWithoutPlaintext ReEncrypt Encrypt GenerateDataKeyPair Sign
kms api deletion ScheduleKeyDeletion DeleteImportedKeyMaterial
secretsmanager api access GetSecretValue BatchGetSecretValue
bedrock api access InvokeModel InvokeModelWithResponseStream Converse ConverseStream
bedrock-runtime api access InvokeModel InvokeModelWithResponseStream Converse ConverseStream
dynamodb database access GetItem Query Scan BatchGetItem TransactGetItems ExecuteStatement
dynamodb database change PutItem UpdateItem DeleteItem BatchWriteItem TransactWriteItems
rds-data database access ExecuteStatement BatchExecuteStatement
redshift-data database access ExecuteStatement BatchExecuteStatement
redshift authentication start GetClusterCredentials GetClusterCredentialsWithIAM
cloudtrail configuration change StopLogging StartLogging PutEventSelectors PutInsightSelectors
cloudtrail api info LookupEvents
config configuration change StopConfigurationRecorder StartConfigurationRecorder
guardduty configuration change StopMonitoringMembers StartMonitoringMembers DisassociateFromMasterAccount
guardduty configuration change DisassociateFromAdministratorAccount CreateFilter ArchiveFindings
ses email info SendEmail SendRawEmail SendBulkEmail SendTemplatedEmail
sns api access Publish PublishBatch
sqs api access SendMessage ReceiveMessage SendMessageBatch
"""

#: What a service's calls are about, where the call's type fits; a list is tried in order.
_SERVICES: Final = {
    service: categories
    for categories, services in (
        (
            ("iam",),
            "iam organizations sso sso-directory identitystore cognito-idp access-analyzer rolesanywhere account",
        ),
        (("authentication",), "signin sts"),
        (("file", "configuration"), "s3 s3-outposts elasticfilesystem fsx glacier storagegateway transfer s3express"),
        (
            ("database", "configuration"),
            "rds dynamodb redshift docdb-elastic neptune-db elasticache dax qldb timestream athena",
        ),
        (
            ("network", "configuration"),
            "elasticloadbalancing route53 route53resolver directconnect network-firewall vpc-lattice",
        ),
        (("network", "configuration"), "globalaccelerator networkmanager"),
        (("package", "configuration"), "ecr ecr-public codeartifact"),
        (("vulnerability", "configuration"), "inspector inspector2"),
        (("web", "configuration"), "cloudfront waf waf-regional wafv2 apigateway"),
        (("email", "configuration"), "ses workmail"),
        (("session", "configuration"), "ssmmessages ec2messages"),
        (
            ("configuration",),
            "cloudtrail config guardduty securityhub macie2 detective logs monitoring events cloudformation",
        ),
        (
            ("configuration",),
            "kms secretsmanager ssm lambda sns sqs backup tagging ram servicecatalog autoscaling eks ecs",
        ),
    )
    for service in services.split()
}

_EC2_NETWORK: Final = re.compile(
    "SecurityGroup|Vpc|Subnet|NetworkAcl|Route|Gateway|NetworkInterface|Address|Vpn|FlowLog|DhcpOption|PrefixList|Peering"
)
_EC2_HOST: Final = re.compile("Instance|Volume|Image|Snapshot|Host|LaunchTemplate|Fleet")
_IAM_USER: Final = re.compile(r"Users?(?![a-z])|LoginProfile|AccessKey|MFADevice|MfaDevice|SSHPublicKey|Password")
_IAM_GROUP: Final = re.compile(r"Groups?(?![a-z])|GroupMembership")

#: First word of a call's name → what it does.
_VERB_ROWS: Final = """
creation Create Allocate Import Restore Request Purchase Provision Clone Copy Register Issue Generate Build Add
creation Reserve Ingest
deletion Delete Deregister Terminate Release Purge Deprovision Destroy Remove Drop Unregister Dispose Expire
change Put Update Modify Set Change Attach Detach Associate Disassociate Enable Disable Tag Untag Reset Replace
change Apply Rotate Activate Deactivate Move Upgrade Merge Configure Edit Lock Unlock Promote Rename Accept
change Reject Approve Authorize Revoke Grant Retire Subscribe Unsubscribe Publish Send Upload Complete Abort
change Cancel Retry Swap Share Unshare Write Archive Unarchive Assign Unassign Bind Connect Disconnect Invite
change Leave Transfer Schedule Suspend Extend Increase Decrease Failover Rebuild Reboot Resync Refresh Deploy
change Migrate Mount Post Record Confirm Notify Rollback Switchover Deprecate Undeprecate Respond Restart
change Dissociate Resend Report Prepare Define Acknowledge Decline Renew Flush Redact Continue Claim Replicate
change Join Override Link Unlink Forget Reload Reorder Reverse Advertise Withdraw Deauthorize Distribute Clear
change Commit Manage Sync Synchronize Opt Drain Enter Exit Save Redeem Unsuspend Regenerate Allow Disallow Deny
change Invalidate Skip Deliver Dismiss Install Bundle Rebalance Undeploy Finalize Mark Peer Unpeer Setup Shrink
change Amend Recall Discard Backtrack Resize Convert Group Ungroup Push Return Label Unlabel Redrive Evict Split
change Reinvite Toggle Populate Reimport
info Describe Get List Head Search Lookup Scan Query Select View Check Verify Validate Preview Count Estimate
info Simulate Test Detect Discover Export Download Read Filter Poll Receive Is Has Resolve Sample Evaluate
info Compare Retrieve Decode Predict Recommend Calculate Admin
start Start Run Execute Invoke Launch Begin Initiate Open Resume Submit Play Assume Initialize
end Stop End Close Finish Kill Pause Logout Shutdown
"""
_VERBS: Final = {
    verb: kind for kind, *verbs in (row.split() for row in _VERB_ROWS.strip().splitlines()) for verb in verbs
}
#: The nearest type a category may have instead.
_NEAREST: Final = {
    "creation": ("creation", "change", "info"),
    "deletion": ("deletion", "change", "info"),
    "change": ("change", "info"),
    "start": ("start", "change", "info"),
    "end": ("end", "change", "info"),
    "info": ("info",),
}
_WORD: Final = re.compile(r"[A-Z][a-z0-9]*|[a-z0-9]+")
_SUFFIX: Final = re.compile(r"\.(?:amazonaws\.(?:com(?:\.cn)?|cn|eu)|aws\.internal|amazon\.com|aws\.amazon\.com)$")

TABLE: Final[dict[tuple[str, str], Class]] = {
    (service, name): Class((category,), tuple(types.split(",")))
    for service, category, types, *names in (row.split() for row in _ROWS.strip().splitlines())
    for name in names
}

#: AWS's own detection of unusual activity, and what passed a VPC endpoint.
INSIGHT: Final = Class(("intrusion_detection",), ("info",))
ENDPOINT_ALLOWED: Final = Class(("network",), ("access", "allowed"))
ENDPOINT_DENIED: Final = Class(("network",), ("access", "denied"))


#: The calls that hand out credentials, by the first label of their source.
ISSUING: Final = frozenset(
    {
        ("sts", "AssumeRole"),
        ("sts", "AssumeRoleWithSAML"),
        ("sts", "AssumeRoleWithWebIdentity"),
        ("sts", "AssumeRoot"),
        ("sts", "GetFederationToken"),
        ("sts", "GetSessionToken"),
        ("signin", "SwitchRole"),
        ("sso", "GetRoleCredentials"),
    }
)


def issues_credentials(source: object, name: object) -> bool:
    """Return whether a call is one that hands out credentials; ``source`` and ``name`` are the record's of any type."""
    return isinstance(source, str) and isinstance(name, str) and (source.partition(".")[0], name) in ISSUING


def service_name(source: str) -> str:
    """Return ``ec2`` of ``ec2.amazonaws.com``."""
    return _SUFFIX.sub("", source)


def classify(source: str, name: str) -> Class:
    """Return the class of a call, ``source`` as in ``eventSource``."""
    service = service_name(source)
    found = TABLE.get((service, name))
    return found if found is not None else _by_verb(service, name)


def _by_verb(service: str, name: str) -> Class:
    kind = _kind(name)
    if service == "iam" or (service in ("identitystore", "sso-directory", "cognito-idp") and kind != "info"):
        return _iam(name, kind)
    if service == "ec2":
        return _fit(("network", "configuration") if _EC2_NETWORK.search(name) else ("host", "configuration"), kind)
    return _fit(_SERVICES.get(service, ("api",)), kind)


def _kind(name: str) -> str:
    words = _WORD.findall(name[:200])
    while len(words) > 1 and words[0] in ("Batch", "Admin", "Bulk", "Transact"):
        words.pop(0)
    return _VERBS.get(words[0].capitalize() if words else "", "info")


def _iam(name: str, kind: str) -> Class:
    types = [_first_allowed("iam", kind) or "info"]
    if _IAM_GROUP.search(name):
        types.insert(0, "group")
    elif _IAM_USER.search(name):
        types.insert(0, "user")
    return Class(("iam",), tuple(types))


def _fit(categories: tuple[str, ...], kind: str) -> Class:
    """Return the first category in which ``kind`` itself is allowed, else the first with the nearest type."""
    for category in categories:
        if allowed(category, kind):
            return Class((category,), (kind,))
    if allowed("configuration", kind):
        return Class(("configuration",), (kind,))
    if allowed("api", kind):
        return Class(("api",), (kind,))
    return Class((categories[0],), (_first_allowed(categories[0], kind) or min(TYPES_OF_CATEGORY[categories[0]]),))


def _first_allowed(category: str, kind: str) -> str | None:
    return next((candidate for candidate in _NEAREST[kind] if allowed(category, candidate)), None)
