"""Servers for the run, and where the public sample logs are.

``SIEM_TEST_BACKEND`` decides who starts the servers: ``local`` (default: this project's own, no Docker needed) or
``testcontainers``. Servers that run already are used instead when ``SIEM_TEST_OPENSEARCH_URL`` and
``SIEM_TEST_AWS_ENDPOINT_URL`` name them; of those, only what is named like this project's own is ever deleted.
"""

from __future__ import annotations

import gc
import os
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from opensearchpy import OpenSearch

from loader.config import Settings
from loader.index.client import make_client
from loader.local.aws import CREDENTIALS, REGION

ROOT = Path(__file__).resolve().parent.parent
_OURS = "log-*,siem-*"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-golden",
        action="store_true",
        help="write tests/golden/**/NAME.out.json anew from NAME.in.json, to be reviewed as a difference",
    )


@dataclass(frozen=True)
class Servers:
    opensearch_url: str
    aws_endpoint_url: str
    #: Started for this run: everything in them may go.
    ours: bool = True


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """One OpenSearch node and one moto server for the whole run."""
    url, endpoint = os.environ.get("SIEM_TEST_OPENSEARCH_URL"), os.environ.get("SIEM_TEST_AWS_ENDPOINT_URL")
    backend = os.environ.get("SIEM_TEST_BACKEND", "local")
    if url and endpoint:
        yield Servers(url, endpoint, ours=False)
    elif url or endpoint:
        pytest.fail("set both SIEM_TEST_OPENSEARCH_URL and SIEM_TEST_AWS_ENDPOINT_URL, or neither", pytrace=False)
    elif backend == "testcontainers":
        yield from _with_testcontainers()
    elif backend == "local":
        yield from _with_local_stack()
    else:
        pytest.fail(f"SIEM_TEST_BACKEND is {backend!r}: it must be local or testcontainers")


def _with_local_stack() -> Iterator[Servers]:
    from loader.local.stack import LocalStack

    settings = Settings()
    _remove_abandoned(settings)
    stack = LocalStack(f"test-{os.getpid()}", settings=settings)
    status = stack.up()
    try:
        assert status.node.url is not None
        assert status.aws.url is not None
        yield Servers(status.node.url, status.aws.url)
    finally:
        stack.down(delete_data=True)


def _remove_abandoned(settings: Settings) -> None:
    """Stop and remove the stacks of test runs that were killed before they could do it."""
    from loader.local.cache import Cache
    from loader.local.stack import LocalStack

    for folder in Cache.of(settings).runs.glob("test-*"):
        owner = folder.name.removeprefix("test-")
        try:
            os.kill(int(owner), 0)
        except ProcessLookupError:
            LocalStack(folder.name, settings=settings).down(delete_data=True)
        except (ValueError, PermissionError):
            continue


def _with_testcontainers() -> Iterator[Servers]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import HttpWaitStrategy

    if (problem := _docker_problem()) is not None:
        pytest.fail(f"SIEM_TEST_BACKEND is testcontainers, but Docker does not answer: {problem}", pytrace=False)

    node = (
        DockerContainer("opensearchproject/opensearch:3.8.0")
        .with_env("discovery.type", "single-node")
        .with_env("DISABLE_SECURITY_PLUGIN", "true")
        .with_env("DISABLE_INSTALL_DEMO_CONFIG", "true")
        .with_exposed_ports(9200)
        .waiting_for(HttpWaitStrategy(9200, "/_cluster/health").for_status_code(200))
    )
    moto = (
        DockerContainer("motoserver/moto:5.2.5")
        .with_exposed_ports(5000)
        .waiting_for(HttpWaitStrategy(5000, "/moto-api/").for_status_code(200))
    )
    with node, moto:
        yield Servers(
            f"http://{node.get_container_host_ip()}:{node.get_exposed_port(9200)}",
            f"http://{moto.get_container_host_ip()}:{moto.get_exposed_port(5000)}",
        )


def _docker_problem() -> str | None:
    import docker

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # docker leaves its socket open when nobody answers
        try:
            client = docker.from_env()
            client.ping()
            client.close()
        except docker.errors.DockerException as error:
            return str(error)
        finally:
            gc.collect()
    return None


@pytest.fixture(scope="session")
def opensearch_url(servers: Servers) -> str:
    return servers.opensearch_url


@pytest.fixture(scope="session")
def aws_endpoint(servers: Servers) -> str:
    return servers.aws_endpoint_url


@pytest.fixture(scope="session")
def opensearch_client(servers: Servers) -> Iterator[OpenSearch]:
    client = make_client(Settings(cluster_url=servers.opensearch_url))
    yield client
    client.close()


@pytest.fixture
def clean_cluster(servers: Servers, opensearch_client: OpenSearch) -> OpenSearch:
    """The client, with no template of this project and no index in the cluster (of a given one: no index of ours)."""
    index = "*,-.*" if servers.ours else _OURS
    opensearch_client.indices.delete(index=index, params={"expand_wildcards": "all", "ignore_unavailable": "true"})
    for kind, listed in (("index", "index_templates"), ("component", "component_templates")):
        path = f"/_{kind}_template"
        for template in opensearch_client.transport.perform_request("GET", path)[listed]:
            if template["name"].startswith(("log-", "siem-")):
                opensearch_client.transport.perform_request("DELETE", f"{path}/{template['name']}")
    return opensearch_client


@pytest.fixture
def index_prefix(opensearch_client: OpenSearch) -> Iterator[str]:
    """A beginning for the names of indices that no other test has; what is named so is deleted after the test."""
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    yield prefix
    opensearch_client.indices.delete(index=f"{prefix}*", params={"ignore_unavailable": "true"})


@pytest.fixture
def templates(clean_cluster: OpenSearch) -> OpenSearch:
    """The client, with this project's templates applied and no index."""
    from loader.index.templates import apply, plan, read_templates

    apply(clean_cluster, plan(clean_cluster, read_templates()))
    return clean_cluster


class Aws:
    """boto3 clients of the emulator, with credentials that are none."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._clients: dict[str, Any] = {}

    def __getattr__(self, service: str) -> Any:
        if service.startswith("_"):
            raise AttributeError(service)
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                region_name=REGION,
                endpoint_url=self._endpoint,
                aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            )
        return self._clients[service]


@pytest.fixture(scope="session")
def aws(servers: Servers) -> Aws:
    """``aws.s3``, ``aws.sqs``, ``aws.sns``: clients of moto's server."""
    return Aws(servers.aws_endpoint_url)


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The public sample logs: ``$SIEM_REFERENCE_DATA``, else ``../shared/data``."""
    folder = Path(os.environ.get("SIEM_REFERENCE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "invictus-aws_dataset").is_dir():
        pytest.skip(f"the public sample logs are not at {folder}; set SIEM_REFERENCE_DATA")
    return folder
