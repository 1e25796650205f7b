"""Documents and indices of each form of payloads. Not a benchmark itself: see payload_forms.py."""

from __future__ import annotations

import re
import time
from inspect import signature
from typing import Any

from msgspec import structs
from opensearchpy import OpenSearch

from loader.errors import RecordError
from loader.index.drift import compose
from loader.index.engine import adapt_mapping, read_engine
from loader.index.templates import read_templates
from loader.logtypes import cloudtrail, cloudtrail_complete, cloudtrail_parts, cloudtrail_payload
from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.leaves import MAX_LEVELS, OddPayloadError, decode_payload, is_deeper
from loader.logtypes.model import ObjectContext

FORMS = ("leaves", "excluded", "flat", "both")
FLAT = "aws.cloudtrail.flattened"
LEAVES = "aws.cloudtrail.leaves"
CONTEXT = ObjectContext("bench", "AWSLogs/111111111111/CloudTrail/bench.json.gz", "2023-07-14T00:00:00.000Z")
_BULK_BYTES = 5 * 2**20
_WARM = 2000
_LEAVES_AT = list(signature(cloudtrail.finish).parameters).index("leaves")
#: What the normaliser looks for in payloads: if none of it is there, nobody needs to decode one.
_TELLING = re.compile(
    rb'"(?:userName|newUserName|groupName|user|group|codeSha256|imageDigest|errorCode|_return|sourceIpAddress'
    rb'|ConsoleLogin|SwitchRole|CheckMfa|UserAuthentication|MFAUsed|UserName)"'
)
_INSTANCE = re.compile(rb'"(i-(?:[0-9a-f]{17}|[0-9a-f]{8}))"')


def pass_through() -> None:
    """From now on this process walks no payload."""
    cloudtrail_payload._read = _read_through
    tls_of, finish = cloudtrail_parts.tls_of, cloudtrail.finish
    cloudtrail_parts.tls_of = lambda details: structs.replace(tls_of(details), leaves=(), leaves_json=b"")

    def finish_without(*parts: Any, **more: Any) -> Any:
        *others, leaves = parts[: _LEAVES_AT + 1]
        return finish(*others, [one for one in leaves if one], *parts[_LEAVES_AT + 1 :], **more)

    cloudtrail.finish = cloudtrail_complete.finish = finish_without


def _read_through(prefix: bytes, _name: str, content: bytes) -> cloudtrail_payload.Payload:
    if is_deeper(content, MAX_LEVELS):
        raise OddPayloadError
    instances: tuple[str, ...] = ()
    if b'"i-' in content:
        instances = tuple([found.decode() for found in _INSTANCE.findall(content)])
    telling = _TELLING.search(content) is not None
    value = decode_payload(content) if telling else {}
    return cloudtrail_payload.Payload(value, prefix + content, b"", instances, telling=telling)


def render_form(form: str, raw: list[bytes]) -> tuple[list[bytes], float]:
    """Return bulk bodies of all records in one form, and the processor seconds that took. For a process of its own."""
    if form == "flat":
        pass_through()
    for record in raw[:_WARM]:
        _lines(form, record)
    begin = time.process_time()
    bodies: list[bytes] = []
    lines: list[bytes] = []
    size = 0
    for record in raw:
        line = _lines(form, record)
        lines.append(line)
        size += len(line)
        if size >= _BULK_BYTES:
            bodies.append(b"".join(lines))
            lines, size = [], 0
    if lines:
        bodies.append(b"".join(lines))
    return bodies, time.process_time() - begin


def _lines(form: str, record: bytes) -> bytes:
    try:
        made = CLOUDTRAIL.normalise(record, CONTEXT, False)
    except RecordError:
        return b""
    return b'{"create":{"_index":"bench-%b","_id":"%b"}}\n%b\n' % (form.encode(), made.id.encode(), made.body)


def create_index(client: OpenSearch, form: str) -> str:
    """Create the empty index of one form; return its name."""
    engine = read_engine(client)
    templates = read_templates()
    template = next(one for one in templates if one.name == "log-aws-cloudtrail")
    mapping = adapt_mapping(compose(template, templates), engine)
    trail = mapping["properties"]["aws"]["properties"]["cloudtrail"]["properties"]
    if form in ("flat", "both"):
        trail["flattened"] = {"type": "flat_object"} if engine == "opensearch" else {"type": "flattened"}
    if form == "excluded":
        mapping["_source"] = {"excludes": [LEAVES]}
    name = f"bench-{form}"
    client.indices.delete(index=name, params={"ignore_unavailable": "true"})
    settings = {
        "number_of_shards": 1,
        "number_of_replicas": 0,
        "refresh_interval": "-1",
        "codec": "best_compression",
        "mapping.total_fields.limit": 400,
    }
    body = {"settings": {"index": settings}, "mappings": mapping}
    client.indices.create(index=name, body=body if engine == "opensearch" else _without_wildcard(body))
    return name


def _without_wildcard(body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    kept = {key: _without_wildcard(value) for key, value in body.items()}
    return {**kept, "type": "keyword"} if kept.get("type") == "wildcard" else kept
