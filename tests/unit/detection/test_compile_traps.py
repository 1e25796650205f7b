"""The traps that were measured on query_string backends, one test each: what goes wrong there is said beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from loader.detection import evaluate
from loader.detection.compile import Pack, compile_rules
from loader.detection.load import load_rules
from loader.detection.model import CompiledRule

LOGSOURCE = {"product": "aws", "service": "cloudtrail"}


def pack_of(folder: Path, *documents: dict[str, Any], **options: Any) -> Pack:
    (folder / "rules.yml").write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return compile_rules(load_rules([folder]), **options)


@pytest.fixture
def compiled(tmp_path: Path) -> Any:
    def make(selection: Any, condition: str = "s", **options: Any) -> CompiledRule:
        others = options.pop("also", {})
        detection = {"s": selection, **others, "condition": condition}
        pack = pack_of(tmp_path, {"title": "t", "logsource": LOGSOURCE, "detection": detection}, **options)
        assert not pack.problems, pack.problems
        return pack.rules[0]

    return make


@pytest.fixture
def refused(tmp_path: Path) -> Any:
    def make(selection: Any, **options: Any) -> str:
        rule = {"title": "t", "logsource": LOGSOURCE, "detection": {"s": selection, "condition": "s"}}
        pack = pack_of(tmp_path, rule, **options)
        (problem,) = pack.problems
        assert not pack.rules
        assert problem.where.startswith(str(tmp_path / "rules.yml:"))
        return problem.message

    return make


def doc(**fields: Any) -> dict[str, Any]:
    source: dict[str, Any] = {}
    for path, value in fields.items():
        *parents, last = path.split("__")
        target = source
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    return source


def params(payload: Any, **more: Any) -> dict[str, Any]:
    return doc(aws__cloudtrail__flattened={"request_parameters": payload}, **more)


# 1. case ----------------------------------------------------------------------------------------------------------


def test_values_ignore_case_where_a_keyword_query_would_not(compiled: Any) -> None:
    # query_string on the keyword: event.action:stoplogging finds nothing.
    rule = compiled({"eventName": "stopLOGGING"})
    assert rule.query == {"term": {"event.action.lower": "stoplogging"}}
    assert evaluate.fires(rule, doc(event__action="StopLogging"))


def test_a_filter_does_not_fail_open_on_case(compiled: Any) -> None:
    # query_string: NOT user_identity.type:awsservice keeps AWSService.
    rule = compiled({"eventName": "x"}, "s and not f", also={"f": {"userIdentity.type": "awsservice"}})
    event = doc(event__action="X", aws__cloudtrail__user_identity__type="AWSService")
    assert not evaluate.fires(rule, event)


@pytest.mark.parametrize(
    ("written", "stored"), [("STRASSE ẞ", "strasse ß"), ("İx", "ix"), ("\u0391\u03a3", "\u03b1\u03c3"), ("É", "é")]
)
def test_case_beyond_ascii_is_the_servers(compiled: Any, written: str, stored: str) -> None:
    # case_insensitive: true folds ASCII only; Python's lower() would make "i̇x" and "ας" of two of these.
    rule = compiled({"userIdentity.userName": written})
    assert rule.query == {"term": {"aws.cloudtrail.user_identity.user_name.lower": stored}}


def test_cased_is_exact_on_a_field_that_keeps_case(compiled: Any) -> None:
    rule = compiled({"eventName|cased": "StopLogging"})
    assert rule.query == {"term": {"event.action": "StopLogging"}}
    assert rule.verify is None


def test_cased_on_a_payload_is_verified_and_never_loses_an_event(compiled: Any) -> None:
    rule = compiled({"requestParameters.name|cased": "Prod"})
    assert rule.query == {"term": {"aws.cloudtrail.leaves": "requestparameters.name=prod"}}
    assert evaluate.verified(rule, params({"name": "Prod"}))
    assert not evaluate.verified(rule, params({"name": "prod"}))


def test_a_negated_bound_does_not_lose_events(compiled: Any) -> None:
    # not (name cased Prod): excluding everything that matches without case would lose "prod".
    rule = compiled({"eventName": "x"}, "s and not f", also={"f": {"requestParameters.name|cased": "Prod"}})
    event = params({"name": "prod"}, event__action="x")
    assert evaluate.matches(rule.query, event)
    assert evaluate.fires(rule, event)
    assert not evaluate.fires(rule, params({"name": "Prod"}, event__action="x"))


# 2. leading wildcards on wildcard fields --------------------------------------------------------------------------


def test_leading_wildcards_use_the_wildcard_query(compiled: Any) -> None:
    # query_string: user_agent.original:*kali* on a wildcard field returns nothing.
    rule = compiled({"userAgent|contains": "Kali"})
    assert rule.query == {"wildcard": {"user_agent.original": {"value": "*kali*", "case_insensitive": True}}}


def test_case_beyond_ascii_on_a_wildcard_field_is_verified(compiled: Any) -> None:
    # Elasticsearch's wildcard type has no normalizer, and case_insensitive folds ASCII only.
    rule = compiled({"userAgent|contains": "CaFÉ"})
    assert rule.query == {"wildcard": {"user_agent.original": {"value": "*caf?*", "case_insensitive": True}}}
    assert evaluate.fires(rule, doc(user_agent__original="le café"))
    assert not evaluate.fires(rule, doc(user_agent__original="le cafe"))


def test_an_empty_value_on_a_wildcard_field_is_no_term(compiled: Any) -> None:
    # OpenSearch 3.8.0: term "" on a wildcard field finds nothing.
    rule = compiled({"userAgent": ""})
    assert "term" not in json.dumps(rule.query)
    assert evaluate.fires(rule, doc(user_agent__original=""))
    assert not evaluate.fires(rule, doc(user_agent__original="x"))
    assert not evaluate.fires(rule, doc())


# 3. operators in values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["<img>", ">5", "OR", "AND not", "NOT", "-5", "a:b", "(x", '"', "&&", "||", "/", "^2", "~"]
)
def test_values_are_no_syntax(compiled: Any, value: str) -> None:
    # query_string: a leading < runs as a range, OR, AND, NOT and -5 are parse errors.
    rule = compiled({"eventName": value})
    assert rule.query == {"term": {"event.action.lower": value.lower()}}
    contained = compiled({"requestParameters.x|contains": value})
    assert evaluate.fires(contained, params({"x": f"a{value}b"}))
    assert not evaluate.fires(contained, params({"x": "ab"}))


def test_wildcards_in_values_can_be_escaped(compiled: Any) -> None:
    rule = compiled({"eventName": r"a\*b*"})
    assert evaluate.fires(rule, doc(event__action="a*bc"))
    assert not evaluate.fires(rule, doc(event__action="axbc"))


# 4. regular expressions -------------------------------------------------------------------------------------------


def test_regular_expressions_are_searched(compiled: Any) -> None:
    # Lucene's are anchored: event.action:/Log/ matches nothing but "Log".
    rule = compiled({"eventName|re": "Log"})
    assert rule.query == {"regexp": {"event.action": {"value": ".*Log.*"}}}
    assert evaluate.fires(rule, doc(event__action="StopLogging"))


def test_lucenes_own_operators_are_escaped(compiled: Any) -> None:
    # In Lucene @ is any string, # nothing, & and ~ operators, <1-2> a range.
    rule = compiled({"eventName|re": '^<1-2>@#&~"$'})
    assert evaluate.fires(rule, doc(event__action='<1-2>@#&~"'))
    assert not evaluate.fires(rule, doc(event__action="1"))


def test_what_lucene_cannot_say_is_bounded_and_verified(compiled: Any) -> None:
    rule = compiled({"eventName|re": r"^(?!Describe)\w+Trail\b"})
    assert rule.verify is not None
    assert evaluate.fires(rule, doc(event__action="StopTrail"))
    assert not evaluate.fires(rule, doc(event__action="DescribeTrail"))
    assert evaluate.matches(rule.query, doc(event__action="StopTrail"))


def test_case_in_regular_expressions(compiled: Any) -> None:
    assert not evaluate.fires(compiled({"eventName|re": "stop"}), doc(event__action="StopLogging"))
    assert evaluate.fires(compiled({"eventName|re|i": "stop"}), doc(event__action="StopLogging"))
    in_payload = compiled({"requestParameters.x|re": "Prod"})
    assert evaluate.fires(in_payload, params({"x": "my-Prod-1"}))
    assert not evaluate.fires(in_payload, params({"x": "my-prod-1"}))


def test_an_expression_the_server_would_refuse_is_widened(compiled: Any) -> None:
    # OpenSearch 3.8.0 answers 400 to .*a.{1,50}b.*: too complex to determinize.
    rule = compiled({"eventName|re": "a.{1,50}b"})
    assert "{1,50}" not in json.dumps(rule.query)
    assert evaluate.fires(rule, doc(event__action="a" + "x" * 50 + "b"))
    assert not evaluate.fires(rule, doc(event__action="a" + "x" * 51 + "b"))


def test_an_invalid_expression_is_refused(refused: Any) -> None:
    assert "xpression" in refused({"eventName|re": "(a"})


# 5. cidr ----------------------------------------------------------------------------------------------------------


def test_cidr_goes_to_the_address_field(compiled: Any) -> None:
    # query_string: source.address:"10.0.0.0/8" compares text and is silently empty.
    rule = compiled({"sourceIPAddress|cidr": "10.0.0.0/8"})
    assert rule.query == {"term": {"source.ip": "10.0.0.0/8"}}


def test_cidr_on_text_is_spelt_out(compiled: Any) -> None:
    rule = compiled({"requestParameters.cidr|cidr": "10.128.0.0/9"})
    assert rule.verify is None
    assert evaluate.fires(rule, params({"cidr": "10.200.1.2"}))
    assert not evaluate.fires(rule, params({"cidr": "10.1.1.2"}))
    assert not evaluate.fires(rule, params({"cidr": "10.200.1.2222"}))


def test_ipv6_on_text_is_verified_in_every_spelling(compiled: Any) -> None:
    rule = compiled({"requestParameters.ip|cidr": "2001:db8::/32"})
    assert rule.verify is not None
    assert evaluate.fires(rule, params({"ip": "2001:0DB8:0:0::1"}))
    assert not evaluate.fires(rule, params({"ip": "2001:db9::1"}))


def test_an_address_field_refuses_what_is_none(refused: Any) -> None:
    # The server answers 400 to term source.ip: "internal".
    assert "neither" in refused({"source.ip": "internal"})


def test_an_address_prefix_becomes_a_network(compiled: Any) -> None:
    assert compiled({"source.ip": "10.1.*"}).query == {"term": {"source.ip": "10.1.0.0/16"}}


# 6. null, exists, empty -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "null", "exists", "empty"),
    [
        ({"x": "v"}, False, True, False),
        ({"x": ""}, False, True, True),
        ({"x": None}, True, True, False),
        ({"x": {}}, False, True, False),
        ({"x": []}, False, True, False),
        ({"x": {"y": 1}}, False, True, False),
        ({"xy": 1}, True, False, False),
        ({}, True, False, False),
    ],
)
def test_null_absent_and_empty_differ_in_payloads(
    compiled: Any, payload: Any, null: bool, exists: bool, empty: bool
) -> None:
    # On the server's exists query JSON null is invisible.
    event = params(payload, event__action="e")
    both = {"eventName": "e"}
    assert evaluate.fires(compiled({**both, "requestParameters.x": None}), event) == null
    assert evaluate.fires(compiled({**both, "requestParameters.x|exists": True}), event) == exists
    assert evaluate.fires(compiled({**both, "requestParameters.x|exists": False}), event) != exists
    assert evaluate.fires(compiled({"requestParameters.x": ""}), event) == empty


def test_null_on_a_field_is_its_absence(compiled: Any) -> None:
    rule = compiled({"eventName": "e", "errorCode": None})
    assert evaluate.fires(rule, doc(event__action="e"))
    assert not evaluate.fires(rule, doc(event__action="e", aws__cloudtrail__error_code="AccessDenied"))


# 7. numbers in text -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [(9, False), (10, True), ("10", True), (100, True), (9.99, False), ("1e3", True), ("x", False), (-20, False)],
)
def test_numbers_in_payloads_compare_as_numbers(compiled: Any, value: Any, expected: bool) -> None:
    # As text 9 > 10, and 100 < 2.
    assert evaluate.fires(compiled({"requestParameters.n|gte": 10}), params({"n": value})) == expected


def test_a_number_equals_its_text(compiled: Any) -> None:
    rule = compiled({"requestParameters.port": 22})
    assert evaluate.fires(rule, params({"port": 22}))
    assert evaluate.fires(rule, params({"port": "22"}))
    assert not evaluate.fires(rule, params({"port": 220}))


def test_typed_numbers_use_ranges(compiled: Any) -> None:
    assert compiled({"source.as.number|lt": 5}).query == {"range": {"source.as.number": {"lt": 5}}}


# 8. long lists ----------------------------------------------------------------------------------------------------


def test_long_lists_are_terms(compiled: Any) -> None:
    # More than 1,024 clauses are refused.
    rule = compiled({"sourceIPAddress": [f"10.0.{n // 256}.{n % 256}" for n in range(5000)]})
    assert len(rule.query["terms"]["source.address.lower"]) == 5000


def test_long_lists_of_patterns_become_few_expressions(compiled: Any) -> None:
    rule = compiled({"eventName|contains": [f"word{n:05d}" for n in range(3000)]})
    expressions = rule.query["bool"]["should"]
    assert len(expressions) < 100
    assert all(len(one["regexp"]["event.action.lower"]["value"]) <= 1000 for one in expressions)
    assert evaluate.fires(rule, doc(event__action="xxWORD02999"))
    assert not evaluate.fires(rule, doc(event__action="word3000"))


# 9. fields that do not exist --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field", ["eventNme", "requestParametres.x", "userIdentity.arnn", "foo", "aws.cloudtrail.flattened"]
)
def test_an_unmapped_field_is_an_error(refused: Any, field: str) -> None:
    # On the server it is silently empty; a filter on it silently passes everything.
    assert field in refused({field: "x"})


# 10. fieldref, expand, times, base64, windash ---------------------------------------------------------------------


def created(target: dict[str, Any]) -> dict[str, Any]:
    event = params(target, event__action="CreateAccessKey")
    event["aws"]["cloudtrail"]["user_identity"] = {"user_name": "bob"}
    return event


def test_fieldref_compares_two_fields(compiled: Any) -> None:
    rule = compiled({"eventName": "CreateAccessKey", "userIdentity.userName|fieldref": "requestParameters.userName"})
    assert evaluate.fires(rule, created({"userName": "Bob"}))
    assert not evaluate.fires(rule, created({"userName": "eve"}))


def test_not_fieldref_keeps_events_without_the_field(compiled: Any) -> None:
    own = {"f": {"userIdentity.userName|fieldref": "requestParameters.userName"}}
    rule = compiled({"eventName": "CreateAccessKey"}, "s and not f", also=own)
    assert evaluate.matches(rule.query, created({}))
    assert evaluate.fires(rule, created({}))


def test_placeholders_take_their_values_from_the_variables(compiled: Any) -> None:
    rule = compiled({"awsRegion|expand": "%regions%"}, variables={"regions": ["eu-west-1", "us-*"]})
    assert evaluate.fires(rule, doc(cloud__region="us-east-1"))
    assert not evaluate.fires(rule, doc(cloud__region="ap-south-1"))


def test_a_placeholder_without_values_is_an_error(refused: Any) -> None:
    assert "%regions%" in refused({"awsRegion|expand": "%regions%"})


def test_parts_of_a_time(compiled: Any) -> None:
    rule = compiled({"eventName": "e", "eventTime|hour": 3})
    assert evaluate.fires(rule, {"@timestamp": "2026-10-05T03:59:59Z", "event": {"action": "e"}})
    assert not evaluate.fires(rule, {"@timestamp": "2026-10-05T04:00:00Z", "event": {"action": "e"}})


def test_a_rule_that_could_only_return_everything_is_refused(refused: Any) -> None:
    assert "every event" in refused({"eventTime|hour": 3})


@pytest.mark.parametrize("text", ["/bin/sh -c", "été", "a*b", "curl "])
def test_base64_is_found_at_every_offset(compiled: Any, text: str) -> None:
    # pySigma 1.5.1 encodes the escaped form, and counts characters where bytes count.
    from base64 import b64encode

    rule = compiled({"requestParameters.userData|base64offset|contains": text.replace("*", r"\*")})
    for before in ("", "x", "yz"):
        hidden = b64encode(f"{before}{text} and more".encode()).decode()
        assert evaluate.fires(rule, params({"userData": hidden})), hidden
    assert not evaluate.fires(rule, params({"userData": b64encode(b"something else").decode()}))


def test_utf16_and_base64(compiled: Any) -> None:
    from base64 import b64encode

    wide = compiled({"requestParameters.x|wide|base64offset|contains": "whoami"})
    assert evaluate.fires(wide, params({"x": b64encode("> whoami".encode("utf-16-le")).decode()}))
    marked = compiled({"requestParameters.x|utf16|base64": "hi"})
    assert evaluate.fires(marked, params({"x": b64encode(b"\xff\xfeh\0i\0").decode()}))


def test_windash(compiled: Any) -> None:
    rule = compiled({"requestParameters.cmd|windash|contains": " -enc"})
    assert evaluate.fires(rule, params({"cmd": "powershell /enc"}))


# and the rest of the language -------------------------------------------------------------------------------------


def test_all_requires_every_value(compiled: Any) -> None:
    rule = compiled({"userAgent|contains|all": ["aws", "cli"]})
    assert evaluate.fires(rule, doc(user_agent__original="AWS-CLI/2"))
    assert not evaluate.fires(rule, doc(user_agent__original="aws-sdk"))


def test_keywords_search_every_text(compiled: Any) -> None:
    rule = compiled(["Stratus*Team", "needle"])
    assert evaluate.fires(rule, doc(user_agent__original="x stratus-red-team_1"))
    assert evaluate.fires(rule, params({"deep": [{"x": "a NEEDLE in hay"}]}))
    assert not evaluate.fires(rule, params({"needle": "x"})), "keys are no text of the event"


def test_whole_payloads_search_every_value_below(compiled: Any) -> None:
    rule = compiled({"requestParameters|contains": "AdministratorAccess"})
    assert evaluate.fires(rule, params({"a": {"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}}))
    assert not evaluate.fires(rule, params({"AdministratorAccess": "x"}))
    assert not evaluate.fires(rule, params({"a=AdministratorAccess": "x"}))


def test_keys_with_equals_and_backslash(compiled: Any) -> None:
    rule = compiled({"requestParameters.a=b\\c": "v"})
    assert rule.query == {"term": {"aws.cloudtrail.leaves": "requestparameters.a\\=b\\\\c=v"}}
    assert evaluate.fires(rule, params({"a=b\\c": "V"}))


def test_booleans_take_text(compiled: Any) -> None:
    for written in (True, "true", "True", "t*"):
        assert compiled({"readOnly": written}).query == {"term": {"aws.cloudtrail.read_only": True}}


def test_several_conditions_are_joined(tmp_path: Path) -> None:
    rule = {"title": "t", "logsource": LOGSOURCE, "detection": {}}
    rule["detection"] = {"a": {"eventName": "x"}, "b": {"eventName": "y"}, "condition": ["a", "b"]}
    assert pack_of(tmp_path, rule).rules[0].query == {"terms": {"event.action.lower": ["x", "y"]}}


def test_a_condition_without_selections_is_an_error(tmp_path: Path) -> None:
    rule = {"title": "t", "logsource": LOGSOURCE, "detection": {"a": {"eventName": "x"}, "condition": "1 of b*"}}
    assert pack_of(tmp_path, rule).problems[0].code == "compile"


def test_an_error_names_file_line_engine_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "rule.yml"
    path.write_text(
        "title: t\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n"
        "  s:\n    eventName: x\n  f:\n    - eventSource: y\n    - eventNme:\n        - z\n        - w\n"
        "  condition: s and not f\n"
    )
    (problem,) = compile_rules(load_rules([path]), engine="elasticsearch").problems
    assert problem.where == f"{path}:8"
    assert problem.message.startswith("elasticsearch: there is no field eventNme")
    assert problem.hint == "Did you mean eventName or eventTime or eventType?"


def test_filters_are_added_and_can_be_told_apart(tmp_path: Path) -> None:
    rule = {"title": "t", "logsource": LOGSOURCE, "detection": {"s": {"eventName": "x"}, "condition": "s"}}
    mine = {**rule, "name": "mine", "id": "1a2b3c4d-0000-4000-8000-000000000000"}
    other = {**rule, "name": "other", "id": "1a2b3c4d-0000-4000-8000-000000000001"}
    exception = {
        "title": "build account",
        "logsource": {"product": "aws"},
        "filter": {"rules": ["mine"], "ours": {"userIdentity.accountId": "111122223333"}, "condition": "not ours"},
    }
    pack = pack_of(tmp_path, mine, other, exception)
    first, second = pack.rules
    event = doc(event__action="x", aws__cloudtrail__user_identity__account_id="111122223333")
    assert not evaluate.fires(first, event)
    assert first.unfiltered is not None
    assert evaluate.matches(first.unfiltered, event)
    assert [one.filter.title for one in first.filters] == ["build account"]
    assert evaluate.fires(second, event)
    assert second.unfiltered is None


def test_a_filter_that_only_the_event_can_tell_needs_nothing_to_search_for(tmp_path: Path) -> None:
    rule = {"title": "t", "name": "r", "logsource": LOGSOURCE, "detection": {"s": {"eventName": "e"}, "condition": "s"}}
    body = {"rules": ["r"], "f": {"userIdentity.userName|re": "^(?!root)admin"}, "condition": "not f"}
    pack = pack_of(tmp_path, rule, {"title": "f", "logsource": LOGSOURCE, "filter": body})
    assert not pack.errors
    (compiled,) = pack.rules
    source = doc(event__action="e", aws__cloudtrail__user_identity__user_name="admin2")
    assert not evaluate.fires(compiled, source)
    assert evaluate.fires(compiled, doc(event__action="e", aws__cloudtrail__user_identity__user_name="eve"))
