"""Whatever JSON stands in a record: both paths agree, the document fits the mapping, and nothing is lost."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader.errors import RecordError
from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.cloudtrail_complete import render
from loader.logtypes.cloudtrail_parts import origin_of
from loader.logtypes.cloudtrail_record import PAYLOADS
from loader.logtypes.model import Rendered
from tests.unit.logtypes.conformance import missing, problems, read_mapping
from tests.unit.logtypes.samples import CONTEXT, dump, record

MAPPING = read_mapping()

texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    [
        "",
        "-0",
        "=",
        "a=b",
        "\\",
        '":',
        '\\":',
        "Success",
        "Failure",
        "HIDDEN_DUE_TO_SECURITY_REASONS",
        "true",
        "10.0.0.1",
        "i-0123456789abcdef0",
        "arn:aws:iam::111122223333:role/x",
        "2023-07-10T11:45:00Z",
        "x" * 9000,
        "İȺK" * 40,
    ]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**30), max_value=10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
keys = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    [
        "userName",
        "newUserName",
        "groupName",
        "user",
        "userId",
        "a=b",
        "a.b",
        "\\",
        'a"',
        "ConsoleLogin",
        "errorCode",
        "instanceId",
        "MFAUsed",
        "insightContext",
        "statistics",
        "insightDuration",
        "attributions",
        "insightAttributions",
        "attribute",
        "insight",
        "attributes",
        "creationDate",
    ]
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
payloads = st.sampled_from(sorted(PAYLOADS.values()))
known = st.sampled_from(
    [key for key in record() if key != "eventTime"]
    + [*PAYLOADS.values(), "apiVersion", "sharedEventID", "vpcEndpointId", "vpcEndpointAccountId", "addendum"]
    + ["sessionCredentialFromConsole", "tlsDetails", "resources", "errorCode", "errorMessage"]
)
identity_keys = st.sampled_from(
    [
        "type",
        "principalId",
        "arn",
        "accountId",
        "accessKeyId",
        "userName",
        "sessionContext",
        "invokedBy",
        "identityProvider",
        "credentialId",
        "onBehalfOf",
        "inScopeOf",
        "invokedByDelegate",
        "unheardOf",
    ]
)
context_keys = st.sampled_from(
    [
        "attributes",
        "sessionIssuer",
        "webIdFederationData",
        "ec2RoleDelivery",
        "sourceIdentity",
        "assumedRoot",
        "signInSessionArn",
        "unheardOf",
    ]
)
inner_keys = st.sampled_from(
    [
        "creationDate",
        "mfaAuthenticated",
        "type",
        "userName",
        "arn",
        "federatedProvider",
        "attributes",
        "ARN",
        "accountId",
        "tlsVersion",
        "cipherSuite",
        "clientProvidedHostHeader",
        "reason",
        "updatedFields",
        "unheardOf",
    ]
)
plausible = scalars | st.dictionaries(
    inner_keys, scalars | st.dictionaries(inner_keys, scalars, max_size=2), max_size=3
)
contexts = st.dictionaries(context_keys, plausible, max_size=4)
identities = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["Root", "IAMUser", "AssumedRole", "FederatedUser", "AWSService", "AWSAccount"]),
        "sessionContext": contexts | plausible,
    },
).flatmap(lambda base: st.dictionaries(identity_keys, plausible, max_size=5).map(lambda more: {**more, **base}))

relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck))


def both(raw: bytes) -> Rendered | str:
    """The document, after checking that every way gives it; or the error's kind."""
    ways = (
        lambda: CLOUDTRAIL.normalise(raw, CONTEXT, False),
        lambda: CLOUDTRAIL.normalise(raw, CONTEXT, True),
        lambda: render(raw, origin_of(CONTEXT), carefully=True),
    )
    results: list[Rendered | str] = []
    for way in ways:
        try:
            results.append(way())
        except RecordError as error:
            results.append(error.kind)
    assert results[0] == results[1]
    assert results[1] == results[2]
    return results[0]


def check(raw: bytes) -> None:
    rendered = both(raw)
    assert isinstance(rendered, Rendered), rendered
    assert problems(rendered.body, MAPPING) == []
    truncated = json.loads(rendered.body).get("siem", {}).get("truncated", [])
    if not truncated:
        assert missing(raw, rendered.body) == []


@relaxed
@given(payloads, values)
def test_any_value_in_any_payload(name: str, value: Any) -> None:
    check(dump(record(**{name: value})))


@relaxed
@given(st.dictionaries(known, plausible | values, max_size=4))
def test_any_value_under_any_known_key(changes: dict[str, Any]) -> None:
    check(dump(record(**changes)))


@relaxed
@given(identities)
def test_any_identity(identity: dict[str, Any]) -> None:
    check(dump(record(userIdentity=identity)))


@relaxed
@given(st.dictionaries(keys, values, max_size=4), st.dictionaries(known, st.just(...), max_size=6))
def test_unknown_keys_and_missing_ones(unknown: dict[str, Any], gone: dict[str, Any]) -> None:
    check(dump(record(**{**gone, **unknown})))


@relaxed
@given(st.dictionaries(payloads, values, max_size=3), st.randoms(use_true_random=False), st.data())
def test_any_writing_of_the_same_json(changes: dict[str, Any], random: Any, data: st.DataObject) -> None:
    raw = "".join(_scribble(record(**changes), random, data.draw(st.booleans()))).encode()
    rendered = both(raw)
    assert isinstance(rendered, Rendered)
    assert problems(rendered.body, MAPPING) == []


def _scribble(value: Any, random: Any, spaces: bool) -> Any:
    """JSON with white space, needless escapes and doubled keys."""
    space = random.choice(["", " ", "\n", "\t ", "\r\n"]) if spaces else ""
    yield space
    if isinstance(value, dict):
        members = list(value.items())
        if members and random.random() < 0.1:
            members.insert(random.randrange(len(members)), random.choice(members))
        yield "{"
        for number, (key, inner) in enumerate(members):
            yield "," if number else ""
            yield f"{space}{_quote(key, random)}{space}:"
            yield from _scribble(inner, random, spaces)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for number, inner in enumerate(value):
            yield "," if number else ""
            yield from _scribble(inner, random, spaces)
        yield "]"
    elif isinstance(value, str):
        yield _quote(value, random)
    else:
        yield json.dumps(value)
    yield space


def _quote(text: str, random: Any) -> str:
    return "".join(
        ['"']
        + [
            f"\\u{ord(letter):04x}"
            if ord(letter) < 0x10000 and random.random() < 0.05
            else "\\/"
            if letter == "/" and random.random() < 0.5
            else json.dumps(letter, ensure_ascii=False)[1:-1]
            for letter in text
        ]
        + ['"']
    )


@relaxed
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda junk: dump(record()).replace(b"bob", junk)))
def test_any_bytes_are_a_document_or_a_named_error(raw: bytes) -> None:
    rendered = both(raw)
    if isinstance(rendered, Rendered):
        assert problems(rendered.body, MAPPING) == []
    else:
        assert rendered in {"invalid_json", "not_an_object", "too_deep", "no_event_time", "bad_event_time"}


@relaxed
@given(st.integers(min_value=1, max_value=260), st.booleans())
def test_any_depth(depth: int, objects: bool) -> None:
    opening, closing = ('{"a":', "}") if objects else ("[", "]")
    raw = dump(record(requestParameters="@")).replace(b'"@"', (opening * depth + "1" + closing * depth).encode())
    rendered = both(raw)
    if depth < 200:
        assert isinstance(rendered, Rendered)
        assert problems(rendered.body, MAPPING) == []
        assert missing(raw, rendered.body) == []
        kept = json.loads(rendered.body)["aws"]["cloudtrail"]["flattened"]["request_parameters"]
        assert isinstance(kept, str) == (depth > 19)
    else:
        assert rendered == "too_deep"
