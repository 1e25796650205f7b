"""The whole pack on a real server: each rule's query finds there what it finds in memory, of all rules' test events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch

from loader.cli.main import main
from loader.detection.cases import read_cases
from loader.detection.compile import Pack, compile_rules
from loader.detection.evaluate import matches
from loader.detection.event import Event
from loader.detection.load import load_rules
from loader.detection.testing import read_event
from loader.project import rules_dir

pytestmark = pytest.mark.integration

AT_ONCE = 50


@pytest.fixture(scope="module")
def pack() -> Pack:
    return compile_rules(load_rules([rules_dir()]))


def records_of(pack: Pack) -> Iterator[bytes]:
    for rule in (*pack.rules, *pack.base_rules):
        cases = read_cases(rule.rule)
        for history in (*cases.match, *cases.near_miss):
            yield history[0]


def test_the_server_finds_what_memory_finds(
    templates: OpenSearch, servers: Any, pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIEM_CLUSTER_URL", servers.opensearch_url)
    raw = list(dict.fromkeys(records_of(pack)))
    (tmp_path / "events.json").write_bytes(b'{"Records":[' + b",".join(raw) + b"]}")
    loaded = CliRunner().invoke(main, ["load", "backfill", str(tmp_path), "--json"])
    assert loaded.exit_code == 0, loaded.output
    templates.indices.refresh(index="log-aws-cloudtrail-*")
    events: dict[str, Event] = dict(read_event(record) for record in raw)
    assert templates.count(index="log-aws-cloudtrail-*")["count"] == len(events)

    rules = (*pack.rules, *pack.base_rules)
    differ = {}
    for begin in range(0, len(rules), AT_ONCE):
        some = rules[begin : begin + AT_ONCE]
        lines: list[dict[str, Any]] = []
        for rule in some:
            lines += [{"index": "log-aws-cloudtrail-*"}, {"query": rule.query, "size": len(events), "_source": False}]
        answers = templates.msearch(body="".join(orjson.dumps(line).decode() + "\n" for line in lines))["responses"]
        for rule, answer in zip(some, answers, strict=True):
            assert "error" not in answer, (rule.rule.name, answer["error"])
            server = {hit["_id"] for hit in answer["hits"]["hits"]}
            memory = {key for key, event in events.items() if matches(rule.query, event)}
            if server != memory:
                differ[rule.rule.name] = (len(server), len(memory))
    assert differ == {}
    assert orjson.loads(loaded.stdout)["dead_lettered"] == 0
