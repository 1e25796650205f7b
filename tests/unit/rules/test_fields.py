"""Parameters that rules ask for are those of the calls they are about: a wrong name never matches, silently."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import UnknownServiceError
from botocore.model import Shape

from loader.detection.load import RuleSet
from loader.detection.model import Rule
from tests.unit.rules.test_shapes import EC2_OWN, S3_OWN, SERVICES, all_names, operation, service_model, small

SIDES = {"requestParameters": "input_shape", "responseElements": "output_shape"}
#: Paths CloudTrail writes that no model has, and where they were seen.
KNOWN = {"responseElements.ConsoleLogin": "sign-in"}


def maps(node: Any) -> Iterator[Mapping[str, Any]]:
    """Yield each map of a detection."""
    if isinstance(node, Mapping):
        yield node
    elif isinstance(node, list):
        for part in node:
            yield from maps(part)


def texts(node: Mapping[str, Any], field: str) -> list[str]:
    found = [value for key, value in node.items() if key.partition("|")[0] == field]
    return [str(one) for value in found for one in (value if isinstance(value, list) else [value])]


def calls(rule: Rule) -> list[tuple[str, str]]:
    """Return every call that a rule could mean: any of its sources with any of its names."""
    every = [part for name, body in rule.content["detection"].items() if name != "condition" for part in maps(body)]
    sources = {text.removesuffix(".amazonaws.com") for part in every for text in texts(part, "eventSource")} - {""}
    return [(source, event) for source in sources for part in every for event in texts(part, "eventName")]


def knows(source: str, event: str, path: str) -> bool:
    root, *names = path.split(".")
    if source in ("ec2", "s3") and operation(source, event):
        own = EC2_OWN if source == "ec2" else S3_OWN
        known = all_names(source, event, SIDES[root])
        wrapped = names[0].endswith(("Request", "Response"))
        return bool(known) and all(
            name in own
            or small(name) in known
            or name.startswith(("x-amz-", "aws:"))
            or name in ("Statement", "Condition")
            for name in names[wrapped:]
        )
    for model in models(source, event):
        if has(getattr(model, SIDES[root]), names):
            return True
        only = getattr(model, SIDES[root])
        if only is not None and len(only.members) == 1 and has(next(iter(only.members.values())), names):
            return True
    return False


def models(source: str, event: str) -> Iterator[Any]:
    """Yield the call's models; a name may be a beginning (``CreateFunction``), for AWS adds dates."""
    begin = re.sub(r"\d.*", "", event)
    for service in SERVICES.get(source, (source,)):
        try:
            model = service_model(service)
        except UnknownServiceError:
            continue
        yield from (model.operation_model(name) for name in model.operation_names if name.startswith(begin))


def has(shape: Shape | None, names: list[str]) -> bool:
    if not names or shape is None:
        return not names
    if shape.type_name == "list":
        return has(shape.member, names)
    if shape.type_name == "map":
        return has(shape.value, names[1:])
    if shape.type_name != "structure":
        return False
    members = {small(name): member for name, member in shape.members.items()}
    return names[0] in members and has(members[names[0]], names[1:])


def unknown_paths(rule: Rule) -> list[str]:
    meant = calls(rule)
    paths = {
        key.partition("|")[0]
        for body in rule.content["detection"].values()
        for part in maps(body)
        for key in part
        if key.startswith(tuple(f"{side}." for side in SIDES))
    }
    return sorted(
        path
        for path in paths
        if meant and path not in KNOWN and "bucketPolicy" not in path and not any(knows(*call, path) for call in meant)
    )


def test_parameters_that_rules_ask_for_exist(rules: RuleSet) -> None:
    assert {rule.name: found for rule in rules.rules if (found := unknown_paths(rule))} == {}


def test_the_check_sees_wrong_names() -> None:
    assert knows("iam", "CreateAccessKey", "requestParameters.userName")
    assert not knows("iam", "CreateAccessKey", "requestParameters.user")
    assert not knows("iam", "CreateAccessKey", "requestParameters.userName.more")
    assert knows("iam", "CreateAccessKey", "responseElements.accessKey.accessKeyId")
    assert knows("lambda", "UpdateFunctionConfiguration", "requestParameters.layers")
    assert not knows("lambda", "UpdateFunctionConfiguration", "requestParameters.layer")
    assert knows("ec2", "AuthorizeSecurityGroupIngress", "requestParameters.ipPermissions.items.ipRanges.items.cidrIp")
    assert not knows("ec2", "AuthorizeSecurityGroupIngress", "requestParameters.permissions.items.cidrIp")
    assert knows("guardduty", "UpdateDetector", "requestParameters.features.status")
    assert not knows("guardduty", "UpdateDetector", "requestParameters.features.state")
