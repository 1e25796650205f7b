"""Servers for the run, and where the public sample logs are.

``SIEM_TEST_BACKEND`` decides who starts the servers: ``local`` (default: this project's own, no Docker needed) or
``testcontainers``. ``SIEM_TEST_ENGINE`` names another engine or release for ``local`` to start (``make engines`` goes
through them): ``opensearch-2``, ``elasticsearch-8`` or ``elasticsearch-9``. Servers that run already are used instead
when ``SIEM_TEST_OPENSEARCH_URL`` and ``SIEM_TEST_AWS_ENDPOINT_URL`` name them; of those, only what is named like this
project's own is ever deleted.
"""

from __future__ import annotations

import gc
import logging
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
from opensearchpy.exceptions import RequestError

from loader.config import Settings
from loader.index.client import make_client
from loader.index.templates import Template, apply, plan, read_templates
from loader.local.aws import CREDENTIALS, REGION

ROOT = Path(__file__).resolve().parent.parent
_OURS = "log-*,siem-*"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-golden",
        action="store_true",
        help="write tests/golden/**/NAME.out.json anew from NAME.in.json, to be reviewed as a difference",
    )


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """Commands send this project's logs to standard error, for as long as their process lives."""
    ours = logging.getLogger("loader")
    handlers, level, propagate = list(ours.handlers), ours.level, ours.propagate
    yield
    ours.handlers[:] = handlers
    ours.setLevel(level)
    ours.propagate = propagate


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
    from loader.local import distribution
    from loader.local.stack import LocalStack

    settings = Settings()
    _remove_abandoned(settings)
    engine = os.environ.get("SIEM_TEST_ENGINE", "opensearch-3")
    known = {
        "opensearch-3": distribution.OPENSEARCH,
        "opensearch-2": distribution.OPENSEARCH_2,
        "elasticsearch-8": distribution.ELASTICSEARCH_8,
        "elasticsearch-9": distribution.ELASTICSEARCH,
    }
    if engine not in known:
        pytest.fail(f"SIEM_TEST_ENGINE is {engine!r}: it must be one of {', '.join(known)}", pytrace=False)
    stack = LocalStack(f"test-{os.getpid()}", settings=settings, distribution=known[engine])
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


@pytest.fixture(scope="session")
def has_wildcard_type(opensearch_client: OpenSearch) -> bool:
    """Elasticsearch's distribution without x-pack, the one that Maven Central has, lacks the ``wildcard`` type."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    try:
        opensearch_client.indices.create(index=name, body={"mappings": {"properties": {"field": {"type": "wildcard"}}}})
    except RequestError:
        return False
    opensearch_client.indices.delete(index=name)
    return True


@pytest.fixture(scope="session")
def project_templates(has_wildcard_type: bool) -> list[Template]:
    """This project's templates. Where there is no ``wildcard`` type, a keyword that ignores case stands for it."""
    listed = read_templates()
    if has_wildcard_type:
        return listed
    return [Template(one.kind, one.name, _without_wildcard(one.body)) for one in listed]


def _without_wildcard(body: Any) -> Any:
    if isinstance(body, list):
        return [_without_wildcard(entry) for entry in body]
    if not isinstance(body, dict):
        return body
    if body.get("type") == "wildcard":
        return {**body, "type": "keyword"}
    return {key: _without_wildcard(value) for key, value in body.items()}


@pytest.fixture
def templates(clean_cluster: OpenSearch, project_templates: list[Template]) -> OpenSearch:
    """The client, with this project's templates applied and no index."""
    apply(clean_cluster, plan(clean_cluster, project_templates))
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
