"""``event.outcome`` by what the record says, in whichever place it says it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loader.logtypes.cloudtrail import CLOUDTRAIL
from tests.unit.logtypes.samples import CONTEXT, dump, record

HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ("success", {}),
        ("success", {"responseElements": ...}),
        ("success", {"errorCode": ...}),
        # an error is one wherever it stands
        ("failure", {"errorCode": "AccessDenied"}),
        ("failure", {"errorCode": "Client.UnauthorizedOperation", "errorMessage": "You are not authorized."}),
        ("failure", {"errorMessage": "No permission"}),
        ("failure", {"responseElements": {"errorCode": "TypeNotFoundException"}}),
        ("failure", {"responseElements": {"_return": False}}),
        ("success", {"responseElements": {"_return": True}}),
        ("success", {"responseElements": {"errorCode": ""}}),
        ("success", {"responseElements": {"errorCode": None}}),
        ("success", {"responseElements": HIDDEN}),
        # codes that are none
        ("success", {"errorCode": "200"}),
        ("success", {"errorCode": "200", "errorMessage": "OK"}),
        ("success", {"errorCode": "Client.DryRunOperation", "errorMessage": "Request would have succeeded"}),
        ("success", {"errorCode": "DryRunOperation"}),
        ("success", {"errorCode": ""}),
        ("success", {"errorCode": None}),
        ("failure", {"errorCode": "404"}),
        ("failure", {"errorCode": 404}),
        ("failure", {"errorCode": ["odd"]}),
        # sign-in events tell under their own name
        ("success", {"eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "Success"}}),
        ("failure", {"eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "Failure"}}),
        ("failure", {"eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "FAILURE"}}),
        (
            "failure",
            {"eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "Failure"}, "errorMessage": "Failed"},
        ),
        (
            "success",
            {"eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "Success"}, "errorMessage": "odd"},
        ),
        ("failure", {"eventName": "ConsoleLogin", "errorMessage": "Failed authentication"}),
        ("success", {"eventName": "SwitchRole", "responseElements": {"SwitchRole": "Success"}}),
        ("failure", {"eventName": "SwitchRole", "responseElements": {"SwitchRole": "Failure"}}),
        ("success", {"eventName": "ExitRole", "responseElements": {"ExitRole": "Success"}}),
        ("success", {"eventName": "CheckMfa", "responseElements": {"CheckMfa": "Success"}}),
        ("failure", {"eventName": "CheckMfa", "responseElements": {"CheckMfa": "Failure"}}),
        (
            "failure",
            {"eventName": "PasswordRecoveryRequested", "responseElements": {"PasswordRecoveryRequested": "Failure"}},
        ),
        # Identity Center tells in serviceEventDetails
        ("success", {"eventName": "UserAuthentication", "serviceEventDetails": {"UserAuthentication": "Success"}}),
        ("failure", {"eventName": "UserAuthentication", "serviceEventDetails": {"UserAuthentication": "Failure"}}),
        (
            "failure",
            {"eventName": "CredentialVerification", "serviceEventDetails": {"CredentialVerification": "Failure"}},
        ),
        # another event's word does not count
        ("success", {"eventName": "SwitchRole", "responseElements": {"ConsoleLogin": "Failure"}}),
        ("success", {"eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": ["Failure"]}}),
    ],
)
def test_outcome(expected: str, changes: dict[str, Any]) -> None:
    raw = dump(record(**changes))
    for complete in (False, True):
        document = json.loads(CLOUDTRAIL.normalise(raw, CONTEXT, complete).body)
        assert document["event"]["outcome"] == expected
