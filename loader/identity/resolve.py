"""From a credential back to the first principal, over any number of sessions and accounts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from loader.identity.actor import Actor, Candidate, Link, Step
from loader.identity.merge import Session, sessions
from loader.identity.model import Edge, Identity, Principal, first_principal, named_user, unique_id
from loader.identity.store import SKEW_S, By, Found, SessionStore

#: Sessions in a row before a trail is given up. Each needs one before it, so real ones are far shorter.
MAX_STEPS: Final = 100
#: Sessions looked at for one question; beyond it the answer is "ambiguous".
MAX_VISITS: Final = 1000

_TEMPORARY: Final = "ASIA"


@dataclass(frozen=True, slots=True)
class _Trail:
    """One way back. ``possible``: it starts with another credential of a session of the same name."""

    principal: Principal | None
    reached: Identity
    at: int | None
    steps: tuple[Step, ...]
    weak: bool = False
    possible: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Match:
    session: Session
    link: Link
    possible: bool


class Resolver:
    """Answers from a :class:`~loader.identity.store.SessionStore`. Keeps nothing between two questions."""

    def __init__(self, store: SessionStore, *, max_steps: int = MAX_STEPS) -> None:
        self._store = store
        self._max_steps = max_steps

    def resolve(
        self,
        *,
        access_key: str | None = None,
        principal_id: str | None = None,
        arn: str | None = None,
        at: int | None = None,
        session_started: int | None = None,
    ) -> Actor:
        """Return who is behind a credential or a session at a moment (``at``, epoch seconds).

        ``session_started`` (``sessionContext.attributes.creationDate``) tells sessions of one name apart, and finds
        those whose keys the console issued. Pass everything the record has; :meth:`resolve_identity` does.

        Raises:
            ClusterError: the store cannot answer.
        """
        asked = Identity(access_key_id=access_key, principal_id=principal_id, arn=arn, session_started=session_started)
        return self.resolve_identity(asked, at=at)

    def resolve_identity(self, identity: Identity, *, at: int | None = None) -> Actor:
        """Return who is behind ``identity``, which acted at ``at`` (epoch seconds).

        Raises:
            ClusterError: the store cannot answer.
        """
        search = _Search(self._store, self._max_steps)
        trails = search.trails(identity, at)
        if search.visits > MAX_VISITS:
            return Actor("ambiguous", None, identity, reason=f"more than {MAX_VISITS} sessions fit", asked=identity)
        return self._answer(identity, trails)

    def _answer(self, asked: Identity, trails: list[_Trail]) -> Actor:
        trails = [self._described(trail) for trail in trails]
        distinct = _distinct(trails)
        best = distinct[0]
        if len(distinct) > 1 or all(trail.possible for trail in trails):
            candidates = tuple(
                Candidate(trail.principal, trail.reached, trail.steps, trail.reason) for trail in distinct
            )
            reason = (
                "several sessions of this name were open"
                if len(distinct) > 1
                else "a session of this name was open, but under another access key"
            )
            if all(trail.principal is None for trail in trails):
                return Actor("unknown", None, best.reached, (), candidates, best.reason, asked)
            return Actor("ambiguous", None, asked, (), candidates, reason, asked)
        if best.principal is None:
            return Actor("unknown", None, best.reached, best.steps, (), best.reason, asked)
        return Actor(
            "inferred" if best.weak else "certain", best.principal, best.reached, best.steps, (), best.reason, asked
        )

    def _described(self, trail: _Trail) -> _Trail:
        """Add name and ARN to a user whom the trail's records give by unique id only, as they were at the time."""
        principal = trail.principal
        if principal is None or principal.arn or unique_id(principal.id) is None or principal.id is None:
            return trail
        sightings = self._store.callers("principal_id", principal.id)
        before = [s for s in sightings if trail.at is None or s.last is None or s.last <= trail.at + SKEW_S]
        chosen = max(before, key=lambda s: s.last or 0, default=None) or min(
            sightings, key=lambda s: s.last or 0, default=None
        )
        if chosen is None:
            return trail
        told = first_principal(replace(chosen.caller, type="IAMUser"))
        return trail if told is None else replace(trail, principal=told)


def _distinct(trails: list[_Trail]) -> list[_Trail]:
    """Return one trail for each actor, the surest first; a name alone counts with the one user who bears it."""
    found: list[_Trail] = []
    ordered = sorted(
        trails,
        key=lambda t: (t.principal is None, t.possible, t.principal is not None and t.principal.id is None, t.weak),
    )
    for trail in ordered:
        for known in found:
            if trail.principal is not None and known.principal is not None:
                if known.principal.same(trail.principal):
                    break
            elif trail.principal is known.principal and trail.reached == known.reached:
                break
        else:
            found.append(trail)
    return found


class _Search:
    """One question's walk: what it has read, and how much."""

    def __init__(self, store: SessionStore, max_steps: int) -> None:
        self._store = store
        self._max_steps = max_steps
        self._read: dict[tuple[By, str, int | None], Found] = {}
        self.visits = 0

    def trails(self, asked: Identity, at: int | None) -> list[_Trail]:
        """Return the ways back from ``asked``, at least one, and one to every end that there is.

        A session is walked through once, the surest way first reached: what lies behind it stays the same.
        """
        found: list[_Trail] = []
        walked: dict[object, tuple[bool, bool]] = {}
        open_ends: deque[tuple[_Trail, frozenset[object]]] = deque([(_Trail(None, asked, at, ()), frozenset())])
        while open_ends and self.visits <= MAX_VISITS:
            trail, seen = open_ends.popleft()
            if len(trail.steps) >= self._max_steps:
                found.append(replace(trail, reason=f"the trail is longer than {self._max_steps} sessions"))
                continue
            if trail.reached.on_behalf_of:
                found.extend(self._end(trail, circular=False))
                continue
            matches, complete = self._matches(trail.reached, trail.at)
            if not complete:
                found.append(replace(trail, weak=True, reason="too many sessions of this name were open"))
            fresh = [match for match in matches if match.session.key not in seen]
            if not fresh:
                found.extend(self._end(trail, circular=bool(matches)))
            for match in fresh:
                key = match.session.key
                for caller in match.session.callers:
                    next_trail = _step(trail, match, caller)
                    doubts = (next_trail.possible, next_trail.weak)
                    if walked.get((key, caller), (True, True)) <= doubts and (key, caller) in walked:
                        continue
                    walked[key, caller] = doubts
                    self.visits += 1
                    open_ends.append((next_trail, seen | {key}))
        return found or [_Trail(None, asked, at, (), reason="no trail was followed to its end")]

    def _end(self, trail: _Trail, *, circular: bool) -> Iterable[_Trail]:
        """Return what is to say of an identity that no (further) session leads back from."""
        principal = first_principal(trail.reached)
        if principal is not None:
            return [replace(trail, principal=principal)]
        user = named_user(trail.reached)
        if user is not None:
            return self._bearers(trail, user)
        return [replace(trail, reason="the sessions lead in a circle" if circular else _missing(trail.reached))]

    def _bearers(self, trail: _Trail, user: Principal) -> list[_Trail]:
        """Return the users known to have borne the name; names are reused, so each is a trail of its own."""
        if user.arn is None:
            return [replace(trail, principal=user, weak=True)]
        bearers = [
            principal
            for sighting in self._store.callers("arn", user.arn)
            if (principal := first_principal(sighting.caller)) is not None and principal.id is not None
        ]
        return [replace(trail, principal=principal, weak=True) for principal in bearers or [user]]

    def _matches(self, identity: Identity, at: int | None) -> tuple[list[_Match], bool]:
        """Return the sessions that ``identity`` may be. An access key that is known decides alone."""
        key = identity.access_key_id
        if key is not None and key.startswith(_TEMPORARY):
            found = self._find("issued.access_key_id", key)
            if found.edges:
                return [_Match(s, "access_key", False) for s in self._whole(found)], found.complete
        if not _is_session(identity):
            return [], True
        edges: set[Edge] = set()
        complete = True
        started = identity.session_started
        moment = started if started is not None else at
        asked: list[tuple[By, str | None]] = [
            ("issued.principal_id", identity.principal_id),
            ("issued.arn", identity.arn),
        ]
        for by, value in asked:
            if value:
                found = self._find(by, value, moment)
                edges.update(found.edges)
                complete = complete and found.complete
        matches = []
        for session in self._whole(Found(tuple(edges))):
            # An ARN is a name: a role made anew under it has another id.
            if _contradict(identity.principal_id, session.issued.principal_id):
                continue
            if started is not None and session.start is not None:
                if abs(session.start - started) <= SKEW_S:
                    matches.append(_Match(session, "session_start", False))
                continue
            other_key = key is not None and session.issued.access_key_id not in (None, key)
            matches.append(_Match(session, "session", other_key))
        return matches, complete

    def _whole(self, found: Found) -> list[Session]:
        """Return the sessions of ``found`` with what the other account's records of the same calls say."""
        edges = set(found.edges)
        for shared in {edge.shared_event_id for edge in found.edges if edge.shared_event_id}:
            if any(edge.shared_event_id == shared and edge.caller.type == "AWSAccount" for edge in found.edges):
                edges.update(self._find("shared_event_id", shared).edges)
        return sessions(edges)

    def _find(self, by: By, value: str, at: int | None = None) -> Found:
        question = (by, value, at)
        if question not in self._read:
            self._read[question] = self._store.find(by, value, at)
        return self._read[question]


def _step(trail: _Trail, match: _Match, caller: Identity) -> _Trail:
    session = match.session
    step = Step(
        session=session.issued.arn or session.issued.principal_id or trail.reached.label,
        access_key_id=session.issued.access_key_id,
        caller=caller.label,
        link=match.link,
        event_names=session.event_names,
        event_ids=session.event_ids,
        start=session.start,
        end=session.end,
    )
    return _Trail(
        principal=None,
        reached=caller,
        at=session.start if session.start is not None else trail.at,
        steps=(*trail.steps, step),
        weak=trail.weak or match.link != "access_key" or len(session.callers) > 1,
        possible=trail.possible or match.possible,
    )


def _is_session(identity: Identity) -> bool:
    """Return whether this may be a session of somebody else's: IAM users and root by their own keys are not."""
    if identity.assumed_root:
        return True
    if first_principal(identity) is not None:
        return False
    principal_id, arn = identity.principal_id or "", identity.arn or ""
    return ":" in principal_id or ":assumed-role/" in arn or ":federated-user/" in arn


def _contradict(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other


def _missing(identity: Identity) -> str:
    if identity.type == "AWSAccount" and unique_id(identity.principal_id) is None:
        return f"account {identity.account_id} does not say who of it called"
    if _is_session(identity) or (identity.access_key_id or "").startswith(_TEMPORARY):
        return "no record of the call that issued this session is known"
    return "the record does not say who this is"
