"""Parts of a record → the document. Both ways of reading a record end here, so both give the same document."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from loader.logtypes.cloudtrail_document import (
    AddendumOut,
    Aws,
    CloudTrail,
    ConsoleData,
    ConsoleLogin,
    Document,
    Event,
    KeyExchange,
    Name,
    Related,
    ResourceOut,
    Siem,
    SiemSession,
    User,
    encode,
)
from loader.logtypes.cloudtrail_identity import HIDDEN, NOBODY, Actor, as_bool
from loader.logtypes.cloudtrail_insight import InsightPart
from loader.logtypes.cloudtrail_outcome import outcome
from loader.logtypes.cloudtrail_parts import ECS, NO_TLS, Origin, Tls, address_of, agent_of, make_cloud, make_service
from loader.logtypes.cloudtrail_record import Record, Text
from loader.logtypes.cloudtrail_taxonomy import (
    ENDPOINT_ALLOWED,
    ENDPOINT_DENIED,
    INSIGHT,
    Class,
    classify,
    service_name,
)
from loader.logtypes.network import is_ip
from loader.logtypes.times import Moment

_DATASET: Final = "aws.cloudtrail"
_MODULE: Final = "aws"
#: Services whose ``groupName`` is a group of users, not one of hosts or resources.
_GROUP_SERVICES: Final = frozenset(
    {"iam", "identitystore", "sso-directory", "cognito-idp", "quicksight", "workmail", "workdocs"}
)
_INSTANCE: Final = re.compile(r"i-(?:[0-9a-f]{17}|[0-9a-f]{8})", re.ASCII)
_YES: Final = {"Yes": True, "No": False}


@dataclass(slots=True)
class Parts:
    """A record's parts, ready for the document. ``values`` holds decoded payloads by CloudTrail's names."""

    record: Record
    moment: Moment
    origin: Origin
    values: dict[str, Any]
    flattened: dict[str, Raw]
    leaves: list[str]
    actor: Actor = NOBODY
    tls: Tls = NO_TLS
    insight: InsightPart | None = None
    error_code: Any = UNSET
    error_message: Any = UNSET
    tags: list[str] = field(default_factory=list)
    truncated: list[str] = field(default_factory=list)


def build(parts: Parts) -> bytes:
    """Return the document as one line of JSON."""
    record, actor = parts.record, parts.actor
    insight = parts.insight
    source, action = record.event_source, record.event_name
    if insight is not None:
        source, action = insight.fields.event_source or source, insight.fields.event_name or action
    request, response = parts.values.get("requestParameters"), parts.values.get("responseElements")
    service = service_name(source) if source else ""
    user, group, names = _people(parts, service, request, response)
    account = _account(actor, record)
    address = address_of(record.source_ip_address) if isinstance(record.source_ip_address, str) else None
    kind = _class(parts, source, action)
    stated = outcome(
        record.event_name,
        parts.error_code,
        parts.error_message,
        response,
        parts.values.get("serviceEventDetails"),
    )
    event = Event(
        id=record.event_id,
        kind="event" if insight is None else "alert",
        category=list(kind.category),
        type=list(kind.type),
        action=action,
        outcome=stated if insight is None else "unknown",
        provider=source,
        dataset=_DATASET,
        module=_MODULE,
        created=parts.origin.created,
        ingested=parts.origin.ingested,
        start=insight.start if insight else UNSET,
        end=insight.end if insight else UNSET,
    )
    cloudtrail = CloudTrail(
        event_version=record.event_version,
        event_category=record.event_category,
        event_type=record.event_type,
        request_id=record.request_id,
        api_version=record.api_version,
        read_only=as_bool(record.read_only),
        management_event=as_bool(record.management_event),
        recipient_account_id=record.recipient_account_id,
        shared_event_id=record.shared_event_id,
        vpc_endpoint_id=record.vpc_endpoint_id,
        vpc_endpoint_account_id=record.vpc_endpoint_account_id,
        session_credential_from_console=as_bool(record.session_credential_from_console),
        error_code=record.error_code,
        error_message=record.error_message,
        resources=_resources(record),
        addendum=_addendum(record),
        tls_details=KeyExchange(parts.tls.key_exchange) if parts.tls.key_exchange is not UNSET else UNSET,
        user_identity=actor.fragment if actor is not NOBODY else UNSET,
        console_login=_console_login(record, parts.values.get("additionalEventData")),
        insight=insight.fields if insight else UNSET,
        flattened=parts.flattened or UNSET,
        leaves=parts.leaves or UNSET,
    )
    document = Document(
        timestamp=parts.moment.text,
        tags=parts.tags or UNSET,
        ecs=ECS,
        event=event,
        cloud=make_cloud(account, record.aws_region, source),
        user=user,
        group=group,
        service=make_service(actor.service) if actor.service else UNSET,
        source=address.fragment if address else UNSET,
        user_agent=agent_of(record.user_agent) if isinstance(record.user_agent, str) else UNSET,
        tls=parts.tls.fragment,
        related=_related(parts, names, address.ips if address else (), address.host if address else None),
        log=parts.origin.log,
        siem=_siem(parts, actor, record),
        aws=Aws(parts.origin.s3, cloudtrail),
    )
    return encode(document)


def _class(parts: Parts, source: Text, action: Text) -> Class:
    record = parts.record
    if parts.insight is not None or record.event_category == "Insight":
        return INSIGHT
    if record.event_category == "NetworkActivity" or record.event_type == "AwsVpceEvent":
        return ENDPOINT_DENIED if parts.error_code else ENDPOINT_ALLOWED
    return classify(source or "", action or "")


def _text(value: Any, key: str) -> Text:
    """Return the text under ``key`` of what may be a JSON object."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if type(found) is str and found else UNSET


def _people(
    parts: Parts, service: str, request: Any, response: Any
) -> tuple[User | UnsetType, Name | UnsetType, list[str]]:
    """Return ``user``, ``group`` and the names for ``related.user``."""
    actor, record = parts.actor, parts.record
    target_name, new_name = _text(request, "userName"), _text(request, "newUserName")
    target_id = _text(response.get("user"), "userId") if isinstance(response, dict) else UNSET
    name, email = actor.name, actor.email
    if name is UNSET and record.event_name == "UserAuthentication":
        name = _text(parts.values.get("additionalEventData"), "UserName")
        if name and email is UNSET and "@" in name:
            email = name
    group: Name | UnsetType = UNSET
    if service in _GROUP_SERVICES:
        group_name = _text(request, "groupName")
        group_id = _text(response.get("group"), "groupId") if isinstance(response, dict) else UNSET
        if group_name or group_id:
            group = Name(group_id, group_name)
    names = list(actor.related)
    for more in (name, target_name, target_id, new_name):
        if more and more not in names and more != HIDDEN:
            names.append(more)
    if actor is NOBODY and not (name or target_name or target_id or new_name):
        return UNSET, group, names
    user = User(
        actor.id,
        name,
        email,
        actor.kind,
        Name(target_id, target_name) if target_name or target_id else UNSET,
        Name(UNSET, new_name) if new_name else UNSET,
    )
    return user, group, names


def _is_account(text: Text) -> bool:
    return isinstance(text, str) and len(text) == 12 and text.isascii() and text.isdigit()


def _account(actor: Actor, record: Record) -> Text:
    """Return the caller's account; the recipient's if the caller has none (a service, an anonymous caller)."""
    if _is_account(actor.account):
        return actor.account
    return record.recipient_account_id or actor.account or UNSET


def _siem(parts: Parts, actor: Actor, record: Record) -> Siem | UnsetType:
    across: bool | UnsetType = UNSET
    if _is_account(actor.account) and _is_account(record.recipient_account_id):
        across = actor.account != record.recipient_account_id
    session = SiemSession(actor.session_name) if actor.session_name else UNSET
    if across is UNSET and session is UNSET and not parts.truncated:
        return UNSET
    return Siem(across, session, parts.truncated or UNSET)


def _resources(record: Record) -> list[ResourceOut] | UnsetType:
    """Return the resources, each once."""
    if not record.resources:
        return UNSET
    unique = dict.fromkeys([(resource.arn, resource.account_id, resource.type) for resource in record.resources])
    return [ResourceOut(*resource) for resource in unique]


def _addendum(record: Record) -> AddendumOut | UnsetType:
    addendum = record.addendum
    if addendum is UNSET or addendum == type(addendum)():
        return UNSET
    return AddendumOut(*msgspec.structs.astuple(addendum))


def _console_login(record: Record, additional: Any) -> ConsoleLogin | UnsetType:
    if record.event_name != "ConsoleLogin" or not isinstance(additional, dict):
        return UNSET
    data = ConsoleData(
        mobile_version=_YES.get(str(additional.get("MobileVersion")), UNSET),
        mfa_used=_YES.get(str(additional.get("MFAUsed")), UNSET),
        login_to=_text(additional, "LoginTo"),
    )
    return ConsoleLogin(data) if data != ConsoleData() else UNSET


def _related(parts: Parts, names: list[str], ips: tuple[str, ...], address_host: str | None) -> Related | UnsetType:
    details = parts.values.get("serviceEventDetails")
    if isinstance(details, dict):
        more = _text(details, "sourceIpAddress")
        if more and is_ip(more) and more not in ips:
            ips = (*ips, more)
    hosts = [host for host in (parts.tls.host, address_host) if host]
    hosts += _instances(parts)
    hashes = [
        text
        for payload in (parts.values.get("requestParameters"), parts.values.get("responseElements"))
        if isinstance(payload, dict)
        for key in ("codeSha256", "imageDigest")
        if (text := _text(payload, key))
    ]
    if not (names or ips or hosts or hashes):
        return UNSET
    return Related(
        names or UNSET,
        list(ips) or UNSET,
        list(dict.fromkeys(hosts)) or UNSET,
        list(dict.fromkeys(hashes)) or UNSET,
    )


def _instances(parts: Parts) -> list[str]:
    """Return the EC2 instances that the record names: as a parameter, a resource or the session's name."""
    found = [value for leaf in parts.leaves if "=i-" in leaf and _INSTANCE.fullmatch(value := leaf.rpartition("=")[2])]
    found += [
        resource.arn.rpartition("/")[2]
        for resource in parts.record.resources or ()
        if resource.arn and ":instance/i-" in resource.arn
    ]
    session = parts.actor.session_name
    if session and _INSTANCE.fullmatch(session):
        found.append(session)
    return found
