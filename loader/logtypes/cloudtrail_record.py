"""A CloudTrail record as AWS documents it, eventVersion 1.0 to 1.11.

Decoding is strict: a value of another type fails, and so does a key that is not listed, but for the record's own; then
the complete path takes over.
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

#: A value that may be missing. JSON null is not missing: the complete path keeps it as what it is.
Text: TypeAlias = str | UnsetType
#: CloudTrail writes some booleans as text.
Flag: TypeAlias = bool | Literal["true", "false"] | UnsetType
Texts: TypeAlias = str | list[str] | UnsetType

#: A payload that is missing.
NO_PAYLOAD: Final = Raw()


class _Input(Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", gc=False):
    """What all parts of a record have in common.

    Encoding such a part gives what it was decoded from, in its shortest form (see ``is_plain``).
    """


class Attributes(_Input):
    """``userIdentity.sessionContext.attributes``."""

    creation_date: Text = UNSET
    mfa_authenticated: Flag = UNSET


class SessionIssuer(_Input):
    """``userIdentity.sessionContext.sessionIssuer``: where a session's credentials came from."""

    type: Text = UNSET
    principal_id: Text = UNSET
    arn: Text = UNSET
    account_id: Text = UNSET
    user_name: Text = UNSET


class NoAttributes(_Input):
    """An empty object. Attributes that are there go through the complete path."""


class WebIdFederationData(_Input):
    """``userIdentity.sessionContext.webIdFederationData``."""

    federated_provider: Text = UNSET
    attributes: NoAttributes | UnsetType = UNSET


class SessionContext(_Input):
    """``userIdentity.sessionContext``."""

    attributes: Attributes | UnsetType = UNSET
    session_issuer: SessionIssuer | UnsetType = UNSET
    web_id_federation_data: WebIdFederationData | UnsetType = UNSET
    ec2_role_delivery: Text = msgspec.field(default=UNSET, name="ec2RoleDelivery")
    source_identity: Text = UNSET
    assumed_root: Flag = UNSET
    sign_in_session_arn: Text = UNSET


class InScopeOf(_Input):
    """``userIdentity.inScopeOf``: the resource a service's credentials were made for."""

    issuer_type: Text = UNSET
    credentials_issued_to: Text = UNSET
    source_arn: Text = UNSET
    source_account: Text = UNSET


class InvokedByDelegate(_Input):
    """``userIdentity.invokedByDelegate``."""

    account_id: Text = UNSET


class OnBehalfOf(_Input):
    """``userIdentity.onBehalfOf``: the person of IAM Identity Center."""

    user_id: Text = UNSET
    identity_store_arn: Text = UNSET


class Identity(_Input):
    """``userIdentity``."""

    type: Text = UNSET
    principal_id: Text = UNSET
    arn: Text = UNSET
    account_id: Text = UNSET
    access_key_id: Text = UNSET
    user_name: Text = UNSET
    session_context: SessionContext | UnsetType = UNSET
    invoked_by: Text = UNSET
    identity_provider: Text = UNSET
    credential_id: Text = UNSET
    on_behalf_of: OnBehalfOf | UnsetType = UNSET
    in_scope_of: InScopeOf | UnsetType = UNSET
    invoked_by_delegate: InvokedByDelegate | UnsetType = UNSET


class Resource(_Input):
    """One of ``resources``."""

    arn: Text = msgspec.field(default=UNSET, name="ARN")
    account_id: Text = UNSET
    type: Text = UNSET


class TlsDetails(_Input):
    """``tlsDetails``."""

    tls_version: Text = UNSET
    cipher_suite: Text = UNSET
    client_provided_host_header: Text = UNSET
    key_exchange: Text = UNSET


class Addendum(_Input):
    """``addendum``: why a record came late or was written anew."""

    reason: Text = UNSET
    updated_fields: Texts = UNSET
    original_request_id: Text = msgspec.field(default=UNSET, name="originalRequestID")
    original_event_id: Text = msgspec.field(default=UNSET, name="originalEventID")


class Record(_Input, kw_only=True, forbid_unknown_fields=False):
    """One record. Payloads, the identity and the TLS details stay as they are in the file.

    Keys that are not listed are passed over; :func:`is_plain` tells that some were. The fields are in CloudTrail's own
    order, in which the decoder looks for them.
    """

    event_version: Text = UNSET
    user_identity: Raw = NO_PAYLOAD
    event_time: str
    event_source: Text = UNSET
    event_name: Text = UNSET
    aws_region: Text = UNSET
    source_ip_address: Text = msgspec.field(default=UNSET, name="sourceIPAddress")
    user_agent: Text = UNSET
    error_code: Text = UNSET
    error_message: Text = UNSET
    request_parameters: Raw = NO_PAYLOAD
    response_elements: Raw = NO_PAYLOAD
    additional_event_data: Raw = NO_PAYLOAD
    request_id: Text = msgspec.field(default=UNSET, name="requestID")
    event_id: Text = msgspec.field(default=UNSET, name="eventID")
    read_only: Flag = UNSET
    resources: list[Resource] | UnsetType = UNSET
    event_type: Text = UNSET
    api_version: Text = UNSET
    management_event: Flag = UNSET
    recipient_account_id: Text = UNSET
    service_event_details: Raw = NO_PAYLOAD
    shared_event_id: Text = msgspec.field(default=UNSET, name="sharedEventID")
    vpc_endpoint_id: Text = UNSET
    vpc_endpoint_account_id: Text = UNSET
    event_category: Text = UNSET
    addendum: Addendum | UnsetType = UNSET
    session_credential_from_console: Flag = UNSET
    event_context: Raw = NO_PAYLOAD
    edge_device_details: Raw = NO_PAYLOAD
    insight_details: Raw = NO_PAYLOAD
    tls_details: Raw = NO_PAYLOAD


#: Attribute of :class:`Record` → key in the record, for the payloads that analysts search by CloudTrail's own names.
PAYLOADS: Final = {
    "request_parameters": "requestParameters",
    "response_elements": "responseElements",
    "additional_event_data": "additionalEventData",
    "service_event_details": "serviceEventDetails",
    "insight_details": "insightDetails",
    "event_context": "eventContext",
    "edge_device_details": "edgeDeviceDetails",
}

#: The keys a record may have.
KNOWN_KEYS: Final = frozenset(field.encode_name for field in msgspec.structs.fields(Record))

decode_record: Final = msgspec.json.Decoder(Record).decode
decode_identity: Final = msgspec.json.Decoder(Identity).decode
decode_tls: Final = msgspec.json.Decoder(TlsDetails).decode
#: One level of an object, whatever its keys are; a doubled key gives its last value.
decode_members: Final = msgspec.json.Decoder(dict[str, Raw]).decode
encode: Final = msgspec.json.Encoder().encode


def is_plain(decoded: object, raw: bytes | Raw) -> bool:
    """Return whether ``decoded`` is all there is in ``raw``: no white space, no doubled key, no needless escape.

    Encoding gives the shortest JSON for a value, so JSON of the same length has nothing else in it. Raw parts count as
    they are.
    """
    return len(encode(decoded)) == len(raw)
