"""The parts of a document that repeat from record to record: made once, kept as JSON, shared.

Every cache here is bounded in entries, and keys longer than :data:`LONGEST_KEY` are not kept: a caller can fill some of
these fields with anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from loader.ecs import ECS_VERSION
from loader.logtypes.cloudtrail_record import Text, TlsDetails
from loader.logtypes.cloudtrail_taxonomy import service_name
from loader.logtypes.model import ObjectContext
from loader.logtypes.network import foreign_host, ips_in, is_ip
from loader.logtypes.times import Moment, delivery
from loader.logtypes.user_agent import parse_user_agent

LONGEST_KEY: Final = 1024
_T = TypeVar("_T")

_encode: Final = msgspec.json.Encoder().encode

ECS: Final = Raw(_encode({"version": ECS_VERSION}))


def _kept(size: int) -> Callable[[Callable[[str], _T]], Callable[[str], _T]]:
    """Keep the results for the ``size`` latest texts, long ones excepted."""

    def decorate(make: Callable[[str], _T]) -> Callable[[str], _T]:
        kept = lru_cache(maxsize=size)(make)

        def call(text: str) -> _T:
            return kept(text) if len(text) <= LONGEST_KEY else make(text)

        return call

    return decorate


@dataclass(frozen=True, slots=True)
class Origin:
    """What a document says of the object its record was in. ``delivered`` is ``None`` if the key does not say."""

    log: Raw
    s3: Raw
    created: Text
    ingested: str
    delivered: Moment | None


def origin_of(context: ObjectContext) -> Origin:
    """Return the part for one object."""
    delivered = delivery(context.key)
    bucket = {"name": context.bucket, "arn": f"arn:aws:s3:::{context.bucket}"}
    return Origin(
        log=Raw(_encode({"file": {"path": f"s3://{context.bucket}/{context.key}"}})),
        s3=Raw(_encode({"bucket": bucket, "object": {"key": context.key}})),
        created=delivered.text if delivered else UNSET,
        ingested=context.ingested,
        delivered=delivered,
    )


class _Source(Struct, gc=False):
    address: str
    ip: Text


@dataclass(frozen=True, slots=True)
class Address:
    """``source``, and what it adds to ``related``."""

    fragment: Raw
    ips: tuple[str, ...]
    host: str | None


@_kept(16384)
def address_of(text: str) -> Address:
    """Return the part for ``sourceIPAddress``."""
    return Address(Raw(_encode(_Source(text, text if is_ip(text) else UNSET))), tuple(ips_in(text)), foreign_host(text))


class _System(Struct, gc=False):
    name: Text
    version: Text
    full: Text


class _Device(Struct, gc=False):
    name: str


class _Agent(Struct, gc=False):
    original: str
    name: Text
    version: Text
    os: _System | UnsetType
    device: _Device | UnsetType


@_kept(8192)
def agent_of(text: str) -> Raw:
    """Return the part for ``userAgent``."""
    agent = parse_user_agent(text)
    system = _System(agent.os_name, agent.os_version or UNSET, agent.os_full or UNSET) if agent.os_name else UNSET
    return Raw(
        _encode(
            _Agent(
                text,
                agent.name or UNSET,
                agent.version or UNSET,
                system,
                _Device(agent.device) if agent.device else UNSET,
            )
        )
    )


class _Id(Struct, gc=False):
    id: str


class _ServiceName(Struct, gc=False):
    name: str


class _Cloud(Struct, gc=False):
    provider: str
    account: _Id | UnsetType
    region: Text
    service: _ServiceName | UnsetType


def make_cloud(account: Text, region: Text, source: Text) -> Raw:
    """Return ``cloud``."""
    return Raw(
        _encode(
            _Cloud(
                "aws",
                _Id(account) if isinstance(account, str) else UNSET,
                region,
                _ServiceName(service_name(source)) if source else UNSET,
            )
        )
    )


@lru_cache(maxsize=8192)
def make_service(name: str) -> Raw:
    """Return ``service``."""
    return Raw(_encode(_ServiceName(name)))


class _Client(Struct, gc=False):
    server_name: str


class _Tls(Struct, gc=False):
    version: Text
    version_protocol: Text
    cipher: Text
    client: _Client | UnsetType


@dataclass(frozen=True, slots=True)
class Tls:
    """``tls`` and what belongs to it. ``odd`` says that the version is none; ``keys`` is the number of JSON keys."""

    fragment: Raw | UnsetType
    key_exchange: Text
    host: str | None
    leaves: tuple[str, ...]
    keys: int
    odd: bool


NO_TLS: Final = Tls(UNSET, UNSET, None, (), 0, odd=False)

_TLS_VERSION: Final = re.compile(r"(?:(TLS|SSL)[v_ ]?)?(\d(?:[._]\d)?)", re.ASCII | re.IGNORECASE)


def tls_of(details: TlsDetails) -> Tls:
    """Return the part for ``tlsDetails``; a version keeps its own text as a leaf, too."""
    version: Text = UNSET
    protocol: Text = UNSET
    leaves: tuple[str, ...] = ()
    odd = details == TlsDetails()
    if details.tls_version is not UNSET:
        match = _TLS_VERSION.fullmatch(details.tls_version)
        if match:
            protocol = match.group(1).lower() if match.group(1) else UNSET
            version = match.group(2).replace("_", ".")
            leaves = (f"tlsDetails.tlsVersion={details.tls_version}",)
        else:
            odd = True
    name = details.client_provided_host_header
    known = msgspec.structs.astuple(details)
    fragment = _Tls(version, protocol, details.cipher_suite, _Client(name) if isinstance(name, str) else UNSET)
    return Tls(
        fragment=Raw(_encode(fragment)) if fragment != _Tls(UNSET, UNSET, UNSET, UNSET) else UNSET,
        key_exchange=details.key_exchange,
        host=foreign_host(name) if name else None,
        leaves=leaves,
        keys=sum(value is not UNSET for value in known),
        odd=odd,
    )
