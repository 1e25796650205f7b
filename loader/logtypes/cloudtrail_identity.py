"""``userIdentity`` → who did it.

https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from loader.logtypes.cloudtrail_parts import Output, as_bool, member, members
from loader.logtypes.cloudtrail_record import (
    Attributes,
    Identity,
    InScopeOf,
    OnBehalfOf,
    SessionContext,
    SessionIssuer,
    Text,
    WebIdFederationData,
    encode,
)
from loader.logtypes.model import Who
from loader.logtypes.times import LONGEST_TIME, Moment, parse_time

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

#: An EC2 instance's id.
INSTANCE: Final = re.compile(r"i-(?:[0-9a-f]{17}|[0-9a-f]{8})", re.ASCII)
#: What CloudTrail writes instead of a name that may be a password typed into the wrong field.
HIDDEN: Final = "HIDDEN_DUE_TO_SECURITY_REASONS"


class _IssuerOut(Output):
    type: Text
    principal_id: Text
    arn: Text
    account_id: Text
    user_name: Text


class _WebIdOut(Output):
    federated_provider: Text


class _ContextOut(Output):
    mfa_authenticated: bool | UnsetType
    creation_date: Text
    ec2_role_delivery: Text
    source_identity: Text
    assumed_root: bool | UnsetType
    sign_in_session_arn: Text
    session_issuer: _IssuerOut | UnsetType
    web_id_federation_data: _WebIdOut | UnsetType


class _ScopeOut(Output):
    issuer_type: Text
    credentials_issued_to: Text
    source_arn: Text
    source_account: Text


class _DelegateOut(Output):
    account_id: Text


class _BehalfOut(Output):
    user_id: Text
    identity_store_arn: Text


class _IdentityOut(Output):
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


class _Name(Output):
    name: Text


class _Session(Output):
    session: _Name


class UserName(Output):
    """An id and a name."""

    id: Text
    name: Text


class User(Output):
    """``user``."""

    id: Text
    name: Text
    email: Text
    type: Text
    target: UserName | UnsetType = UNSET
    changes: UserName | UnsetType = UNSET


class Actor(Struct, frozen=True, gc=False):
    """What a document says of ``userIdentity``; shared between documents, so nothing in it is ever changed.

    ``trail`` is ``aws.cloudtrail.user_identity``, ``user_json`` is ``user`` of a record that names no other user,
    ``related`` the names for ``related.user``, ``related_json`` the same as a member, ``account`` the caller's account.
    ``stored`` and ``leaves`` hold what has no typed field, ``odd_date`` a creation date that is not as it should be.
    ``session`` is a member of ``siem``.
    """

    user: User
    trail: bytes
    user_json: bytes
    service: bytes
    account: Text
    related: tuple[str, ...]
    related_json: bytes
    stored: bytes
    leaves: tuple[str, ...]
    leaves_json: bytes
    hosts: tuple[str, ...]
    session: bytes
    odd_date: Text
    who: Who


class Acting(Struct, frozen=True, gc=False):
    """An actor in one record: ``trail`` and ``who`` are his, with the record's own access key and creation date."""

    actor: Actor
    trail: bytes
    who: Who | None


def acting_as(actor: Actor) -> Acting:
    """Return ``actor`` as he is."""
    return Acting(actor, actor.trail, actor.who)


def actor_of(identity: Identity) -> Actor:
    """Return the actor of a decoded identity."""
    leaves: list[str] = []
    out = _identity_out(identity, leaves)
    context = identity.session_context
    is_service = identity.type == "AWSService" or (identity.type is UNSET and bool(identity.invoked_by))
    name, session_name = _name(identity), _session_name(identity)
    email = next((text for text in (name, session_name) if text and "@" in text), UNSET)
    person = identity.on_behalf_of.user_id if identity.on_behalf_of else UNSET
    user = User(
        identity.principal_id or person or UNSET, name, email, "aws_service" if is_service else _kind(identity.type)
    )
    related = related_names(
        user.id,
        name,
        session_name,
        email.partition("@")[0] if email else UNSET,
        person,
        context.source_identity if context else UNSET,
    )
    stored_json = b""
    if context and context.web_id_federation_data and context.web_id_federation_data.attributes is not UNSET:
        leaves.append(_NO_ATTRIBUTES_LEAF)
        stored_json = _NO_ATTRIBUTES
    return Actor(
        user=user,
        trail=b',"user_identity":%b' % encode(out),
        user_json=member(b"user", user),
        service=member(b"service", _Name(identity.invoked_by))
        if identity.invoked_by and (is_service or _is_service_linked(identity))
        else b"",
        account=identity.account_id,
        related=related,
        related_json=member(b"user", related),
        stored=stored_json,
        leaves=tuple(leaves),
        leaves_json=encode(leaves)[1:-1],
        hosts=(session_name,) if session_name and INSTANCE.fullmatch(session_name) else (),
        session=members(_Session(_Name(session_name))) if session_name else b"",
        odd_date=_odd_date(identity),
        who=_who(identity, out),
    )


def _who(identity: Identity, out: _IdentityOut) -> Who:
    context, behalf = identity.session_context or SessionContext(), identity.on_behalf_of
    issuer, started = context.session_issuer, out.session_context.creation_date if out.session_context else UNSET
    return Who(
        identity.type or None,
        identity.access_key_id or None,
        identity.principal_id or None,
        identity.arn or None,
        started or None,
        (issuer.type or None, issuer.principal_id or None, issuer.arn or None, issuer.user_name or None)
        if issuer and identity.type == "FederatedUser"
        else None,
        as_bool(context.assumed_root) is True,
        (behalf.user_id or None) if behalf else None,
    )


#: What an empty ``webIdFederationData.attributes`` leaves behind; EKS writes it with every call of a pod.
_NO_ATTRIBUTES: Final = b'"user_identity":{"sessionContext":{"webIdFederationData":{"attributes":{}}}}'
_NO_ATTRIBUTES_LEAF: Final = "userIdentity.sessionContext.webIdFederationData.attributes={}"


def _odd_date(identity: Identity) -> Text:
    """Return the creation date as it is, unless the typed field says the same."""
    attributes = identity.session_context.attributes if identity.session_context else UNSET
    if not attributes or attributes.creation_date is UNSET:
        return UNSET
    created = _created(attributes)
    return attributes.creation_date if created is None or not created.exact else UNSET


def _created(attributes: Attributes) -> Moment | None:
    date = attributes.creation_date
    return parse_time(date) if date and len(date) <= LONGEST_TIME else None


def related_names(*names: Text) -> tuple[str, ...]:
    """Return the names that are names, each once."""
    return tuple(dict.fromkeys([name for name in names if name and name != HIDDEN]))


#: The part for a record without ``userIdentity``.
NOBODY: Final = Acting(
    Actor(
        user=User(UNSET, UNSET, UNSET, UNSET),
        trail=b"",
        user_json=b"",
        service=b"",
        account=UNSET,
        related=(),
        related_json=b"",
        stored=b"",
        leaves=(),
        leaves_json=b"",
        hosts=(),
        session=b"",
        odd_date=UNSET,
        who=Who(),
    ),
    trail=b"",
    who=None,
)


def _is_service_linked(identity: Identity) -> bool:
    """Return whether this is a session of a role that only an AWS service can assume."""
    issuer = identity.session_context.session_issuer if identity.session_context else UNSET
    return bool(issuer and issuer.arn and ":role/aws-service-role/" in issuer.arn)


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
    if identity.type == "Root":
        return "root"  # a userName of root would be the account's alias
    # arn:aws:iam::123456789012:user/path/NAME, arn:aws:sts::123456789012:assumed-role/NAME/session
    kind, _, rest = identity.arn.split(":", 5)[-1].partition("/") if identity.arn else ("", "", "")
    if kind in ("user", "role", "federated-user"):
        return rest.rpartition("/")[2] or UNSET
    return (rest.partition("/")[0] or UNSET) if kind == "assumed-role" else UNSET


def _session_name(identity: Identity) -> Text:
    """Return ``NAME`` of a principal id like ``AROA…:NAME`` or of an STS ARN."""
    if identity.principal_id:
        unique, colon, name = identity.principal_id.partition(":")
        if colon and (unique.startswith("AROA") or identity.type in ("AssumedRole", "FederatedUser")):
            return name or UNSET
    if identity.arn and ":assumed-role/" in identity.arn:
        return identity.arn.rpartition("/")[2] or UNSET
    return UNSET


def _identity_out(identity: Identity, leaves: list[str]) -> _IdentityOut:
    """Return ``aws.cloudtrail.user_identity``; an empty object stays one, and is a leaf as well."""
    key, scope, delegate, behalf = (
        identity.access_key_id,
        identity.in_scope_of,
        identity.invoked_by_delegate,
        identity.on_behalf_of,
    )
    out = _IdentityOut(
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
        _scope_out(scope) if scope else UNSET,
        _DelegateOut(delegate.account_id) if delegate else UNSET,
        _BehalfOut(behalf.user_id, behalf.identity_store_arn) if behalf else UNSET,
        _context_out(identity.session_context, leaves) if identity.session_context else UNSET,
    )
    if scope == _EMPTY_SCOPE:
        leaves.append("userIdentity.inScopeOf={}")
    if behalf == _EMPTY_BEHALF:
        leaves.append("userIdentity.onBehalfOf={}")
    if delegate and delegate.account_id is UNSET:
        leaves.append("userIdentity.invokedByDelegate={}")
    if not leaves and encode(out) == b"{}":
        leaves.append("userIdentity={}")
    return out


def _scope_out(scope: InScopeOf) -> _ScopeOut:
    return _ScopeOut(scope.issuer_type, scope.credentials_issued_to, scope.source_arn, scope.source_account)


def _context_out(context: SessionContext, leaves: list[str]) -> _ContextOut:
    attributes, issuer, web = context.attributes, context.session_issuer, context.web_id_federation_data
    path = "userIdentity.sessionContext"
    created = _created(attributes) if attributes else None
    if issuer == _EMPTY_ISSUER:
        leaves.append(f"{path}.sessionIssuer={{}}")
    if web == _EMPTY_WEB:
        leaves.append(f"{path}.webIdFederationData={{}}")
    if attributes == _EMPTY_ATTRIBUTES:
        leaves.append(f"{path}.attributes={{}}")
    if context == _EMPTY_CONTEXT:
        leaves.append(f"{path}={{}}")
    return _ContextOut(
        as_bool(attributes.mfa_authenticated) if attributes else UNSET,
        created.text if created else UNSET,
        context.ec2_role_delivery,
        context.source_identity,
        as_bool(context.assumed_root),
        context.sign_in_session_arn,
        _IssuerOut(issuer.type, issuer.principal_id, issuer.arn, issuer.account_id, issuer.user_name)
        if issuer
        else UNSET,
        # AWS writes an empty one into nearly every session: its leaf says so.
        _WebIdOut(web.federated_provider) if web and web.federated_provider is not UNSET else UNSET,
    )


_EMPTY_SCOPE: Final = InScopeOf()
_EMPTY_BEHALF: Final = OnBehalfOf()
_EMPTY_ISSUER: Final = SessionIssuer()
_EMPTY_WEB: Final = WebIdFederationData()
_EMPTY_ATTRIBUTES: Final = Attributes()
_EMPTY_CONTEXT: Final = SessionContext()
