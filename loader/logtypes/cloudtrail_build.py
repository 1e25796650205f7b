"""Parts of a record → the document. Both ways of reading a record end here, so both give the same document.

Most parts come as JSON already and are joined; only what is new in a record is encoded.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType, structs

from loader.logtypes.cloudtrail_identity import HIDDEN, NOBODY, Actor, User, UserName
from loader.logtypes.cloudtrail_insight import InsightPart
from loader.logtypes.cloudtrail_outcome import outcome
from loader.logtypes.cloudtrail_parts import (
    NO_ADDRESS,
    NO_TLS,
    Origin,
    Output,
    Tls,
    address_of,
    agent_of,
    kept_call,
    make_call,
    member,
)
from loader.logtypes.cloudtrail_payload import Payload
from loader.logtypes.cloudtrail_record import Record, Text, Texts, encode
from loader.logtypes.cloudtrail_taxonomy import ENDPOINT_ALLOWED, ENDPOINT_DENIED, INSIGHT, Class, classify
from loader.logtypes.model import Rendered
from loader.logtypes.network import is_ip
from loader.logtypes.times import Moment, is_misdated

#: Services whose ``groupName`` is a group of users, not one of hosts or resources.
_GROUP_SERVICES: Final = frozenset(
    f"{service}.amazonaws.com"
    for service in ("iam", "identitystore", "sso-directory", "cognito-idp", "quicksight", "workmail", "workdocs")
)
_YES: Final = {"Yes": True, "No": False}
_NOTHING: Final = Payload(None, b"", b"", ())


class _Resource(Output):
    arn: Text
    account_id: Text
    type: Text


class _Addendum(Output):
    reason: Text
    updated_fields: Texts
    original_request_id: Text
    original_event_id: Text


class _ConsoleData(Output):
    mobile_version: bool | UnsetType
    mfa_used: bool | UnsetType
    login_to: Text


class Parts(Struct, gc=False):
    """A record's parts, ready for the document. ``payloads`` holds them by CloudTrail's names.

    ``error_code`` and ``error_message`` are the record's whatever their type. ``stored`` are members of
    ``aws.cloudtrail.flattened``, ``leaves`` JSON strings, both beside those of the payloads. ``kept`` says whether
    parts of this record may be remembered.
    """

    record: Record
    moment: Moment
    origin: Origin
    payloads: dict[str, Payload]
    actor: Actor = NOBODY
    tls: Tls = NO_TLS
    insight: InsightPart | None = None
    error_code: Any = UNSET
    error_message: Any = UNSET
    stored: tuple[bytes, ...] = ()
    leaves: tuple[bytes, ...] = ()
    tags: list[str] | None = None
    truncated: list[str] | None = None
    kept: bool = True


def derive_id(record: bytes) -> str:
    """Return a document's ``_id``: base64url of BLAKE2b-128 over the compact record and nothing else."""
    return urlsafe_b64encode(blake2b(record, digest_size=16).digest())[:22].decode()


def finish(parts: Parts, record: bytes) -> Rendered:
    """Return the rendered document of ``parts``; ``record`` is the compact record, for its id."""
    moment, delivered = parts.moment, parts.origin.delivered
    day = moment.day
    if delivered is not None and is_misdated(moment, delivered):
        day = "misdated"
        parts.tags = [*(parts.tags or ()), day]
    return Rendered(day, derive_id(record), build(parts), moment.text)


def build(parts: Parts) -> bytes:
    """Return the document as one line of JSON."""
    record, actor, payloads, origin, insight = parts.record, parts.actor, parts.payloads, parts.origin, parts.insight
    request = payloads.get("requestParameters", _NOTHING).value
    response = payloads.get("responseElements", _NOTHING).value
    address = address_of(record.source_ip_address) if record.source_ip_address is not UNSET else NO_ADDRESS
    account, across = _accounts(actor.account, record.recipient_account_id)
    user, group, names = _people(parts, request, response)
    siem = actor.siem[across]
    if parts.truncated:
        siem += b',"truncated":%b' % encode(parts.truncated)
    event, cloud, trail = _call(parts, account, response)
    # The first member of aws.cloudtrail must not have a comma before it.
    trail += b"".join((*_record_members(record), parts.tls.trail, actor.trail, *_special_members(parts)))
    return b"".join(
        (
            b'{"@timestamp":"',
            parts.moment.text.encode(),
            b'"',
            member("tags", parts.tags) if parts.tags else b"",
            event,
            member("id", record.event_id) if record.event_id is not UNSET else b"",
            origin.event,
            insight.window if insight is not None else b"",
            b"}",
            cloud,
            user,
            group,
            actor.service,
            address.source,
            agent_of(record.user_agent) if record.user_agent is not UNSET else b"",
            parts.tls.tls,
            _related(parts, names, address.ips, address.hosts, request, response),
            origin.log,
            b',"siem":{%b}' % siem[1:] if siem else b"",
            origin.aws,
            trail[1:],
            _payloads(parts, not trail),
            b"}}}",
        )
    )


def _call(parts: Parts, account: Text, response: Any) -> tuple[bytes, bytes, bytes]:
    """Return the opened ``event``, ``cloud``, and the members of ``aws.cloudtrail`` that repeat from call to call."""
    record, insight = parts.record, parts.insight
    source, action = record.event_source, record.event_name
    details = parts.payloads.get("serviceEventDetails", _NOTHING).value
    if insight is not None:
        source, action = insight.source or source, insight.name or action
        stated = "unknown"
    elif parts.error_code is UNSET and parts.error_message is UNSET and response is None and details is None:
        stated = "success"
    else:
        stated = outcome(record.event_name, parts.error_code, parts.error_message, response, details)
    call = (kept_call if parts.kept else make_call)(
        "event" if insight is None else "alert",
        _class(parts, source, action),
        stated,
        source,
        action,
        account,
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
    return call.event, call.cloud, call.trail


def _class(parts: Parts, source: Text, action: Text) -> Class:
    category = parts.record.event_category
    if parts.insight is not None or category == "Insight":
        return INSIGHT
    if category == "NetworkActivity" or parts.record.event_type == "AwsVpceEvent":
        return ENDPOINT_DENIED if parts.error_code else ENDPOINT_ALLOWED
    return classify(source or "", action or "")


def _record_members(record: Record) -> list[bytes]:
    """Return the members of ``aws.cloudtrail`` that are new in each record."""
    found: list[bytes] = []
    if record.request_id is not UNSET:
        found.append(member("request_id", record.request_id))
    if record.shared_event_id is not UNSET:
        found.append(member("shared_event_id", record.shared_event_id))
    if record.error_code is not UNSET:
        found.append(member("error_code", record.error_code))
    if record.error_message is not UNSET:
        found.append(member("error_message", record.error_message))
    if record.resources:
        unique = dict.fromkeys([(resource.arn, resource.account_id, resource.type) for resource in record.resources])
        found.append(member("resources", [_Resource(*resource) for resource in unique]))
    if record.addendum is not UNSET:
        found.append(member("addendum", _Addendum(*structs.astuple(record.addendum))))
    return found


def _special_members(parts: Parts) -> list[bytes]:
    """Return ``console_login`` and ``insight`` of the events that have one."""
    found: list[bytes] = []
    if parts.record.event_name == "ConsoleLogin":
        additional = parts.payloads.get("additionalEventData", _NOTHING).value
        if isinstance(additional, dict):
            data = _ConsoleData(
                _YES.get(str(additional.get("MobileVersion")), UNSET),
                _YES.get(str(additional.get("MFAUsed")), UNSET),
                _text(additional, "LoginTo"),
            )
            if data != _NO_CONSOLE_DATA:
                found.append(member("console_login", {"additional_eventdata": data}))
    if parts.insight is not None:
        found.append(parts.insight.trail)
    return found


_NO_CONSOLE_DATA: Final = _ConsoleData(UNSET, UNSET, UNSET)


def _payloads(parts: Parts, is_first: bool) -> bytes:
    """Return ``flattened`` and ``leaves``."""
    payloads = parts.payloads.values()
    stored = b",".join([payload.stored for payload in payloads] + [more for more in parts.stored if more])
    leaves = b",".join(
        [payload.leaves for payload in payloads if payload.leaves] + [more for more in parts.leaves if more]
    )
    found = b""
    if stored:
        found = b',"flattened":{%b}' % stored
    if leaves:
        found += b',"leaves":[%b]' % leaves
    return found[1:] if is_first else found


def _text(value: Any, key: str) -> Text:
    """Return the text under ``key`` of what may be a JSON object."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if type(found) is str and found else UNSET


def _people(parts: Parts, request: Any, response: Any) -> tuple[bytes, bytes, tuple[str, ...] | None]:
    """Return ``user``, ``group`` and the names for ``related.user`` (``None``: the actor's)."""
    actor, record = parts.actor, parts.record
    target_name: Text = UNSET
    new_name: Text = UNSET
    target_id: Text = UNSET
    signed_in: Text = UNSET
    group = b""
    if isinstance(request, dict):
        target_name, new_name = _text(request, "userName"), _text(request, "newUserName")
    if isinstance(response, dict):
        target_id = _text(response.get("user"), "userId")
    if record.event_name == "UserAuthentication" and actor.user.name is UNSET:
        signed_in = _text(parts.payloads.get("additionalEventData", _NOTHING).value, "UserName")
    if record.event_source in _GROUP_SERVICES:
        group_id = _text(response.get("group"), "groupId") if isinstance(response, dict) else UNSET
        group = member("group", UserName(group_id, _text(request, "groupName")))
    if not (target_name or new_name or target_id or signed_in):
        return actor.user_json, group, None
    user = User(
        actor.user.id,
        actor.user.name or signed_in,
        actor.user.email or (signed_in if signed_in and "@" in signed_in else UNSET),
        actor.user.type,
        UserName(target_id, target_name) if target_name or target_id else UNSET,
        UserName(UNSET, new_name) if new_name else UNSET,
    )
    names = actor.related + tuple(
        [
            name
            for name in (signed_in, target_name, target_id, new_name)
            if name and name != HIDDEN and name not in actor.related
        ]
    )
    return member("user", user), group, tuple(dict.fromkeys(names))


def _is_account(text: Text) -> bool:
    return isinstance(text, str) and len(text) == 12 and text.isascii() and text.isdigit()


def _accounts(caller: Text, recipient: Text) -> tuple[Text, bool | UnsetType]:
    """Return the caller's account (the recipient's if the caller has none), and whether the two differ."""
    if not _is_account(caller):
        return recipient or caller or UNSET, UNSET
    return caller, caller != recipient if caller == recipient or _is_account(recipient) else UNSET


def _related(
    parts: Parts,
    names: tuple[str, ...] | None,
    ips: tuple[str, ...],
    hosts: tuple[str, ...],
    request: Any,
    response: Any,
) -> bytes:
    found = b""
    if names is not None:
        found = b',"user":%b' % encode(names)
    elif parts.actor.related:
        found = b',"user":%b' % parts.actor.related_json
    details = parts.payloads.get("serviceEventDetails")
    if details is not None:
        more = _text(details.value, "sourceIpAddress")
        if more and is_ip(more) and more not in ips:
            ips = (*ips, more)
    if ips:
        found += b',"ip":%b' % encode(ips)
    hosts += parts.tls.hosts + parts.actor.hosts + _instances(parts)
    if hosts:
        found += b',"hosts":%b' % encode(tuple(dict.fromkeys(hosts)))
    hashes = _hashes(request) + _hashes(response)
    if hashes:
        found += b',"hash":%b' % encode(tuple(dict.fromkeys(hashes)))
    return b',"related":{%b}' % found[1:] if found else b""


def _hashes(payload: Any) -> list[str]:
    if not isinstance(payload, dict):
        return []
    return [text for key in ("codeSha256", "imageDigest") if (text := _text(payload, key))]


def _instances(parts: Parts) -> tuple[str, ...]:
    """Return the EC2 instances that the record names as a parameter or a resource."""
    found: tuple[str, ...] = ()
    for payload in parts.payloads.values():
        found += payload.instances
    for resource in parts.record.resources or ():
        if resource.arn and ":instance/i-" in resource.arn:
            found += (resource.arn.rpartition("/")[2],)
    return found
