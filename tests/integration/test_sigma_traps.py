"""The ten traps of Sigma on OpenSearch, on a real server: our query is right, pySigma's own query_string is not.

Each case is a detection, documents, and which of them Sigma's specification says it finds. Both queries run on one
index. The other backend (pysigma-backend-opensearch) gets the same field names through the same pipeline file, and the
payload as a flat_object, which is the best it could have. Where its query is refused, or where it cannot write one,
that is as wrong as another answer: a rule that does not run finds nothing.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from opensearchpy import OpenSearch, helpers
from opensearchpy.exceptions import TransportError
from sigma.backends.opensearch import OpensearchLuceneBackend
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
from sigma.processing.transformations import FieldMappingTransformation

from loader.detection import evaluate
from loader.detection.compile import compile_rules
from loader.detection.event import Event
from loader.detection.fields import schema_of
from loader.detection.load import load_rules
from loader.detection.sources import AWS_CLOUDTRAIL
from loader.index.engine import read_engine
from loader.project import mappings_dir

pytestmark = pytest.mark.integration
SCHEMA = schema_of(AWS_CLOUDTRAIL)


@dataclass(frozen=True)
class Trap:
    """``finds`` and ``leaves`` are documents as path → value; ``refused``: ours is an error that names the line."""

    name: str
    detection: dict[str, Any]
    finds: list[dict[str, Any]] = field(default_factory=list)
    leaves: list[dict[str, Any]] = field(default_factory=list)
    refused: bool = False


def call(name: str, **more: Any) -> dict[str, Any]:
    return {"event.action": name, **{path.replace("__", "."): value for path, value in more.items()}}


def params(**values: Any) -> dict[str, Any]:
    return {"event.action": "Call", "aws.cloudtrail.flattened": {"request_parameters": values}}


TRAPS = [
    Trap(
        "1 case",
        {"s": {"eventName": "stoplogging"}, "condition": "s"},
        finds=[call("StopLogging"), call("stoplogging")],
        leaves=[call("StartLogging")],
    ),
    Trap(
        "1 case, an exception that fails open",
        {"s": {"eventName": "RunInstances"}, "f": {"userIdentity.userName": "admin"}, "condition": "s and not f"},
        finds=[call("RunInstances", aws__cloudtrail__user_identity__user_name="eve")],
        leaves=[call("RunInstances", aws__cloudtrail__user_identity__user_name="Admin")],
    ),
    Trap(
        "2 leading wildcard on a wildcard field",
        {"s": {"userAgent|endswith": "KALI"}, "condition": "s"},
        finds=[call("a", user_agent__original="aws-cli/2.1 os/kali")],
        leaves=[call("a", user_agent__original="aws-cli/2.1 os/macos")],
    ),
    Trap(
        "3 a value that begins with <",
        {"s": {"userIdentity.userName": "<script>"}, "condition": "s"},
        finds=[call("a", aws__cloudtrail__user_identity__user_name="<script>")],
        leaves=[
            call("a", aws__cloudtrail__user_identity__user_name="alice"),
            call("a", aws__cloudtrail__user_identity__user_name="SCRIPT"),
        ],
    ),
    Trap(
        "3 the value OR",
        {"s": {"userIdentity.userName": ["OR", "AND", "NOT"]}, "condition": "s"},
        finds=[
            call("a", aws__cloudtrail__user_identity__user_name="OR"),
            call("a", aws__cloudtrail__user_identity__user_name="not"),
        ],
        leaves=[call("a", aws__cloudtrail__user_identity__user_name="alice")],
    ),
    Trap(
        "3 a negative number",
        {"s": {"eventName": -5}, "condition": "s"},
        finds=[call("-5")],
        leaves=[call("5")],
    ),
    Trap(
        "4 a regular expression is searched for",
        {"s": {"eventName|re": "^(Stop|Delete).*Trail|Logging"}, "condition": "s"},
        finds=[call("StopLogging"), call("DeleteTrail"), call("UpdateTrailLogging")],
        leaves=[call("DescribeTrails")],
    ),
    Trap(
        "4 look-ahead and word boundary",
        {"s": {"eventName|re": r"^(?!Get)\w+Policy\b"}, "condition": "s"},
        finds=[call("PutUserPolicy")],
        leaves=[call("GetUserPolicy"), call("PutUserPolicys")],
    ),
    Trap(
        "4 Lucene's own operators",
        {"s": {"userIdentity.userName|re": "a#b|x&y"}, "condition": "s"},
        finds=[
            call("a", aws__cloudtrail__user_identity__user_name="-a#b-"),
            call("a", aws__cloudtrail__user_identity__user_name="x&y"),
        ],
        leaves=[call("a", aws__cloudtrail__user_identity__user_name="ab")],
    ),
    Trap(
        "5 cidr on a text field",
        {"s": {"sourceIPAddress|cidr": "10.128.0.0/9"}, "condition": "s"},
        finds=[call("a", source__address="10.200.0.1", source__ip="10.200.0.1")],
        leaves=[
            call("a", source__address="10.1.0.1", source__ip="10.1.0.1"),
            call("a", source__address="ec2.amazonaws.com"),
        ],
    ),
    Trap(
        "6 null is there, for exists",
        {"s": {"requestParameters.name|exists": True}, "condition": "s"},
        finds=[params(name=None), params(name=""), params(name="x")],
        leaves=[params(other=1)],
    ),
    Trap(
        "7 numbers in a payload",
        {"s": {"requestParameters.n|gte": 9}, "condition": "s"},
        finds=[params(n=10), params(n="100"), params(n=9)],
        leaves=[params(n=8), params(n=-20)],
    ),
    Trap(
        "8 a list longer than 1,024",
        {"s": {"eventName": [*(f"Call{n}" for n in range(3000)), "StopLogging"]}, "condition": "s"},
        finds=[call("StopLogging"), call("call2999")],
        leaves=[call("Call3000")],
    ),
    Trap(
        "9 an exception on a field that does not exist",
        {"s": {"eventName": "Call"}, "f": {"userIdentity.nmae": "admin"}, "condition": "s and not f"},
        leaves=[call("Call", aws__cloudtrail__user_identity__user_name="admin")],
        refused=True,
    ),
    Trap(
        "10 cased",
        {"s": {"eventName|cased": "stoplogging"}, "f": {"userIdentity.userName": "ADMIN"}, "condition": "s and not f"},
        finds=[call("stoplogging", aws__cloudtrail__user_identity__user_name="eve")],
        leaves=[call("StopLogging"), call("stoplogging", aws__cloudtrail__user_identity__user_name="admin")],
    ),
    Trap(
        "10 fieldref",
        {"s": {"userIdentity.userName|fieldref": "requestParameters.userName"}, "condition": "s"},
        finds=[
            {**params(userName="bob"), "aws.cloudtrail.user_identity.user_name": "bob"},
            {**params(userName="Bob"), "aws.cloudtrail.user_identity.user_name": "bob"},
        ],
        leaves=[{**params(userName="eve"), "aws.cloudtrail.user_identity.user_name": "bob"}],
    ),
    Trap(
        "10 hour",
        {"s": {"eventName": "a", "eventTime|hour": 3}, "condition": "s"},
        finds=[{**call("a"), "@timestamp": "2026-10-05T03:59:59Z"}],
        leaves=[{**call("a"), "@timestamp": "2026-10-05T04:00:00Z"}],
    ),
]


@pytest.fixture(scope="module")
def has_flat_object(opensearch_client: OpenSearch) -> bool:
    """Elasticsearch's ``flattened`` comes with x-pack, which cannot be had from Maven Central."""
    return read_engine(opensearch_client) == "opensearch"


@pytest.fixture(scope="module")
def index(opensearch_client: OpenSearch, event_index: dict[str, Any], has_flat_object: bool) -> Iterator[str]:
    """An index with the templates' mapping, the payload searchable as a flat_object besides, and all documents."""
    body = copy.deepcopy(event_index)
    properties = body["mappings"]["properties"]
    if has_flat_object:
        properties["aws"]["properties"]["cloudtrail"]["properties"]["flattened"] = {"type": "flat_object"}
    properties["trap"] = {"type": "keyword"}
    name = f"d-traps-{uuid.uuid4().hex[:8]}"
    opensearch_client.indices.create(index=name, body=body)
    actions = (
        {
            "_index": name,
            "_id": f"{trap.name}/{number}",
            "_source": {**_document(paths, leaves=True), "trap": trap.name},
        }
        for trap in TRAPS
        for number, paths in enumerate([*trap.finds, *trap.leaves])
    )
    helpers.bulk(opensearch_client, actions, refresh=True)
    yield name
    opensearch_client.indices.delete(index=name)


def _document(paths: dict[str, Any], *, leaves: bool = False) -> dict[str, Any]:
    source: dict[str, Any] = {}
    for path, value in {"@timestamp": "2026-10-05T12:00:00Z", **paths}.items():
        _put(source, path, value)
    if leaves:  # as the loader sends it
        _put(source, "aws.cloudtrail.leaves", list(Event(copy.deepcopy(source), SCHEMA)._terms()))
    return source


def _put(source: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    target = source
    for parent in parents:
        target = target.setdefault(parent, {})
    target[last] = value


def _rule(trap: Trap) -> dict[str, Any]:
    return {"title": "t", "logsource": {"product": "aws", "service": "cloudtrail"}, "detection": trap.detection}


def _their_query(trap: Trap) -> str:
    pipeline = ProcessingPipeline.from_yaml((mappings_dir() / "sigma" / "aws_cloudtrail.yml").read_text())
    payload = {f"requestParameters.{key}": f"aws.cloudtrail.flattened.request_parameters.{key}"
               for key in ("name", "n", "userName")}  # fmt: skip
    pipeline += ProcessingPipeline([ProcessingItem(FieldMappingTransformation(payload))])  # type: ignore[arg-type]
    (query,) = OpensearchLuceneBackend(pipeline).convert(SigmaCollection.from_dicts([_rule(trap)]))
    return str(query)


def _found(client: OpenSearch, index: str, trap: Trap, query: dict[str, Any]) -> set[str]:
    body = {"size": 100, "query": {"bool": {"filter": [{"term": {"trap": trap.name}}, query]}}}
    return {hit["_id"] for hit in client.search(index=index, body=body)["hits"]["hits"]}


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
def test_ours_is_right(opensearch_client: OpenSearch, index: str, trap: Trap, tmp_path: Path) -> None:
    path = tmp_path / "rule.yml"
    path.write_text(yaml.safe_dump(_rule(trap), sort_keys=False))
    pack = compile_rules(load_rules([path]), engine=read_engine(opensearch_client))
    if trap.refused:
        (problem,) = pack.errors
        assert problem.where.startswith(f"{path}:")
        assert "nmae" in problem.message
        return
    assert not pack.errors
    (rule,) = pack.rules
    ours = _found(opensearch_client, index, trap, dict(rule.query))
    exact = {
        f"{trap.name}/{number}"
        for number, paths in enumerate([*trap.finds, *trap.leaves])
        if evaluate.verified(rule, _document(paths))
    }
    assert (ours & exact if rule.verify is not None else ours) == _expected(trap)


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
def test_query_string_is_wrong(opensearch_client: OpenSearch, index: str, trap: Trap, has_flat_object: bool) -> None:
    if not has_flat_object:
        pytest.skip("the other backend needs a type for payloads that this engine does not have")
    theirs: set[str] | str
    try:
        query = {"query_string": {"query": _their_query(trap), "analyze_wildcard": True}}
        theirs = _found(opensearch_client, index, trap, query)
    except (SigmaError, NotImplementedError, TransportError) as error:
        theirs = f"{type(error).__name__}: {error}"
    assert theirs != _expected(trap), "the other backend has learned it: this is no trap any more"


def test_every_trap_is_tried() -> None:
    assert {int(trap.name.split()[0]) for trap in TRAPS} == set(range(1, 11))


def _expected(trap: Trap) -> set[str]:
    return {f"{trap.name}/{number}" for number in range(len(trap.finds))}


def test_the_comparison_is_fair(opensearch_client: OpenSearch, index: str, has_flat_object: bool) -> None:
    """Where there is no trap the other backend finds what it should: field names and index are right for both."""
    if not has_flat_object:
        pytest.skip("the other backend needs a type for payloads that this engine does not have")
    everyday = Trap("1 case", {"s": {"eventName": "StopLogging", "eventTime|exists": True}, "condition": "s"})
    query = {"query_string": {"query": _their_query(everyday), "analyze_wildcard": True}}
    assert _found(opensearch_client, index, everyday, query) == {"1 case/0"}
    payload = Trap("10 fieldref", {"s": {"requestParameters.userName": "bob"}, "condition": "s"})
    query = {"query_string": {"query": _their_query(payload), "analyze_wildcard": True}}
    assert _found(opensearch_client, index, payload, query) == {"10 fieldref/0"}
