"""Loading into what answers like a search collection of OpenSearch Serverless (docs/loading.md: how it was checked)."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from opensearchpy import OpenSearch

from loader.config import Settings
from loader.errors import ClusterError
from loader.index.client import make_client
from loader.index.engine import read_engine
from loader.index.ledger import find_objects
from loader.index.parked import mark_replayed, read_letters
from loader.index.templates import apply, plan, read_templates
from loader.ingest.assemble import assemble
from loader.source.objects import ObjectRef
from tests.integration.serverless import CREDENTIALS, REGION, Collection, collection

pytestmark = pytest.mark.integration

KEY = "AWSLogs/123456789012/CloudTrail/us-east-1/2023/07/10/123456789012_CloudTrail_us-east-1_20230710T1145Z_a.json.gz"
REF = ObjectRef("trail", KEY, etag="one")


def record(number: int, **changes: Any) -> bytes:
    made = {
        "eventVersion": "1.08",
        "userIdentity": {"type": "AWSService", "invokedBy": "ec2.amazonaws.com"},
        "eventTime": f"2023-07-10T11:{number % 60:02d}:00Z",
        "eventSource": "sts.amazonaws.com",
        "eventName": "AssumeRole",
        "requestParameters": {"roleArn": "arn:aws:iam::123456789012:role/r", "roleSessionName": f"s{number}"},
        "responseElements": {"credentials": {"accessKeyId": f"ASIA{number:016d}"}},
        "eventID": str(number),
    }
    return orjson.dumps({**made, **changes})


FILE = gzip.compress(b'{"Records":[' + b",".join([*map(record, range(200)), record(0, eventTime="never")]) + b"]}")


@pytest.fixture
def door(
    clean_cluster: OpenSearch, opensearch_url: str, has_wildcard_type: bool, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Collection]:
    if not has_wildcard_type:
        pytest.skip("collections are OpenSearch")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS.secret_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", CREDENTIALS.token)
    with collection(opensearch_url) as made:
        yield made


def settings(door: Collection, **changes: Any) -> Settings:
    made = {"cluster_url": door.url, "cluster_aws_service": "aoss", "aws_region": REGION, **changes}
    return Settings(**made)


def test_templates_objects_dead_letters_and_the_ledger(door: Collection, clean_cluster: OpenSearch) -> None:
    client = make_client(settings(door))
    assert read_engine(client) == "serverless"
    apply(client, plan(client, read_templates()))
    assert {change.action for change in plan(client, read_templates())} == {"keep"}
    door.refused.clear()

    loader = assemble(settings(door), fetch=lambda _: iter([FILE])).loader
    first, again = loader.load(REF), loader.load(REF)
    assert (first.counts.indexed, first.counts.dead_lettered) == (200, 1)
    assert (again.counts.indexed, again.counts.duplicates) == (0, 200)

    clean_cluster.indices.refresh(index="log-*,siem-*")  # a collection does so by itself, in its own time
    (entry,) = find_objects(client, KEY)
    assert (entry["loads"], entry["indexed"], entry["latest"]["duplicates"]) == (2, 200, 200)
    letters = list(read_letters(client))
    assert [parked.letter.reason for parked in letters] == ["bad_event_time"]
    mark_replayed(client, letters[0], "2023-07-11T00:00:00.000Z")
    mapping = clean_cluster.indices.get_mapping(index="log-aws-cloudtrail-2023.07.10")
    assert mapping["log-aws-cloudtrail-2023.07.10"]["mappings"]["dynamic"] == "strict"
    assert clean_cluster.count(index="siem-sessions-*")["count"] == 200
    assert door.refused == {}, "loading asks for nothing that a collection does not have"


def test_a_collection_refuses_what_is_signed_for_a_domain(door: Collection) -> None:
    with pytest.raises(ClusterError):
        assemble(settings(door, cluster_aws_service="es"), fetch=lambda _: iter([FILE])).loader.load(REF)
