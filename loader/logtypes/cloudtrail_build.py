"""Parts of a record → the document. Both ways of reading a record end here, so both give the same document.

Most parts come as JSON already and are joined; only what is new in a record is encoded.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final

from msgspec import UNSET, UnsetType, structs

from loader.logtypes.cloudtrail_identity import Acting, Actor, User, UserName, related_names
from loader.logtypes.cloudtrail_insight import InsightPart
from loader.logtypes.cloudtrail_outcome import outcome
from loader.logtypes.cloudtrail_parts import (
    NO_ADDRESS,
    Address,
    Origin,
    Output,
    Tls,
    address_of,
    agent_of,
    kept_address,
    kept_agent,
    kept_call,
    make_call,
    member,
    members,
)
from loader.logtypes.cloudtrail_payload import ABSENT, Payload
from loader.logtypes.cloudtrail_record import Addendum, Record, Text, Texts, encode
from loader.logtypes.cloudtrail_taxonomy import issues_credentials
from loader.logtypes.model import Rendered
from loader.logtypes.network import is_ip
from loader.logtypes.remembered import LONGEST
from loader.logtypes.times import MISDATED, Moment, index_day

#: Services whose ``groupName`` is a group of users, not one of hosts or resources.
_GROUP_SERVICES: Final = frozenset(
    f"{service}.amazonaws.com"
    for service in ("iam", "identitystore", "sso-directory", "cognito-idp", "quicksight", "workmail", "workdocs")
)
#: Of longer records the kind of call is not remembered: any text in it may be the long one.
_KEPT_RECORD: Final = 4096
_YES: Final = {"Yes": True, "No": False}


class _Resource(Output):
    arn: Text
    account_id: Text
    type: Text


class _Addendum(Output):
    reason: Text
    updated_fields: Texts
    original_request_id: Text
    original_event_id: Text


class _Trail(Output):
    """The members of ``aws.cloudtrail`` that are new in each record."""

    request_id: Text
    shared_event_id: Text
    error_code: Text
    error_message: Text
    resources: list[_Resource] | UnsetType
    addendum: _Addendum | UnsetType


class _ConsoleData(Output):
    mobile_version: bool | UnsetType
    mfa_used: bool | UnsetType
    login_to: Text


def derive_id(record: bytes) -> str:
    """Return a document's ``_id``: base64url of BLAKE2b-128 over the compact record and nothing else."""
    digest = blake2b(record, digest_size=16).digest()
    return b2a_base64(digest, newline=False)[:22].translate(_URL_SAFE).decode()


_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


def finish(
    raw: bytes,
    record: Record,
    moment: Moment,
    origin: Origin,
    acting: Acting,
    tls: Tls,
    request: Payload,
    response: Payload,
    additional: Payload,
    details: Payload,
    insight: InsightPart | None,
    payloads: Iterable[Payload],
    stored: bytes,
    leaves: bytes,
    error_code: Any,
    error_message: Any,
    *,
    tags: tuple[str, ...] = (),
    truncated: Sequence[str] = (),
) -> Rendered:
    """Return the document of a record's parts: one line of JSON, its id and its day.

    ``raw`` is the compact record, for its id. ``request`` to ``details`` are the payloads in which something is looked
    up, ``payloads`` are all. ``stored`` are the members of ``aws.cloudtrail.flattened``, ``leaves`` the leaves as JSON
    strings, both without commas at the ends. ``error_code`` and ``error_message`` are the record's of any type.
    """
    actor = acting.actor
    text, day = moment.text, index_day(moment, origin.believed)
    if day is MISDATED:
        tags += (day,)
    action, address, agent, named = record.event_name, NO_ADDRESS, b"", actor.related_json
    if record.source_ip_address is not UNSET:
        said = record.source_ip_address
        address = kept_address(said) if len(said) <= LONGEST else address_of(said)
    if record.user_agent is not UNSET:
        said = record.user_agent
        agent = kept_agent(said) if len(said) <= LONGEST else agent_of(said)
    if insight is None:
        source, name = record.event_source, action
        told = response.value
        if (
            error_code is UNSET
            and error_message is UNSET
            and details is ABSENT
            and not response.telling
            and (type(told) is not dict or action not in told)
        ):
            stated = "success"
        else:
            stated = outcome(action, error_code, error_message, told, details.value)
    else:
        source, name, stated = insight.source or record.event_source, insight.name or action, "unknown"
        named = named or insight.related
    call = (kept_call if len(raw) <= _KEPT_RECORD else make_call)(
        insight is not None,
        bool(error_code),
        stated,
        source,
        name,
        actor.account,
        record.aws_region,
        record.event_version,
        record.event_category,
        record.event_type,
        record.api_version,
        record.read_only,
        record.management_event,
        record.recipient_account_id,
        record.session_credential_from_console,
        record.vpc_endpoint_id,
        record.vpc_endpoint_account_id,
    )
    user, related, more = actor.user_json, named, b""
    if request.telling or response.telling or action == "UserAuthentication":
        user, related = _people(record, actor, request.value, response.value, additional.value)
        user += _group(record, request.value, response.value)
        more = _hashes(request.value, response.value)
    hosts = address.hosts + tls.hosts + actor.hosts
    for payload in payloads:
        if payload.instances:
            hosts += payload.instances
    if hosts or record.resources:
        more = _hosts(hosts, record) + more
    related += (_ips(address, details.value) if details.telling else address.related) + more
    siem = call.siem + actor.session if not truncated else call.siem + member(b"truncated", truncated) + actor.session
    event_id = record.event_id
    # Every member has a comma before it; the first of an object must not.
    parts = [
        b'{"@timestamp":"',
        text.encode(),
        b'"%b' % member(b"tags", tags) if tags else b'"',
        call.event,
        b',"id":' + encode(event_id) if event_id is not UNSET else b"",
        origin.event,
        call.cloud,
        user,
        actor.service,
        address.source,
        agent,
        tls.tls,
        b',"related":{%b}' % related[1:] if related else b"",
        origin.s3,
        stored,
        b"}",
        call.trail,
        _trail(record),
        tls.trail,
        acting.trail,
        b',"leaves":[',
        leaves,
        b']}},"siem":{%b}}' % siem[1:] if siem else b"]}}}",
    ]
    if action == "ConsoleLogin":
        parts[_TRAIL_END:_TRAIL_END] = (_console_login(additional.value),)
    if insight is None:
        return Rendered(day, derive_id(raw), b"".join(parts), text, acting.who, call.issuing)
    parts[_TRAIL_END:_TRAIL_END] = (insight.trail,)
    parts[_EVENT_END:_EVENT_END] = (insight.window,)
    issuing = call.issuing or issues_credentials(record.event_source, action)
    return Rendered(day, derive_id(raw), b"".join(parts), text, acting.who, issuing)


#: Where the parts that few records have go: behind those of ``event``, and of ``aws.cloudtrail`` before its leaves.
_EVENT_END, _TRAIL_END = 6, -3


def _trail(record: Record) -> bytes:
    """Return the members of ``aws.cloudtrail`` that are new in each record."""
    if record.resources is UNSET and record.error_message is UNSET and record.addendum is UNSET:
        if record.error_code is UNSET and record.shared_event_id is UNSET:
            return b',"request_id":' + encode(record.request_id) if record.request_id is not UNSET else b""
        return members(_Trail(record.request_id, record.shared_event_id, record.error_code, UNSET, UNSET, UNSET))
    resources: list[_Resource] | UnsetType = UNSET
    if record.resources:
        unique = dict.fromkeys([(resource.arn, resource.account_id, resource.type) for resource in record.resources])
        resources = [_Resource(*resource) for resource in unique]
    addendum = record.addendum
    return members(
        _Trail(
            record.request_id,
            record.shared_event_id,
            record.error_code,
            record.error_message,
            resources,
            _Addendum(*structs.astuple(addendum)) if addendum is not UNSET and addendum != _NO_ADDENDUM else UNSET,
        )
    )


_NO_ADDENDUM: Final = Addendum()


def _console_login(additional: Any) -> bytes:
    """Return ``console_login``."""
    if not isinstance(additional, dict):
        return b""
    data = _ConsoleData(
        _YES.get(str(additional.get("MobileVersion")), UNSET),
        _YES.get(str(additional.get("MFAUsed")), UNSET),
        _text(additional, "LoginTo"),
    )
    return member(b"console_login", {"additional_eventdata": data}) if data != _NO_CONSOLE_DATA else b""


_NO_CONSOLE_DATA: Final = _ConsoleData(UNSET, UNSET, UNSET)


def _text(value: Any, key: str) -> Text:
    """Return the text under ``key`` of what may be a JSON object."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if type(found) is str and found else UNSET


def _people(record: Record, actor: Actor, request: Any, response: Any, additional: Any) -> tuple[bytes, bytes]:
    """Return ``user`` and the member ``user`` of ``related``."""
    target_name, new_name = _text(request, "userName"), _text(request, "newUserName")
    target_id = _text(response.get("user"), "userId") if isinstance(response, dict) else UNSET
    signed_in: Text = UNSET
    if record.event_name == "UserAuthentication" and actor.user.name is UNSET:
        signed_in = _text(additional, "UserName")
    if not (target_name or new_name or target_id or signed_in):
        return actor.user_json, actor.related_json
    user = User(
        actor.user.id,
        actor.user.name or signed_in,
        actor.user.email or (signed_in if signed_in and "@" in signed_in else UNSET),
        actor.user.type,
        UserName(target_id, target_name) if target_name or target_id else UNSET,
        UserName(UNSET, new_name) if new_name else UNSET,
    )
    prefix = signed_in.partition("@")[0] if signed_in and "@" in signed_in else UNSET
    names = related_names(*actor.related, signed_in, prefix, target_name, target_id, new_name)
    return member(b"user", user), member(b"user", names)


def _group(record: Record, request: Any, response: Any) -> bytes:
    """Return ``group``: one of users."""
    if record.event_source not in _GROUP_SERVICES:
        return b""
    group_id = _text(response.get("group"), "groupId") if isinstance(response, dict) else UNSET
    return member(b"group", UserName(group_id, _text(request, "groupName")))


def _ips(address: Address, details: Any) -> bytes:
    """Return the member ``ip`` of ``related``."""
    more = _text(details, "sourceIpAddress")
    ips = (*address.ips, more) if more and is_ip(more) and more not in address.ips else address.ips
    return member(b"ip", ips)


def _hosts(hosts: tuple[str, ...], record: Record) -> bytes:
    """Return the member ``hosts`` of ``related``: ``hosts``, and instances that are resources."""
    found = dict.fromkeys(hosts)
    for resource in record.resources or ():
        if resource.arn and ":instance/i-" in resource.arn:
            found[resource.arn.rpartition("/")[2]] = None
    return member(b"hosts", tuple(found)) if found else b""


def _hashes(*payloads: Any) -> bytes:
    """Return the member ``hash`` of ``related``."""
    found = [text for payload in payloads for key in ("codeSha256", "imageDigest") if (text := _text(payload, key))]
    return member(b"hash", tuple(dict.fromkeys(found)))
