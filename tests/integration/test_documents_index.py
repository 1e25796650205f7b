"""Documents against a real node under the templates of `mappings/`: what the unit tests believe of it is true."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from opensearchpy import OpenSearch

from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import ObjectContext, Rendered
from tests.unit.logtypes.nasty import RECORDS, with_payload
from tests.unit.logtypes.samples import CONTEXT, dump, real_records, record

pytestmark = pytest.mark.integration
_EVENTS = "log-aws-cloudtrail-*"
_ENVELOPE = 2**20


def index_all(client: OpenSearch, documents: list[Rendered]) -> list[dict[str, Any]]:
    """Write documents in bulk requests of some megabytes; return the errors."""
    errors: list[dict[str, Any]] = []
    lines: list[bytes] = []
    for position, document in enumerate(documents):
        index = CLOUDTRAIL.index(document.day)
        lines.append(json.dumps({"create": {"_index": index, "_id": document.id}}).encode() + b"\n")
        lines.append(document.body + b"\n")
        if sum(map(len, lines)) > 4 * _ENVELOPE or position == len(documents) - 1:
            response = client.bulk(body=b"".join(lines))
            answers = [item["create"] for item in response["items"]]
            errors += [answer["error"] for answer in answers if "error" in answer and answer["status"] != 409]
            lines = []
    client.indices.refresh(index=_EVENTS)
    return errors


def count(client: OpenSearch, query: dict[str, Any]) -> int:
    found: int = client.count(index=_EVENTS, body={"query": query})["count"]
    return found


@pytest.mark.reference_data
def test_every_real_record_is_taken(templates: OpenSearch, reference_data: Path) -> None:
    rendered = [CLOUDTRAIL.normalise(raw, CONTEXT, False) for _, raw in real_records(reference_data)]
    assert index_all(templates, rendered) == []
    assert count(templates, {"match_all": {}}) == len({document.id for document in rendered})


def test_every_nasty_record_is_taken(templates: OpenSearch) -> None:
    rendered = [CLOUDTRAIL.normalise(raw, CONTEXT, False) for raw in RECORDS.values()]
    assert index_all(templates, rendered) == []
    assert count(templates, {"match_all": {}}) == len({document.id for document in rendered})


def test_the_mapping_stays_as_it_is(templates: OpenSearch) -> None:
    before = _fields(templates, CLOUDTRAIL.normalise(dump(record()), CONTEXT, False))
    index_all(templates, [CLOUDTRAIL.normalise(raw, CONTEXT, False) for raw in RECORDS.values()])
    after = _fields(templates, CLOUDTRAIL.normalise(dump(record()), CONTEXT, False))
    assert before == after


def _fields(client: OpenSearch, document: Rendered) -> Any:
    index_all(client, [document])
    name = CLOUDTRAIL.index(document.day)
    return client.indices.get_mapping(index=name)[name]["mappings"]


@pytest.mark.parametrize(
    ("changes", "leaf"),
    [
        ({"requestParameters": {"userName": "Bob"}}, "requestparameters.username=BOB"),
        ({"requestParameters": {"a": {"B": [1.10, 2]}}}, "requestParameters.a.b=1.1"),
        ({"requestParameters": None}, "requestParameters"),
        ({"responseElements": {}}, "responseElements={}"),
        ({"requestParameters": {"n": "\u00c4\u0130\u1e9e\u03a3"}}, "REQUESTPARAMETERS.N=\u00e4i\u00df\u03c3"),
        ({"requestParameters": {"v": "\u023a" * 16_000}}, None),
        ({"brandNew": {"key": True}}, "brandNew.key=true"),
    ],
)
def test_a_leaf_is_found_in_any_case(templates: OpenSearch, changes: dict[str, Any], leaf: str | None) -> None:
    document = CLOUDTRAIL.normalise(dump(record(**changes)), CONTEXT, False)
    assert index_all(templates, [document]) == []
    leaf = leaf or json.loads(document.body)["aws"]["cloudtrail"]["leaves"][0]
    assert count(templates, {"term": {"aws.cloudtrail.leaves": leaf}}) == 1


def test_a_leaf_of_exactly_a_term_is_searched_and_a_longer_one_is_cut(templates: OpenSearch) -> None:
    names = ("a value of exactly a term", "a value of a term and one", "lower case grows", "four-byte characters")
    rendered = [CLOUDTRAIL.normalise(RECORDS[name], CONTEXT, False) for name in names]
    assert index_all(templates, rendered) == []
    for document in rendered:
        for leaf in json.loads(document.body)["aws"]["cloudtrail"]["leaves"]:
            assert count(templates, {"bool": {"filter": [{"term": {"aws.cloudtrail.leaves": leaf}}]}}) >= 1


def test_leaves_are_not_stored_and_payloads_are(templates: OpenSearch, opensearch_url: str) -> None:
    numbers = '{"a":1.10,"b":12345678901234567890123456789,"c":1E+2,"d":[9223372036854775808,0.1,-0.5]}'
    document = CLOUDTRAIL.normalise(with_payload(numbers), CONTEXT, False)
    assert index_all(templates, [document]) == []
    # Not by the client, which reads large numbers as floats.
    with urlopen(f"{opensearch_url}/{CLOUDTRAIL.index(document.day)}/_source/{document.id}") as response:
        source = json.loads(response.read(), parse_float=Decimal)
    trail = source["aws"]["cloudtrail"]
    assert "leaves" not in trail
    assert trail["flattened"]["request_parameters"] == json.loads(numbers, parse_float=Decimal)


def test_typed_fields_are_searched_by_their_types(templates: OpenSearch) -> None:
    context = ObjectContext(CONTEXT.bucket, CONTEXT.key, CONTEXT.ingested)
    document = CLOUDTRAIL.normalise(dump(record(sourceIPAddress="2001:db8::7")), context, False)
    assert index_all(templates, [document]) == []
    for query in (
        {"term": {"source.ip": "2001:db8::/32"}},
        {"term": {"event.action.lower": "CREATEUSER"}},
        {"term": {"aws.cloudtrail.read_only": False}},
        {"wildcard": {"user_agent.original": "*AWS-CLI/2*"}},
        {"range": {"@timestamp": {"gte": "2023-07-10T11:45:00Z", "lte": "2023-07-10T11:45:00Z"}}},
        {"term": {"@id": "0a1b2c3d-0000-4000-8000-000000000002"}},
        {"term": {"@log_s3key": CONTEXT.key}},
        {"term": {"siem.cross_account": False}},
    ):
        assert count(templates, query) == 1, query
