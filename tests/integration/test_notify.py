"""The outbox on a real server, emptied into real receivers: nothing lost, nothing silent, no flood."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from detection_events import action, correlation, event, put, rule
from opensearchpy import OpenSearch

from loader.cli.main import main
from loader.config import read_settings
from loader.detection.alerts import Alert
from loader.detection.model import Condition
from loader.detection.run import RunOptions, run_once
from loader.notify.announce import Announcer
from loader.notify.assemble import make_notifier
from loader.notify.channel import Tools
from loader.notify.channel_state import ChannelStates
from loader.notify.configuration import Configuration, load_configuration
from loader.notify.outbox import Entry, Outbox, entry_id
from loader.notify.post import Poster
from loader.notify.send import Sender, SendReport
from tests.unit.notify.receivers import (
    NOW,
    Answer,
    SettableClock,
    WebReceiver,
    alert,
    no_aws,
    tools,
    web_receiver,
)

pytestmark = [
    pytest.mark.integration,
    # The threads of senders that tests let die.
    pytest.mark.filterwarnings("ignore:Exception in thread notify:pytest.PytestUnhandledThreadExceptionWarning"),
]

INDEX = "siem-alerts-2026.11"


class Crash(BaseException):
    """The process is gone: no handler of errors sees it."""


@pytest.fixture
def receiver() -> Iterator[WebReceiver]:
    with web_receiver() as started:
        yield started


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


class World:
    """One cluster, some receivers, and what is configured between them."""

    def __init__(self, client: OpenSearch, folder: Path, clock: SettableClock) -> None:
        self.client = client
        self.clock = clock
        self.folder = folder
        self.outbox = Outbox(client)
        self.configuration = Configuration()
        self.environment: dict[str, str] = {}

    def configure(self, text: str) -> None:
        path = self.folder / "notify.yml"
        path.write_text(text, encoding="utf-8")
        self.configuration = load_configuration(path)

    @property
    def announce(self) -> Announcer:
        return Announcer(self.client, lambda: self.configuration, clock=self.clock)

    def raise_alerts(self, *alerts: Alert) -> None:
        for one in alerts:
            self.client.index(index=one.index, id=one.id, body=one.body)
        self.announce(alerts)

    def change(self, identifier: str, **siem: Any) -> None:
        """Change an alert as detection or an analyst does, and announce it as detection does."""
        body = self.client.get(index=INDEX, id=identifier)["_source"]
        body["siem"] = {name: value for name, value in {**body["siem"], **siem}.items() if value is not None}
        self.client.index(index=INDEX, id=identifier, body=body)
        self.announce([Alert(INDEX, identifier, body)])

    def sender(self, name: str = "sender-1", step: Callable[[str], None] = lambda _: None) -> Sender:
        return Sender(
            self.client,
            lambda: self.configuration,
            tools(self.clock, **self.environment),
            holder=name,
            chance=lambda: 1.0,
            step=step,
        )

    def send(self, **more: Any) -> SendReport:
        return self.sender(**more).run_pass()

    def entries(self, *states: str) -> list[Entry]:
        return self.outbox.listed(states, limit=10_000)[0]

    def states(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for entry in self.entries():
            found[entry.state] = found.get(entry.state, 0) + 1
        return found


@pytest.fixture
def world(templates: OpenSearch, tmp_path: Path, clock: SettableClock, receiver: WebReceiver) -> World:
    made = World(templates, tmp_path, clock)
    made.configure(hook(receiver))
    return made


def hook(receiver: WebReceiver, *more: str, rate: str = "10 in 10m") -> str:
    channel = f"  hook:\n    type: webhook\n    url: {receiver.url}\n    rate: {rate}\n"
    return "\n".join(["channels:", channel + "".join(more), "routes:", "  - channels: [hook]", ""])


def raised(identifier: str = "a1", level: str = "high", **siem: Any) -> Alert:
    made = alert(level, identifier=identifier, group={"user.name": "mallory"}, **siem)
    return Alert(INDEX, made.id, dict(made.body))


def many(count: int, level: str = "high", start: int = 0) -> list[Alert]:
    return [raised(f"{level}-{start + number}", level) for number in range(count)]


def test_an_alert_is_sent_once_however_often_it_is_announced(world: World, receiver: WebReceiver) -> None:
    world.raise_alerts(raised())
    world.raise_alerts(raised())
    report = world.send()
    assert (report.channels["hook"].messages, report.channels["hook"].alerts) == (1, 1)
    world.raise_alerts(raised())
    assert world.send().channels["hook"].messages == 0
    (request,) = receiver.requests
    assert request.json["alert"]["id"] == "a1"
    (entry,) = world.entries()
    assert (entry.state, entry.said, entry.told) == ("sent", "alert", request.headers["Idempotency-Key"])


def test_low_and_historic_alerts_are_not_noted(world: World) -> None:
    world.raise_alerts(raised("a", "low"), raised("b", historic=True))
    assert world.entries() == []
    # A live event joins the old ones.
    world.change("b", historic=False)
    assert world.states() == {"waiting": 1}


@pytest.mark.parametrize("at", ["claimed", "sent"])
def test_a_sender_that_dies_loses_nothing_and_the_key_stays(world: World, receiver: WebReceiver, at: str) -> None:
    world.raise_alerts(*many(3))

    def crash(step: str) -> None:
        if step == at:
            raise Crash

    world.send(step=crash)
    before = [request.headers["Idempotency-Key"] for request in receiver.requests]
    assert len(before) == (1 if at == "sent" else 0)
    world.send(name="sender-2")
    assert len(receiver.requests) == len(before) + 2  # its claim holds the first one back
    world.clock.forward(301)
    world.send(name="sender-2")
    keys = [request.headers["Idempotency-Key"] for request in receiver.requests]
    assert len(set(keys)) == 3
    assert keys[-1] == before[0] if before else True
    assert world.states() == {"sent": 3}


def test_a_digest_that_may_have_arrived_is_sent_again_as_it_was(world: World, receiver: WebReceiver) -> None:
    world.raise_alerts(*many(30))
    receiver.answers = [Answer(503)]
    world.send()
    world.raise_alerts(*many(5, "critical"))
    world.clock.forward(3600)
    world.send()
    first, *others = receiver.requests
    again = [request for request in others if request.headers["Idempotency-Key"] == first.headers["Idempotency-Key"]]
    assert [request.json["digest"]["count"] for request in again] == [30]
    assert len(others) == 6
    assert world.states() == {"sent": 35}


def test_a_burst_becomes_a_digest_that_names_the_count(world: World, receiver: WebReceiver) -> None:
    world.raise_alerts(*many(498), *many(2, "critical"))
    report = world.send().channels["hook"]
    assert (report.messages, report.alerts, report.digests) == (3, 500, 1)
    kinds = [(request.json["kind"], request.json["level"]) for request in receiver.requests]
    assert kinds == [("alert", "critical"), ("alert", "critical"), ("digest", "high")]
    assert receiver.requests[2].json["digest"]["count"] == 498
    assert world.states() == {"sent": 500}


def test_a_trickle_is_held_to_the_rate_and_nothing_is_dropped(world: World, receiver: WebReceiver) -> None:
    for number in range(60):
        world.raise_alerts(raised(f"t{number}"))
        world.send()
        world.clock.forward(5)
    assert len(receiver.requests) == 10
    assert world.states()["waiting"] == 50
    world.clock.forward(600)
    world.send()
    assert len(receiver.requests) == 11
    assert receiver.requests[-1].json["digest"]["count"] == 50
    assert world.states() == {"sent": 60}


def test_two_senders_at_once_send_each_alert_once(world: World, receiver: WebReceiver) -> None:
    world.configure(hook(receiver, rate="1000 in 10m"))
    world.raise_alerts(*many(60))
    senders = [world.sender(f"sender-{number}") for number in range(2)]
    threads = [threading.Thread(target=sender.run_pass) for sender in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = [request.headers["Idempotency-Key"] for request in receiver.requests]
    assert len(keys) == len(set(keys)) == 60
    assert world.states() == {"sent": 60}
    assert {entry.sender for entry in world.entries()} <= {"sender-0", "sender-1"}


def test_a_receiver_that_asks_for_time_gets_it(world: World, receiver: WebReceiver) -> None:
    world.raise_alerts(*many(3))
    receiver.answers = [Answer(429, b"", {"Retry-After": "120"})]
    report = world.send().channels["hook"]
    assert (report.failed, report.messages) == (1, 0)
    assert "429" in str(report.error)
    assert len(receiver.requests) == 1  # the others are not tried against a closed door
    world.clock.forward(119)
    assert world.send().channels["hook"].waiting == 2  # the third is due with the channel
    assert len(receiver.requests) == 1
    world.clock.forward(2)
    assert world.send().channels["hook"].messages == 3
    assert world.states() == {"sent": 3}


def test_a_message_that_the_receiver_dislikes_keeps_no_other_back(world: World, receiver: WebReceiver) -> None:
    world.raise_alerts(raised("bad", "critical"), raised("good"))
    receiver.answers = [Answer(400, b"what is this")]
    world.send()
    assert [request.json["alert"]["id"] for request in receiver.requests] == ["bad", "good"]
    (entry,) = world.entries("failed")
    assert entry.error == "the receiver answers 400: what is this"
    world.clock.forward(60)
    world.send()
    assert world.states() == {"sent": 2}


def test_a_dead_receiver_is_asked_less_and_less_and_then_given_up_visibly(world: World, receiver: WebReceiver) -> None:
    with web_receiver() as other:
        second = f"  chat:\n    type: slack\n    url: {other.url}\n"
        text = (
            hook(receiver, second)
            .replace("[hook]", "[hook, chat]")
            .replace("10 in 10m", "10 in 10m\n    give_up_after: 1d")
        )
        world.configure(text)
        receiver.answer = Answer(503)
        world.raise_alerts(raised("a1"))
        for _ in range(24):
            world.send()
            world.clock.forward(300)
        asked = len(receiver.requests)
        assert 7 <= asked <= 14  # at each of the first passes, at last every quarter of an hour
        for _ in range(8):
            world.clock.forward(3 * 3600)
            world.send()
        asked = len(receiver.requests)
        (entry,) = world.entries("given-up")
        assert (entry.alert_id, entry.channel, entry.reason) == ("a1", "hook", "not delivered within 24 hours")
        assert "503" in str(entry.error)
        told = [request.json["text"] for request in other.requests]
        # The other channel has the alert, and is told each day that the first does not work.
        assert told[0].startswith("HIGH: Root signed in")
        assert told[1].startswith("HIGH: A notification channel does not work")
        assert len(told) <= 1 + 3
        assert {entry.channel for entry in world.entries() if entry.rule_id == "siem_channel_failing"} == {"chat"}
        # It comes back: what was given up stays so until somebody asks for it.
        receiver.answer = Answer(200)
        world.raise_alerts(raised("a2"))
        world.clock.forward(3600)
        world.send()
        assert receiver.requests[-1].json["alert"]["id"] == "a2"
        assert len(receiver.requests) == asked + 1
        assert ChannelStates(world.client, clock=world.clock).read("hook").failures == 0


def test_one_channel_that_does_not_answer_keeps_no_other_waiting(world: World, receiver: WebReceiver) -> None:
    from time import monotonic, sleep

    with web_receiver() as slow:
        second = f"  slow:\n    type: webhook\n    url: {slow.url}\n"
        world.configure(hook(receiver, second).replace("[hook]", "[slow, hook]"))
        times: dict[str, float] = {}
        slow.during.append(lambda: sleep(1.5))
        receiver.during.append(lambda: times.setdefault("hook", monotonic()))
        world.raise_alerts(raised())
        began = monotonic()
        world.send()
        assert times["hook"] - began < 1.4
        assert world.states() == {"sent": 2}


def test_a_receiver_that_answers_for_ever_is_left_alone(world: World, receiver: WebReceiver) -> None:
    go_on = threading.Event()
    with web_receiver() as slow:
        # A byte now and then: no time-out of a socket ends that.
        slow.during.append(lambda: go_on.wait(20))
        second = f"  slow:\n    type: webhook\n    url: {slow.url}\n"
        world.configure(hook(receiver, second).replace("[hook]", "[slow, hook]"))
        sender = Sender(
            world.client,
            lambda: world.configuration,
            Tools(tools(world.clock).secrets, world.clock, Poster(read_s=30), no_aws),
            holder="me",
            longest_pass_s=1.5,
        )
        world.raise_alerts(raised("a1"))
        sender.run_pass()
        world.raise_alerts(raised("a2"))
        report = sender.run_pass()
        assert "still busy" in str(report.channels["slow"].error)
        assert [request.json["alert"]["id"] for request in receiver.requests] == ["a1", "a2"]
        go_on.set()
        sender.run_pass()
        for _ in range(50):
            if world.states() == {"sent": 4}:
                break
            sender.run_pass()
            go_on.wait(0.1)
        assert world.states() == {"sent": 4}


def test_a_change_of_the_file_holds_for_what_runs(
    world: World, receiver: WebReceiver, servers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIEM_CLUSTER_URL", servers.opensearch_url)
    monkeypatch.setenv("SIEM_NOTIFY", str(world.folder / "notify.yml"))
    notifier = make_notifier(read_settings(), world.client, clock=world.clock)
    assert notifier is not None

    def told(identifier: str) -> None:
        alert = raised(identifier)
        world.client.index(index=alert.index, id=alert.id, body=alert.body)
        notifier.announce([alert])
        notifier.sender.run_pass()

    told("a1")
    with web_receiver() as other:
        world.configure(hook(other))
        told("a2")
        (world.folder / "notify.yml").write_text("channels: [", encoding="utf-8")
        told("a3")
        assert [request.json["alert"]["id"] for request in other.requests] == ["a2", "a3"]
    assert [request.json["alert"]["id"] for request in receiver.requests] == ["a1"]


def test_what_is_withdrawn_or_closed_before_it_is_sent_is_not_sent(world: World, receiver: WebReceiver) -> None:
    world.raise_alerts(raised("gone"), raised("closed"))
    world.change("gone", verdict="withdrawn")
    world.change("closed", status="closed", status_by="ana")
    assert world.send().channels["hook"].settled == 2
    assert receiver.requests == []
    assert {entry.reason for entry in world.entries("settled")} == {
        "withdrawn before it was sent",
        "closed before it was sent, by ana",
    }
    # Later events found it again.
    world.change("gone", verdict=None)
    world.send()
    assert [request.json["alert"]["id"] for request in receiver.requests] == ["gone"]


def test_a_withdrawal_is_told_where_the_alert_was_and_so_is_what_follows(world: World, receiver: WebReceiver) -> None:
    with web_receiver() as pages:
        pages.answer = Answer(202, b"{}")
        second = f"  pager:\n    type: pagerduty\n    routing_key: env:KEY\n    url: {pages.url}\n"
        world.configure(hook(receiver, second).replace("[hook]", "[hook, pager]"))
        world.environment["KEY"] = "R0UT1NG"
        world.raise_alerts(raised())
        world.send()
        world.change("a1", count=9)  # it grows: not told again
        world.send()
        world.change("a1", verdict="withdrawn")
        world.change("a1", verdict="withdrawn")
        world.send()
        world.send()
        world.change("a1", verdict=None)
        world.send()
        told = [(request.json["kind"], request.json.get("about")) for request in receiver.requests]
        keys = [request.headers["Idempotency-Key"] for request in receiver.requests]
        assert told == [("alert", None), ("withdrawn", keys[0]), ("alert", keys[0])]
        assert len(set(keys)) == 3
        # People alone end incidents; there is one.
        assert [request.json["event_action"] for request in pages.requests] == ["trigger"]


def test_a_withdrawal_while_the_alert_is_being_sent_is_seen(world: World, receiver: WebReceiver) -> None:
    world.raise_alerts(raised())
    receiver.during.append(lambda: (receiver.during.clear(), world.change("a1", verdict="withdrawn")))
    world.send()
    assert [request.json["kind"] for request in receiver.requests] == ["alert", "withdrawn"]


def test_an_alert_that_continues_another_is_not_told_but_one_that_continues_nothing_told_is(
    world: World, receiver: WebReceiver
) -> None:
    world.raise_alerts(raised("b1"))
    world.send()
    world.raise_alerts(raised("b2", continues="b1"), raised("b3", continues="b2"))
    world.raise_alerts(raised("old", historic=True), raised("live", continues="old"))
    world.send()
    assert [request.json["alert"]["id"] for request in receiver.requests] == ["b1", "live"]
    assert {entry.alert_id for entry in world.entries("continued")} == {"b2", "b3"}
    # The first is no more: the second now begins the story.
    world.change("b1", verdict="withdrawn")
    world.change("b2", continues=None)
    world.send()
    assert [request.json["alert"]["id"] for request in receiver.requests[2:]] == ["b1", "b2"]


def test_no_secret_reaches_the_outbox(world: World, receiver: WebReceiver) -> None:
    text = hook(receiver).replace(f"url: {receiver.url}", "url: env:ADDRESS\n    secret: env:SECRET")
    world.configure(text.replace("    rate", "    headers: {Authorization: env:TOKEN}\n    rate"))
    world.environment |= {"ADDRESS": f"{receiver.url}/sesame-1", "SECRET": "sesame-2", "TOKEN": "Bearer sesame-3"}
    receiver.answer = Answer(401, b"sesame-3 is not right, nor sesame-2")
    world.raise_alerts(raised())
    report = world.send()
    stored = str(world.entries()) + str(world.client.search(index="siem-*", body={"size": 100}))
    assert "*** is not right" in str(report.errors)
    assert "sesame" not in stored + str(report)
    world.environment.clear()
    world.clock.forward(3600)
    assert "env:TOKEN is not set" in str(world.send().errors)


LOGIN = rule("failed_login", action("ConsoleLogin"))


def detection_options(world: World) -> RunOptions:
    return RunOptions(announce=world.announce)


@pytest.mark.parametrize("at", ["alerts written", "some alerts written", "batch examined", "coverage saved"])
def test_detection_that_dies_between_any_two_steps_loses_no_notification(
    world: World, receiver: WebReceiver, at: str
) -> None:
    world.clock.time = NOW.replace(year=2026, month=5, day=4, hour=11)
    put(world.client, {f"e{n}": event(n, "ConsoleLogin") for n in range(5)})

    def crash(step: str) -> None:
        if step == at:
            raise Crash

    with pytest.raises(Crash):
        run_once(world.client, [LOGIN], clock=world.clock, options=detection_options(world), step=crash)
    run_once(world.client, [LOGIN], clock=world.clock, options=detection_options(world))
    world.send()
    assert sorted(request.json["alert"]["siem"]["evidence"][0]["id"] for request in receiver.requests) == [
        f"e{n}" for n in range(5)
    ]


@pytest.mark.parametrize("at", ["alerts read", "some alerts written", "correlations settled"])
def test_so_does_one_that_works_out_correlations(world: World, receiver: WebReceiver, at: str) -> None:
    world.clock.time = NOW.replace(year=2026, month=5, day=4, hour=11)
    brute = correlation(
        "brute",
        "event_count",
        {"failed_login": LOGIN},
        600,
        condition=Condition(bounds={"gte": 3}),
        group_by=("user.name",),
    )
    put(world.client, {f"e{n}": event(n, "ConsoleLogin") for n in range(5)})

    def crash(step: str) -> None:
        if step == at:
            raise Crash

    with pytest.raises(Crash):
        run_once(world.client, [brute], clock=world.clock, options=detection_options(world), step=crash)
    run_once(world.client, [brute], clock=world.clock, options=detection_options(world))
    world.send()
    put(world.client, {f"f{n}": event(n, "ConsoleLogin") for n in range(5)})
    run_once(world.client, [brute], clock=world.clock, options=detection_options(world))
    world.send()
    assert [request.json["alert"]["siem"]["count"] for request in receiver.requests] == [5]


@pytest.mark.parametrize("seed", range(int(os.environ.get("SIEM_CHAOS_SENDERS", "2"))))
def test_whatever_breaks_each_alert_arrives_and_under_one_key_only(
    world: World, receiver: WebReceiver, seed: int
) -> None:
    """Senders die at any step, the receiver refuses, hangs up and asks for time; alerts keep coming."""
    chance = random.Random(seed)
    accepted: list[Any] = []

    class Choosing(list[Answer]):
        """The answers: what is taken is noted."""

        def __bool__(self) -> bool:
            return True

        def pop(self, _: Any = 0) -> Answer:
            answer = chance.choice([Answer(), Answer(), Answer(500), Answer(429), Answer(400)])
            taken = answer.status == 200 or (answer.status == 500 and chance.random() < 0.5)
            if taken:  # a server that fails may have taken the message before
                accepted.append(receiver.requests[-1])
            return answer

    receiver.answers = Choosing()
    expected: list[str] = []

    def dying(step: str) -> None:
        if chance.random() < 0.1:
            raise Crash

    for turn in range(14):
        if turn < 6:
            alerts = many(chance.choice([1, 3, 14]), chance.choice(["high", "critical"]), start=100 * turn)
            expected += [one.id for one in alerts]
            world.raise_alerts(*alerts)
        world.send(name=f"sender-{turn % 2}", step=dying if turn < 10 else lambda _: None)
        world.clock.forward(chance.choice([1, 60, 1000]))
    receiver.answers = []
    for _ in range(4):
        world.clock.forward(3600)
        world.send()
    last = {request.headers["Idempotency-Key"]: request for request in receiver.requests}
    assert world.states() == {"sent": len(expected)}
    told = {entry.alert_id: entry.told for entry in world.entries()}
    keys: dict[str, set[str]] = {}
    final = [request for request in receiver.requests if request.headers["Idempotency-Key"] in set(told.values())]
    for request in [*accepted, *final]:
        body = request.json
        ids = [body["alert"]["id"]] if "alert" in body else [one["id"] for one in body["digest"]["alerts"]]
        for identifier in ids:
            keys.setdefault(identifier, set()).add(request.headers["Idempotency-Key"])
    assert sorted(keys) == sorted(expected)
    assert all(len(found) == 1 for found in keys.values())
    assert set(told.values()) <= set(last)


def test_nothing_is_remembered_as_examined_when_it_cannot_be_noted(world: World, receiver: WebReceiver) -> None:
    world.clock.time = NOW.replace(year=2026, month=5, day=4, hour=11)
    put(world.client, {"e1": event(0, "ConsoleLogin")})
    world.client.indices.create(index="siem-outbox-2026.05")
    world.client.indices.put_settings(index="siem-outbox-2026.05", body={"index.blocks.write": True})
    refused = run_once(world.client, [LOGIN], clock=world.clock, options=detection_options(world))
    assert not refused.complete
    assert "cannot be noted for sending" in refused.errors["failed_login"]
    world.client.indices.put_settings(index="siem-outbox-2026.05", body={"index.blocks.write": False})
    assert run_once(world.client, [LOGIN], clock=world.clock, options=detection_options(world)).complete
    world.send()
    assert "failed login" in [request.json["title"] for request in receiver.requests]


def test_a_rule_that_fails_is_told_as_well(world: World, receiver: WebReceiver) -> None:
    from dataclasses import replace

    world.clock.time = NOW.replace(year=2026, month=5, day=4, hour=11)
    put(world.client, {"e1": event(0, "ConsoleLogin")})
    broken = replace(rule("broken", {"no_such_query": {}}), index="log-aws-cloudtrail-*")
    report = run_once(world.client, [broken, LOGIN], clock=world.clock, options=detection_options(world))
    assert list(report.errors) == ["broken"]
    world.send()
    titles = sorted(request.json["title"] for request in receiver.requests)
    assert titles == ["A detection rule could not be run", "failed login"]


def test_the_ids_are_those_of_alert_and_channel(world: World) -> None:
    world.raise_alerts(raised())
    (entry,) = world.entries()
    assert entry.id == entry_id("a1", "hook")
    assert entry.index == "siem-outbox-2026.11"


def test_the_commands(world: World, receiver: WebReceiver, servers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def siem(*words: str) -> Any:
        return CliRunner().invoke(main, ["notify", *words])

    monkeypatch.setenv("SIEM_CLUSTER_URL", servers.opensearch_url)
    monkeypatch.setenv("SIEM_NOTIFY", str(world.folder / "notify.yml"))
    assert json.loads(siem("list", "--json").stdout) == {"total": 0, "entries": []}
    world.clock.time = datetime.now(timezone.utc)
    world.raise_alerts(raised("a1"), raised("a2"))
    receiver.answer = Answer(500, b"[bold]oh[/]")
    failed = siem("send", "--once", "--json")
    assert failed.exit_code == 1
    assert json.loads(failed.stdout)["hook"]["failed"] == 1
    shown = siem("list").stdout
    assert "2 of 2 entries" in shown
    assert "the receiver answers 500: [bold]oh[/]" in shown
    entries = json.loads(siem("list", "--json", "--state", "failed").stdout)["entries"]
    assert [entry["alert"]["id"] for entry in entries] == ["a1"]
    receiver.answer = Answer(200)
    assert json.loads(siem("send", "--once", "--json").stdout)["hook"]["messages"] == 0  # it rests
    assert "1 entries will be sent again" in siem("retry", entries[0]["id"]).stdout
    assert json.loads(siem("send", "--once", "--json").stdout)["hook"]["messages"] == 2
    keys = [request.headers["Idempotency-Key"] for request in receiver.requests]
    assert siem("retry", "a2").exit_code == 0
    assert siem("send", "--once").exit_code == 0
    assert receiver.requests[-1].headers["Idempotency-Key"] in keys
    assert "no such entry" in str(siem("retry", "nothing").exception)
    assert siem("retry").exit_code == 2
    assert "0 entries" in siem("retry", "--given-up").stdout
