"""Which cluster and queue a command talks to: the environment's, else the local stack's."""

from __future__ import annotations

import os

from loader.cli.output import error_console
from loader.config import Settings, read_settings
from loader.local.stack import LocalStack


def local_stack(settings: Settings) -> LocalStack:
    """Return the one local stack that ``siem up``, ``siem down``, ``siem status`` and ``siem demo`` manage."""
    return LocalStack(settings=settings)


def settings_for_cluster(*, quiet: bool = False) -> Settings:
    """Return the settings; without ``SIEM_CLUSTER_URL`` those of the local stack, if it runs.

    Raises:
        ConfigError: a setting is unusable. That no cluster is known at all is said where one is needed.
    """
    settings = read_settings()
    if settings.cluster_url is not None:
        return settings
    state = local_stack(settings).running_state()
    if state is None:
        return settings
    if not quiet:
        error_console().print(f"Using the local stack at {state.opensearch_url}", style="dim")
    return with_local_stack(settings, state.opensearch_url, state.aws_endpoint_url, state.aws_environment())


def with_local_stack(
    settings: Settings, cluster_url: str, aws_endpoint_url: str, environment: dict[str, str]
) -> Settings:
    """Return ``settings`` pointed at the local stack; its dummy AWS credentials go into this process's environment."""
    os.environ.update(environment)
    return settings.model_copy(
        update={
            "cluster_url": cluster_url,
            "aws_endpoint_url": settings.aws_endpoint_url or aws_endpoint_url,
            "aws_region": settings.aws_region or environment.get("AWS_DEFAULT_REGION"),
        }
    )
