"""Documents against a real node under the templates of `mappings/`: what the unit tests believe of it is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opensearchpy import OpenSearch

from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import ObjectContext, Rendered
from tests.unit.logtypes.conformance import count_fields, places
from tests.unit.logtypes.nasty import RECORDS, with_payload
from tests.unit.logtypes.samples import CONTEXT, dump, real_records, record
from tests.unit.logtypes.test_cloudtrail_properties import payloads, values

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


def found_again(client: OpenSearch, pairs: list[tuple[bytes, Rendered]]) -> list[str]:
    """Search each leaf value of each record where its document has it; return those that do not find the document."""
    lost: list[str] = []
    searches: list[tuple[Rendered, list[dict[str, Any]]]] = []
    for raw, document in {document.id: (raw, document) for raw, document in pairs}.values():
        terms: list[dict[str, Any]] = []
        for leaf, place in places(raw, document.body):
            if place is None:
                lost.append(f"{document.id}: {leaf}")
            else:
                terms.append({"term": {place[0]: place[1]}})
        # Below the engine's limit of 1,024 clauses.
        searches += [(document, terms[start : start + 500]) for start in range(0, len(terms), 500)]
    for start in range(0, len(searches), 200):
        part = searches[start : start + 200]
        lines: list[dict[str, Any]] = []
        for document, terms in part:
            query = {"bool": {"filter": [{"ids": {"values": [document.id]}}, *terms]}}
            lines += [{"index": CLOUDTRAIL.index(document.day)}, {"size": 0, "query": query}]
        for (document, terms), answer in zip(part, client.msearch(body=lines)["responses"], strict=True):
            if "error" in answer or answer["hits"]["total"]["value"] != 1:
                lost.append(f"{document.id}: one of {terms}: {answer.get('error')}")
    return lost


def stored_anew(url: str, documents: list[Rendered]) -> list[str]:
    """Return the ids of documents whose source in the index is not the document, to the letter of each number."""
    changed = []
    for start in range(0, len(documents), 100):
        part = documents[start : start + 100]
        wanted = [{"_index": CLOUDTRAIL.index(document.day), "_id": document.id} for document in part]
        # Not by the client, which reads large numbers as floats.
        request = Request(f"{url}/_mget", json.dumps({"docs": wanted}).encode(), {"content-type": "application/json"})
        with urlopen(request) as response:
            answers = _exactly(response.read())["docs"]
        changed += [
            document.id
            for document, answer in zip(part, answers, strict=True)
            if answer["_source"] != _exactly(document.body)
        ]
    return changed


def _exactly(text: bytes) -> Any:
    return json.loads(text, parse_int=str, parse_float=str)


def count(client: OpenSearch, query: dict[str, Any]) -> int:
    found: int = client.count(index=_EVENTS, body={"query": query})["count"]
    return found


def check_taken(client: OpenSearch, url: str, raws: list[bytes]) -> list[tuple[bytes, Rendered]]:
    """Index records; nothing may be refused, left out of the index or changed in the source."""
    pairs = [(raw, CLOUDTRAIL.normalise(raw, CONTEXT, False)) for raw in raws]
    documents = list({document.id: document for _, document in pairs}.values())
    before = _mapping(client)
    assert index_all(client, documents) == []
    assert count(client, {"match_all": {}}) == len(documents)
    # What is longer than ignore_above is taken and not found: no error says so.
    assert count(client, {"exists": {"field": "_ignored"}}) == 0
    assert _mapping(client) == before
    assert count_fields(before["properties"]) < 400
    assert stored_anew(url, documents) == []
    # And the client that detection reads with can read them, some beside others.
    for start in range(0, len(documents), 500):
        body = {"size": 500, "query": {"ids": {"values": [document.id for document in documents[start : start + 500]]}}}
        hits = client.search(index=_EVENTS, body=body)["hits"]["hits"]
        assert len(hits) == min(500, len(documents) - start)
    return pairs


def _mapping(client: OpenSearch) -> Any:
    """The mapping of an event index that no document has touched."""
    name = CLOUDTRAIL.index("2023.07.10")
    if not client.indices.exists(index=name):
        client.indices.create(index=name)
    return client.indices.get_mapping(index=name)[name]["mappings"]


@pytest.mark.reference_data
def test_every_real_record_is_taken_and_each_value_is_found_again(
    templates: OpenSearch, opensearch_url: str, reference_data: Path
) -> None:
    raws = [raw for _, raw in real_records(reference_data)]
    assert len(raws) >= 3783
    assert found_again(templates, check_taken(templates, opensearch_url, raws)) == []


def test_every_nasty_record_is_taken_and_each_value_is_found_again(templates: OpenSearch, opensearch_url: str) -> None:
    pairs = check_taken(templates, opensearch_url, list(RECORDS.values()))
    # What a document says was cut is not there as it was.
    whole = [(raw, document) for raw, document in pairs if b'"truncated":[' not in document.body and _is_text(raw)]
    assert len(whole) > len(pairs) * 0.6
    assert found_again(templates, whole) == []


def _is_text(raw: bytes) -> bool:
    """Whether JSON is Unicode text: what is not is spelled out in the document, see ``repair``."""
    try:
        json.dumps(json.loads(raw, parse_int=str, parse_float=str), ensure_ascii=False).encode()
    except UnicodeError:
        return False
    return True


others = st.sampled_from(
    ["userIdentity", "tlsDetails", "resources", "addendum", "errorCode", "readOnly", "sourceIPAddress", "brandNew"]
)


@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(payloads | others, values), min_size=1, max_size=80))
def test_any_json_in_any_place_is_taken_and_found_again(
    hypothesis_index: tuple[OpenSearch, str], found: list[tuple[str, Any]]
) -> None:
    client, url = hypothesis_index
    client.indices.delete(index=_EVENTS)
    raws = [dump(record(eventID=str(number), **{name: value})) for number, (name, value) in enumerate(found)]
    whole = [
        (raw, document) for raw, document in check_taken(client, url, raws) if b'"truncated":[' not in document.body
    ]
    assert found_again(client, whole) == []


@pytest.fixture
def hypothesis_index(templates: OpenSearch, opensearch_url: str) -> tuple[OpenSearch, str]:
    return templates, opensearch_url


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


def test_the_source_is_stored_as_it_was_sent(templates: OpenSearch, opensearch_url: str) -> None:
    """The engine writes a source anew, with doubles, when fields are kept out of it: none are."""
    numbers = '{"a":1.10,"b":12345678901234567890123456789,"c":1E+2,"d":[9223372036854775808,0.1,-0.5,5e-324]}'
    document = CLOUDTRAIL.normalise(with_payload(numbers), CONTEXT, False)
    assert index_all(templates, [document]) == []
    with urlopen(f"{opensearch_url}/{CLOUDTRAIL.index(document.day)}/_source/{document.id}") as response:
        assert response.read() == document.body


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
        {"term": {"@log_type": "aws.cloudtrail"}},
        {"term": {"@log_s3bucket": CONTEXT.bucket}},
        {"term": {"@log_s3key": CONTEXT.key}},
        {"term": {"siem.cross_account": False}},
    ):
        assert count(templates, query) == 1, query
