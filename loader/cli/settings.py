"""Which cluster and queue a command talks to: the environment's, else the local stack's."""

from __future__ import annotations

import os

from loader.cli.output import error_console
from loader.config import Settings, read_settings
from loader.local.stack import LocalStack, StackStatus


def settings_for_cluster(*, quiet: bool = False) -> Settings:
    """Return the settings; without ``SIEM_CLUSTER_URL`` those of the local stack, if it runs.

    Raises:
        ConfigError: a setting is unusable. That no cluster is known at all is said where one is needed.
    """
    settings = read_settings()
    if settings.cluster_url is not None:
        return settings
    status = LocalStack(settings=settings).status()
    if not status.running:
        return settings
    if not quiet:
        error_console().print(f"Using the local stack at {status.node.url}", style="dim")
    return with_local_stack(settings, status)


def with_local_stack(settings: Settings, status: StackStatus) -> Settings:
    """Return ``settings`` pointed at a running local stack.

    Its dummy AWS credentials go into this process's environment, where boto3 looks for them.
    """
    os.environ.update(status.environment)
    return settings.model_copy(
        update={
            "cluster_url": status.node.url,
            "aws_endpoint_url": status.aws.url,
            "aws_region": status.environment["AWS_REGION"],
        }
    )
