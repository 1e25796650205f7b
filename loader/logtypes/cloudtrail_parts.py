"""The parts of a document that repeat from record to record: made once, kept as JSON, shared.

Each part is one or more members of a JSON object, every one with a comma before it (``,"source":{...}``), or nothing.
Every cache here is bounded in entries, and texts that a caller can choose are only kept when they are short.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeVar

from msgspec import UNSET, Struct, UnsetType, structs

from loader.ecs import ECS_VERSION
from loader.logtypes.cloudtrail_record import Flag, Text, TlsDetails, encode
from loader.logtypes.cloudtrail_taxonomy import Class, service_name
from loader.logtypes.model import ObjectContext
from loader.logtypes.network import foreign_host, ips_in, is_ip
from loader.logtypes.times import Moment, delivery
from loader.logtypes.user_agent import parse_user_agent

_LONGEST_KEPT: Final = 1024
_T = TypeVar("_T")

DATASET: Final = "aws.cloudtrail"
_MODULE: Final = "aws"


class Output(Struct, gc=False):
    """A JSON object of a document; what is ``UNSET`` is left out."""


def members(output: Struct) -> bytes:
    """Return the members of an object, each with a comma before it."""
    inner = encode(output)[1:-1]
    return b"," + inner if inner else b""


def member(name: str, value: object) -> bytes:
    """Return ``,"name":value``; nothing for an object that is empty or ``UNSET``."""
    if value is UNSET:
        return b""
    inner = encode(value)
    return b"" if inner == b"{}" else b',"%b":%b' % (name.encode(), inner)


def _kept(size: int) -> Callable[[Callable[[str], _T]], Callable[[str], _T]]:
    """Keep the results for the ``size`` latest texts, long ones excepted."""

    def decorate(make: Callable[[str], _T]) -> Callable[[str], _T]:
        kept = lru_cache(maxsize=size)(make)

        def call(text: str) -> _T:
            return kept(text) if len(text) <= _LONGEST_KEPT else make(text)

        return call

    return decorate


class Origin(Struct, frozen=True, gc=False):
    """What a document says of the object its record was in. ``delivered`` is ``None`` if the key does not say.

    ``event`` goes into ``event``, ``log`` to the top. ``aws`` opens ``aws`` and ``aws.cloudtrail``.
    """

    event: bytes
    log: bytes
    aws: bytes
    delivered: Moment | None


def origin_of(context: ObjectContext) -> Origin:
    """Return the part for one object."""
    delivered = delivery(context.key)
    times = {"created": delivered.text} if delivered else {}
    path = f"s3://{context.bucket}/{context.key}"
    s3 = {"bucket": {"name": context.bucket}, "object": {"key": context.key}}
    return Origin(
        event=b"," + encode({**times, "ingested": context.ingested})[1:-1],
        log=member("log", {"file": {"path": path}}),
        aws=b',"aws":{"s3":%b,"cloudtrail":{' % encode(s3),
        delivered=delivered,
    )


class _Id(Output):
    id: Text


class _Name(Output):
    name: Text


class _Cloud(Output):
    provider: str
    account: _Id | UnsetType
    region: Text
    service: _Name | UnsetType


class _Event(Output):
    kind: str
    category: tuple[str, ...]
    type: tuple[str, ...]
    action: Text
    outcome: str
    provider: Text
    dataset: str
    module: str


class _Trail(Output):
    event_version: Text
    event_category: Text
    event_type: Text
    api_version: Text
    read_only: bool | UnsetType
    management_event: bool | UnsetType
    recipient_account_id: Text
    session_credential_from_console: bool | UnsetType
    vpc_endpoint_id: Text
    vpc_endpoint_account_id: Text


class Call(Struct, frozen=True, gc=False):
    """What all records of one kind of call share: ``event`` (open), ``cloud``, and members of ``aws.cloudtrail``."""

    event: bytes
    cloud: bytes
    trail: bytes


_ECS: Final = member("ecs", {"version": ECS_VERSION})


def make_call(
    kind: str,
    classes: Class,
    outcome: str,
    provider: Text,
    action: Text,
    account: Text,
    region: Text,
    event_version: Text,
    event_category: Text,
    event_type: Text,
    api_version: Text,
    read_only: Flag,
    management_event: Flag,
    recipient_account_id: Text,
    session_credential_from_console: Flag,
    vpc_endpoint_id: Text,
    vpc_endpoint_account_id: Text,
) -> Call:
    """Return the part for a kind of call."""
    event = _Event(kind, classes.category, classes.type, action, outcome, provider, DATASET, _MODULE)
    service = _Name(service_name(provider)) if provider else UNSET
    return Call(
        event=b'%b,"event":%b' % (_ECS, encode(event)[:-1]),
        cloud=member("cloud", _Cloud("aws", _Id(account) if account is not UNSET else UNSET, region, service)),
        trail=members(
            _Trail(
                event_version,
                event_category,
                event_type,
                api_version,
                as_bool(read_only),
                as_bool(management_event),
                recipient_account_id,
                as_bool(session_credential_from_console),
                vpc_endpoint_id,
                vpc_endpoint_account_id,
            )
        ),
    )


kept_call: Final = lru_cache(maxsize=4096)(make_call)


def as_bool(flag: Flag) -> bool | UnsetType:
    """Return a flag that may be written as text."""
    return flag == "true" if isinstance(flag, str) else flag


class _Source(Output):
    address: str
    ip: Text


class Address(Struct, frozen=True, gc=False):
    """``source``, and what it adds to ``related``."""

    source: bytes
    ips: tuple[str, ...]
    hosts: tuple[str, ...]


@_kept(16384)
def address_of(text: str) -> Address:
    """Return the part for ``sourceIPAddress``."""
    host = foreign_host(text)
    return Address(
        member("source", _Source(text, text if is_ip(text) else UNSET)), tuple(ips_in(text)), (host,) if host else ()
    )


NO_ADDRESS: Final = Address(b"", (), ())


class _System(Output):
    name: Text
    version: Text
    full: Text


class _Agent(Output):
    original: str
    name: Text
    version: Text
    os: _System | UnsetType
    device: _Name | UnsetType


@_kept(4096)
def agent_of(text: str) -> bytes:
    """Return the part for ``userAgent``."""
    agent = parse_user_agent(text)
    system = _System(agent.os_name, agent.os_version or UNSET, agent.os_full or UNSET) if agent.os_name else UNSET
    device = _Name(agent.device) if agent.device else UNSET
    return member("user_agent", _Agent(text, agent.name or UNSET, agent.version or UNSET, system, device))


class _ServerName(Output):
    server_name: str


class _Tls(Output):
    version: Text
    version_protocol: Text
    cipher: Text
    client: _ServerName | UnsetType


class _KeyExchange(Output):
    key_exchange: str


class Tls(Struct, frozen=True, gc=False):
    """``tls``, the members of ``aws.cloudtrail`` that go with it, and leaves. ``odd`` says that the version is none."""

    tls: bytes
    trail: bytes
    hosts: tuple[str, ...]
    leaves: tuple[str, ...]
    leaves_json: bytes
    odd: bool


NO_TLS: Final = Tls(b"", b"", (), (), b"", odd=False)

_TLS_VERSION: Final = re.compile(r"(?:(TLS|SSL)[v_ ]?)?(\d(?:[._]\d)?)", re.ASCII | re.IGNORECASE)


def tls_of(details: TlsDetails) -> Tls:
    """Return the part for ``tlsDetails``; a version keeps its own text as a leaf, too."""
    version: Text = UNSET
    protocol: Text = UNSET
    leaves: tuple[str, ...] = ()
    odd = all(value is UNSET for value in structs.astuple(details))
    if details.tls_version is not UNSET:
        match = _TLS_VERSION.fullmatch(details.tls_version)
        if match:
            protocol = match.group(1).lower() if match.group(1) else UNSET
            version = match.group(2).replace("_", ".")
            leaves = (f"tlsDetails.tlsVersion={details.tls_version}",)
        else:
            odd = True
    name, exchange = details.client_provided_host_header, details.key_exchange
    host = foreign_host(name) if name else None
    return Tls(
        tls=member(
            "tls", _Tls(version, protocol, details.cipher_suite, _ServerName(name) if name is not UNSET else UNSET)
        ),
        trail=member("tls_details", _KeyExchange(exchange)) if exchange is not UNSET else b"",
        hosts=(host,) if host else (),
        leaves=leaves,
        leaves_json=encode(leaves)[1:-1],
        odd=odd,
    )
