"""The document a CloudTrail record becomes, field by field, as ``mappings/`` has it. Missing parts are ``UNSET``."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from loader.logtypes.cloudtrail_record import Text, Texts

_Flag = bool | UnsetType
_Part = Raw | UnsetType


class _Output(Struct, gc=False):
    """What all parts of a document have in common."""


class Event(_Output):
    """``event``."""

    id: Text
    kind: str
    category: list[str]
    type: list[str]
    action: Text
    outcome: Text
    provider: Text
    dataset: str
    module: str
    created: Text
    ingested: str
    start: Text = UNSET
    end: Text = UNSET


class Name(_Output):
    """An object with an id and a name."""

    id: Text = UNSET
    name: Text = UNSET


class User(_Output):
    """``user``."""

    id: Text = UNSET
    name: Text = UNSET
    email: Text = UNSET
    type: Text = UNSET
    target: Name | UnsetType = UNSET
    changes: Name | UnsetType = UNSET


class Related(_Output):
    """``related``."""

    user: list[str] | UnsetType = UNSET
    ip: list[str] | UnsetType = UNSET
    hosts: list[str] | UnsetType = UNSET
    hash: list[str] | UnsetType = UNSET


class SiemSession(_Output):
    """``siem.session``."""

    name: Text = UNSET


class Siem(_Output):
    """``siem``."""

    cross_account: bool | UnsetType = UNSET
    session: SiemSession | UnsetType = UNSET
    truncated: list[str] | UnsetType = UNSET


class AddendumOut(_Output):
    """``aws.cloudtrail.addendum``."""

    reason: Text = UNSET
    updated_fields: Texts = UNSET
    original_request_id: Text = UNSET
    original_event_id: Text = UNSET


class ResourceOut(_Output):
    """One of ``aws.cloudtrail.resources``."""

    arn: Text = UNSET
    account_id: Text = UNSET
    type: Text = UNSET


class KeyExchange(_Output):
    """``aws.cloudtrail.tls_details``."""

    key_exchange: Text = UNSET


class ConsoleData(_Output):
    """``aws.cloudtrail.console_login.additional_eventdata``."""

    mobile_version: bool | UnsetType = UNSET
    mfa_used: bool | UnsetType = UNSET
    login_to: Text = UNSET


class ConsoleLogin(_Output):
    """``aws.cloudtrail.console_login``."""

    additional_eventdata: ConsoleData


class Insight(_Output):
    """``aws.cloudtrail.insight``."""

    type: Text = UNSET
    state: Text = UNSET
    event_source: Text = UNSET
    event_name: Text = UNSET
    error_code: Text = UNSET
    baseline_average: float | UnsetType = UNSET
    insight_average: float | UnsetType = UNSET
    ratio: float | UnsetType = UNSET
    insight_duration_minutes: float | UnsetType = UNSET
    baseline_duration_minutes: float | UnsetType = UNSET


class CloudTrail(_Output):
    """``aws.cloudtrail``."""

    event_version: Text
    event_category: Text
    event_type: Text
    request_id: Text
    api_version: Text
    read_only: bool | UnsetType
    management_event: bool | UnsetType
    recipient_account_id: Text
    shared_event_id: Text
    vpc_endpoint_id: Text
    vpc_endpoint_account_id: Text
    session_credential_from_console: bool | UnsetType
    error_code: Text
    error_message: Text
    resources: list[ResourceOut] | UnsetType
    addendum: AddendumOut | UnsetType
    tls_details: KeyExchange | UnsetType
    user_identity: Raw | UnsetType
    console_login: ConsoleLogin | UnsetType
    insight: Insight | UnsetType
    flattened: dict[str, Raw] | UnsetType
    leaves: list[str] | UnsetType


class Aws(_Output):
    """``aws``."""

    s3: Raw
    cloudtrail: CloudTrail


class Document(_Output):
    """The whole document. Parts that repeat from record to record are encoded once and kept as ``Raw``."""

    timestamp: str = msgspec.field(name="@timestamp")
    tags: list[str] | UnsetType
    ecs: Raw
    event: Event
    cloud: Raw
    user: User | UnsetType
    group: Name | UnsetType
    service: Raw | UnsetType
    source: Raw | UnsetType
    user_agent: Raw | UnsetType
    tls: Raw | UnsetType
    related: Related | UnsetType
    log: Raw
    siem: Siem | UnsetType
    aws: Aws


encode: Final = msgspec.json.Encoder().encode
