"""Rules made by hypothesis, on documents with awkward values: memory, server and specification must agree."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import json
import os
import random
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from opensearchpy import OpenSearch, helpers

from loader.detection import evaluate
from loader.detection.compile import compile_rule
from loader.detection.event import Event
from loader.detection.fields import field_map, schema_of
from loader.detection.load import RuleSet
from loader.detection.lowercase import lower
from loader.detection.model import LogSource, Rule, digest
from loader.detection.sources import AWS_CLOUDTRAIL
from loader.errors import RuleError
from loader.index.engine import Engine, read_engine

SCHEMA = schema_of(AWS_CLOUDTRAIL)
TEXTS = [
    "", "a", "ab", "Abc", "abcabc", "StopLogging", "stoplogging", "DeleteTrail", "x*y", "x?y", "x\\y", "\\", "*", "?",
    "<img>", ">5", "OR", "AND not", "-5", "10", "9", "010", "10.5", "1e3", "12345", "0", "true", "false", "null",
    "ß", "ẞ", "ΑΣ", "ας", "İstanbul", "istanbul", "KELVIN", "kelvin", "É", "é", "日本語", "a b", " a", "a\nb", "line\n",
    "aws-cli/2.1", "AWS-CLI/2.1", "10.0.0.1", "10.200.0.1", "192.168.1.77", "::1", "2001:db8::1", "2001:DB8:0:0::1",
    "run -enc /x", "run /enc -x", "run \u2013enc \u2015x", "a-b", "xx eHhyb290 yy", "cm9vdA==", "eHJvb3Rh", "cGxvZ2c",
    "root", "Root", "Client.UnauthorizedOperation", "a=b", "a.b", "@#&<>~\"", "(a|b)", "[x]", "{1}", "^a$", "a/b",
]  # fmt: skip
ADDRESSES = ["10.0.0.1", "10.200.0.1", "192.168.1.77", "2001:db8::1", "::1", "AWS Internal", "ec2.amazonaws.com"]
#: Sigma field → how its values are made.
TEXT_FIELDS = [
    "eventName",
    "errorCode",
    "userAgent",
    "errorMessage",
    "awsRegion",
    "recipientAccountId",
    "userIdentity.arn",
]
LEAVES = ["requestParameters.name", "requestParameters.n", "requestParameters.a=b", "requestParameters.deep.list.k"]
BOOLEANS = ["readOnly", "userIdentity.sessionContext.attributes.mfaAuthenticated"]
#: What placeholders stand for.
VARIABLES = {"people": ["Root", "a*", "10"], "one": "StopLogging"}
UNLIKELY = ["responseElements.none", "vpcEndpointId"]


def document(choose: random.Random) -> dict[str, Any]:
    """Make one document as the normaliser writes it, without leaves (a stored ``_source`` has none)."""
    source: dict[str, Any] = {"@timestamp": f"2026-10-{choose.randint(10, 28)}T{choose.randint(10, 23)}:00:01.000Z"}
    for name in [*TEXT_FIELDS, *BOOLEANS, "sourceIPAddress"]:
        if choose.random() < 0.25:
            continue
        value: Any = choose.choice(TEXTS)
        if name in BOOLEANS:
            value = choose.random() < 0.5
        if name == "sourceIPAddress":
            value = choose.choice(ADDRESSES)
            with contextlib.suppress(ValueError):
                put(source, "source.ip", str(ipaddress.ip_address(value)))
        if name == "userIdentity.arn" and choose.random() < 0.3:
            value = [value, choose.choice(TEXTS)]
        put(source, field_map(AWS_CLOUDTRAIL)[name][0], value)
    if choose.random() < 0.9:
        scalar = [*TEXTS, 10, 9, 0, -3, 10.5, 1000000, True, False, None]
        payload: dict[str, Any] = {}
        for key in ("name", "n", "a=b"):
            if choose.random() < 0.7:
                payload[key] = choose.choice([*scalar, [], {}, [choose.choice(scalar), choose.choice(scalar)]])
        if choose.random() < 0.5:
            payload["deep"] = {"list": [{"k": choose.choice(scalar)}, {"k": choose.choice(scalar), "x": "y"}]}
        whole = payload if choose.random() < 0.9 else choose.choice(["HIDDEN", "a", ""])
        put(source, "aws.cloudtrail.flattened", {"request_parameters": whole})
    return source


def put(target: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        target = target.setdefault(parent, {})
    target[last] = value


DOCUMENTS = [document(random.Random(seed)) for seed in range(400)]


# --- what Sigma means, straight from its specification ------------------------------------------------------------


@dataclass
class Reference:
    """Evaluates a rule's detection on one document, with no query in between."""

    event: Event

    def condition(self, detection: dict[str, Any], condition: str) -> bool:
        names = {name: self.selection(body) for name, body in detection.items() if name != "condition"}
        text = re.sub(r"1 of (them|s\*)", "any(names.values())", condition)
        text = re.sub(r"all of (them|s\*)", "all(names.values())", text)
        text = re.sub(r"\b(s\d)\b", r"names['\1']", text)
        return bool(eval(text, {"names": names, "any": any, "all": all}))

    def selection(self, body: Any) -> bool:
        if isinstance(body, list):
            return any(self.selection(part) for part in body)
        if isinstance(body, str):  # a keyword: anywhere in any text
            fields = [*TEXT_FIELDS, "sourceIPAddress", "requestParameters"]
            return any(self.pattern(body, text, ["contains"]) for field in fields for text in self.texts(field))
        return all(self.item(key, value) for key, value in body.items())

    def item(self, key: str, value: Any) -> bool:
        field, *modifiers = key.split("|")
        values = value if isinstance(value, list) else [value]
        if "expand" in modifiers:
            found = [VARIABLES[name.strip("%")] for name in values]
            values = [one for part in found for one in (part if isinstance(part, list) else [part])]
        join = all if "all" in modifiers else any
        # What one value stands for is any of its forms, with `all`, too.
        return join(any(self.one(field, modifiers, form) for form in self.forms(modifiers, one)) for one in values)

    def forms(self, modifiers: list[str], wanted: Any) -> list[Any]:
        found = [wanted]
        if "windash" in modifiers:
            found = [made for one in found for made in dashes(one)]
        if "base64offset" in modifiers:
            found = [made for one in found for made in encoded(one)]
        return found

    def one(self, field: str, modifiers: list[str], wanted: Any) -> bool:
        texts = self.texts(field)
        if "exists" in modifiers:
            return self.there(field) == wanted
        if wanted is None:
            return not self.has_value(field)
        if "cidr" in modifiers:
            network = ipaddress.ip_network(wanted)
            return any(self.inside(text, network) for text in texts)
        for name in ("lt", "lte", "gt", "gte"):
            if name in modifiers:
                return any(self.compare(text, name, wanted) for text in texts)
        if "fieldref" in modifiers:
            return any(lower(a) == lower(b) for a in texts for b in self.texts(wanted))
        if "re" in modifiers:
            flags = re.ASCII | sum({"i": re.I, "m": re.M, "s": re.S}.get(m, re.RegexFlag(0)) for m in modifiers)
            if "i" in modifiers:
                folded = "".join(c if c.isascii() else lower(c) for c in wanted)
                return any(re.search(folded, lower(text), flags) for text in texts)
            return any(re.search(wanted, text, flags) for text in texts)
        if isinstance(wanted, bool):
            wanted = "true" if wanted else "false"
        return any(self.pattern(str(wanted), text, modifiers) for text in texts)

    def pattern(self, wanted: str, text: str, modifiers: list[str]) -> bool:
        tokens: list[str] = []
        position = 0
        while position < len(wanted):
            character = wanted[position]
            if (
                character == "\\"
                and wanted[position + 1 : position + 2] in ("*", "?", "\\")
                and position + 1 < len(wanted)
            ):
                tokens.append(wanted[position + 1])
                position += 1
            else:
                tokens.append({"*": "ANY", "?": "ONE"}.get(character, character))
            position += 1
        if "startswith" in modifiers or "contains" in modifiers:
            tokens.append("ANY")
        if "endswith" in modifiers or "contains" in modifiers:
            tokens.insert(0, "ANY")
        if "cased" not in modifiers:
            tokens, text = [t if t in ("ANY", "ONE") else lower(t) for t in tokens], lower(text)
        return glob(tokens, text)

    def texts(self, field: str) -> list[str]:
        name = field_map(AWS_CLOUDTRAIL).get(field, (field,))[0]
        if name in SCHEMA.fields:
            return self.event.texts({"field": name})
        wanted = lower(field.replace("=", "\\="))
        found = [(lower(path), value) for path, value in self.event.leaves() if value is not None]
        whole = field == "requestParameters"
        return [value for path, value in found if path == wanted or (whole and path.startswith(wanted))]

    def there(self, field: str) -> bool:
        return self.has_value(field) or lower(field.replace("=", "\\=")) in [
            lower(path) for path, _ in self.event.leaves()
        ]

    def has_value(self, field: str) -> bool:
        wanted = lower(field.replace("=", "\\="))
        below = [
            p
            for p, v in self.event.leaves()
            if lower(p).startswith(wanted + ".") or (lower(p) == wanted and v is not None)
        ]
        return bool(self.texts(field)) or bool(below)

    @staticmethod
    def inside(text: str, network: Any) -> bool:
        try:
            return ipaddress.ip_address(text) in network
        except ValueError:
            return False

    @staticmethod
    def compare(text: str, name: str, bound: float) -> bool:
        if not re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", text, re.ASCII):
            return False
        number = Decimal(text)
        return {"lt": number < bound, "lte": number <= bound, "gt": number > bound, "gte": number >= bound}[name]


def dashes(text: str) -> list[str]:
    """Return ``text`` with each dash or slash that begins an option written in every way Windows takes."""
    begin, *rest = re.split(r"\B[-/]\b", text)
    made = [begin]
    for part in rest:
        made = [one + dash + part for one in made for dash in "-/\u2013\u2014\u2015"]
    return made


def encoded(text: str) -> list[str]:
    """Return the characters that base64 makes of ``text`` alone, whatever is before it and after."""
    made = []
    for before in range(3):
        # Of three bytes four characters are made: those that hold bits of a neighbour are not told.
        content = base64.b64encode(b"\0" * before + text.encode() + b"\0" * 2)
        bits = 8 * (before + len(text.encode()))
        made.append(content[-(-8 * before // 6) : bits // 6].decode())
    return made


def glob(tokens: list[str], text: str) -> bool:
    if not tokens:
        return not text
    if tokens[0] == "ANY":
        return any(glob(tokens[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and tokens[0] in ("ONE", text[0]) and glob(tokens[1:], text[1:])


# --- rules --------------------------------------------------------------------------------------------------------

WILD = st.lists(st.sampled_from([*TEXTS, "*", "?", "\\*", "\\?", "A", "b", "."]), min_size=0, max_size=3).map("".join)
ANY_FIELD = st.sampled_from([*TEXT_FIELDS, *LEAVES, *UNLIKELY, "requestParameters"])
REGEX = st.sampled_from([
    "^a", "b$", "^$", "a|b", "(^|x)a(b|$)", "[A-Z]", "[^a-z]", r"\d+", r"\w+\s\w+", "Stop.*", "stop.+g", "a.b", r"\.\d",
    "(ab)+c?", "(?=a)", r"\ba", r"(a)\1", "a{2,3}", "^.?$", "[<>@#&~]", r"\\", r"\*", "É", "[é-ü]", r"(?:Root|OR)$",
    r"\Aa", r"b\Z", "k.lv", r"^\S+$", "a*?b", "x?", ".", r"[\s\S]", r"10\.\d+\.", "(?i)stoplogging", "",
])  # fmt: skip
MODIFIERS = st.sampled_from(
    ["", "", "contains", "startswith", "endswith", "cased", "contains|cased", "startswith|cased", "contains|all"]
)
NAMES = ["s1", "s2", "s3"]


@st.composite
def items(draw: st.DrawFn) -> tuple[str, Any]:
    kind = draw(
        st.sampled_from(
            ["text"] * 6
            + ["re", "re", "compare", "cidr", "null", "exists", "bool", "fieldref", "number"]
            + ["expand", "windash", "base64"]
        )
    )
    field = draw(ANY_FIELD)
    if kind == "expand":
        return field + "|expand", draw(st.sampled_from(["%people%", "%one%", ["%people%", "%one%"]]))
    if kind == "windash":
        modifiers = draw(
            st.sampled_from(["|windash", "|windash|contains", "|windash|endswith", "|windash|contains|all"])
        )
        return field + modifiers, draw(st.lists(st.sampled_from([" -enc", " /x", "-5", "a-b"]), min_size=1, max_size=2))
    if kind == "base64":
        return field + "|base64offset|contains", draw(st.sampled_from(["root", "plogg", ["xroot", "none"]]))
    if kind == "text":
        modifiers = draw(MODIFIERS)
        value = draw(WILD | st.lists(WILD, min_size=1, max_size=4))
        return f"{field}|{modifiers}".rstrip("|"), value
    if kind == "re":
        return field + draw(st.sampled_from(["|re", "|re|i", "|re|m", "|re|s"])), draw(REGEX)
    if kind == "compare":
        bound = draw(st.sampled_from([0, 1, 9, 10, 99, 1000, 10.5, -1]))
        return draw(st.sampled_from([*LEAVES, "eventName", "userAgent"])) + "|" + draw(
            st.sampled_from(["lt", "lte", "gt", "gte"])
        ), bound
    if kind == "cidr":
        where = draw(st.sampled_from(["sourceIPAddress", "requestParameters.name", "eventName", "userAgent"]))
        return where + "|cidr", draw(
            st.sampled_from(["10.0.0.0/8", "10.128.0.0/9", "192.168.1.64/26", "2001:db8::/32", "0.0.0.0/0"])
        )
    if kind == "null":
        return field, None
    if kind == "exists":
        return field + "|exists", draw(st.booleans())
    if kind == "bool":
        return draw(st.sampled_from([*BOOLEANS, "requestParameters.n"])), draw(st.booleans())
    if kind == "number":
        return draw(st.sampled_from([*LEAVES, "eventName"])), draw(st.sampled_from([0, 9, 10, 12345]))
    return field + "|fieldref", draw(st.sampled_from([*TEXT_FIELDS, "requestParameters.name"]))


@st.composite
def detections(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(1, 3))
    body: dict[str, Any] = {}
    for name in NAMES[:count]:
        maps = [dict(draw(st.lists(items(), min_size=1, max_size=2))) for _ in range(draw(st.integers(1, 2)))]
        body[name] = maps[0] if len(maps) == 1 else maps
        if draw(st.integers(0, 9)) == 0:
            body[name] = draw(
                st.lists(st.sampled_from(["stop", "RO?T", "10.*.1", "/2.1", "x"]), min_size=1, max_size=2)
            )
    choices = ["s1", "not s1", "1 of them", "all of them", "1 of s*", "all of s*"]
    if count > 1:
        choices += ["s1 and not s2", "not s1 or s2", "not (s1 and s2)", "s1 or s2"]
    if count > 2:
        choices += ["s1 and (s2 or not s3)", "not (s1 or s2) and s3"]
    return {**body, "condition": draw(st.sampled_from(choices))}


def rule(detection: dict[str, Any]) -> Rule:
    content = {"title": "made", "logsource": {"product": "aws", "service": "cloudtrail"}, "detection": detection}
    return Rule(
        uuid=str(uuid.uuid4()), name="made", title="made", level="low", status="test", path=Path("made.yml"), line=1,
        content_hash=digest(content), logsource=LogSource("aws", None, "cloudtrail"), content=content,
    )  # fmt: skip


ALLOWED = "would have to return every event"


def compiled(detection: dict[str, Any], engine: Engine = "opensearch") -> Any:
    try:
        return compile_rule(rule(detection), RuleSet(), variables=VARIABLES, engine=engine)
    except RuleError as error:
        if ALLOWED in error.message:
            return None
        raise


PROFILE = settings(
    max_examples=int(os.environ.get("SIEM_TEST_EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    derandomize="SIEM_TEST_EXAMPLES" not in os.environ,
)


@PROFILE
@given(detections())
def test_memory_agrees_with_the_specification(detection: dict[str, Any]) -> None:
    found = compiled(detection)
    if found is None:
        return
    for source in DOCUMENTS:
        event = Event(source, SCHEMA)
        expected = Reference(event).condition(detection, detection["condition"])
        assert evaluate.fires(found, event) == expected, (json.dumps(detection), source, found.query)
        assert not expected or evaluate.matches(found.query, event), ("lost", json.dumps(detection), source)


@pytest.fixture(scope="module")
def index(opensearch_client: OpenSearch, event_index: dict[str, Any]) -> Iterator[tuple[OpenSearch, str]]:
    """An index with the mapping of the templates as this engine takes it, and the documents in it."""
    name = f"d-compile-{uuid.uuid4().hex[:8]}"
    opensearch_client.indices.create(index=name, body=event_index)
    helpers.bulk(
        opensearch_client,
        ({"_index": name, "_id": str(n), "_source": sent(d)} for n, d in enumerate(DOCUMENTS)),
        refresh=True,
    )
    yield opensearch_client, name
    opensearch_client.indices.delete(index=name)


def sent(source: dict[str, Any]) -> dict[str, Any]:
    """Return the document as the loader sends it: with its leaves."""
    body = json.loads(json.dumps(source))
    put(body, "aws.cloudtrail.leaves", list(Event(source, SCHEMA)._terms()))
    return body


@pytest.mark.integration
def test_memory_agrees_with_the_server(index: tuple[OpenSearch, str]) -> None:
    client, name = index
    engine = read_engine(client)

    @PROFILE
    @given(detections())
    def agree(detection: dict[str, Any]) -> None:
        found = compiled(detection, engine)
        if found is None:
            return
        answer = client.search(index=name, body={"query": found.query, "size": 1000, "_source": False})
        server = {int(hit["_id"]) for hit in answer["hits"]["hits"]}
        memory = {n for n, source in enumerate(DOCUMENTS) if evaluate.matches(found.query, source)}
        assert server == memory, (json.dumps(detection), found.query, [DOCUMENTS[n] for n in list(server ^ memory)[:3]])

    agree()


@pytest.mark.integration
def test_the_server_takes_what_is_long(index: tuple[OpenSearch, str]) -> None:
    client, name = index
    words = [f"word{n}" for n in range(60_000)]
    for detection in (
        {"s1": {"eventName": [*words, "stoplogging"]}, "condition": "s1"},
        {"s1": {"eventName|contains": [*words[:5000], "plogg"]}, "condition": "s1"},
        {"s1": {"requestParameters.name|startswith": [*words[:2000], "stop"]}, "condition": "s1"},
        {"s1": [*words[:100], "plogg"], "condition": "s1"},
        {"s1": {"eventName|re": "S.{1,50}g"}, "condition": "s1"},
        {
            "s1": {"eventName": "s?????????????????g*"},
            "s2": {"eventName": "*s????????????????"},
            "condition": "s1 or s2",
        },
    ):
        found = compiled(detection)
        answer = client.search(index=name, body={"query": found.query, "size": 1000, "_source": False})
        server = {int(hit["_id"]) for hit in answer["hits"]["hits"]}
        assert server == {n for n, source in enumerate(DOCUMENTS) if evaluate.matches(found.query, source)}
        assert server


@pytest.mark.integration
def test_lower_case_is_the_servers(index: tuple[OpenSearch, str]) -> None:
    client, name = index
    cased = [point for point in range(0x20000) if chr(point).lower() != chr(point) or chr(point).upper() != chr(point)]
    for start in range(0, len(cased), 500):
        text = "".join(map(chr, cased[start : start + 500]))
        answer = client.indices.analyze(index=name, body={"field": "aws.cloudtrail.leaves", "text": text})
        assert answer["tokens"][0]["token"] == lower(text)
