"""Dead letters on a real cluster: long ones, those of things that fail a second time, and their way back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any

import orjson
import pytest
import urllib3
from opensearchpy import OpenSearch

from loader.config import Settings
from loader.errors import ClusterError
from loader.index.bulk import UnavailableError
from loader.index.parked import DeadLetter, mark_replayed, read_letters
from loader.ingest.assemble import Assembly, assemble, message_handler
from loader.ingest.replay import Replayer, ReplayResult
from loader.source.objects import FetchError, ObjectRef
from tests.integration.doors import Door

pytestmark = pytest.mark.integration

KEY = "AWSLogs/123456789012/CloudTrail/us-east-1/2026/11/01/123456789012_CloudTrail_us-east-1_20261101T1000Z_a.json.gz"
REF = ObjectRef("trail", KEY, etag="a")
RECORD = {
    "eventVersion": "1.08",
    "eventTime": "2026-11-01T09:55:00Z",
    "eventSource": "sts.amazonaws.com",
    "eventName": "AssumeRole",
    "eventID": "1",
    "userIdentity": {"type": "IAMUser", "principalId": "AIDAEXAMPLE", "arn": "arn:aws:iam::123456789012:user/alice"},
    "requestParameters": {"roleArn": "arn:aws:iam::123456789012:role/admin", "roleSessionName": "s"},
    "responseElements": {
        "credentials": {"accessKeyId": "ASIAEXAMPLE000000001", "expiration": "Nov 1, 2026, 10:55:00 AM"},
        "assumedRoleUser": {"assumedRoleId": "AROAEXAMPLE:s", "arn": "arn:aws:sts::123456789012:assumed-role/admin/s"},
    },
}


class Shelf:
    """What is fetched: bytes, or the refusal in their place."""

    def __init__(self) -> None:
        self.found: bytes | FetchError = b""

    def __call__(self, _: ObjectRef) -> Iterator[bytes]:
        if isinstance(self.found, FetchError):
            raise self.found
        return iter([self.found])


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def assembly(templates: OpenSearch, opensearch_url: str, shelf: Shelf) -> Assembly:
    return assemble(Settings(cluster_url=opensearch_url), fetch=shelf)


def replay(assembly: Assembly) -> ReplayResult:
    assembly.cluster.indices.refresh(index="siem-*,log-*", params={"ignore_unavailable": "true"})
    handler = message_handler(assembly, queue="replay")
    replayer = Replayer(assembly.cluster, assembly.loader, handler, clock=assembly.clock)
    return replayer.replay(read_letters(assembly.cluster))


def waiting(assembly: Assembly) -> list[DeadLetter]:
    assembly.cluster.indices.refresh(index="siem-dead-letters-*", params={"ignore_unavailable": "true"})
    return [parked.letter for parked in read_letters(assembly.cluster)]


def entries(assembly: Assembly) -> dict[str, str]:
    """The ledger: etag → outcome."""
    assembly.cluster.indices.refresh(index="siem-objects-*")
    hits = assembly.cluster.search(index="siem-objects-*")["hits"]["hits"]
    return {hit["_source"]["etag"]: hit["_source"]["outcome"] for hit in hits}


def test_a_replayed_record_hands_its_session_on(assembly: Assembly) -> None:
    assembly.dead_letters.write([DeadLetter(REF, "index", "r", "m", orjson.dumps(RECORD), 7)])
    assert dict(replay(assembly).done) == {"indexed": 1}
    assembly.cluster.indices.refresh(index="siem-sessions-*")
    (hit,) = assembly.cluster.search(index="siem-sessions-2026.11")["hits"]["hits"]
    assert hit["_source"]["issued"]["access_key_id"] == "ASIAEXAMPLE000000001"
    assert waiting(assembly) == []


def test_what_fails_a_second_time_waits_again(assembly: Assembly, shelf: Shelf) -> None:
    shelf.found = FetchError("no", kind="forbidden")
    assert assembly.loader.load(REF).outcome == "parked"
    shelf.found = orjson.dumps({"Records": [RECORD]})
    assert dict(replay(assembly).done) == {"object": 1}
    assert waiting(assembly) == []
    shelf.found = FetchError("no", kind="forbidden")
    assert assembly.loader.load(REF).outcome == "parked"
    assert [letter.reason for letter in waiting(assembly)] == ["forbidden"]


def test_another_object_under_the_same_key_has_a_letter_and_an_entry_of_its_own(
    assembly: Assembly, shelf: Shelf
) -> None:
    other = ObjectRef("trail", KEY, etag="b")
    shelf.found = FetchError("no", kind="archived")
    for ref in (REF, other, other):
        assembly.loader.load(ref)
    assert sorted(str(letter.ref.etag) for letter in waiting(assembly)) == ["a", "b"]
    shelf.found = orjson.dumps({"Records": [RECORD]})
    assembly.loader.load(REF)
    assert entries(assembly) == {"a": "loaded"}
    shelf.found = FetchError("no", kind="archived")
    assembly.loader.load(other)
    assert entries(assembly) == {"b": "parked"}, "what is there now has not been loaded"


def test_messages_that_are_no_notifications_are_not_doubled_by_a_replay(assembly: Assembly) -> None:
    handler = message_handler(assembly, queue="some-queue")
    for number in range(3):
        assert handler.handle(str(number), "junk")
    assert dict(replay(assembly).left) == {"not_a_notification": 3}
    assert len(waiting(assembly)) == 3


def test_letters_are_read_one_by_one(assembly: Assembly) -> None:
    """A page of a hundred records of ten megabytes would end a node of a gigabyte."""
    letters = [DeadLetter(REF, "normalise", "r", "m", b"%07d" % number * 2**19, number) for number in range(1, 31)]
    assembly.dead_letters.write(letters)
    largest = 0
    perform = assembly.cluster.transport.perform_request

    def measured(*args: Any, **options: Any) -> Any:
        nonlocal largest
        answer = perform(*args, **options)
        largest = max(largest, len(orjson.dumps(answer)))
        return answer

    assembly.cluster.transport.perform_request = measured
    assembly.cluster.indices.refresh(index="siem-dead-letters-*")
    found = [parked.letter for parked in read_letters(assembly.cluster, page=10)]
    assert sorted(letter.record_number for letter in found) == list(range(1, 31))
    assert all(letter.raw == letters[letter.record_number - 1].raw for letter in found)
    assert largest < 5 * 2**20


class Small(ThreadingHTTPServer):
    """A door to the node that takes no request above 3 MiB, as small managed domains refuse those above 10."""

    def __init__(self, node: str) -> None:
        pool = urllib3.PoolManager()
        self.refused = 0
        door = self

        class Narrow(Door):
            def handle_one(self) -> None:
                body = self.body()
                if len(body) > 3 * 2**20:
                    door.refused += 1
                    self.answer(413, b"<html>Request Entity Too Large</html>", "text/html")
                    return
                self.pass_on(pool, node, body)

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_one  # noqa: N815  # the base class's names

        super().__init__(("127.0.0.1", 0), Narrow)


@pytest.fixture
def small(opensearch_url: str) -> Iterator[Small]:
    server = Small(opensearch_url)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_letter_that_is_too_long_for_the_cluster_is_kept_in_part(
    templates: OpenSearch, small: Small, shelf: Shelf
) -> None:
    assembly = assemble(Settings(cluster_url=f"http://127.0.0.1:{small.server_address[1]}"), fetch=shelf)
    quotes = b'{"eventTime":"never","x":"%b"}' % (b'\\"' * 2 * 2**20)
    shelf.found = b'{"Records":[' + b",".join([quotes, orjson.dumps(RECORD), b'{"eventTime":"never"}']) + b"]}"
    report = assembly.loader.load(REF)
    assert (report.counts.indexed, report.counts.dead_lettered, report.counts.balanced) == (1, 2, True)
    assert small.refused
    long, short = sorted(waiting(assembly), key=lambda letter: letter.record_number)
    assert (long.cut, len(long.raw), short.cut) == (True, 2**16, False)
    # Found again it is the same letter; replayed it is looked for in its object.
    assert assembly.loader.load(REF).counts.dead_lettered == 2
    assert len(waiting(assembly)) == 2
    shelf.found = orjson.dumps({"Records": [RECORD]})
    assert dict(replay(assembly).done) == {"object": 1}


def test_letters_that_the_cluster_does_not_take_hold_their_object(assembly: Assembly, shelf: Shelf) -> None:
    shelf.found = b'{"Records":[{"eventTime":"never"}]}'
    assembly.loader.load(ObjectRef("trail", KEY + ".other"))
    (index,) = assembly.cluster.indices.get(index="siem-dead-letters-*")
    block = {"index.blocks.write": True}
    assembly.cluster.indices.put_settings(index=index, body=block)
    try:
        with pytest.raises(ClusterError, match="cluster_block_exception"):
            assembly.loader.load(REF)
    finally:
        assembly.cluster.indices.put_settings(index=index, body={"index.blocks.write": False})


def test_a_cluster_that_goes_away_ends_a_replay(assembly: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
    assembly.dead_letters.write([DeadLetter(REF, "index", "r", "m", orjson.dumps(RECORD), 7)])

    def away(*_: object) -> None:
        raise UnavailableError("timeout", "away")

    monkeypatch.setattr(assembly.loader._writer, "write_each", away)
    with pytest.raises(UnavailableError):
        replay(assembly)


def test_a_defect_that_one_letter_shows_leaves_the_others(assembly: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
    assembly.dead_letters.write(
        [DeadLetter(REF, "index", "r", "m", orjson.dumps({**RECORD, "eventID": str(n)}), n) for n in (1, 2, 3)]
    )
    load_again = assembly.loader.load_again

    def odd(ref: ObjectRef, pieces: Any) -> Any:
        if pieces[0].number == 2:
            raise KeyError("a defect")
        return load_again(ref, pieces)

    monkeypatch.setattr(assembly.loader, "load_again", odd)
    found = replay(assembly)
    assert (dict(found.done), dict(found.left)) == ({"indexed": 2}, {"defect": 1})


def test_marking_is_not_lost(assembly: Assembly) -> None:
    assembly.dead_letters.write([DeadLetter(REF, "index", "r", "m", b"x", 1)])
    assembly.cluster.indices.refresh(index="siem-dead-letters-*")
    (parked,) = read_letters(assembly.cluster)
    mark_replayed(assembly.cluster, parked, "2026-11-01T10:00:00Z")
    assert waiting(assembly) == []
