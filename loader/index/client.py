"""A client for the cluster, whichever engine it is and however it wants to be talked to."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import orjson
from opensearchpy import OpenSearch, Transport, Urllib3AWSV4SignerAuth, Urllib3HttpConnection
from opensearchpy.exceptions import ConnectionError as ClusterConnectionError
from opensearchpy.exceptions import ConnectionTimeout, SerializationError, TransportError
from opensearchpy.serializer import JSONSerializer
from pydantic import SecretStr

from loader.config import Settings
from loader.errors import ConfigError
from loader.index.deadline import seconds_left


class UnreadableAnswerError(TransportError):
    """The answer's status says success, and its body is no JSON: what became of the request is unknown.

    A proxy in between answers so, with a page of its own.
    """


class _Transport(Transport):
    """The library's transport, with one error tree: an answer that cannot be read is a failed request as well.

    No request outlasts what it is part of (:mod:`loader.index.deadline`).
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._usual_timeout: float = options["timeout"]
        super().__init__(*args, **options)

    def perform_request(self, method: str, url: str, *args: Any, **options: Any) -> Any:
        left = seconds_left()
        if left <= 0:
            raise ConnectionTimeout("TIMEOUT", "no time is left for a request", TimeoutError())
        if left < self._usual_timeout:
            options["timeout"] = left
        try:
            answer = super().perform_request(method, url, *args, **options)
        except (SerializationError, ValueError) as error:  # ValueError: bytes that are no UTF-8, or no JSON
            raise UnreadableAnswerError(200, "unreadable_answer", str(error)[:200]) from None
        except ClusterConnectionError as error:
            if isinstance(error.info, UnicodeDecodeError):  # the connection was fine, and its answer is no text
                raise UnreadableAnswerError(200, "unreadable_answer", str(error.info)) from None
            raise
        if isinstance(answer, str) and answer:  # nothing that is asked for here is answered with text
            raise UnreadableAnswerError(200, "unreadable_answer", answer[:200])
        return answer


def _parse_integer(text: str) -> int | float:
    """Return a whole number; an infinite one if it has more digits than Python reads (and than Jackson does)."""
    try:
        return int(text)
    except ValueError:
        return float(text)


class _FastSerializer(JSONSerializer):
    """JSON by orjson: bulk answers of thousands of items are the second largest thing this process parses."""

    def loads(self, s: str | bytes) -> Any:
        try:
            return orjson.loads(s)
        except orjson.JSONDecodeError:
            # It refuses numbers beyond doubles. One document with one must not make all around it unreadable.
            return json.loads(s, parse_int=_parse_integer)

    def dumps(self, data: Any) -> Any:
        return data if isinstance(data, (str, bytes)) else orjson.dumps(data).decode()


def make_client(settings: Settings, *, pool: int = 8) -> OpenSearch:
    """Return a client for ``settings.cluster_url``. Nothing is sent yet.

    Raises:
        ConfigError: no URL is set, or two ways of signing in contradict each other.
    """
    if settings.cluster_url is None:
        raise ConfigError(
            "no cluster is configured",
            where="SIEM_CLUSTER_URL",
            hint="Set SIEM_CLUSTER_URL, or start a local one with `siem up`.",
        )
    _check_address(settings.cluster_url)
    options: dict[str, Any] = {
        "hosts": [settings.cluster_url],
        "timeout": settings.cluster_timeout_s,
        "max_retries": 0,  # retries are ours: per item, with back-off, and counted
        "retry_on_timeout": False,
        "http_compress": False,
        "pool_maxsize": pool,
        "serializer": _FastSerializer(),
        "transport_class": _Transport,
        "connection_class": Urllib3HttpConnection,
    }
    if settings.cluster_url.startswith("https"):
        options["verify_certs"] = settings.cluster_verify_tls
        options["ssl_show_warn"] = settings.cluster_verify_tls
        if settings.cluster_ca_file:
            options["ca_certs"] = str(settings.cluster_ca_file)
    ways = [
        name
        for name, value in (
            ("SIEM_CLUSTER_USER", settings.cluster_user),
            ("SIEM_CLUSTER_API_KEY", settings.cluster_api_key),
            ("SIEM_CLUSTER_AWS_SERVICE", settings.cluster_aws_service),
        )
        if value
    ]
    if len(ways) > 1:
        raise ConfigError(f"{' and '.join(ways)} exclude each other", where="environment", hint="Keep one of them.")
    if settings.cluster_password and not settings.cluster_user:
        raise ConfigError(
            "a password is set, and nobody it belongs to", where="SIEM_CLUSTER_PASSWORD", hint="Set SIEM_CLUSTER_USER."
        )
    if settings.cluster_user:
        password = settings.cluster_password.get_secret_value() if settings.cluster_password else ""
        options["http_auth"] = (settings.cluster_user, password)
    elif settings.cluster_api_key:
        options["headers"] = {"authorization": f"ApiKey {_header_text(settings.cluster_api_key)}"}
    elif settings.cluster_aws_service:
        options["http_auth"] = _sigv4(settings, settings.cluster_aws_service)
    return OpenSearch(**options)


def _check_address(url: str) -> None:
    """Make sure that ``url`` names a server; it may hold a password, and so is not shown.

    Raises:
        ConfigError: it does not.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            "that is no address of a cluster", where="SIEM_CLUSTER_URL", hint="Like https://search.example.com:9200"
        )


def _header_text(secret: SecretStr) -> str:
    """Return a secret as a header takes it: a file that it was read from may have ended in a line break."""
    text = secret.get_secret_value().strip()
    if not text.isascii() or not text.isprintable():
        # Not said what it is: the library would, with each request.
        raise ConfigError("the API key has characters that no header takes", where="SIEM_CLUSTER_API_KEY")
    return text


def _sigv4(settings: Settings, service: str) -> Urllib3AWSV4SignerAuth:
    import boto3

    session = boto3.Session(region_name=settings.aws_region)
    credentials = session.get_credentials()
    region = session.region_name
    if credentials is None or region is None:
        raise ConfigError(
            "no AWS credentials or no region to sign requests with",
            where="SIEM_CLUSTER_AWS_SERVICE",
            hint="Configure AWS credentials and set SIEM_AWS_REGION.",
        )
    return Urllib3AWSV4SignerAuth(credentials, region, service)
