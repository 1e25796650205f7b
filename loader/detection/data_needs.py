"""Which kinds of CloudTrail events a rule lives on, and whether an index holds them. Pure.

A trail records management events unless told otherwise; it can leave out reading ones. Data events, network activity
events and Insights are recorded only where they are switched on, service by service, and cost extra:
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-data-events-with-cloudtrail.html
A rule whose kind of event is not recorded finds nothing, and looks like one that has looked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loader.detection.model import CorrelationRule, Rule

WRITE = "management events, writing"
READ = "management events, reading"
NETWORK = "network activity events"
INSIGHT = "Insights events"
ANY = "any event"

#: Event source → its data events: what a trail's selectors call them, and their names.
_DATA: Mapping[str, tuple[str, frozenset[str]]] = {
    "s3": (
        "S3 objects",
        frozenset(
            [
                "GetObject",
                "HeadObject",
                "PutObject",
                "DeleteObject",
                "DeleteObjects",
                "CopyObject",
                "ListObjects",
                "ListObjectsV2",
                "ListObjectVersions",
                "GetObjectAcl",
                "PutObjectAcl",
                "GetObjectTagging",
                "PutObjectTagging",
                "RestoreObject",
                "UploadPart",
                "UploadPartCopy",
                "CreateMultipartUpload",
                "CompleteMultipartUpload",
                "PutObjectRetention",
                "PutObjectLegalHold",
                "SelectObjectContent",
                "GetObjectAttributes",
            ]
        ),
    ),
    "sns": ("SNS messages", frozenset(("Publish", "PublishBatch"))),
    "sqs": ("SQS messages", frozenset(("SendMessage", "ReceiveMessage", "DeleteMessage", "SendMessageBatch"))),
    "lambda": ("Lambda invocations", frozenset(("Invoke", "InvokeFunction"))),
    "dynamodb": (
        "DynamoDB items",
        frozenset(
            ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "BatchGetItem", "BatchWriteItem", "Query", "Scan")
        ),
    ),
    "ebs": ("EBS snapshot blocks", frozenset(("GetSnapshotBlock", "ListSnapshotBlocks", "PutSnapshotBlock"))),
    "ses": (
        "SES mail",
        frozenset(("SendEmail", "SendRawEmail", "SendBulkEmail", "SendTemplatedEmail", "SendBulkTemplatedEmail")),
    ),
    "bedrock": ("Bedrock agents and knowledge bases", frozenset(("InvokeAgent", "Retrieve", "RetrieveAndGenerate"))),
    "cognito-identity": ("Cognito identities", frozenset(("GetId", "GetCredentialsForIdentity"))),
    "sms-voice": ("text messages", frozenset(("SendTextMessage", "SendVoiceMessage"))),
}
#: Calls that records mark as reading: by their first word, and some that make credentials or answers.
_READING = re.compile(
    r"(?i)^(Get|List|Describe|Head|Lookup|BatchGet|Search|Query|Select|Decode|Check|AssumeRole|InvokeModel|Converse|Decrypt)"
)


def kinds_of(rules: Sequence[Rule]) -> dict[str, tuple[str, ...]]:
    """Return the kinds of events each rule lives on, by its name; a correlation lives on those of its base rules."""
    by_name = {name: rule for rule in rules for name in (rule.name, rule.sigma_name, rule.uuid) if name}
    return {rule.name: tuple(sorted(_kinds(rule, by_name, frozenset()))) for rule in rules}


def _kinds(rule: Rule, by_name: Mapping[str, Rule], above: frozenset[str]) -> set[str]:
    if isinstance(rule, CorrelationRule):
        bases = [by_name[name] for name in rule.rules if name in by_name and name not in above]
        return set().union(*(_kinds(base, by_name, above | {rule.name}) for base in bases)) or {ANY}
    detection = rule.content.get("detection", {})
    texts = set(_texts(detection))
    if "NetworkActivity" in texts:
        return {NETWORK}
    if "Insight" in texts:
        return {INSIGHT}
    everywhere = _values(detection.get("selection"), "eventSource")
    found = {
        kind
        for name, part in detection.items()
        if name not in ("condition", "timeframe")
        for kind in _of_maps(part, everywhere)
    }
    return found or {ANY}


def _of_maps(node: Any, everywhere: Sequence[str]) -> Iterator[str]:
    """Yield the kinds of the events named in a detection; a map without a source has the selection's."""
    for part in node if isinstance(node, list) else [node]:
        if not isinstance(part, Mapping):
            continue
        sources = _values(part, "eventSource") or everywhere
        for event in _values(part, "eventName"):
            yield from {_kind(source, event) for source in sources} or {_kind("", event)}


def _kind(source: str, event: str) -> str:
    name = source.partition(".")[0]
    label, events = _DATA.get(name, ("", frozenset()))
    if event in events:
        return f"data events of {label}"
    if not name:
        known = [what for what, names in _DATA.values() if event in names]
        if known:
            return f"data events of {known[0]}"
    return READ if _READING.match(event.lstrip("^(")) else WRITE


def _values(node: Any, field: str) -> list[str]:
    if not isinstance(node, (Mapping, list)):
        return []
    if isinstance(node, list):
        return [value for part in node for value in _values(part, field)]
    found = [value for key, value in node.items() if str(key).partition("|")[0] == field]
    return [str(one) for value in found for one in (value if isinstance(value, list) else [value])]


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, (Mapping, list)):
        for value in node.values() if isinstance(node, Mapping) else node:
            yield from _texts(value)


def kinds_held(buckets: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, str]]:
    """Return how many events of each kind an index holds, and the time of the last one.

    ``buckets`` are the composite buckets of :data:`HELD`: category, source and whether the call only reads.
    """
    held: dict[str, tuple[int, str]] = {}
    for bucket in buckets:
        key, count = bucket["key"], int(bucket["doc_count"])
        last = str(bucket["last"].get("value_as_string") or "")
        for kind in (_held(key), ANY):
            before = held.get(kind, (0, ""))
            held[kind] = (before[0] + count, max(before[1], last))
    return held


def _held(key: Mapping[str, Any]) -> str:
    category = str(key.get("category") or "Management")
    if category == "Data":
        source = str(key.get("source") or "")
        return f"data events of {_DATA.get(source.partition('.')[0], (source, frozenset()))[0]}"
    if category == "NetworkActivity":
        return NETWORK
    if category == "Insight":
        return INSIGHT
    return READ if key.get("reads") is True else WRITE


#: What to ask an index of CloudTrail events for :func:`kinds_held`; records before version 1.08 have no category.
HELD: Mapping[str, Any] = {
    "size": 0,
    "aggs": {
        "kinds": {
            "composite": {
                "size": 1000,
                "sources": [
                    {"category": {"terms": {"field": "aws.cloudtrail.event_category", "missing_bucket": True}}},
                    {"source": {"terms": {"field": "event.provider", "missing_bucket": True}}},
                    {"reads": {"terms": {"field": "aws.cloudtrail.read_only", "missing_bucket": True}}},
                ],
            },
            "aggs": {"last": {"max": {"field": "@timestamp"}}},
        }
    },
}


@dataclass(frozen=True, slots=True)
class Sight:
    """What a rule can see in an index: ``missing`` are the kinds of events it lives on that are not there."""

    kinds: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def word(self) -> str:
        """Return ``sees``, ``sees part`` or ``blind``."""
        if not self.missing:
            return "sees"
        return "blind" if len(self.missing) == len(self.kinds) else "sees part"


def sight(kinds: Sequence[str], held: Mapping[str, tuple[int, str]]) -> Sight:
    """Return what a rule that lives on ``kinds`` can see where ``held`` is all there is."""
    return Sight(tuple(kinds), tuple(kind for kind in kinds if not held.get(kind, (0, ""))[0]))
