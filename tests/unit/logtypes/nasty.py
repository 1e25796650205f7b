"""Records made to break things, each still a record: every one must become a document that a real server takes."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.logtypes.samples import dump, record


def nested(depth: int) -> Any:
    """An object in an object in an object …"""
    value: Any = "bottom"
    for level in range(depth):
        value = {"level": value} if level % 3 else [value]
    return value


def with_payload(json_text: str, name: str = "requestParameters") -> bytes:
    """A plain record with this JSON as a payload, as it is."""
    return dump(record(**{name: "@@"})).replace(b'"@@"', json_text.encode("utf-8", "surrogateescape"))


ROLE = {
    "type": "AssumedRole",
    "principalId": "AROAEXAMPLEEXAMPLE001:session",
    "arn": "arn:aws:sts::111122223333:assumed-role/role/session",
    "accountId": "111122223333",
    "accessKeyId": "ASIAEXAMPLEEXAMPLE01",
    "sessionContext": {
        "sessionIssuer": {"type": "Role", "userName": "role", "arn": "arn:aws:iam::111122223333:role/role"},
        "attributes": {"creationDate": "the day before yesterday", "mfaAuthenticated": "perhaps"},
    },
}

RECORDS: dict[str, bytes] = {
    "five thousand parameters": dump(record(requestParameters={f"parameter{n}": f"value {n}" for n in range(5000)})),
    "256 KB": dump(record(requestParameters={f"p{n}": "x" * 1000 for n in range(250)})),
    "40,000 characters in an array": dump(record(requestParameters={"names": ["a" * 40_000, "b" * 40_000, "c"]})),
    "a value of exactly a term": dump(record(requestParameters={"v": "x" * (32766 - len("requestParameters.v="))})),
    "a value of a term and one": dump(record(requestParameters={"v": "x" * (32767 - len("requestParameters.v="))})),
    "lower case grows": dump(record(requestParameters={"v": "\u023a" * 16_000})),
    "lower case shrinks": dump(record(requestParameters={"v": "\u212a\u0130" * 9_000})),
    "four-byte characters": dump(record(requestParameters={"v": "\U0001f512" * 12_000, "w": ["\U0001f512" * 9_000]})),
    "a key of 40,000 characters": dump(record(requestParameters={"k" * 40_000: {"a": 1, "b": [2, 3]}})),
    "a key of 60,000 characters": dump(record(requestParameters={"k" * 60_000: "v"})),
    "an unknown key of 60,000 characters": dump(record(**{"k" * 60_000: "v"})),
    "long keys that repeat": dump(record(requestParameters={"k" * 9_000: {f"n{n}": n for n in range(4_000)}})),
    "keys with dots": dump(
        record(requestParameters={"a.b": 1, "a": {"b": 2}, ".": 3, "..": 4, ".x": 5, "x.": 6, "": 7})
    ),
    "keys that differ in case": dump(record(requestParameters={"Name": "a", "name": "b", "NAME": {"x": 1}})),
    "keys with escapes": dump(record(requestParameters={"a=b": 1, "a\\": 2, "\\=": {"=": "="}, '"': '"', "\n": "\n"})),
    "a text as payload": dump(record(requestParameters="HIDDEN_DUE_TO_SECURITY_REASONS", responseElements="")),
    "numbers as payloads": dump(record(requestParameters=12, responseElements=1.5, additionalEventData=True)),
    "lists as payloads": dump(record(requestParameters=[], responseElements=[{}, [], [[]]], serviceEventDetails=[1])),
    "19 levels": dump(record(requestParameters=nested(19))),
    "20 levels": dump(record(requestParameters=nested(20))),
    "100 levels": dump(record(requestParameters=nested(100), responseElements=nested(150))),
    "doubled keys": with_payload('{"a":1,"a":2,"b":{"c":[],"c":{}}}'),
    "doubled envelope keys": dump(record())[:-1] + b',"eventName":"DeleteUser","userIdentity":{"type":"Root"}}',
    "numbers as they are": with_payload(
        '{"a":1.10,"b":1e400,"c":-0,"d":12345678901234567890123456789,"e":1E+2,"f":-0.0}'
    ),
    "numbers that are more than doubles": with_payload('{"n":123456789.123456789123456789,"m":[1e-400,0.1]}'),
    "a number of 300 digits": with_payload('{"n":-' + "7" * 299 + "}"),
    "a number of 309 digits, which is no double": with_payload('{"n":' + "9" * 309 + "}"),
    "a number of 999 digits": with_payload('{"n":' + "7" * 999 + "}"),
    "a number of 1,500 digits": with_payload('{"n":' + "7" * 1500 + "}"),
    "a number of 5,000 digits": with_payload('{"n":' + "7" * 5000 + "}"),
    "half a character": with_payload('{"a":"\\ud800","\\udfff":"x\\ud83d","ok":"\\ud83d\\udd12"}'),
    "bytes that are no text": dump(record(userAgent="@@")).replace(b"@@", b"\xff\xfe agent \xc3("),
    "control characters": dump(record(requestParameters={"a": "\u0000\u0001\u001f\u007f\u2028", "\u0000": 1})),
    "a line for the bulk request": dump(
        record(
            userAgent='x\n{"delete":{"_index":"log-aws-cloudtrail-2023.07.10","_id":"1"}}\n',
            requestParameters={'\n{"index":{}}\n': "\r\n{}\n"},
        )
    ),
    "needless escapes": with_payload('{"\\u0061":"\\/\\u003c","b":"\\u0041"}'),
    "white space": json.dumps(record(), indent=3).encode(),
    "1970": dump(record(eventTime="1970-01-01T00:00:00Z")),
    "9999": dump(record(eventTime="9999-12-31T23:59:59.999999999Z")),
    "an offset": dump(record(eventTime="2023-07-10T13:45:00.5+02:00")),
    "long texts in typed fields": dump(
        record(
            userAgent="agent " * 5000,
            errorCode="E" * 9000,
            errorMessage="\u00fc" * 40_000,
            sourceIPAddress="1" * 9000,
            eventSource="s" * 9000,
            eventName="n" * 9000,
            userIdentity={"type": "IAMUser", "userName": "u" * 9000, "arn": "a" * 9000, "principalId": "p" * 9000},
        )
    ),
    "odd types everywhere": dump(
        record(
            eventVersion=1.08,
            eventSource=None,
            eventName=["a"],
            awsRegion={"a": 1},
            sourceIPAddress=1,
            userAgent=False,
            errorCode=404,
            errorMessage={"deep": ["down"]},
            readOnly="maybe",
            managementEvent=1,
            recipientAccountId=111122223333,
            eventID=None,
            requestID=[],
            resources="none",
            tlsDetails=[1],
            addendum=True,
            userIdentity="nobody",
        )
    ),
    "odd dates and flags in a session": dump(record(userIdentity=ROLE)),
    "unknown parts of an identity": dump(
        record(
            userIdentity={**ROLE, "brandNew": {"a": [1]}, "sessionContext": {"sessionIssuer": {"new": 1}, "x": None}}
        )
    ),
    "empty objects": dump(
        record(
            userIdentity={"sessionContext": {"sessionIssuer": {}, "webIdFederationData": {"attributes": {}}}},
            tlsDetails={},
            addendum={},
            resources=[{}],
        )
    ),
    "odd resources": dump(
        record(resources=[{"ARN": "arn:aws:s3:::b", "type": 1}, 2, {}, {"ARN": "arn:aws:s3:::b"}, {"new": {"x": 1}}])
    ),
    "addresses that are none": dump(record(sourceIPAddress="10.0.0.1, fe80::1, AWS Internal, ::ffff:192.0.2.1")),
    "a zone": dump(record(sourceIPAddress="fe80::1%eth0")),
    "TLS that is none": dump(record(tlsDetails={"tlsVersion": "tlsVersion", "cipherSuite": "", "new": 1})),
    "three thousand unknown keys": dump(record(**{f"unknown{n}": {"n": n} for n in range(3000)})),
    "nothing but a time": b'{"eventTime":"2023-07-10T11:45:00Z"}',
}
