"""Names of request parameters and response elements in test records are those of botocore's service models.

A rule on a parameter that AWS does not have never fires, and a test record made for it would never tell. CloudTrail
writes the models' names with a small first letter; where it does otherwise, a table here says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
from botocore.model import OperationModel, Shape

from loader.project import rules_dir

#: Records that were not made by us but by AWS (rules/NOTICE): they are right whatever the models say.
REAL_ACCOUNT = "123837392027"

#: Event source (without .amazonaws.com) → botocore's services, in the order they are asked.
SERVICES = {
    "airflow": ("mwaa",),
    "apigateway": ("apigateway", "apigatewayv2"),
    "access-analyzer": ("accessanalyzer",),
    "bedrock": ("bedrock", "bedrock-runtime", "bedrock-agent"),
    "elasticfilesystem": ("efs",),
    "elasticloadbalancing": ("elbv2", "elb"),
    "elasticmapreduce": ("emr",),
    "es": ("opensearch", "es"),
    "kinesisanalytics": ("kinesisanalyticsv2",),
    "monitoring": ("cloudwatch",),
    "s3": ("s3", "s3control"),
    "servicequotas": ("service-quotas",),
    "ses": ("ses", "sesv2"),
    "sso": ("sso-admin", "sso"),
    "sms-voice": ("pinpoint-sms-voice-v2",),
    "states": ("stepfunctions",),
}
#: Events of S3 that are named otherwise than the operation.
OPERATIONS = {
    "DeleteBucketPublicAccessBlock": ("s3", "DeletePublicAccessBlock"),
    "PutBucketPublicAccessBlock": ("s3", "PutPublicAccessBlock"),
    "DeleteAccountPublicAccessBlock": ("s3control", "DeletePublicAccessBlock"),
    "PutAccountPublicAccessBlock": ("s3control", "PutPublicAccessBlock"),
    "GetBucketObjectLockConfiguration": ("s3", "GetObjectLockConfiguration"),
    "PutBucketObjectLockConfiguration": ("s3", "PutObjectLockConfiguration"),
    "GitPull": None,  # made by git, no call of the SDK
    "OpenTunnel": None,  # made by the tunnel, no call of the SDK
    "SharedSnapshotVolumeCreated": None,  # an event of EC2 itself, no call
    "SharedSnapshotCopyInitiated": None,
}
#: Near misses that are calls of no service on purpose: the right name under a wrong source.
MADE_UP = frozenset((("logs", "UpdateTrail"),))
#: What CloudTrail adds to the names of EC2's models: lists are objects of items, answers carry requestId and _return.
EC2_OWN = frozenset(
    [
        "items",
        "instancesSet",
        "attributeType",
        "requestId",
        "_return",
        "xmlns",
        "tag",
        "content",
        "aclProtocol",
        "zone",
        "instanceType",
    ]
)
#: What CloudTrail writes of S3's REST requests: the bucket, the host, and the query's sub-resource.
S3_OWN = frozenset(
    [
        "bucketName",
        "key",
        "Host",
        "acl",
        "policy",
        "list-type",
        "lifecycle",
        "logging",
        "notification",
        "versioning",
        "replication",
        "encryption",
        "publicAccessBlock",
        "bucketPolicy",
        "accountId",
        "name",
        "object-lock",
        "xmlns",
        "xmlns:xsi",
        "xsi:type",
        "location",
        "Rule",
        "Filter",
        "Grant",
        "Grantee",
        "ID",
        "URI",
    ]
)
#: Query services whose answer CloudTrail writes without its only member (DBInstance, Cluster, …).
UNWRAPPED = frozenset(("rds", "redshift"))


@cache
def operation(source: str, event: str) -> OperationModel | None:
    if (found := OPERATIONS.get(event)) is not None:
        return botocore.session.get_session().get_service_model(found[0]).operation_model(found[1])
    name = re.sub(r"(\d{8}|\d{4}_\d\d_\d\d)(v\d+)?$", "", event)
    for service in SERVICES.get(source, (source,)):
        model = service_model(service)
        if name in model.operation_names:
            return model.operation_model(name)
    return None


@cache
def service_model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


def small(name: str) -> str:
    return name[:1].lower() + name[1:]


@cache
def all_names(source: str, event: str, side: str) -> frozenset[str]:
    """Return every name anywhere in a request or response, for services whose nesting CloudTrail changes."""
    found: set[str] = set()
    seen: set[str] = set()

    def walk(shape: Shape | None) -> None:
        if shape is None or shape.name in seen:
            return
        seen.add(shape.name)
        if shape.type_name == "structure":
            for name, member in shape.members.items():
                for one in (name, member.serialization.get("name"), member.serialization.get("queryName")):
                    if one:
                        found.update((small(one), small(one) + "Set", small(one).removesuffix("s") + "Set"))
                walk(member)
        elif shape.type_name == "list":
            walk(shape.member)

    model = operation(source, event)
    walk(getattr(model, side) if model else None)
    return frozenset(found)


def unknown_names(record: dict[str, Any]) -> Iterator[str]:
    if record.get("eventType") != "AwsApiCall" or record.get("recipientAccountId") == REAL_ACCOUNT:
        return
    source, event = record["eventSource"].removesuffix(".amazonaws.com"), record["eventName"]
    if event in OPERATIONS and OPERATIONS[event] is None:
        return
    if (source, event) in MADE_UP:
        return
    model = operation(source, event)
    if model is None:
        yield f"{source} has no operation {event}"
        return
    for key, side in (("requestParameters", "input_shape"), ("responseElements", "output_shape")):
        value = record.get(key)
        if not isinstance(value, dict):
            continue
        if source in ("ec2", "s3"):
            own = EC2_OWN if source == "ec2" else S3_OWN
            yield from _loose(value, all_names(source, event, side), own, key)
        else:
            yield from _strict(value, _answer(source, getattr(model, side), side), key)


def _answer(source: str, shape: Shape | None, side: str) -> Shape | None:
    if source in UNWRAPPED and side == "output_shape" and shape is not None and len(shape.members) == 1:
        only = next(iter(shape.members.values()))
        return only if only.type_name == "structure" else shape
    return shape


def _strict(value: Any, shape: Shape | None, path: str) -> Iterator[str]:
    if isinstance(value, list):
        if shape is None or shape.type_name != "list":
            yield f"{path} is no list"
            return
        for item in value:
            yield from _strict(item, shape.member, path)
    elif isinstance(value, dict):
        if shape is None or shape.type_name not in ("structure", "map"):
            if value:
                yield f"{path} is no object"
        elif shape.type_name == "map":
            for name, item in value.items():
                yield from _strict(item, shape.value, f"{path}.{name}")
        else:
            members = {small(name): member for name, member in shape.members.items()}
            for name, item in value.items():
                if name in members:
                    yield from _strict(item, members[name], f"{path}.{name}")
                else:
                    yield f"{path}.{name} is not in {shape.name}"


def _loose(value: Any, names: frozenset[str], own: frozenset[str], path: str) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _loose(item, names, own, path)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name == "bucketPolicy":
                continue
            wrapper = name.endswith(("Request", "Response")) and path in ("requestParameters", "responseElements")
            if not (wrapper or name in own or small(name) in names or name.startswith("x-amz-")):
                yield f"{path}.{name}"
            yield from _loose(item, names, own, f"{path}.{name}")


def records() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(rules_dir().rglob("*.test.json")):
        pending: list[Any] = [json.loads(path.read_text(encoding="utf-8"))]
        while pending:
            item = pending.pop()
            if isinstance(item, list):
                pending += item
            elif "eventSource" in item:
                yield path.name, item
            else:
                pending += [part for key, part in item.items() if key not in ("variables", "places")]


def test_parameters_of_test_records_are_known_to_botocore() -> None:
    found = {f"{name}: {record['eventName']}: {one}" for name, record in records() for one in unknown_names(record)}
    assert sorted(found) == []


def test_the_check_sees_a_wrong_name() -> None:
    record = {"eventType": "AwsApiCall", "eventSource": "iam.amazonaws.com", "eventName": "CreateAccessKey"}
    assert not list(unknown_names({**record, "requestParameters": {"userName": "bob"}}))
    assert list(unknown_names({**record, "requestParameters": {"user": "bob"}}))
    nested = {"eventType": "AwsApiCall", "eventSource": "ec2.amazonaws.com", "eventName": "DeleteFlowLogs"}
    assert list(unknown_names({**nested, "requestParameters": {"DeleteFlowLogsRequest": {"FlowLog": "x"}}}))
    assert not list(unknown_names({**nested, "requestParameters": {"DeleteFlowLogsRequest": {"FlowLogId": "x"}}}))
