"""The one interface of channels, what a channel declares about its configuration, and what it is given to work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from loader.clock import Clock
from loader.notify.message import Kind, Message
from loader.notify.post import Poster
from loader.notify.secret import SecretReader

OptionKind = Literal["text", "secret", "url", "secret url", "headers", "addresses", "number", "choice"]


@dataclass(frozen=True, slots=True)
class Option:
    """One key of a channel's configuration.

    ``secret`` is a reference and never a value; ``url`` an address as it is or a reference; of a ``secret url`` only
    one on this machine may be written down, since whoever knows it may write.
    """

    kind: OptionKind = "text"
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tools:
    """What channels work with. ``aws`` makes a boto3 client for a service and, if given, a region."""

    secrets: SecretReader
    clock: Clock
    poster: Poster
    aws: Callable[[str, str | None], Any]


class Channel(Protocol):
    """Takes messages to one receiver."""

    def send(self, message: Message) -> str | None:
        """Send ``message``. Return what is worth a note although it was taken.

        Raises:
            SendError: the receiver did not take it, or nobody knows.
        """


@dataclass(frozen=True, slots=True)
class ChannelType:
    """One way of telling people. ``check`` returns what is wrong with options that are each right for themselves."""

    name: str
    options: Mapping[str, Option]
    make: Callable[[Mapping[str, Any], Tools], Channel]
    check: Callable[[Mapping[str, Any]], list[tuple[str, str]]] = field(default=lambda _: [])
    #: Kinds of message that are sent at all.
    takes: frozenset[Kind] = frozenset(("alert", "withdrawn", "digest", "test"))
