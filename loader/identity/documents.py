"""Edges ↔ documents of ``siem-sessions-*``, and identities out of event documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from loader.identity.model import Edge, EndBasis, Identity, Issued, unique_id
from loader.identity.times import epoch, text_of
from loader.index.identifiers import derived_id

#: Every index of edges.
SESSIONS: Final = "siem-sessions-*"
_UNDATED: Final = "siem-sessions-undated"

_ISSUED: Final = ("access_key_id", "principal_id", "arn", "role_arn", "account_id")
_CALLER: Final = (
    "type",
    "principal_id",
    "arn",
    "account_id",
    "name",
    "access_key_id",
    "invoked_by",
    "provider",
    "on_behalf_of",
)
_ISSUER: Final = ("type", "principal_id", "arn", "account_id", "name")
_TEXTS: Final = (
    "event_name",
    "event_id",
    "shared_event_id",
    "recipient_account_id",
    "region",
    "source_address",
    "source_identity",
    "end_basis",
)


def index_of(edge: Edge) -> str:
    """Return the edge's index, by the month of the call if that is believed: a later load finds the same place."""
    if edge.start is None or edge.misdated:
        return _UNDATED
    return f"siem-sessions-{text_of(edge.start)[:7].replace('-', '.')}"


def id_of(edge: Edge) -> str:
    """Return the derived id: one record's statement, whatever it is delivered with and how often."""
    return derived_id(
        edge.event_id,
        edge.recipient_account_id,
        edge.event_name,
        edge.start,
        edge.issued.access_key_id,
        edge.issued.principal_id,
        edge.issued.arn,
        edge.caller.access_key_id,
        edge.caller.principal_id,
        edge.caller.arn,
    )


def document(edge: Edge) -> dict[str, Any]:
    """Return the edge as ``mappings/index/siem-sessions.json`` has it."""
    issued, caller = edge.issued, edge.caller
    found: dict[str, Any] = {name: getattr(edge, name) for name in _TEXTS}
    found["@timestamp"] = found["start"] = None if edge.start is None else text_of(edge.start)
    found["end"] = None if edge.end is None else text_of(edge.end)
    found["issued"] = _present(
        {**{name: getattr(issued, name) for name in _ISSUED}, "unique_id": unique_id(issued.principal_id)}
    )
    started = caller.session_started
    found["caller"] = _present(
        {
            **{name: getattr(caller, name) for name in _CALLER},
            "unique_id": unique_id(caller.principal_id),
            "session_started": None if started is None else text_of(started),
            "assumed_root": caller.assumed_root,
            "issuer": _present({name: getattr(caller, f"issuer_{name}") for name in _ISSUER}) or None,
        }
    )
    return _present(found)


def edge_of(source: Mapping[str, Any]) -> Edge:
    """Return the edge that ``document`` made ``source`` of."""
    issued, caller = source.get("issued", {}), source.get("caller", {})
    issuer = caller.get("issuer", {})
    return Edge(
        issued=Issued(**{name: issued.get(name) for name in _ISSUED}),
        caller=Identity(
            **{name: caller.get(name) for name in _CALLER},
            session_started=epoch(caller.get("session_started")),
            assumed_root=caller.get("assumed_root"),
            **{f"issuer_{name}": issuer.get(name) for name in _ISSUER},
        ),
        event_name=source.get("event_name", ""),
        start=epoch(source.get("start")),
        end=epoch(source.get("end")),
        end_basis=cast("EndBasis | None", source.get("end_basis")),
        **cast(
            "dict[str, Any]", {name: source.get(name) for name in _TEXTS if name not in ("event_name", "end_basis")}
        ),
    )


def identity_of_event(source: Mapping[str, Any]) -> Identity:
    """Return the identity of an event document (``_source`` of ``log-aws-cloudtrail-*``)."""
    user = _path(source, "aws", "cloudtrail", "user_identity")
    context = _path(user, "session_context")
    issuer = _path(context, "session_issuer")
    behalf = _path(user, "on_behalf_of")
    return Identity(
        type=user.get("type"),
        principal_id=user.get("principal_id"),
        arn=user.get("arn"),
        account_id=user.get("account_id"),
        name=user.get("user_name"),
        access_key_id=user.get("access_key_id"),
        invoked_by=user.get("invoked_by"),
        provider=user.get("identity_provider"),
        on_behalf_of=behalf.get("user_id"),
        session_started=epoch(context.get("creation_date")),
        assumed_root=context.get("assumed_root") in (True, "true"),
        issuer_type=issuer.get("type"),
        issuer_principal_id=issuer.get("principal_id"),
        issuer_arn=issuer.get("arn"),
        issuer_account_id=issuer.get("account_id"),
        issuer_name=issuer.get("user_name"),
    )


def _path(source: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    found: Any = source
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
