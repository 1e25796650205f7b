"""Who did it, as far as this process can tell while it loads: a hint, from memory alone, that never slows a record."""

from __future__ import annotations

import threading
from dataclasses import astuple
from typing import Any, Final, Generic, TypeVar

import msgspec

from loader.identity.actor import actor_fields
from loader.identity.model import Edge, Identity, Issued, Principal, first_principal, named_user
from loader.identity.times import text_of
from loader.logtypes.model import Who


class Hint(dict[str, Any]):
    """``actor`` and ``session``, to stand under ``siem``. Shared between documents: nothing in it is ever changed."""

    __slots__ = ("_members",)

    def members(self) -> bytes:
        """Return ``"chain":[...]},"actor":{...}``: the end of ``session``, and ``actor`` after it; made once."""
        try:
            return self._members
        except AttributeError:
            self._members: bytes = b'"chain":%b},"actor":%b' % (
                _encode(self["session"]["chain"]),
                _encode(self["actor"]),
            )
            return self._members


_encode: Final = msgspec.json.Encoder().encode

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

#: Types whose records name somebody who is nobody's session.
_DIRECT: Final = frozenset({"IAMUser", "Root", "FederatedUser", "SAMLUser", "WebIdentityUser"})
_MAX_STEPS: Final = 32
#: Letters that the names of one identity may have together: memory is bounded in names, whoever wrote them.
_LONGEST: Final = 2048
#: Two callers of what looks like one session: nothing is said of it.
_CONTESTED: Final = Hint()


class _Recent(Generic[_Key, _Value]):
    """The last things used, between ``size`` and twice as many, in two generations: reading takes no lock."""

    __slots__ = ("_size", "old", "young")

    def __init__(self, size: int) -> None:
        self._size = size
        self.young: dict[_Key, _Value] = {}  # read outside, written only here
        self.old: dict[_Key, _Value] = {}

    def get(self, key: _Key) -> _Value | None:
        found = self.young.get(key)
        if found is None:
            found = self.old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: _Key, value: _Value) -> None:
        young = self.young
        young[key] = value
        if len(young) >= self._size:
            self.old, self.young = young, {}

    def pop(self, key: _Key) -> _Value | None:
        found = self.young.pop(key, None)
        other = self.old.pop(key, None)
        return found if found is not None else other

    def __len__(self) -> int:
        return len(self.young.keys() | self.old.keys())


class ActorHints:
    """What edges seen while loading say about later (or earlier) records. Safe between threads.

    A hint may be missing although the answer is known elsewhere: files arrive in any order and other processes see
    other files. It is never revised; :class:`loader.identity.resolve.Resolver` has the answer.
    """

    def __init__(self, size: int = 20_000) -> None:
        self._by_key: _Recent[str, Hint] = _Recent(size)
        self._by_start: _Recent[tuple[str, str], Hint] = _Recent(size)
        self._direct: _Recent[tuple[str, str, str | None], Hint] = _Recent(size)
        #: Caller's access key → sessions it opened, while nobody knows whose key it is.
        self._waiting: _Recent[str, list[Edge]] = _Recent(max(1, size // 10))
        self._lock = threading.Lock()

    def hint(self, who: Who) -> Hint | None:
        """Return what to put under ``siem`` (``actor``, ``session.chain``), ``None`` if nothing is known.

        ``actor.certainty`` is ``hint`` for a session, ``certain`` where the record itself names the principal. The
        dictionary is shared: do not change it.
        """
        if who.on_behalf_of is not None:
            return self._named("IdentityCenterUser", who.on_behalf_of, None, None)
        keys, starts, key, principal_id = self._by_key, self._by_start, who.access_key_id, who.principal_id
        # Called for every record: nearly always it ends after one or two looks at a dictionary.
        if key is not None and (key in keys.young or key in keys.old):
            found = keys.get(key)
            if found is not None:
                return found or None
        if principal_id is None:
            return None
        if who.session_started is not None and (starts.young or starts.old):
            found = starts.get((principal_id, who.session_started))
            if found is not None:
                return found or None
        if who.type in _DIRECT and not who.assumed_root:
            return self._named(who.type, principal_id, who.arn, who.issuer)
        return None

    def learn(self, edge: Edge) -> None:
        """Take note of ``edge``, and of the sessions that waited to hear whose key it is about. Any order will do."""
        if _is_sane(edge.issued) and _is_sane(edge.caller):
            with self._lock:
                self._learn(edge)

    def _learn(self, edge: Edge) -> None:
        todo = [edge]
        while todo:
            current = todo.pop()
            before = self._before(current.caller)
            if before is None:
                self._wait(current)
                continue
            name = current.issued.arn or current.issued.principal_id
            chain = [*before["session"]["chain"], *([name] if name else [])]
            if len(chain) > _MAX_STEPS:
                continue
            actor = {**before["actor"], "certainty": "hint"}
            self._note(current, Hint(actor=actor, session={"chain": chain}))
            key = current.issued.access_key_id
            if key is not None:
                todo.extend(self._waiting.pop(key) or ())

    def _before(self, caller: Identity) -> Hint | None:
        """Return the hint that holds for the caller of an edge."""
        if caller.access_key_id and not caller.on_behalf_of:
            found = self._by_key.get(caller.access_key_id)
            if found is not None:
                return found or None
        # With a key that is not known yet it may be another session of that name, begun in the same second.
        no_key = not caller.access_key_id and not caller.on_behalf_of
        if no_key and caller.principal_id and caller.session_started is not None:
            found = self._by_start.get((caller.principal_id, text_of(caller.session_started)))
            if found is not None:
                return found or None
        principal = first_principal(caller) or named_user(caller)
        return None if principal is None else _hint_of(principal)

    def _wait(self, edge: Edge) -> None:
        key = edge.caller.access_key_id
        if key is None:
            return
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting.put(key, [edge])
        elif edge not in waiting and len(waiting) < 100:
            waiting.append(edge)

    def _note(self, edge: Edge, hint: Hint) -> None:
        issued = edge.issued
        if issued.access_key_id:
            known = self._by_key.get(issued.access_key_id)
            self._by_key.put(issued.access_key_id, hint if known is None else _either(known, hint))
        # An IAM user's GetSessionToken tells nothing new about the user himself.
        if issued.principal_id and edge.start is not None and issued.principal_id != edge.caller.principal_id:
            place = (issued.principal_id, text_of(edge.start))
            known = self._by_start.get(place)
            self._by_start.put(place, hint if known is None else _either(known, hint))

    def _named(
        self,
        identity_type: str,
        principal_id: str,
        arn: str | None,
        issuer: tuple[str | None, str | None, str | None, str | None] | None,
    ) -> Hint | None:
        place = (identity_type, principal_id, arn)
        found = self._direct.get(place)
        if found is None:
            if sum([len(text) for text in (principal_id, arn, *(issuer or ())) if text]) > _LONGEST:
                return None
            kind, issuer_id, issuer_arn, issuer_name = issuer or (None, None, None, None)
            principal = first_principal(
                Identity(
                    type=identity_type,
                    principal_id=principal_id,
                    arn=arn,
                    issuer_type=kind,
                    issuer_principal_id=issuer_id,
                    issuer_arn=issuer_arn,
                    issuer_name=issuer_name,
                )
            )
            if principal is None:
                return None
            found = _hint_of(principal)
            self._direct.put(place, found)
        return found


def _is_sane(said: Identity | Issued) -> bool:
    return sum([len(text) for text in astuple(said) if isinstance(text, str)]) <= _LONGEST * 2


def _hint_of(principal: Principal) -> Hint:
    label = principal.arn or principal.name or principal.id or principal.type
    return Hint(actor={**actor_fields(principal), "certainty": "certain"}, session={"chain": [label]})


def _either(known: Hint, new: Hint) -> Hint:
    """Return the fuller of two hints about one session, or that it is contested."""
    if not known:
        return known
    one, other = known["actor"], new["actor"]
    for name in ("id", "arn"):
        if one.get(name) and other.get(name):
            if one[name] != other[name]:
                return _CONTESTED
            break
    else:
        if (one.get("type"), one.get("name")) != (other.get("type"), other.get("name")):
            return _CONTESTED
    return new if len(other) > len(one) else known
