"""``userIdentity`` → who did it.

https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from loader.logtypes.cloudtrail_record import (
    Attributes,
    Flag,
    Identity,
    InScopeOf,
    InvokedByDelegate,
    OnBehalfOf,
    SessionContext,
    SessionIssuer,
    Text,
    WebIdFederationData,
)
from loader.logtypes.leaves import MAX_LEVELS, walk_carefully
from loader.logtypes.residue import stored, write_json
from loader.logtypes.times import parse_time

#: ``userIdentity.type`` → ``user.type``.
USER_TYPES: Final = {
    "Root": "root",
    "IAMUser": "iam_user",
    "AssumedRole": "assumed_role",
    "Role": "role",
    "FederatedUser": "federated_user",
    "SAMLUser": "saml_user",
    "WebIdentityUser": "web_identity_user",
    "IdentityCenterUser": "identity_center_user",
    "Directory": "directory",
    "AWSAccount": "aws_account",
    "AWSService": "aws_service",
    "Unknown": "unknown",
}

#: The first four letters of an id → what it is the id of.
#: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-prefixes
ID_PREFIXES: Final = {
    "ABIA": "service_bearer_token",
    "ACCA": "context_specific_credential",
    "AGPA": "group",
    "AIDA": "user",
    "AIPA": "instance_profile",
    "AKIA": "long_term",
    "ANPA": "managed_policy",
    "ANVA": "managed_policy_version",
    "APKA": "public_key",
    "AROA": "role",
    "ASCA": "certificate",
    "ASIA": "temporary",
}

#: What CloudTrail writes instead of a name that may be a password typed into the wrong field.
HIDDEN: Final = "HIDDEN_DUE_TO_SECURITY_REASONS"


class _Out(Struct, gc=False):
    pass


class _IssuerOut(_Out):
    type: Text
    principal_id: Text
    arn: Text
    account_id: Text
    user_name: Text


class _WebIdOut(_Out):
    federated_provider: Text


class _ContextOut(_Out):
    mfa_authenticated: bool | UnsetType
    creation_date: Text
    ec2_role_delivery: Text
    source_identity: Text
    assumed_root: bool | UnsetType
    sign_in_session_arn: Text
    session_issuer: _IssuerOut | UnsetType
    web_id_federation_data: _WebIdOut | UnsetType


class _ScopeOut(_Out):
    issuer_type: Text
    credentials_issued_to: Text
    source_arn: Text
    source_account: Text


class _DelegateOut(_Out):
    account_id: Text


class _BehalfOut(_Out):
    user_id: Text
    identity_store_arn: Text


class _IdentityOut(_Out):
    type: Text
    arn: Text
    account_id: Text
    access_key_id: Text
    access_key_kind: Text
    principal_id: Text
    user_name: Text
    invoked_by: Text
    credential_id: Text
    identity_provider: Text
    in_scope_of: _ScopeOut | UnsetType
    invoked_by_delegate: _DelegateOut | UnsetType
    on_behalf_of: _BehalfOut | UnsetType
    session_context: _ContextOut | UnsetType


@dataclass(frozen=True, slots=True)
class Actor:
    """What a document says of ``userIdentity``; shared between documents, so nothing in it is ever changed.

    ``fragment`` is ``aws.cloudtrail.user_identity``. ``stored`` and ``leaves`` hold what has no typed field there.
    ``account`` is the caller's account. ``keys`` is the number of JSON keys below ``userIdentity``.
    """

    fragment: Raw
    kind: Text
    id: Text
    name: Text
    email: Text
    session_name: Text
    service: Text
    account: Text
    related: tuple[str, ...]
    stored: Raw | UnsetType
    leaves: tuple[str, ...]
    keys: int


_encode: Final = msgspec.json.Encoder().encode
_EMPTY: Final = Identity()
NOBODY: Final = Actor(Raw(b"{}"), UNSET, UNSET, UNSET, UNSET, UNSET, UNSET, UNSET, (), UNSET, (), 0)


def as_bool(flag: Flag) -> bool | UnsetType:
    """Return a flag that may be written as text."""
    return flag == "true" if isinstance(flag, str) else flag


def actor_of(identity: Identity, residue: dict[str, Any]) -> Actor:
    """Return the actor of a decoded identity. ``residue`` holds, by CloudTrail's names, what it has no place for.

    Raises:
        OddPayloadError: the residue is nested too deeply for the fast path.
    """
    residue = _with_oddities(identity, residue)
    leaves: list[str] = []
    kept: Raw | UnsetType = UNSET
    if residue or identity == _EMPTY:
        walk_carefully(residue, "userIdentity", leaves.append, MAX_LEVELS)
        kept = stored(residue, write_json(residue))
    name = _name(identity)
    session_name = _session_name(identity)
    behalf = identity.on_behalf_of or None
    context = identity.session_context or None
    person = behalf.user_id if behalf else UNSET
    principal = identity.principal_id or person
    email = next((text for text in (name, session_name) if text and "@" in text), UNSET)
    related = [
        principal,
        name,
        session_name,
        email.partition("@")[0] if email else UNSET,
        person,
        context.source_identity if context else UNSET,
    ]
    is_service = identity.type == "AWSService" or (identity.type is UNSET and bool(identity.invoked_by))
    return Actor(
        fragment=Raw(_encode(_identity_out(identity))),
        kind="aws_service" if is_service else _kind(identity.type),
        id=principal or UNSET,
        name=name or UNSET,
        email=email,
        session_name=session_name,
        service=identity.invoked_by if is_service else UNSET,
        account=identity.account_id,
        related=tuple(dict.fromkeys([text for text in related if text and text != HIDDEN])),
        stored=kept,
        leaves=tuple(leaves),
        keys=_count(identity),
    )


def _kind(kind: Text) -> Text:
    return USER_TYPES.get(kind, "unknown") if kind else UNSET


def _name(identity: Identity) -> Text:
    """Return the name people know the actor by; for a session, that of the role or user that it came from."""
    if identity.type in ("AssumedRole", "FederatedUser"):
        issuer = identity.session_context.session_issuer if identity.session_context else UNSET
        if issuer and issuer.user_name:
            return issuer.user_name
    if identity.user_name:
        return identity.user_name
    # arn:aws:iam::123456789012:user/path/NAME, arn:aws:sts::123456789012:assumed-role/NAME/session
    kind, _, rest = identity.arn.split(":", 5)[-1].partition("/") if identity.arn else ("", "", "")
    if kind in ("user", "federated-user"):
        return rest.rpartition("/")[2]
    return rest.partition("/")[0] if kind == "assumed-role" else UNSET


def _session_name(identity: Identity) -> Text:
    """Return ``NAME`` of a principal id like ``AROA…:NAME`` or of an STS ARN."""
    if identity.principal_id:
        unique, colon, name = identity.principal_id.partition(":")
        if colon and (unique.startswith("AROA") or identity.type in ("AssumedRole", "FederatedUser")):
            return name or UNSET
    if identity.arn and ":assumed-role/" in identity.arn:
        return identity.arn.rpartition("/")[2] or UNSET
    return UNSET


def _identity_out(identity: Identity) -> _IdentityOut:
    key = identity.access_key_id
    return _IdentityOut(
        identity.type,
        identity.arn,
        identity.account_id,
        key,
        ID_PREFIXES.get(key[:4], UNSET) if key else UNSET,
        identity.principal_id,
        identity.user_name,
        identity.invoked_by,
        identity.credential_id,
        identity.identity_provider,
        _scope_out(identity.in_scope_of) if identity.in_scope_of else UNSET,
        _DelegateOut(identity.invoked_by_delegate.account_id) if identity.invoked_by_delegate else UNSET,
        _behalf_out(identity.on_behalf_of) if identity.on_behalf_of else UNSET,
        _context_out(identity.session_context) if identity.session_context else UNSET,
    )


def _scope_out(scope: InScopeOf) -> _ScopeOut:
    return _ScopeOut(scope.issuer_type, scope.credentials_issued_to, scope.source_arn, scope.source_account)


def _behalf_out(behalf: OnBehalfOf) -> _BehalfOut:
    return _BehalfOut(behalf.user_id, behalf.identity_store_arn)


def _context_out(context: SessionContext) -> _ContextOut:
    attributes, issuer, web = context.attributes, context.session_issuer, context.web_id_federation_data
    created = parse_time(attributes.creation_date) if attributes and attributes.creation_date else None
    return _ContextOut(
        as_bool(attributes.mfa_authenticated) if attributes else UNSET,
        created.text if created else UNSET,
        context.ec2_role_delivery,
        context.source_identity,
        as_bool(context.assumed_root),
        context.sign_in_session_arn,
        _IssuerOut(issuer.type, issuer.principal_id, issuer.arn, issuer.account_id, issuer.user_name)
        if issuer and issuer != SessionIssuer()
        else UNSET,
        _WebIdOut(web.federated_provider) if web and web.federated_provider is not UNSET else UNSET,
    )


#: Path below ``userIdentity`` of each part that is an object of its own.
_NESTED: Final[tuple[tuple[str, str, Struct], ...]] = (
    ("on_behalf_of", "onBehalfOf", OnBehalfOf()),
    ("in_scope_of", "inScopeOf", InScopeOf()),
    ("invoked_by_delegate", "invokedByDelegate", InvokedByDelegate()),
    ("session_context", "sessionContext", SessionContext()),
)
_NESTED_IN_CONTEXT: Final[tuple[tuple[str, str, Struct], ...]] = (
    ("session_issuer", "sessionIssuer", SessionIssuer()),
    ("web_id_federation_data", "webIdFederationData", WebIdFederationData()),
    ("attributes", "attributes", Attributes()),
)


def _with_oddities(identity: Identity, residue: dict[str, Any]) -> dict[str, Any]:
    """Return ``residue`` and what of the identity only looks as if it had a place: empty objects, odd dates."""
    found: dict[str, Any] = {}
    context: dict[str, Any] = {}
    if identity.session_context:
        for attribute, name, empty in _NESTED_IN_CONTEXT:
            if getattr(identity.session_context, attribute) == empty:
                context[name] = {}
        web = identity.session_context.web_id_federation_data
        if web and web.attributes is not UNSET:
            context["webIdFederationData"] = {"attributes": {}}
        attributes = identity.session_context.attributes
        if attributes and attributes.creation_date is not UNSET:
            created = parse_time(attributes.creation_date)
            if created is None or not created.exact:
                context["attributes"] = {"creationDate": attributes.creation_date}
    for attribute, name, empty in _NESTED:
        if getattr(identity, attribute) == empty:
            found[name] = {}
    if context:
        found["sessionContext"] = context
    return _merged(found, residue) if residue else found


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return both trees as one; ``second`` has the last word."""
    merged = dict(first)
    for name, value in second.items():
        mine = merged.get(name)
        merged[name] = _merged(mine, value) if isinstance(mine, dict) and type(value) is dict else value
    return merged


def _count(struct: Struct) -> int:
    """Return the number of JSON keys that ``struct`` was decoded from."""
    keys = 0
    for value in msgspec.structs.astuple(struct):
        if value is not UNSET:
            keys += 1
            if isinstance(value, Struct):
                keys += _count(value)
    return keys
