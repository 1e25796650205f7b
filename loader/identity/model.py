"""The words of this room: an identity as a record states it, a credential that was issued, the edge between them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal

_ACCOUNT: Final = re.compile(r"\d{12}")
#: Unique ids that IAM never gives out again: users and roles.
#: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
_NEVER_REUSED: Final = ("AIDA", "AROA")

#: How the end of a session is known: the response's expiration, the request's duration, or the API's default.
EndBasis = Literal["expiration", "duration", "default"]


@dataclass(frozen=True, slots=True)
class Identity:
    """An identity as one record's ``userIdentity`` states it; every field may be missing. Times are epoch seconds.

    ``name`` is ``userName``; ``issuer_*`` is ``sessionContext.sessionIssuer``; ``on_behalf_of`` the IAM Identity Center
    user id; ``assumed_root`` is ``None`` where nobody said.
    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
    """

    type: str | None = None
    principal_id: str | None = None
    arn: str | None = None
    account_id: str | None = None
    name: str | None = None
    access_key_id: str | None = None
    invoked_by: str | None = None
    provider: str | None = None
    on_behalf_of: str | None = None
    session_started: int | None = None
    assumed_root: bool | None = None
    issuer_type: str | None = None
    issuer_principal_id: str | None = None
    issuer_arn: str | None = None
    issuer_account_id: str | None = None
    issuer_name: str | None = None

    @property
    def label(self) -> str:
        """Return the best name there is, for chains and messages."""
        return (
            self.arn
            or self.principal_id
            or self.invoked_by
            or self.name
            or self.on_behalf_of
            or self.access_key_id
            or self.account_id
            or "unknown"
        )


@dataclass(frozen=True, slots=True)
class Issued:
    """The credential a call returned: its access key, and the session it stands for.

    ``principal_id`` is what later records carry as ``userIdentity.principalId``: ``AROA…:session``, ``account:name``,
    ``AIDA…`` or, for AssumeRoot, the member account's number.
    """

    access_key_id: str | None = None
    principal_id: str | None = None
    arn: str | None = None
    role_arn: str | None = None
    account_id: str | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """One record's statement that ``caller`` was given ``issued``. Two accounts may each have a record of one call.

    ``start`` and ``end`` are epoch seconds, ``None`` if the record does not say when it happened. ``misdated`` says
    that the record's time is not believed for the name of an index.
    """

    issued: Issued
    caller: Identity
    event_name: str
    start: int | None = None
    end: int | None = None
    end_basis: EndBasis | None = None
    event_id: str | None = None
    shared_event_id: str | None = None
    recipient_account_id: str | None = None
    region: str | None = None
    source_address: str | None = None
    source_identity: str | None = None
    misdated: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who is nobody's session: an IAM user, root, an external user, an AWS service.

    ``id`` is unique and never reused for IAM users; ``None`` for services, and where only a name is known.
    """

    type: str
    id: str | None = None
    name: str | None = None
    arn: str | None = None
    account_id: str | None = None

    def same(self, other: Principal) -> bool:
        """Return whether both are certainly the same: by unique id, else by ARN, else (services) by name."""
        if self.id and other.id:
            return self.id == other.id
        if self.arn and other.arn:
            return self.arn == other.arn
        return self.id is None and other.id is None and (self.type, self.name) == (other.type, other.name)


def unique_id(principal_id: str | None) -> str | None:
    """Return the id that is never reused: ``AROA…`` of ``AROA…:session``, ``AIDA…``; ``None`` for anything else."""
    if principal_id is None or not principal_id.startswith(_NEVER_REUSED):
        return None
    return principal_id.partition(":")[0]


def account_of(arn: str | None) -> str | None:
    """Return the account number in ``arn``."""
    parts = arn.split(":", 5) if arn else []
    return parts[4] or None if len(parts) == 6 else None


def first_principal(identity: Identity) -> Principal | None:
    """Return who ``identity`` is, if the record alone says so; ``None`` if it is a session of somebody else's, or open.

    A federated user's session issuer is the IAM user who called GetFederationToken, so the record itself names him.
    """
    kind, principal_id = identity.type, identity.principal_id
    account = identity.account_id or account_of(identity.arn)
    if principal_id and principal_id.startswith("AIDA") and ":" not in principal_id:
        name = identity.name or _last(identity.arn, ":user/")
        return Principal("IAMUser", principal_id, name, identity.arn, account)
    if kind == "FederatedUser":
        return _issuer(identity)
    if kind in ("SAMLUser", "WebIdentityUser"):
        return Principal(kind, principal_id, identity.name, identity.arn, identity.account_id)
    if kind == "IdentityCenterUser":
        user = identity.on_behalf_of or principal_id
        return Principal(kind, user, identity.name, identity.arn, account) if user else None
    if identity.on_behalf_of:
        # An application's session that carries its user along: the user acts, whoever opened the session.
        # https://docs.aws.amazon.com/singlesignon/latest/userguide/trustedidentitypropagation-overview.html
        return Principal("IdentityCenterUser", identity.on_behalf_of)
    # Service events have no type, only who invoked them.
    if kind == "AWSService" or (kind, principal_id, identity.arn, identity.access_key_id) == (None, None, None, None):
        return Principal("AWSService", None, identity.invoked_by) if identity.invoked_by else None
    if _is_root(identity):
        return Principal(
            "Root", account or principal_id, identity.name or "root", identity.arn, account or principal_id
        )
    return None


def named_user(identity: Identity) -> Principal | None:
    """Return the IAM user that an ARN alone names: a name, which another user may bear later."""
    name = _last(identity.arn, ":user/")
    if name is None or identity.principal_id:
        return None
    return Principal("IAMUser", None, name, identity.arn, identity.account_id or account_of(identity.arn))


def _issuer(identity: Identity) -> Principal | None:
    account = identity.issuer_account_id or account_of(identity.issuer_arn)
    if identity.issuer_type == "Root":
        return Principal("Root", account or identity.issuer_principal_id, "root", identity.issuer_arn, account)
    if identity.issuer_principal_id and identity.issuer_principal_id.startswith("AIDA"):
        name = identity.issuer_name or _last(identity.issuer_arn, ":user/")
        return Principal("IAMUser", identity.issuer_principal_id, name, identity.issuer_arn, account)
    return None


def _is_root(identity: Identity) -> bool:
    """Return whether this is root by its own password or key, and not a session that AssumeRoot gave to somebody."""
    if identity.type == "Root":
        return not identity.assumed_root
    if identity.type is not None or not identity.principal_id or not _ACCOUNT.fullmatch(identity.principal_id):
        return False
    return identity.assumed_root is False or not (identity.access_key_id or "ASIA").startswith("ASIA")


def _last(arn: str | None, mark: str) -> str | None:
    """Return the name at the end of ``arn``, without its path, if the ARN is of the kind ``mark``."""
    if arn is None or mark not in arn:
        return None
    return arn.rpartition("/")[2] or None
