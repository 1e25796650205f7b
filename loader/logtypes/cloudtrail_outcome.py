"""Whether what was asked for happened: ``event.outcome``."""

from __future__ import annotations

from typing import Any, Final

from loader.logtypes.cloudtrail_record import Text

#: Error codes that are none: the dry run that would have worked, and HTTP's "200" (Amazon Managed Grafana).
_GOOD_CODES: Final = frozenset({"200", "Client.DryRunOperation", "DryRunOperation"})
_WORDS: Final = {"success": "success", "failure": "failure", "failed": "failure"}


def outcome(event_name: Text, error_code: object, error_message: object, response: Any, details: Any) -> str:
    """Return ``success`` or ``failure``.

    ``error_code`` and ``error_message`` are the record's (anything false: none), ``response`` and ``details`` its
    decoded ``responseElements`` and ``serviceEventDetails``. Sign-in events tell under a key of their own name
    (``{"ConsoleLogin": "Failure"}``), and that is what counts:
    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-aws-console-sign-in-events.html
    """
    for payload in (response, details):
        if isinstance(payload, dict) and event_name:
            word = payload.get(event_name)
            if type(word) is str and (said := _WORDS.get(word.lower())):
                return said
    if error_code:
        return "success" if isinstance(error_code, str) and error_code in _GOOD_CODES else "failure"
    if error_message:
        return "failure"
    return "failure" if isinstance(response, dict) and _response_failed(response) else "success"


def _response_failed(response: dict[str, Any]) -> bool:
    """Return whether the response itself speaks of an error: ``errorCode``, or EC2's ``_return: false``."""
    code = response.get("errorCode")
    return response.get("_return") is False or bool(code and type(code) is str and code not in _GOOD_CODES)
