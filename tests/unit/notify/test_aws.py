"""SNS, standard and FIFO, read from queues, and secrets in Secrets Manager: against moto."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from loader.notify.errors import SecretError, SendError
from loader.notify.message import digest_message
from loader.notify.secret import Secret, SecretReader
from loader.notify.sns import SNS
from tests.unit.notify.receivers import SettableClock, alert, tools
from tests.unit.notify.test_channels import message, nasty

REGION = "eu-central-1"


@pytest.fixture(autouse=True)
def aws_is_emulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield


def aws(service: str, region: str | None) -> Any:
    return boto3.client(service, region_name=region or REGION)


def topic_and_queue(*, fifo: bool) -> tuple[str, str]:
    more = {"FifoTopic": "true", "ContentBasedDeduplication": "false"} if fifo else {}
    suffix = ".fifo" if fifo else ""
    topic = aws("sns", None).create_topic(Name=f"alerts{suffix}", Attributes=more)["TopicArn"]
    queue = aws("sqs", None).create_queue(
        QueueName=f"alerts{suffix}", Attributes={"FifoQueue": "true"} if fifo else {}
    )["QueueUrl"]
    arn = aws("sqs", None).get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws("sns", None).subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return topic, queue


def received(queue: str) -> list[dict[str, Any]]:
    answer = aws("sqs", None).receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
    return [json.loads(entry["Body"]) for entry in answer.get("Messages", [])]


def test_a_standard_topic_gets_text_with_a_subject_and_attributes() -> None:
    topic, queue = topic_and_queue(fifo=False)
    SNS.make({"topic_arn": topic, "format": "text"}, tools(aws=aws)).send(message(nasty("Änderung\n<!channel>")))
    (found,) = received(queue)
    assert found["Subject"].startswith("HIGH: Root signed in (account ?nderung?")
    assert len(found["Subject"]) <= 100
    assert "siem alerts show a1" in found["Message"]
    assert found["MessageAttributes"]["level"]["Value"] == "high"
    assert found["MessageAttributes"]["key"]["Value"] == "key-1"


def test_a_fifo_topic_drops_a_message_that_is_sent_again() -> None:
    topic, queue = topic_and_queue(fifo=True)
    channel = SNS.make({"topic_arn": topic, "format": "json"}, tools(aws=aws))
    channel.send(message())
    channel.send(message())
    (found,) = received(queue)
    body = json.loads(found["Message"])
    assert (body["kind"], body["alert"]["user"]["name"]) == ("alert", "mallory")


def test_what_is_too_long_is_cut_and_says_so() -> None:
    topic, queue = topic_and_queue(fifo=False)
    many = [alert(identifier=f"a{number}" + "x" * 200) for number in range(2000)]
    SNS.make({"topic_arn": topic, "format": "json"}, tools(aws=aws)).send(digest_message(many, key="d", link=None))
    (found,) = received(queue)
    body = json.loads(found["Message"])
    assert body["cut"] is True
    assert "digest" not in body
    assert body["title"].startswith("2000 alerts")


def test_a_topic_that_is_not_there() -> None:
    arn = f"arn:aws:sns:{REGION}:123456789012:nothing"
    with pytest.raises(SendError, match="NotFound") as error:
        SNS.make({"topic_arn": arn, "format": "text"}, tools(aws=aws)).send(message())
    assert error.value.whole_channel
    assert not error.value.maybe_taken


def test_secrets_whole_by_key_and_rotated() -> None:
    manager = aws("secretsmanager", None)
    manager.create_secret(Name="siem/slack", SecretString="https://hooks.example/abc\n")
    manager.create_secret(Name="siem/keys", SecretString=json.dumps({"routing_key": "R1", "other": {}}))
    manager.create_secret(Name="siem/bytes", SecretBinary=b"\x00\x01")
    clock = SettableClock()
    reader = SecretReader(environment={}, manager=lambda: manager, clock=clock)
    assert reader.read(Secret("secretsmanager:siem/slack")) == "https://hooks.example/abc"
    key = Secret("secretsmanager:siem/keys#routing_key")
    assert reader.read(key) == "R1"
    manager.put_secret_value(SecretId="siem/keys", SecretString=json.dumps({"routing_key": "R2-value"}))
    assert reader.read(key) == "R1"
    reader.forget()
    assert reader.read(key) == "R2-value"
    manager.put_secret_value(SecretId="siem/keys", SecretString=json.dumps({"routing_key": "R3"}))
    clock.forward(301)
    assert reader.read(key) == "R3"
    for broken, said in {
        "siem/keys#other": "no such key",
        "siem/keys#third": "no such key",
        "siem/slack#key": "no JSON",
        "siem/bytes": "binary",
        "siem/nothing": "ResourceNotFoundException",
    }.items():
        with pytest.raises(SecretError, match=said):
            reader.read(Secret(f"secretsmanager:{broken}"))


def test_a_secret_is_shown_as_its_reference_and_taken_out_of_texts() -> None:
    reader = SecretReader(environment={"K": "sesame-open", "E": " "}, manager=lambda: None, clock=SettableClock())
    secret = Secret.parse("env:K")
    assert reader.read(secret) == "sesame-open"
    assert reader.redact("you said sesame-open!") == "you said ***!"
    assert "sesame" not in f"{secret} {secret!r}"
    with pytest.raises(SecretError, match="env:E is empty"):
        reader.read(Secret("env:E"))
