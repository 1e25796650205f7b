"""What a log type turns a raw record into, and what it is told about where the record came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec import Struct


@dataclass(frozen=True, slots=True)
class ObjectContext:
    """Where a record was read: everything about it that the record itself does not say.

    ``ingested`` is the loader's own time (RFC 3339, UTC, milliseconds), an argument because normalisers read no clock.
    """

    bucket: str
    key: str
    ingested: str


class Who(Struct, frozen=True, gc=False):
    """Whoever acted, as far as more about him can be looked up by it; ``None`` is what the record does not say.

    ``session_started`` is RFC 3339 as in the document. ``issuer`` is the session issuer's type, principal id, ARN and
    user name, of a federated user only: of nobody else does it say who he is. ``on_behalf_of`` is IAM Identity Center's
    user id.
    """

    type: str | None = None
    access_key_id: str | None = None
    principal_id: str | None = None
    arn: str | None = None
    session_started: str | None = None
    issuer: tuple[str | None, str | None, str | None, str | None] | None = None
    assumed_root: bool = False
    on_behalf_of: str | None = None


class Rendered(Struct, frozen=True, gc=False):
    """One document, ready for a bulk body.

    ``day`` is ``YYYY.MM.DD`` of the event's time in UTC, or ``misdated``. ``id`` is the derived ``_id``. ``body`` is
    the document as one line of JSON (UTF-8, no newline); ``siem`` is its last member and ``session`` the last of
    ``siem``. ``timestamp`` is ``@timestamp`` as written in the body. ``issuing`` says that the call is one that hands
    out credentials: whether this one did is in the record.
    """

    day: str
    id: str
    body: bytes
    timestamp: str
    who: Who | None = None
    issuing: bool = False


class Whereabouts(Struct, frozen=True, gc=False):
    """Where a record's document is, if it was written before: members as of :class:`Rendered`."""

    day: str
    id: str
    timestamp: str
    issuing: bool = False


#: ``(raw record, context) -> where its document is``; ``None`` of a record for which only rendering can tell. Never
#: raises. What is not found there is rendered and written like any other: a wrong answer costs time and nothing else.
Locator = Callable[[bytes, ObjectContext], "Whereabouts | None"]

#: ``(raw record, context, complete) -> document``; raises :class:`loader.errors.RecordError`. With ``complete`` the
#: slow, careful renderer is used, whatever the record looks like: the loader's one retry before a dead letter.
Normaliser = Callable[[bytes, ObjectContext, bool], Rendered]


@dataclass(frozen=True, slots=True)
class LogType:
    """One declaration a log type. ``name`` makes the index, ``log-<name>-<day>``; ``dataset`` is ``event.dataset``."""

    name: str
    dataset: str
    normalise: Normaliser
    #: Substrings of an object's key that mark its type, tried in the registry's order.
    key_marks: tuple[str, ...] = field(default=())
    #: Far cheaper than ``normalise``; ``None`` if there is no such way.
    locate: Locator | None = None

    def index(self, day: str) -> str:
        """Return the name of the index for ``day``."""
        return f"log-{self.name}-{day}"
