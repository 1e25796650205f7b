"""The answer to "who did it": an actor, how sure that is, and the way there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from loader.identity.model import Identity, Principal

#: ``certain``: the record says so, or every step follows an access key. ``inferred``: some step follows a session's
#: name and time, or a user's name, and only one answer fits. ``ambiguous``: several fit, or one fits too loosely: see
#: ``candidates``. ``unknown``: the trail ends before anybody.
Certainty = Literal["certain", "inferred", "ambiguous", "unknown"]

#: How a step was found: by access key; by the session's id and its start; by its id and a moment; by a name alone.
Link = Literal["access_key", "session_start", "session", "name"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step back: the session ``issued`` was given to ``caller`` by the call ``event_names``. Epoch seconds."""

    session: str
    access_key_id: str | None
    caller: str
    link: Link
    event_names: tuple[str, ...]
    event_ids: tuple[str, ...]
    start: int | None
    end: int | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of several answers. ``principal`` is ``None`` if this trail ends before anybody; ``reached`` is where."""

    principal: Principal | None
    reached: Identity
    steps: tuple[Step, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acted. ``principal`` is ``None`` unless ``certain`` or ``inferred``; ``reason`` then says why.

    ``steps`` lead from the credential that was asked about to the principal; ``reached`` is how far they got.
    """

    certainty: Certainty
    principal: Principal | None
    reached: Identity
    steps: tuple[Step, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    reason: str = ""
    asked: Identity = field(default_factory=Identity)

    @property
    def chain(self) -> list[str]:
        """Return the names of everybody on the way, the first principal first, the identity asked about last."""
        first = self.principal
        start = (first.arn or first.name or first.id or first.type) if first else self.reached.label
        names = [start, *(step.session for step in reversed(self.steps))]
        if self.asked.arn and self.asked.arn not in names:
            names.append(self.asked.arn)
        return names

    def document(self) -> dict[str, Any]:
        """Return ``siem.actor`` and ``siem.session.chain`` for a document that is written when it is asked."""
        actor: dict[str, Any] = {"certainty": self.certainty}
        if self.principal:
            actor.update(actor_fields(self.principal))
        found: dict[str, Any] = {"actor": actor}
        if self.principal:
            found["session"] = {"chain": self.chain}
        return found


def actor_fields(principal: Principal) -> dict[str, str]:
    """Return ``principal`` under the names of ``siem.actor.*``."""
    fields = {
        "id": principal.id,
        "name": principal.name,
        "arn": principal.arn,
        "type": principal.type,
        "account_id": principal.account_id,
    }
    return {name: value for name, value in fields.items() if value}
