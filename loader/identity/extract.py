"""Records → edges: what each call that hands out credentials says about whom it gave them to. Pure.

Sources, read in 2026:

- the API reference of AWS STS: https://docs.aws.amazon.com/STS/latest/APIReference/
- "Logging IAM and AWS STS API calls with AWS CloudTrail":
  https://docs.aws.amazon.com/IAM/latest/UserGuide/cloudtrail-integration.html
- "AWS Management Console sign-in events":
  https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-aws-console-sign-in-events.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from loader.identity.model import Edge, EndBasis, Identity, Issued, account_of
from loader.identity.times import LAST, epoch

_EMPTY: Final[Mapping[str, Any]] = {}
_HOUR: Final = 3600

#: Where credentials come from. A record of another source is told by one look at its bytes, without parsing.
_SOURCE_KEY: Final = b'"eventSource"'
_SOURCES: Final = (b"sts.", b"signin.", b"sso.")
#: What may stand between the key and its value's first letter, and the bytes that hold both.
_BETWEEN: Final = b' \t\r\n:"'
_WINDOW: Final = 32

#: Seconds a session lasts if neither response nor request say so: the API's default; for the console, its maximum.
_DEFAULT_DURATION: Final = {
    "AssumeRole": _HOUR,
    "AssumeRoleWithSAML": _HOUR,
    "AssumeRoleWithWebIdentity": _HOUR,
    "AssumeRoot": 900,
    "GetFederationToken": 12 * _HOUR,
    "GetSessionToken": 12 * _HOUR,
    "SwitchRole": 12 * _HOUR,
    "GetRoleCredentials": 12 * _HOUR,
}

Record = Mapping[str, Any]
_Read = Callable[[Record, Identity], "tuple[Issued, Identity, Any] | None"]


def edges(record: Record | bytes) -> list[Edge]:
    """Return the edges that ``record`` states: none for most records, one for a call that handed out credentials.

    Never raises because of what a record holds: a call that failed, and a record that is not JSON or has values of
    unexpected types, states nothing.
    """
    if isinstance(record, bytes):
        if not comes_from_issuer(record):
            return []
        try:
            record = _parse(record)
        except (ValueError, RecursionError):
            return []
        if not isinstance(record, Mapping):
            return []
    source, name = record.get("eventSource"), record.get("eventName")
    if not isinstance(source, str) or not isinstance(name, str):
        return []
    read = _READERS.get((source.partition(".")[0], name))
    # What was handed out is in the response; a call that failed has none.
    if read is None or not isinstance(record.get("responseElements"), Mapping):
        return []
    found = read(record, identity(record))
    return [] if found is None else [_edge(record, name, *found)]


def _parse(raw: bytes) -> Any:
    """Return the value of JSON; a number beyond doubles, which the fast parser refuses, must not hide who did it."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return json.loads(raw, parse_int=float)


def comes_from_issuer(raw: bytes) -> bool:
    """Tell without parsing whether an ``eventSource`` in ``raw``, at any depth, is one that hands out credentials."""
    place = raw.find(_SOURCE_KEY)
    while place >= 0:
        place += len(_SOURCE_KEY)
        if raw[place : place + _WINDOW].lstrip(_BETWEEN).startswith(_SOURCES):
            return True
        place = raw.find(_SOURCE_KEY, place)
    return False


def identity(record: Record) -> Identity:
    """Return a record's ``userIdentity``, as far as it is there."""
    user = _map(record, "userIdentity")
    context = _map(user, "sessionContext")
    issuer, attributes = _map(context, "sessionIssuer"), _map(context, "attributes")
    behalf = _map(user, "onBehalfOf")
    root = context.get("assumedRoot")
    return Identity(
        type=_text(user, "type"),
        principal_id=_text(user, "principalId"),
        arn=_text(user, "arn"),
        account_id=_text(user, "accountId"),
        name=_text(user, "userName"),
        access_key_id=_text(user, "accessKeyId"),
        invoked_by=_text(user, "invokedBy"),
        provider=_text(user, "identityProvider"),
        on_behalf_of=_text(behalf, "userId"),
        session_started=epoch(attributes.get("creationDate")),
        assumed_root=root in (True, "true"),
        issuer_type=_text(issuer, "type"),
        issuer_principal_id=_text(issuer, "principalId"),
        issuer_arn=_text(issuer, "arn"),
        issuer_account_id=_text(issuer, "accountId"),
        issuer_name=_text(issuer, "userName"),
    )


def _edge(record: Record, name: str, issued: Issued, caller: Identity, expiration: Any) -> Edge:
    start = epoch(record.get("eventTime"))
    request = _map(record, "requestParameters")
    end, basis = _end(name, start, epoch(expiration), request.get("durationSeconds"))
    return Edge(
        issued=issued,
        caller=caller,
        event_name=name,
        start=start,
        end=end,
        end_basis=basis,
        event_id=_text(record, "eventID"),
        shared_event_id=_text(record, "sharedEventID"),
        recipient_account_id=_text(record, "recipientAccountId"),
        region=_text(record, "awsRegion"),
        source_address=_text(record, "sourceIPAddress"),
        source_identity=_text(request, "sourceIdentity") or _text(_map(record, "responseElements"), "sourceIdentity"),
    )


def _end(name: str, start: int | None, expiration: int | None, duration: Any) -> tuple[int | None, EndBasis | None]:
    if expiration is not None:
        return expiration, "expiration"
    if start is None:
        return None, None
    if isinstance(duration, int) and 0 < duration <= 36 * _HOUR:
        return min(start + duration, LAST), "duration"
    return min(start + _DEFAULT_DURATION[name], LAST), "default"


def _assumed_role(record: Record, caller: Identity) -> tuple[Issued, Identity, Any] | None:
    """Read AssumeRole, AssumeRoleWithSAML and AssumeRoleWithWebIdentity.

    Calls by EC2 and Lambda have no ``assumedRoleUser`` in their records; the session's ARN follows from the request.
    """
    response, request = _map(record, "responseElements"), _map(record, "requestParameters")
    credentials, user = _map(response, "credentials"), _map(response, "assumedRoleUser")
    role_arn = _text(request, "roleArn")
    arn = _text(user, "arn") or _session_arn(role_arn, _text(request, "roleSessionName"))
    issued = Issued(
        access_key_id=_text(credentials, "accessKeyId"),
        principal_id=_text(user, "assumedRoleId"),
        arn=arn,
        role_arn=role_arn,
        account_id=account_of(arn) or account_of(role_arn),
    )
    if issued.access_key_id is None and issued.principal_id is None:
        return None
    return issued, caller, credentials.get("expiration")


def _session_arn(role_arn: str | None, session: str | None) -> str | None:
    """Return ``arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION``; a role's path is not part of it.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns
    """
    parts = role_arn.split(":", 5) if role_arn and session else []
    if len(parts) != 6 or not parts[5].startswith("role/"):
        return None
    return f"arn:{parts[1]}:sts::{parts[4]}:assumed-role/{parts[5].rpartition('/')[2]}/{session}"


def _assumed_root(record: Record, caller: Identity) -> tuple[Issued, Identity, Any] | None:
    """Read AssumeRoot: what its session does is recorded as root of the member account, ``assumedRoot`` true.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_root-user-privileged-task.html
    """
    credentials = _map(_map(record, "responseElements"), "credentials")
    key, target = _text(credentials, "accessKeyId"), _text(_map(record, "requestParameters"), "targetPrincipal")
    if key is None:
        return None
    account = account_of(target) or target
    arn = f"arn:{_partition(record)}:iam::{account}:root" if account else None
    return Issued(key, account, arn, None, account), caller, credentials.get("expiration")


def _federation_token(record: Record, caller: Identity) -> tuple[Issued, Identity, Any] | None:
    response = _map(record, "responseElements")
    credentials, user = _map(response, "credentials"), _map(response, "federatedUser")
    key, principal_id = _text(credentials, "accessKeyId"), _text(user, "federatedUserId")
    if key is None and principal_id is None:
        return None
    arn = _text(user, "arn")
    return Issued(key, principal_id, arn, None, account_of(arn)), caller, credentials.get("expiration")


def _session_token(record: Record, caller: Identity) -> tuple[Issued, Identity, Any] | None:
    """Read GetSessionToken: other credentials of the same user."""
    credentials = _map(_map(record, "responseElements"), "credentials")
    key = _text(credentials, "accessKeyId")
    if key is None:
        return None
    issued = Issued(key, caller.principal_id, caller.arn, None, caller.account_id)
    return issued, caller, credentials.get("expiration")


def _switch_role(record: Record, _: Identity) -> tuple[Issued, Identity, Any] | None:
    """Read the console's SwitchRole: ``userIdentity`` is the role's session, ``SwitchFrom`` the ARN it was opened by.

    It carries no access key; the keys that the console then uses are in no record of their issue.
    """
    if _map(record, "responseElements").get("SwitchRole") != "Success":
        return None
    caller = _text(_map(record, "additionalEventData"), "SwitchFrom")
    session = identity(record)
    if caller is None or (session.principal_id is None and session.arn is None):
        return None
    issued = Issued(None, session.principal_id, session.arn, session.issuer_arn, session.account_id)
    return issued, Identity(arn=caller, account_id=account_of(caller)), None


def _role_credentials(record: Record, caller: Identity) -> tuple[Issued, Identity, Any] | None:
    """Read IAM Identity Center's GetRoleCredentials, where a record shows the key (most do not)."""
    response = _map(record, "responseElements")
    credentials = _map(response, "roleCredentials") or _map(response, "credentials")
    key = _text(credentials, "accessKeyId")
    if key is None:
        return None
    account = _text(_map(record, "requestParameters"), "account_id") or _text(
        _map(record, "serviceEventDetails"), "account_id"
    )
    return Issued(key, None, None, None, account), caller, credentials.get("expiration")


def _partition(record: Record) -> str:
    region = _text(record, "awsRegion") or ""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def _map(owner: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = owner.get(key)
    return found if isinstance(found, Mapping) else _EMPTY


def _text(owner: Mapping[str, Any], key: str) -> str | None:
    found = owner.get(key)
    if not isinstance(found, str) or not found:
        return None
    # A parser that let half of a surrogate pair through: no id has one, and no document can carry it.
    return found if found.isascii() else found.encode("utf-8", "replace").decode("utf-8")


_READERS: Final[dict[tuple[str, str], _Read]] = {
    ("sts", "AssumeRole"): _assumed_role,
    ("sts", "AssumeRoleWithSAML"): _assumed_role,
    ("sts", "AssumeRoleWithWebIdentity"): _assumed_role,
    ("sts", "AssumeRoot"): _assumed_root,
    ("sts", "GetFederationToken"): _federation_token,
    ("sts", "GetSessionToken"): _session_token,
    ("signin", "SwitchRole"): _switch_role,
    ("sso", "GetRoleCredentials"): _role_credentials,
}

#: The calls that are read here: first label of the source, and name.
ISSUING: Final = frozenset(_READERS)
