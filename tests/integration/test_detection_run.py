"""Rules and correlations on a real server: what is examined, which alerts there are, and what stays as it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from detection_events import (
    START,
    SettableClock,
    action,
    alerts,
    by_rule,
    correlation,
    counts,
    event,
    put,
    rule,
)
from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError

from loader.detection.model import CompiledCorrelation, CompiledRule, Condition, Suppression
from loader.detection.run import RunOptions, RunReport, run_once
from loader.detection.schedule import Schedule, run_forever
from loader.errors import RuleError

pytestmark = pytest.mark.integration


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(START + timedelta(hours=1))


LOGIN = rule("failed_login", action("ConsoleLogin"))
KEY = rule("key_created", action("CreateAccessKey"))


def test_an_event_becomes_one_alert_however_often_it_is_examined(templates: OpenSearch, clock: SettableClock) -> None:
    put(templates, {"e1": event(0, "ConsoleLogin"), "e2": event(86400, "ConsoleLogin"), "e3": event(1, "Other")})
    report = run_once(templates, [LOGIN, KEY], clock=clock)
    assert counts(report, "failed_login") == (2, 2)
    assert counts(report, "key_created") == (0, 0)
    assert report.complete
    assert report.examined == 3
    first = alerts(templates)
    # Everything is examined again when the ledger is lost.
    templates.indices.delete(index="siem-coverage")
    again = run_once(templates, [LOGIN, KEY], clock=clock)
    assert [count.alerts_existing for count in again.rules] == [2, 0]
    assert alerts(templates) == first
    assert run_once(templates, [LOGIN, KEY], clock=clock).examined == 0


def test_an_alert_is_an_ecs_signal(templates: OpenSearch, clock: SettableClock) -> None:
    put(templates, {"e1": event(0, "Console\x1b[2JLogin\u202e", user="al\nice")})
    run_once(templates, [rule("any", {"match_all": {}})], clock=clock)
    (alert,) = alerts(templates).values()
    assert alert["_index"] == "siem-alerts-2026.05"
    assert alert["event"]["kind"] == "signal"
    assert alert["event"]["severity"] == 70
    assert alert["event"]["reason"] == (
        "al�ice used Console�[2JLogin� from 203.0.113.9 in eu-west-1 (account 123456789012): failure"
    )
    assert alert["threat"]["technique"]["subtechnique"] == {"id": ["T1078.004"], "name": ["Cloud Accounts"]}
    assert alert["siem"]["status"] == "open"
    assert alert["siem"]["evidence"] == [
        {"index": "log-aws-cloudtrail-2026.05.04", "id": "e1", "timestamp": "2026-05-04T10:00:00.000Z"}
    ]


def test_rules_that_cannot_be_read_leave_the_last_ones_running(templates: OpenSearch, clock: SettableClock) -> None:
    stop, reports = Event(), list[RunReport]()
    answers: list[Sequence[CompiledRule | CompiledCorrelation] | RuleError] = [[LOGIN], RuleError("half an edit"), []]

    def rules() -> Sequence[CompiledRule | CompiledCorrelation]:
        answer = answers.pop(0)
        if isinstance(answer, RuleError):
            put(templates, {"e1": event(0, "ConsoleLogin")})
            raise answer
        return answer

    def see(report: RunReport) -> None:
        reports.append(report)
        if not answers:
            stop.set()

    schedule = Schedule(interval=timedelta(0))
    run_forever(templates, rules, clock=clock, stop=stop, schedule=schedule, on_report=see)
    assert [[count.alerts_new for count in report.rules] for report in reports] == [[0], [1], []]

    def none() -> Sequence[CompiledRule | CompiledCorrelation]:
        raise RuleError("no rules at all")

    with pytest.raises(RuleError, match="no rules at all"):
        run_forever(templates, none, clock=clock, stop=Event(), schedule=schedule)


def test_one_broken_rule_stops_no_other_and_is_an_alert_of_its_own(templates: OpenSearch, clock: SettableClock) -> None:
    put(templates, {"e1": event(0, "ConsoleLogin")})
    broken = [rule("not_a_query", {"no_such_query": {}}), rule("bad_regexp", {"regexp": {"user.name": "(["}})]
    report = run_once(templates, [*broken, LOGIN], clock=clock)
    assert counts(report, "failed_login") == (1, 1)
    assert set(report.errors) == {"not_a_query", "bad_regexp"}
    assert not report.complete
    run_once(templates, [*broken, LOGIN], clock=clock)
    about = by_rule(alerts(templates), "siem_rule_failed")
    assert sorted(alert["siem"]["group_key"] for alert in about) == ["bad_regexp", "not_a_query"]
    # Once it is repaired, it examines what it could not.
    repaired = [rule("not_a_query", {"match_all": {}}), LOGIN]
    assert counts(run_once(templates, repaired, clock=clock), "not_a_query") == (1, 1)


def test_every_page_of_every_shard_is_read(clean_cluster: OpenSearch, clock: SettableClock) -> None:
    clean_cluster.indices.create(
        index="log-aws-cloudtrail-2026.05.04",
        body={
            "settings": {"number_of_shards": 3, "number_of_replicas": 0},
            "mappings": {
                "properties": {
                    "@timestamp": {"type": "date"},
                    "event": {"properties": {"action": {"type": "keyword"}}},
                }
            },
        },
    )
    put(clean_cluster, {f"e{number}": event(number, "ConsoleLogin") for number in range(2500)})
    report = run_once(clean_cluster, [LOGIN], clock=clock, options=RunOptions(chunk=700))
    assert counts(report, "failed_login") == (2500, 2500)
    assert report.complete


def test_many_rules_are_few_requests(
    templates: OpenSearch, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(templates, {f"e{number}": event(number, f"Call{number}") for number in range(60)})
    requests: list[int] = []
    search = templates.msearch

    def counted(body: Sequence[Any], **more: Any) -> Any:
        requests.append(len(body) // 2)
        return search(body=body, **more)

    monkeypatch.setattr(templates, "msearch", counted)
    rules = [rule(f"call_{number}", action(f"Call{number}")) for number in range(60)]
    report = run_once(templates, rules, clock=clock, options=RunOptions(start="past"))
    assert report.alerts_new == 60
    assert len(requests) <= 5, requests


def test_what_comes_late_is_examined_whatever_its_time(templates: OpenSearch, clock: SettableClock) -> None:
    put(templates, {"e1": event(0, "ConsoleLogin")})
    run_once(templates, [LOGIN], clock=clock)
    put(templates, {"late": event(-3000, "ConsoleLogin"), "older": event(-86400 * 400, "ConsoleLogin")})
    report = run_once(templates, [LOGIN], clock=clock)
    assert counts(report, "failed_login") == (2, 2)
    assert report.examined == 2


def test_a_closed_index_waits_and_a_new_index_of_the_same_name_is_new(
    templates: OpenSearch, clock: SettableClock
) -> None:
    name = "log-aws-cloudtrail-2026.05.04"
    put(templates, {"e1": event(0, "ConsoleLogin")})
    run_once(templates, [LOGIN], clock=clock)
    put(templates, {"e2": event(1, "ConsoleLogin")})
    templates.indices.close(index=name)
    report = run_once(templates, [LOGIN], clock=clock)
    assert counts(report, "failed_login") == (0, 0)
    assert report.unreadable == (f"{name}[0]",)
    templates.indices.open(index=name, params={"wait_for_active_shards": "1"})
    assert counts(run_once(templates, [LOGIN], clock=clock), "failed_login") == (1, 1)
    templates.indices.delete(index=name)
    put(templates, {"e9": event(5, "ConsoleLogin")})
    assert counts(run_once(templates, [LOGIN], clock=clock), "failed_login") == (1, 1)
    templates.indices.delete(index=name)
    assert run_once(templates, [LOGIN], clock=clock).complete


def test_a_rule_that_is_added_later_begins_now_and_the_past_is_examined_on_request(
    templates: OpenSearch, clock: SettableClock
) -> None:
    put(templates, {"e1": event(0, "CreateAccessKey")})
    run_once(templates, [LOGIN], clock=clock)
    assert counts(run_once(templates, [LOGIN, KEY], clock=clock), "key_created") == (0, 0)
    put(templates, {"e2": event(1, "CreateAccessKey")})
    assert counts(run_once(templates, [LOGIN, KEY], clock=clock), "key_created") == (1, 1)
    other = rule("key_again", action("CreateAccessKey"))
    report = run_once(templates, [LOGIN, KEY, other], clock=clock, options=RunOptions(start="past"))
    assert counts(report, "key_again") == (2, 2)
    assert [alert["siem"]["historic"] for alert in by_rule(alerts(templates), "key_created")] == [False]
    assert [alert["siem"]["historic"] for alert in by_rule(alerts(templates), "key_again")] == [True, True]


def test_a_changed_rule_goes_on_where_its_former_version_was(templates: OpenSearch, clock: SettableClock) -> None:
    put(templates, {"e1": event(0, "ConsoleLogin")})
    run_once(templates, [LOGIN], clock=clock)
    put(templates, {"e2": event(1, "ConsoleLogin")})
    changed = rule("failed_login", {"bool": {"filter": [action("ConsoleLogin")]}})
    report = run_once(templates, [changed], clock=clock)
    assert counts(report, "failed_login") == (1, 1), "what came between the last cycle and the change is not skipped"


def test_old_data_makes_historic_alerts(templates: OpenSearch, clock: SettableClock) -> None:
    fresh, old = event(0, "ConsoleLogin"), event(1, "ConsoleLogin")
    old["event"]["ingested"] = (START + timedelta(days=5)).isoformat()
    put(templates, {"fresh": fresh, "old": old})
    run_once(templates, [LOGIN], clock=clock)
    found = alerts(templates).values()
    assert [alert["siem"]["historic"] for alert in found] == [False, True]


# --- correlations --------------------------------------------------------------------------------------------------


def burst(seconds: Iterable[float], user: str = "alice", name: str = "ConsoleLogin") -> dict[str, dict[str, Any]]:
    return {f"{user}-{name}-{second}": event(second, name, user) for second in seconds}


BRUTE_FORCE = correlation(
    "brute_force", "event_count", {"login": LOGIN}, 600, group_by=("user.name",), condition=Condition({"gte": 10})
)


def test_ten_failures_straddling_a_ten_minute_boundary_fire(templates: OpenSearch, clock: SettableClock) -> None:
    put(templates, burst(range(330, 331 + 9 * 60, 60)))
    report = run_once(templates, [BRUTE_FORCE], clock=clock)
    assert counts(report, "brute_force") == (10, 1)
    (alert,) = alerts(templates).values()
    assert alert["siem"]["group"] == {"user.name": "alice"}
    assert alert["siem"]["evidence_total"] == 10
    assert alert["event"]["reason"].startswith(
        "10 times “failed login” within 10 minutes for user.name=alice; first alice"
    )


def test_nine_do_not(templates: OpenSearch, clock: SettableClock) -> None:
    put(templates, burst(range(330, 331 + 8 * 60, 60)) | burst([340], user="bob"))
    report = run_once(templates, [BRUTE_FORCE], clock=clock)
    assert counts(report, "brute_force") == (10, 0)


def test_evidence_grows_and_what_an_analyst_wrote_stays(templates: OpenSearch, clock: SettableClock) -> None:
    put(templates, burst(range(0, 100, 10)))
    run_once(templates, [BRUTE_FORCE], clock=clock)
    ((identifier, alert),) = alerts(templates).items()
    templates.update(
        index=alert["_index"],
        id=identifier,
        body={"doc": {"siem": {"status": "acknowledged", "status_by": "eve", "status_note": "looking"}}},
    )
    put(templates, burst([5]))
    report = run_once(templates, [BRUTE_FORCE], clock=clock)
    (revised,) = alerts(templates).values()
    assert [count.alerts_revised for count in report.rules] == [1]
    assert revised["siem"]["evidence_total"] == 11
    assert revised["siem"]["status"] == "acknowledged"
    assert revised["siem"]["status_note"] == "looking"
    assert revised["event"]["created"] == alert["event"]["created"]


def test_a_burst_that_goes_on_continues_its_alert(templates: OpenSearch, clock: SettableClock) -> None:
    put(templates, burst(range(0, 1500, 30)))
    run_once(templates, [BRUTE_FORCE], clock=clock)
    found = list(alerts(templates).items())
    assert [alert["siem"].get("continues") for _, alert in found] == [None, found[0][0], found[1][0]]


def test_a_late_event_completes_a_window(templates: OpenSearch, clock: SettableClock) -> None:
    put(templates, burst([*range(0, 40, 10), *range(50, 100, 10)]))
    assert counts(run_once(templates, [BRUTE_FORCE], clock=clock), "brute_force") == (9, 0)
    put(templates, burst([40]))
    assert counts(run_once(templates, [BRUTE_FORCE], clock=clock), "brute_force") == (1, 1)


def test_an_event_without_the_groups_field_is_counted_and_not_grouped(
    templates: OpenSearch, clock: SettableClock
) -> None:
    put(templates, {f"e{number}": event(number, "ConsoleLogin", user=None) for number in range(12)})
    report = run_once(templates, [BRUTE_FORCE], clock=clock)
    assert counts(report, "brute_force") == (12, 0)
    assert [count.ungrouped for count in report.rules] == [12]


def test_order_aliases_and_payload_fields(templates: OpenSearch, clock: SettableClock) -> None:
    made = rule("user_made", action("CreateUser"))
    path = "aws.cloudtrail.flattened.request_parameters.userName"
    ordered = correlation(
        "made_then_used",
        "temporal_ordered",
        {"made": made, "login": LOGIN},
        300,
        group_by=("who",),
        aliases={"who": {"made": path, "login": "user.name"}},
    )

    def create(second: float, user: str) -> dict[str, Any]:
        return event(
            second, "CreateUser", "admin", aws__cloudtrail__flattened={"request_parameters": {"userName": user}}
        )

    put(
        templates,
        {
            "c1": create(0, "mallory"),
            "l1": event(200, "ConsoleLogin", "mallory"),
            "l2": event(10, "ConsoleLogin", "trent"),
            "c2": create(20, "trent"),
            "c3": create(0, "peggy"),
            "l3": event(301, "ConsoleLogin", "peggy"),
            "c4": create(50, "victor"),
            "l4": event(50, "ConsoleLogin", "victor"),
        },
    )
    report = run_once(templates, [ordered], clock=clock)
    assert report.errors == {}
    assert sorted(alert["siem"]["group"]["who"] for alert in alerts(templates).values()) == ["mallory", "victor"]


def test_distinct_values_and_sums(templates: OpenSearch, clock: SettableClock) -> None:
    regions = correlation(
        "many_regions",
        "value_count",
        {"login": LOGIN},
        600,
        group_by=("user.name",),
        condition=Condition({"gte": 3}, ("cloud.region",)),
    )
    volume = correlation(
        "much_data",
        "value_sum",
        {"login": LOGIN},
        600,
        condition=Condition({"gt": 10}, ("aws.cloudtrail.flattened.additional_event_data.bytes",)),
    )
    documents = {}
    for number, region in enumerate(["a", "b", "b", "c"]):
        payload = {"additional_event_data": {"bytes": number + 1.5}}
        documents[f"e{number}"] = event(
            number, "ConsoleLogin", cloud__region=region, aws__cloudtrail__flattened=payload
        )
    put(templates, documents)
    report = run_once(templates, [regions, volume], clock=clock)
    assert report.errors == {}
    assert {count.id: count.alerts_new for count in report.rules} == {"many_regions": 1, "much_data": 1}


def test_a_chain_consumes_triggers_and_only_the_last_raises_alerts(templates: OpenSearch, clock: SettableClock) -> None:
    chain = correlation(
        "burst_then_key", "temporal_ordered", {"burst": BRUTE_FORCE, "key": KEY}, 900, group_by=("user.name",)
    )
    put(
        templates,
        burst(range(0, 100, 10)) | burst([200], name="CreateAccessKey") | burst([1], "bob", "CreateAccessKey"),
    )
    put(templates, burst(range(0, 100, 10), "bob"))
    report = run_once(templates, [BRUTE_FORCE, chain], clock=clock)
    assert [count.id for count in report.rules] == ["burst_then_key"]
    (alert,) = alerts(templates).values()
    assert alert["siem"]["group"] == {"user.name": "alice"}
    assert alert["siem"]["evidence_total"] == 11


def test_suppression_folds_and_counts(templates: OpenSearch, clock: SettableClock) -> None:
    folded = rule("folded", action("ConsoleLogin"), suppression=Suppression(("user.name",), 3600))
    put(templates, burst([0, 10, 20]) | burst([5], "bob") | burst([4000]))
    run_once(templates, [folded], clock=clock)
    put(templates, burst([30]))
    run_once(templates, [folded], clock=clock)
    found = {
        (alert["siem"]["group_key"], alert["siem"]["evidence_total"], alert["siem"]["suppressed"])
        for alert in alerts(templates).values()
    }
    assert found == {("user.name=alice", 4, 3), ("user.name=bob", 1, 0), ("user.name=alice", 1, 0)}


def test_suppression_never_loses_an_event_that_lacks_the_field(templates: OpenSearch, clock: SettableClock) -> None:
    folded = rule("folded", action("ConsoleLogin"), suppression=Suppression(("user.name",), 3600))
    put(templates, burst([0]) | {f"nobody-{number}": event(number, "ConsoleLogin", user=None) for number in (5, 6)})
    run_once(templates, [folded], clock=clock)
    put(templates, {"nobody-late": event(7, "ConsoleLogin", user=None)})
    run_once(templates, [folded], clock=clock)
    found = {(alert["siem"]["group_key"], alert["siem"]["evidence_total"]) for alert in alerts(templates).values()}
    assert found == {("user.name=alice", 1), ("user.name=(none)", 3)}


def test_an_upper_bound_waits_for_late_events_and_withdraws_after(templates: OpenSearch, clock: SettableClock) -> None:
    few = correlation(
        "few", "event_count", {"login": LOGIN}, 60, group_by=("user.name",), condition=Condition({"gte": 1, "lte": 2})
    )
    options = RunOptions(lateness=timedelta(minutes=10))
    put(templates, burst([0]))
    clock.time = START + timedelta(minutes=9)
    assert counts(run_once(templates, [few], clock=clock, options=options), "few") == (1, 0)
    clock.time = START + timedelta(minutes=11)
    report = run_once(templates, [few], clock=clock, options=options)
    assert counts(report, "few") == (0, 1), "time alone brings it"
    put(templates, burst([-1, -2]))
    report = run_once(templates, [few], clock=clock, options=options)
    verdicts = {
        alert["siem"]["first_event"]: alert["siem"].get("verdict") for alert in by_rule(alerts(templates), "few")
    }
    assert verdicts == {"2026-05-04T09:59:58.000Z": None, "2026-05-04T10:00:00.000Z": "withdrawn"}


def test_absence_new_terms_and_spike(templates: OpenSearch, clock: SettableClock) -> None:
    rules = [
        correlation("silent", "absence", {"login": LOGIN}, 600, group_by=("user.name",)),
        correlation("new_region", "new_terms", {"login": LOGIN}, 86400, group_by=("user.name",),
                    condition=Condition({}, ("cloud.region",)), extra={"warmup": "0d"}),
        correlation("spike", "spike", {"login": LOGIN}, 60, group_by=("user.name",), condition=Condition({"gte": 5}),
                    extra={"baseline": "1h", "minimum": 10}),
    ]  # fmt: skip
    put(templates, burst(range(0, 3600, 300)) | burst(range(3600, 3660, 5)))
    put(templates, {"elsewhere": event(3700, "ConsoleLogin", cloud__region="ap-south-1")})
    clock.time = START + timedelta(hours=3)
    report = run_once(templates, rules, clock=clock)
    assert report.errors == {}
    found = alerts(templates)
    (silent,) = by_rule(found, "silent")
    assert silent["@timestamp"] == "2026-05-04T11:11:40.000Z"
    assert "no “failed login” for 10 minutes" in silent["event"]["reason"]
    news = by_rule(found, "new_region")
    assert len(news) == 1
    assert news[0]["siem"]["evidence_total"] == 2
    assert "first “failed login” with cloud.region eu-west-1, ap-south-1 in 1 day" in news[0]["event"]["reason"]
    (spike,) = by_rule(found, "spike")
    assert spike["siem"]["baseline"]["expected"] == pytest.approx(12 / 60, rel=0.2)
    assert "times the mean of" in spike["event"]["reason"]


def test_a_sources_values_in_any_case_are_found_again(templates: OpenSearch, clock: SettableClock) -> None:
    """A wildcard field holds lower case only; groups are told by what the event says."""
    agents = correlation(
        "agents",
        "event_count",
        {"login": LOGIN},
        60,
        group_by=("user_agent.original",),
        condition=Condition({"gte": 2}),
    )
    put(templates, {f"e{n}": event(n, "ConsoleLogin", user_agent__original=f"Boto3/{'X' * n}") for n in (1, 1, 2)})
    put(templates, {"f": event(3, "ConsoleLogin", user_agent__original="Boto3/X")})
    run_once(templates, [agents], clock=clock)
    (alert,) = alerts(templates).values()
    assert alert["siem"]["group"] == {"user_agent.original": "Boto3/X"}


# --- a cluster that hides its shards ---------------------------------------------------------------------------------


@pytest.fixture
def hidden(templates: OpenSearch, monkeypatch: pytest.MonkeyPatch) -> OpenSearch:
    """The client, of a cluster that answers like a serverless one: no shard statistics, no refresh on demand."""
    perform = templates.transport.perform_request

    def refuse(method: str, url: str, *args: Any, **more: Any) -> Any:
        if "/_stats" in url or "/_settings" in url:
            raise NotFoundError(404, "no such API", {})
        assert not (url.startswith("/log-") and url.endswith("/_refresh"))
        return perform(method, url, *args, **more)

    monkeypatch.setattr(templates.transport, "perform_request", refuse)
    return templates


def visible(client: OpenSearch, documents: Mapping[str, Mapping[str, Any]]) -> None:
    put(client, documents)
    client.indices.refresh(index="*")


def test_where_shards_are_hidden_minutes_are_walked_and_counted_again(hidden: OpenSearch, clock: SettableClock) -> None:
    clock.time = START + timedelta(minutes=10)
    visible(hidden, burst([0, 1, 61, 62]))
    report = run_once(hidden, [LOGIN, BRUTE_FORCE], clock=clock)
    assert report.errors == {}
    assert counts(report, "failed_login") == (4, 4)
    assert counts(run_once(hidden, [LOGIN, BRUTE_FORCE], clock=clock), "failed_login") == (0, 0)
    # A bulk request that timed out becomes visible with the times it was made with.
    visible(hidden, burst([*range(2, 8)]))
    report = run_once(hidden, [LOGIN, BRUTE_FORCE], clock=clock)
    assert counts(report, "failed_login") == (8, 6), "the first minute has grown and is examined again"
    assert counts(report, "brute_force") == (8, 1)
    clock.time += timedelta(minutes=5)
    visible(hidden, burst([660]))
    assert counts(run_once(hidden, [LOGIN, BRUTE_FORCE], clock=clock), "failed_login") == (1, 1)
    assert run_once(hidden, [LOGIN, BRUTE_FORCE], clock=clock).complete
