"""Settings → what notes alerts and what sends them. Clients are made here and nowhere at import."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch

from loader.clock import Clock
from loader.config import Settings
from loader.detection.schedule import holder_name
from loader.notify.announce import Announcer
from loader.notify.channel import Tools
from loader.notify.configuration_file import ConfigurationFile
from loader.notify.links import Links
from loader.notify.post import Poster
from loader.notify.secret import SecretReader
from loader.notify.send import Sender


@dataclass(frozen=True, slots=True)
class Notifier:
    """Both ends of the outbox. ``configuration`` returns what the channels' file says now."""

    configuration: ConfigurationFile
    announce: Announcer
    sender: Sender
    tools: Tools


def make_notifier(settings: Settings, client: OpenSearch, *, clock: Clock) -> Notifier | None:
    """Return what the settings ask for; ``None`` when ``SIEM_NOTIFY`` is not set. Nothing is sent yet.

    Raises:
        ConfigError: the file cannot be used.
    """
    if settings.notify is None:
        return None
    configuration = ConfigurationFile(settings.notify)
    tools = make_tools(settings, clock=clock)
    return Notifier(
        configuration,
        Announcer(client, configuration, clock=clock),
        Sender(client, configuration, tools, holder=holder_name(), links=Links.of(settings)),
        tools,
    )


def make_tools(settings: Settings, *, clock: Clock) -> Tools:
    """Return what channels work with, by the settings."""

    def aws(service: str, region: str | None) -> Any:
        import boto3
        from botocore.config import Config

        # Retries are ours: rested between, and counted.
        return boto3.client(
            service,
            region_name=region or settings.aws_region,
            endpoint_url=settings.aws_endpoint_url,
            config=Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 1}),
        )

    secrets = SecretReader(environment=os.environ, manager=lambda: aws("secretsmanager", None), clock=clock)
    return Tools(secrets, clock, Poster(), aws)
