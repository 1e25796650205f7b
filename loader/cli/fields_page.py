"""The page of fields, made from mapping and golden documents: ``python -m loader.cli.fields_page`` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from loader.ecs import ECS_VERSION
from loader.index.bulk import Item
from loader.index.templates import compose, read_templates
from loader.ingest.hinting import Hinter
from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import ObjectContext
from loader.project import home, mappings_dir

TEMPLATE: Final = "log-aws-cloudtrail"
_LONGEST: Final = 64

#: Fields that are no single key of a record (those are in ``mappings/sigma``) → where they come from.
ORIGINS: Final[dict[str, str]] = {
    "@timestamp": "`eventTime`, in UTC",
    "tags": "`misdated`: the event is not near its object's delivery; `invalid_unicode`: the record was repaired",
    "ecs.version": "constant",
    "event.kind": "`event`; `alert` for CloudTrail Insights",
    "event.category": "by `eventSource` and `eventName`, a table with verbs as fallback",
    "event.type": "by `eventSource` and `eventName`, a table with verbs as fallback",
    "event.outcome": "`errorCode`, `errorMessage`, `responseElements`, `serviceEventDetails`; `unknown` for Insights",
    "event.action": "`eventName`; of an Insight the one inside it",
    "event.provider": "`eventSource`; of an Insight the one inside it",
    "event.created": "when CloudTrail delivered the object, by its key",
    "event.ingested": "when this loader read it",
    "event.dataset": "constant",
    "event.module": "constant",
    "event.start": "an Insight's window",
    "event.end": "an Insight's window",
    "cloud.provider": "constant",
    "cloud.account.id": "`userIdentity.accountId`, the caller's; else `recipientAccountId`",
    "cloud.service.name": "`eventSource` without `.amazonaws.com` and the like",
    "user.id": "`userIdentity.principalId`, else `onBehalfOf.userId`",
    "user.name": "of a session its issuer's `userName`, else `userIdentity.userName`, else the name in its ARN; "
    "`root`; `additionalEventData.UserName` of a UserAuthentication",
    "user.email": "a user's or session's name that has an `@`",
    "user.type": "`userIdentity.type`, in snake_case; not in ECS",
    "user.target.id": "`responseElements.user.userId`",
    "user.target.name": "`requestParameters.userName`",
    "user.changes.name": "`requestParameters.newUserName`",
    "group.id": "`responseElements.group.groupId`, of services whose groups are of users",
    "group.name": "`requestParameters.groupName`, of services whose groups are of users",
    "service.name": "`userIdentity.invokedBy`, where a service acts for itself or by its service-linked role",
    "source.ip": "`sourceIPAddress`, if it is one address",
    "user_agent.name": "parsed",
    "user_agent.version": "parsed",
    "user_agent.os.name": "parsed",
    "user_agent.os.version": "parsed",
    "user_agent.os.full": "parsed",
    "user_agent.device.name": "parsed",
    "tls.version": "the number in `tlsDetails.tlsVersion`",
    "tls.version_protocol": "the letters in `tlsDetails.tlsVersion`",
    "related.user": "ids and names of users: actor, session, target, `sourceIdentity`; whom an Insight names",
    "related.ip": "every address in `sourceIPAddress` and `serviceEventDetails.sourceIpAddress`",
    "related.hosts": "EC2 instances anywhere in the record; hosts that are not AWS's own",
    "related.hash": "`codeSha256`, `imageDigest`",
    "aws.s3.bucket.name": "the object",
    "aws.s3.object.key": "the object",
    "aws.cloudtrail.user_identity.access_key_kind": "the first four letters of the access key's id",
    **{
        f"aws.cloudtrail.console_login.additional_eventdata.{name}": f"`additionalEventData.{key}` of a ConsoleLogin"
        for name, key in (("mobile_version", "MobileVersion"), ("mfa_used", "MFAUsed"), ("login_to", "LoginTo"))
    },
    "aws.cloudtrail.insight.type": "`insightDetails.insightType`, `insightType`",
    "aws.cloudtrail.insight.state": "`insightDetails.state`, `insightState`; Start and End share `sharedEventID`",
    "aws.cloudtrail.insight.event_source": "`insightDetails.eventSource`, `insightEventSource`",
    "aws.cloudtrail.insight.event_name": "`insightDetails.eventName`, `insightEventName`",
    "aws.cloudtrail.insight.error_code": "`insightDetails.errorCode`, `insightErrorCode`",
    "aws.cloudtrail.insight.baseline_average": "`insightContext`: calls a minute, as usual",
    "aws.cloudtrail.insight.insight_average": "`insightContext`: calls a minute, in the window",
    "aws.cloudtrail.insight.ratio": "insight_average ÷ baseline_average",
    "aws.cloudtrail.insight.insight_duration_minutes": "`insightContext`",
    "aws.cloudtrail.insight.baseline_duration_minutes": "`insightContext`",
    "aws.cloudtrail.flattened": "`requestParameters`, `responseElements`, `additionalEventData`, "
    "`serviceEventDetails`, `insightDetails`, `eventContext`, `edgeDeviceDetails` as they came (`request_parameters` "
    "…); `other`: keys that have no place; `doubled`, `overlong`: what stood twice or was too long. Not searched: "
    "see leaves",
    "aws.cloudtrail.leaves": "every leaf of `flattened` as `path=value` (docs/adr/0002)",
    "siem.truncated": "what was cut to be searchable; it is whole under `aws.cloudtrail.flattened`",
    "siem.cross_account": "whether caller's and recipient's account differ, where both are known",
    "siem.session.name": "`NAME` of a principal id `AROA…:NAME`, or of the session's ARN",
    "siem.session.chain": "everybody from the first principal to this session: a hint (docs/identity.md)",
    "siem.actor.id": "who did it in the end, the first principal: a hint (docs/identity.md)",
    "siem.actor.name": "the same",
    "siem.actor.arn": "the same",
    "siem.actor.type": "the same",
    "siem.actor.account_id": "the same",
    "siem.actor.certainty": "`certain`: the record names him. `hint`: by sessions the loader had seen",
}

#: Mapped, and written by nobody yet: for enrichers, so that no index must be made anew for them.
RESERVED: Final = frozenset(
    {
        *("source.geo.country_iso_code", "source.geo.country_name", "source.geo.city_name", "source.geo.location"),
        *("source.as.number", "source.as.organization.name"),
        *("user.effective.id", "user.effective.name", "aws.s3.bucket.arn", "siem.record_number"),
    }
)


def mapped(properties: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each field of a mapping with its body, in the mapping's order."""
    for name, body in properties.items():
        if "properties" in body:
            yield from mapped(body["properties"], f"{path}{name}.")
        else:
            yield f"{path}{name}", body


def fields() -> dict[str, Mapping[str, Any]]:
    """Return every field of the event index and its mapping."""
    templates = read_templates()
    index = next(template for template in templates if template.name == TEMPLATE)
    return dict(mapped(compose(index, templates)["properties"]))


def direct_origins() -> dict[str, str]:
    """Return field → the one key of a record that it holds, from the mapping that rules use."""
    pipeline = yaml.safe_load((mappings_dir() / "sigma" / "aws_cloudtrail.yml").read_text(encoding="utf-8"))
    return {field: key for key, field in pipeline["transformations"][0]["mapping"].items()}


def origin(field: str, body: Mapping[str, Any]) -> str:
    """Return where a field's value comes from; empty if nobody says."""
    if body["type"] == "alias":
        return f"another name of `{body['path']}`, as SIEM on Amazon OpenSearch has it"
    if field in RESERVED:
        return "nothing yet: kept for enrichment"
    if field in ORIGINS:
        return ORIGINS[field]
    key = direct_origins().get(field)
    return f"`{key}`" if key else ""


def golden_documents() -> list[tuple[str, dict[str, Any]]]:
    """Return the golden documents of the checkout, by name, with the hints that the loader would add."""
    found = []
    paths = (home() / "tests" / "golden" / "cloudtrail").glob("*.out.json")
    for path in sorted(paths, key=lambda path: (not path.name.startswith("identity-"), path.name)):
        body = path.read_bytes()
        compact = json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False).encode()
        record = path.with_name(path.name.replace(".out.", ".in.")).read_bytes()
        who = CLOUDTRAIL.normalise(record, ObjectContext("", "", ""), True).who
        item = Item(1, b"", "", "", compact, who=who)
        Hinter().mark([item], ())
        found.append((path.name.removesuffix(".out.json"), json.loads(item.body)))
    return found


def example(field: str, documents: list[tuple[str, dict[str, Any]]]) -> tuple[str, str] | None:
    """Return a value of ``field`` and the golden document it is from."""
    for name, document in documents:
        for value in _values(document, field.split(".")):
            if value not in ("", None):
                return _cell(value), name
    return None


def _values(found: Any, names: list[str]) -> Iterator[Any]:
    if isinstance(found, list) and names:
        for element in found:
            yield from _values(element, names)
    elif not names:
        yield found
    elif isinstance(found, dict) and names[0] in found:
        yield from _values(found[names[0]], names[1:])


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return text.replace("|", "\\|").replace("`", "'")


def page() -> str:
    """Return ``docs/fields.md``."""
    documents = golden_documents()
    every = fields()
    lines = [_HEAD.format(count=len(every), version=ECS_VERSION)]
    for field, body in every.items():
        kind = body["type"] + (" + lower" if "lower" in body.get("fields", {}) else "")
        if body.get("enabled") is False:
            kind = "object, not indexed"
        shown = None if body["type"] == "alias" else example(field, documents)
        cells = (f"`{shown[0]}`", shown[1]) if shown else ("", "")
        lines.append(f"| `{field}` | {kind} | {origin(field, body)} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"


_HEAD: Final = """\
# Fields

The {count} fields of `log-aws-cloudtrail-*`. Names are those of ECS {version}, and below `aws.cloudtrail` those of
Elastic's AWS integration; what is ours is below `siem`.
(Made from `mappings/` and `tests/golden/` by `python -m loader.cli.fields_page`.)

- `lower`: the field has a sub-field of that name in lower case, to be searched in any case (`event.action.lower`).
- Other fields are not taken (`dynamic: strict`). What has no field of its own is searched as a leaf:
  `aws.cloudtrail.leaves: "requestParameters.userName=bob"`.
- Empty texts are kept as they are; what is missing in the record is missing in the document.
- Texts longer than 8,191 characters are cut, named in `siem.truncated` and kept whole in
  `aws.cloudtrail.flattened.overlong`.

| field | type | from | example | in `tests/golden/cloudtrail/` |
|---|---|---|---|---|"""


def target() -> Path:
    """Return where the page is."""
    return home() / "docs" / "fields.md"


if __name__ == "__main__":
    target().write_text(page(), encoding="utf-8")
