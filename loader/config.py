"""Settings, read once from the environment (``SIEM_*``) and passed down as a value."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from loader.errors import ConfigError


class Settings(BaseSettings):
    """Every setting of the project. The environment variable is ``SIEM_`` and the name in capitals."""

    model_config = SettingsConfigDict(env_prefix="SIEM_", frozen=True, extra="ignore")

    # --- the cluster -------------------------------------------------------------------------------------------
    cluster_url: str | None = Field(None, description="OpenSearch or Elasticsearch, e.g. https://search.example:9200")
    cluster_user: str | None = Field(None, description="user for basic authentication")
    cluster_password: SecretStr | None = Field(None, description="password for basic authentication")
    cluster_api_key: SecretStr | None = Field(None, description="Elasticsearch API key, base64 as Kibana shows it")
    cluster_aws_service: Literal["es", "aoss"] | None = Field(
        None, description="sign requests with SigV4: es for managed domains, aoss for Serverless"
    )
    cluster_ca_file: Path | None = Field(None, description="PEM file of the certificate authority to trust")
    cluster_verify_tls: bool = Field(True, description="verify the cluster's certificate")
    cluster_timeout_s: float = Field(60.0, gt=0, le=3600, description="seconds before a request counts as failed")

    # --- AWS ---------------------------------------------------------------------------------------------------
    aws_region: str | None = Field(None, description="region; else AWS_REGION or the profile's")
    aws_endpoint_url: str | None = Field(None, description="another endpoint for every AWS service (an emulator's)")
    queue_url: str | None = Field(None, description="SQS queue that receives the bucket's notifications")

    # --- loading -----------------------------------------------------------------------------------------------
    workers: int = Field(2, ge=1, le=64, description="objects loaded at the same time by one worker process")
    bulk_max_bytes: int = Field(5 * 2**20, ge=2**16, le=95 * 2**20, description="bytes of one _bulk request")
    object_max_bytes: int = Field(
        64 * 2**20, ge=2**16, description="uncompressed bytes of an object that are split in one buffer"
    )
    record_max_bytes: int = Field(10 * 2**20, ge=2**10, description="bytes of one record; a larger one is parked")
    message_receives: int = Field(
        10, ge=2, description="deliveries of a message after which one that can never succeed is parked"
    )
    new_indices_per_hour: int = Field(100, ge=1, description="new daily indices an hour before loading waits")

    drop_filters: Path | None = Field(None, description="YAML file of filters that drop events; none by default")

    # --- the screen --------------------------------------------------------------------------------------------
    dashboards_url: str | None = Field(
        None, description="OpenSearch Dashboards or Kibana as analysts reach it; alerts carry links when it is set"
    )
    dashboards_flavour: Literal["opensearch", "kibana"] = Field("opensearch", description="which of the two it is")
    dashboards_space: str | None = Field(None, description="Kibana's space, or the tenant of OpenSearch's security")

    # --- detection -------------------------------------------------------------------------------------------------
    rule_variables: Path | None = Field(
        None, description="YAML file of the lists that rules compare with; without, they are empty"
    )
    detect_workers: int = Field(
        2, ge=1, le=32, description="correlations that a cycle of detection works out at a time"
    )
    rules_deployed: bool = Field(
        False, description="run the rules that `siem rules apply` has put into the cluster, not those in files"
    )
    geoip_database: Path | None = Field(
        None, description="MaxMind-format file (.mmdb) of cities; without, impossible travel is not looked for"
    )
    geoip_asn_database: Path | None = Field(
        None, description="MaxMind-format file of autonomous systems: leaves out cloud addresses as places of people"
    )

    # --- telling people --------------------------------------------------------------------------------------------
    notify: Path | None = Field(
        None, description="YAML file of channels and routes (docs/notifications.md); without, nobody is told of alerts"
    )

    # --- keeping ---------------------------------------------------------------------------------------------------
    hot_days: int = Field(14, ge=1, description="days an index of events is hot")
    warm_days: int = Field(90, ge=2, description="days until an index of events turns from warm to cold")
    delete_days: int = Field(730, ge=3, description="days until an index of events is deleted")

    # --- local stack -------------------------------------------------------------------------------------------
    cache_dir: Path | None = Field(None, description="where the local stack keeps downloads, data and logs")


def read_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        ConfigError: a variable has a value that cannot be used; all of them are named.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"SIEM_{str(problem['loc'][0]).upper()}: {problem['msg']}" for problem in error.errors(include_input=False)
        )
        raise ConfigError(f"unusable settings: {problems}", where="environment") from None
