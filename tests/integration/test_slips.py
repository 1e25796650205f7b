"""What people get wrong about AWS ends in a message that says what to do, never as a defect of the program."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from loader.cli.main import main
from loader.errors import ConfigError, SiemError
from loader.ingest.backfill import enqueue_all
from loader.local.aws import CREDENTIALS
from loader.source.objects import ObjectRef

pytestmark = pytest.mark.integration

Run = Callable[..., Result]


@pytest.fixture
def siem(servers: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # A process has one session, which keeps the credentials that it has found once.
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    monkeypatch.setenv("SIEM_CLUSTER_URL", servers.opensearch_url)
    monkeypatch.setenv("SIEM_AWS_ENDPOINT_URL", servers.aws_endpoint_url)
    monkeypatch.setenv("SIEM_AWS_REGION", CREDENTIALS["AWS_REGION"])
    return lambda *words: CliRunner().invoke(main, list(words))


@pytest.fixture
def bucket(aws: Any) -> str:
    """A bucket with twelve objects."""
    name = f"slips-{uuid.uuid4().hex[:12]}"
    aws.s3.create_bucket(Bucket=name)
    for number in range(12):
        aws.s3.put_object(Bucket=name, Key=f"{number:02d}.json", Body=b"{}")
    return name


def told(result: Result, kind: type[SiemError]) -> SiemError:
    assert type(result.exception) is kind, result.output
    assert result.exception.where
    assert result.exception.hint
    return result.exception


def test_objects_are_not_announced_to_a_queue_that_is_none(siem: Run, servers: Any, bucket: str) -> None:
    url = f"{servers.aws_endpoint_url}/123456789012/{bucket}-nope"
    result = siem("load", "backfill", f"s3://{bucket}", "--all", "--queue", url)
    assert told(result, ConfigError).where == url
    assert "0 objects were announced before this" in result.stderr


def test_what_was_announced_before_is_said(aws: Any, bucket: str) -> None:
    url = aws.sqs.create_queue(QueueName=bucket)["QueueUrl"]

    def listed() -> Iterator[ObjectRef]:
        for number in range(30):
            if number == 15:
                aws.sqs.delete_queue(QueueUrl=url)
            yield ObjectRef(bucket, f"{number}.json", size=2)

    sent: list[int] = []
    with pytest.raises(ConfigError, match="no such queue"):
        enqueue_all(aws.sqs, url, listed(), sent.append)
    assert sent == [10]


def test_a_worker_of_a_queue_that_is_none_does_not_wait_for_it(siem: Run, servers: Any, bucket: str) -> None:
    url = f"{servers.aws_endpoint_url}/123456789012/{bucket}-nope"
    assert "no such queue" in told(siem("load", "worker", "--drain", "--queue", url), ConfigError).message


@pytest.mark.parametrize("words", [("backfill", "s3://{bucket}", "--all"), ("worker", "--drain", "--queue", "{url}")])
@pytest.mark.parametrize(
    ("gone", "given", "message"),
    [
        (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), {}, "unable to locate credentials"),
        (("AWS_SECRET_ACCESS_KEY",), {}, "partial credentials"),
        ((), {"AWS_PROFILE": "nope"}, "nope"),
        ((), {"SIEM_AWS_ENDPOINT_URL": "nowhere"}, "nowhere"),
        ((), {"SIEM_AWS_REGION": "us east"}, "us east"),
    ],
    ids=["no-credentials", "half-credentials", "profile", "endpoint", "region"],
)
def test_aws_settings_that_cannot_be_are_named(
    siem: Run,
    bucket: str,
    aws: Any,
    words: tuple[str, ...],
    gone: tuple[str, ...],
    given: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = aws.sqs.create_queue(QueueName=bucket)["QueueUrl"]
    for name in gone:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    result = siem("load", *(word.format(bucket=bucket, url=url) for word in words))
    assert message in told(result, ConfigError).message.lower()


def test_a_place_in_s3_that_is_none_has_a_next_step(siem: Run, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = siem("load", "backfill", f"s3://{bucket}-nope", "--all")
    assert isinstance(result.exception, SiemError)
    assert "NoSuchBucket" in result.exception.message
    assert "aws s3 ls" in str(result.exception.hint)
    monkeypatch.setenv("SIEM_AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = siem("load", "backfill", f"s3://{bucket}", "--all")
    assert isinstance(result.exception, SiemError)
    assert "SIEM_AWS_ENDPOINT_URL" in str(result.exception.hint)
