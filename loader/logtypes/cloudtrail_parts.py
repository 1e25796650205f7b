"""The parts of a document that repeat from record to record: made once, kept as JSON, shared.

Each part is one or more members of a JSON object, every one with a comma before it (``,"source":{...}``), or nothing.
What is ``kept_…`` is bounded in entries, and is for short texts only (``remembered.LONGEST``).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from msgspec import UNSET, Struct, UnsetType, structs

from loader.ecs import ECS_VERSION
from loader.logtypes.cloudtrail_record import Flag, Text, TlsDetails, decode_tls, encode, is_plain
from loader.logtypes.cloudtrail_taxonomy import (
    ENDPOINT_ALLOWED,
    ENDPOINT_DENIED,
    INSIGHT,
    classify,
    issues_credentials,
    service_name,
)
from loader.logtypes.leaves import OddPayloadError
from loader.logtypes.model import ObjectContext
from loader.logtypes.network import foreign_host, ips_in, is_ip
from loader.logtypes.remembered import LONGEST
from loader.logtypes.times import Window, believable, delivery
from loader.logtypes.user_agent import parse_user_agent

DATASET: Final = "aws.cloudtrail"
_MODULE: Final = "aws"


class Output(Struct, gc=False):
    """A JSON object of a document; what is ``UNSET`` is left out."""


def members(output: object) -> bytes:
    """Return the members of an object, each with a comma before it."""
    inner = encode(output)[1:-1]
    return b"," + inner if inner else b""


def member(name: bytes, value: object) -> bytes:
    """Return ``,"name":value``; nothing for what is empty."""
    inner = encode(value)
    return b"" if inner in _EMPTY else b',"%b":%b' % (name, inner)


_EMPTY: Final = (b"{}", b"[]", b"")


class Origin(Struct, frozen=True, gc=False):
    """What a document says of the object its record was in. ``believed`` is ``None`` if the key tells no time.

    ``event`` goes into ``event``; ``s3`` opens ``aws``, ``aws.cloudtrail`` and ``flattened``.
    """

    event: bytes
    s3: bytes
    believed: Window | None


def origin_of(context: ObjectContext) -> Origin:
    """Return the part for one object."""
    delivered = delivery(context.key)
    times = {"created": delivered.text} if delivered else {}
    s3 = {"bucket": {"name": context.bucket}, "object": {"key": context.key}}
    return Origin(
        event=members({**times, "ingested": context.ingested}),
        s3=b',"aws":{"s3":%b,"cloudtrail":{"flattened":{' % encode(s3),
        believed=believable(delivered) if delivered else None,
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
    """What all records of one kind of call share.

    ``event`` opens ``event``, after ``ecs``; ``cloud`` ends it and has ``cloud``; ``siem`` holds members of
    ``siem`` and ``trail`` of ``aws.cloudtrail``. ``issuing`` says that the call hands out credentials.
    """

    event: bytes
    cloud: bytes
    siem: bytes
    trail: bytes
    issuing: bool


_OPEN_EVENT: Final = b'%b,"event":' % member(b"ecs", {"version": ECS_VERSION})
_ACROSS: Final = {True: b',"cross_account":true', False: b',"cross_account":false'}


def _is_account(text: Text) -> bool:
    return isinstance(text, str) and len(text) == 12 and text.isascii() and text.isdigit()


def make_call(
    is_insight: bool,
    failed: bool,
    outcome: str,
    provider: Text,
    action: Text,
    caller: Text,
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
    """Return the part for a kind of call.

    ``failed`` says whether the record has an error code, ``caller`` is the caller's account.
    """
    account, siem = recipient_account_id or caller or UNSET, b""
    if _is_account(caller):
        account = caller
        if _is_account(recipient_account_id):
            siem = _ACROSS[caller != recipient_account_id]
    if is_insight or event_category == "Insight":
        classes = INSIGHT
    elif event_category == "NetworkActivity" or event_type == "AwsVpceEvent":
        classes = ENDPOINT_DENIED if failed else ENDPOINT_ALLOWED
    else:
        classes = classify(provider or "", action or "")
    event = _Event(
        "alert" if is_insight else "event",
        classes.category,
        classes.type,
        action,
        outcome,
        provider,
        DATASET,
        _MODULE,
    )
    service = _Name(service_name(provider)) if provider else UNSET
    return Call(
        event=_OPEN_EVENT + encode(event)[:-1],
        cloud=b"}" + member(b"cloud", _Cloud("aws", _Id(account) if account is not UNSET else UNSET, region, service)),
        siem=siem,
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
        issuing=issues_credentials(provider, action),
    )


kept_call: Final = lru_cache(maxsize=4096)(make_call)


def as_bool(flag: Flag) -> bool | UnsetType:
    """Return a flag that may be written as text."""
    return flag == "true" if isinstance(flag, str) else flag


class _Source(Output):
    address: str
    ip: Text


class Address(Struct, frozen=True, gc=False):
    """``source``, the addresses in it, the same as a member of ``related``, and a host that is not AWS's."""

    source: bytes
    ips: tuple[str, ...]
    related: bytes
    hosts: tuple[str, ...]


def address_of(text: str) -> Address:
    """Return the part for ``sourceIPAddress``."""
    host, ips = foreign_host(text), tuple(ips_in(text))
    return Address(
        source=member(b"source", _Source(text, text if is_ip(text) else UNSET)),
        ips=ips,
        related=member(b"ip", ips),
        hosts=(host,) if host else (),
    )


kept_address: Final = lru_cache(maxsize=16384)(address_of)
NO_ADDRESS: Final = Address(b"", (), b"", ())


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


def agent_of(text: str) -> bytes:
    """Return the part for ``userAgent``."""
    agent = parse_user_agent(text)
    system = _System(agent.os_name, agent.os_version or UNSET, agent.os_full or UNSET) if agent.os_name else UNSET
    device = _Name(agent.device) if agent.device else UNSET
    return member(b"user_agent", _Agent(text, agent.name or UNSET, agent.version or UNSET, system, device))


kept_agent: Final = lru_cache(maxsize=4096)(agent_of)


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


def read_tls(raw: bytes) -> Tls:
    """Return the part for the compact JSON of ``tlsDetails``.

    Raises one of ``UNUSUAL`` if there is more in it than the typed fields hold.
    """
    return _kept_tls(raw) if len(raw) <= LONGEST else _read_tls(raw)


def _read_tls(raw: bytes) -> Tls:
    details = decode_tls(raw)
    tls = tls_of(details)
    if tls.odd or not is_plain(details, raw):
        raise OddPayloadError
    return tls


_kept_tls: Final = lru_cache(maxsize=4096)(_read_tls)


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
            b"tls", _Tls(version, protocol, details.cipher_suite, _ServerName(name) if name is not UNSET else UNSET)
        ),
        trail=member(b"tls_details", _KeyExchange(exchange)) if exchange is not UNSET else b"",
        hosts=(host,) if host else (),
        leaves=leaves,
        leaves_json=encode(leaves)[1:-1],
        odd=odd,
    )
