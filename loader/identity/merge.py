"""Edges → sessions: what several records say about one call, put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import TypeVar

from loader.identity.model import Edge, Identity, Issued


@dataclass(frozen=True, slots=True)
class Session:
    """One call that handed out a credential, as all its records together tell it.

    ``callers`` has more than one member only if the records contradict each other about who called.
    """

    issued: Issued
    callers: tuple[Identity, ...]
    start: int | None
    end: int | None
    event_names: tuple[str, ...]
    event_ids: tuple[str, ...]

    @property
    def key(self) -> tuple[object, ...]:
        """Return what tells this session from every other, however many of its records are known."""
        issued = self.issued
        return (issued.access_key_id,) if issued.access_key_id else (issued.principal_id or issued.arn, self.start)


def sessions(edges: Iterable[Edge]) -> list[Session]:
    """Return the sessions that ``edges`` are about, in an order that does not depend on theirs.

    Edges belong together if they are about the same access key, or are the two accounts' records of one call
    (``sharedEventID``: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/shared-event-ID.html).
    """
    merged = [_merge(group) for group in _groups(sorted(set(edges), key=_order))]
    return sorted(merged, key=repr)


def _order(edge: Edge) -> tuple[object, ...]:
    """Order by how much an edge tells of its caller: the caller's own account knows key and ARN, the other does not."""
    caller = edge.caller
    told = sum(getattr(caller, field.name) is not None for field in fields(Identity))
    return (caller.access_key_id is None, -told, edge.event_id or "", repr(edge))


def _groups(edges: list[Edge]) -> Iterator[list[Edge]]:
    group_of: dict[str, list[Edge]] = {}
    alone: list[list[Edge]] = []
    for edge in edges:
        keys = [f"{kind}:{value}" for kind, value in _marks(edge) if value]
        found = {id(group): group for key in keys if (group := group_of.get(key)) is not None}
        group = [edge]
        for other in found.values():
            group = other + group
        if not keys:
            alone.append(group)
        for member in group:
            for kind, value in _marks(member):
                if value:
                    group_of[f"{kind}:{value}"] = group
    yield from {id(group): group for group in group_of.values()}.values()
    yield from alone


def _marks(edge: Edge) -> tuple[tuple[str, str | None], ...]:
    return (("key", edge.issued.access_key_id), ("shared", edge.shared_event_id))


def _merge(group: list[Edge]) -> Session:
    ordered = sorted(group, key=_order)
    issued = ordered[0].issued
    for edge in ordered[1:]:
        issued = _fill(issued, edge.issued)
    callers: list[Identity] = []
    for edge in ordered:
        for position, caller in enumerate(callers):
            if _same(caller, edge.caller):
                callers[position] = _fill(caller, edge.caller)
                break
        else:
            callers.append(edge.caller)
    starts = [edge.start for edge in ordered if edge.start is not None]
    ends = [edge.end for edge in ordered if edge.end is not None]
    return Session(
        issued=issued,
        callers=tuple(callers),
        start=min(starts, default=None),
        end=max(ends, default=None),
        event_names=tuple(sorted({edge.event_name for edge in ordered})),
        event_ids=tuple(sorted({edge.event_id for edge in ordered if edge.event_id})),
    )


def _same(one: Identity, other: Identity) -> bool:
    """Return whether two records mean the same caller: nothing that both say differs, and something is the same."""
    if one.access_key_id and other.access_key_id and one.access_key_id != other.access_key_id:
        return False
    if one.principal_id and other.principal_id:
        return one.principal_id == other.principal_id
    if one.arn and other.arn:
        return one.arn == other.arn
    return (one.invoked_by, one.account_id, one.type) == (other.invoked_by, other.account_id, other.type)


_Facts = TypeVar("_Facts", Identity, Issued)


def _fill(one: _Facts, other: _Facts) -> _Facts:
    """Return ``one`` with what only ``other`` knows. A type of ``AWSAccount`` only says that it was another account."""
    missing = {
        field.name: getattr(other, field.name)
        for field in fields(one)
        if getattr(one, field.name) is None and getattr(other, field.name) is not None
    }
    if isinstance(one, Identity) and isinstance(other, Identity) and one.type == "AWSAccount" and other.type:
        missing["type"] = other.type
    return replace(one, **missing)
