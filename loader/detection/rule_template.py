"""What ``siem rules new`` writes: a rule to fill in, and test events made from the call's model in botocore."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

import orjson

from loader.detection.event_names import names_of, services_of, undated
from loader.errors import RuleError

#: Text of the template that no finished rule may still hold.
PLACEHOLDERS = (
    "What happened, and why an intruder wants it",
    "Who does this for good reasons",
    "What an intruder can do to get past it",
    "what to look at first, and how to stop it",
)
_DEEP = 3


def read_event_name(text: str) -> tuple[str, str]:
    """Return ``("iam.amazonaws.com", "CreateUser")`` of ``iam:CreateUser``.

    Raises:
        RuleError: AWS has no such service or no such call; says which come near.
    """
    label, _, name = text.partition(":")
    source = label if label.endswith(".amazonaws.com") else f"{label}.amazonaws.com"
    names = names_of(source)
    if not name or names is None:
        raise RuleError("name a call as SERVICE:CALL, for instance iam:CreateUser", where=text)
    if undated(name) not in names:
        near = difflib.get_close_matches(name, names, n=3)
        hint = f"Near: {', '.join(near)}." if near else "See CloudTrail's eventName of a record you have."
        raise RuleError(f"{source} has no call {name}", where=text, hint=hint)
    return source, name


def rule_text(name: str, title: str, source: str, event: str, *, uuid: UUID, today: date) -> str:
    """Return a rule that compiles, with text to fill in."""
    return f"""title: {orjson.dumps(title).decode()}
id: {uuid}
name: {name}
status: test
description: >-
  {PLACEHOLDERS[0]}: two or three sentences of your own.
references:
  - 'https://docs.aws.amazon.com/'
author: cloudtrail-siem authors
date: {today}
license: Apache-2.0
tags:
  - attack.persistence
  - attack.t1098
logsource:
  product: aws
  service: cloudtrail
detection:
  selection:
    eventSource: {source}
    eventName: {event}
  failed:
    errorCode|exists: true
  condition: selection and not failed
falsepositives:
  - {PLACEHOLDERS[1]}, and what to do about it.
level: low
siem:
  suppress:
    by: [userIdentity.arn]
    for: 1h
  blind_spots:
    - {PLACEHOLDERS[2]}.
  runbook: >-
    siem alerts show <id>; {PLACEHOLDERS[3]}.
"""


def case_text(source: str, event: str) -> str:
    """Return the test events to begin with: the call, and the same call refused."""
    record = _record(source, event)
    arn = record["userIdentity"]["arn"]
    call = f"{source.partition('.')[0]}:{undated(event)}"
    refused = {
        **record,
        "errorCode": "AccessDenied",
        "errorMessage": f"User: {arn} is not authorized to perform: {call}",
        "responseElements": None,
        "eventID": "00000000-0000-4000-8000-000000000002",
    }
    cases = {"match": [record], "near_miss": [refused]}
    return orjson.dumps(cases, option=orjson.OPT_INDENT_2).decode() + "\n"


def _record(source: str, event: str) -> dict[str, Any]:
    account = "111122223333"
    return {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "IAMUser",
            "principalId": "AIDAIOSFODNN7EXAMPLE",
            "arn": f"arn:aws:iam::{account}:user/alice",
            "accountId": account,
            "accessKeyId": "AKIAIOSFODNN7EXAMPLE",
            "userName": "alice",
        },
        "eventTime": "2026-03-02T12:00:00Z",
        "eventSource": source,
        "eventName": event,
        "awsRegion": "us-east-1",
        "sourceIPAddress": "198.51.100.7",
        "userAgent": "aws-cli/2.27.50 md/awscrt#0.26.1 ua/2.1 os/linux#6.8.0 md/arch#x86_64 lang/python#3.13.4",
        "requestParameters": _request(source, event),
        "responseElements": None,
        "requestID": "00000000-0000-4000-8000-000000000000",
        "eventID": "00000000-0000-4000-8000-000000000001",
        "readOnly": event.startswith(("Get", "List", "Describe")),
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": account,
        "eventCategory": "Management",
    }


def _request(source: str, event: str) -> Mapping[str, Any] | None:
    """Return the call's parameters as CloudTrail writes most of them: the model's names with a small first letter."""
    import botocore.session

    session = botocore.session.get_session()
    for service in services_of(source):
        try:
            model = session.get_service_model(service)
        except Exception:  # noqa: S112 (botocore has no such service: the event is none of its calls)
            continue
        if undated(event) in model.operation_names:
            shape = model.operation_model(undated(event)).input_shape
            return _sample(shape, 0) if shape is not None else None
    return None


def _sample(shape: Any, depth: int) -> Any:
    if shape.type_name == "structure":
        named = [name for name in shape.members if name in shape.required_members] or list(shape.members)[:3]
        return {_small(name): _sample(shape.members[name], depth + 1) for name in named} if depth < _DEEP else {}
    if shape.type_name == "list":
        return [_sample(shape.member, depth + 1)] if depth < _DEEP else []
    if shape.type_name == "map":
        return {}
    if shape.type_name == "boolean":
        return True
    if shape.type_name in ("integer", "long", "float", "double"):
        return 1
    return (getattr(shape, "enum", None) or ["example"])[0]


def _small(name: str) -> str:
    return name[:1].lower() + name[1:]
