"""What boto3 raises is told as an error of this project. AWS cannot run here: its answers are errors of botocore's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import botocore.exceptions as botocore
import pytest

from loader.aws_errors import aws_error, code_of, configuration_error
from loader.config import Settings
from loader.errors import ConfigError, SiemError
from loader.exposition import MetricsServer
from loader.ingest.assemble import aws_client
from loader.ingest.metrics import Metrics
from loader.ingest.queue_errors import check_queue, queue_error


def answer(code: str, message: str = "no") -> botocore.ClientError:
    return botocore.ClientError({"Error": {"Code": code, "Message": message}}, "SendMessageBatch")


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (botocore.NoRegionError(), "SIEM_AWS_REGION"),
        (botocore.InvalidRegionError(region_name="us east"), "SIEM_AWS_REGION"),
        (botocore.NoCredentialsError(), "Log in"),
        (botocore.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), "Log in"),
        (botocore.UnauthorizedSSOTokenError(), "Log in"),
        (botocore.SSOTokenLoadError(error_msg="none"), "Log in"),
        (botocore.TokenRetrievalError(provider="sso", error_msg="expired"), "Log in"),
        (botocore.ProfileNotFound(profile="nope"), "list-profiles"),
        (botocore.ConfigParseError(path="~/.aws/config"), "Correct"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_is_wrong_here_is_a_setting(error: Any, hint: str) -> None:
    told = configuration_error(error, where="there")
    assert isinstance(told, ConfigError)
    assert (told.where, told.message[:1].islower() or told.message.startswith("SSO")) == ("there", True)
    assert hint in str(told.hint)
    assert str(aws_error(error, where="there")) == str(told)


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (answer("AccessDenied", "not you"), "AWS answers AccessDenied: not you", "what else"),
        (answer("ExpiredToken"), "AWS answers ExpiredToken: no", "Log in"),
        (answer("AWS.SimpleQueueService.PurgeQueueInProgress", ""), "AWS answers PurgeQueueInProgress", "what else"),
        (
            botocore.EndpointConnectionError(endpoint_url="http://x"),
            'could not connect to the endpoint URL: "http://x"',
            "SIEM_AWS_ENDPOINT_URL",
        ),
        (botocore.ReadTimeoutError(endpoint_url="x"), 'read timeout on endpoint URL: "x"', "network"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_aws_answers_is_no_setting(error: Any, message: str, hint: str) -> None:
    assert configuration_error(error) is None
    told = aws_error(error, hint="what else")
    assert (type(told), told.message) == (SiemError, message)
    assert hint in str(told.hint)


def test_what_has_nothing_to_do_with_aws_is_left_alone() -> None:
    assert configuration_error(KeyError("NoRegionError")) is None
    assert configuration_error(botocore.ParamValidationError(report="ours")) is None
    assert code_of(botocore.ClientError({}, "x")) == "an error"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AWS.SimpleQueueService.NonExistentQueue", ConfigError),
        ("QueueDoesNotExist", ConfigError),
        ("InvalidAddress", ConfigError),
        ("AccessDenied", SiemError),
        ("ThrottlingException", SiemError),
    ],
)
def test_a_queue_that_is_none_is_a_setting(code: str, kind: type[SiemError]) -> None:
    told = queue_error(answer(code), "https://sqs/q")
    assert (type(told), told.where) == (kind, "https://sqs/q")
    assert "list-queues" in str(told.hint)


@pytest.mark.parametrize(
    ("environment", "settings", "message"),
    [
        ({}, {}, "specify a region"),
        ({}, {"aws_region": ""}, "specify a region"),
        ({}, {"aws_region": "us east"}, "us east"),
        ({"AWS_PROFILE": "nope"}, {"aws_region": "us-east-1"}, "nope"),
        ({}, {"aws_region": "us-east-1", "aws_endpoint_url": "nowhere"}, "nowhere"),
        ({}, {"aws_region": "us-east-1", "aws_endpoint_url": "http://[::1"}, "IPv6"),
    ],
)
def test_a_client_that_cannot_be_made_says_why(
    environment: dict[str, str],
    settings: dict[str, str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message) as raised:
        aws_client(Settings(**settings), "sqs")
    assert raised.value.hint


def test_a_port_that_is_taken_is_a_setting() -> None:
    registry = Metrics().registry
    with MetricsServer(registry, lambda: None, host="127.0.0.1", port=0) as first:
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{first.port}: metrics cannot be served") as raised:
            MetricsServer(registry, lambda: None, host="127.0.0.1", port=first.port)
        assert "--metrics-port" in str(raised.value.hint)
    with pytest.raises(ConfigError, match=r"nowhere\.invalid:0"):
        MetricsServer(registry, lambda: None, host="nowhere.invalid", port=0)


class Queue:
    """A stand-in for SQS that fails as it is told to: AWS cannot run here."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get_queue_attributes(self, **_: Any) -> None:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [
        answer("AccessDenied"),
        answer("ThrottlingException"),
        botocore.EndpointConnectionError(endpoint_url="x"),
        botocore.CredentialRetrievalError(provider="imds", error_msg="late"),
    ],
)
def test_what_time_may_cure_keeps_no_worker_from_starting(error: Exception) -> None:
    check_queue(Queue(error), "https://sqs/q")


@pytest.mark.parametrize("error", [answer("QueueDoesNotExist"), botocore.NoCredentialsError()])
def test_what_only_a_person_can_cure_does(error: Exception) -> None:
    with pytest.raises(ConfigError):
        check_queue(Queue(error), "https://sqs/q")
