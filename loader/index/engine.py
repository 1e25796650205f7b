"""Where OpenSearch, Elasticsearch and OpenSearch Serverless differ, in one place."""

from __future__ import annotations

from typing import Any, Literal

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from loader.errors import ClusterError

Engine = Literal["opensearch", "elasticsearch", "serverless"]

_NO_SUCH_PAGE = (400, 405)


def read_engine(client: OpenSearch) -> Engine:
    """Ask the cluster which engine it is.

    OpenSearch Serverless has no root page and answers 404; Elasticsearch's distribution without x-pack answers 405.

    Raises:
        ClusterError: it does not answer, or does not say. To guess would mean templates and queries for another engine.
    """
    try:
        version: dict[str, Any] = client.info().get("version", {})
    except NotFoundError:
        return "serverless"
    except TransportError as error:
        if error.status_code in _NO_SUCH_PAGE:
            return "elasticsearch"
        hint = "The role needs the permission cluster:monitor/main." if error.status_code in (401, 403) else None
        (host, *_) = client.transport.hosts
        where = f"{host['host']}:{host.get('port', 9200)}"
        raise ClusterError(f"the cluster does not say what it is: {error.error}", where=where, hint=hint) from None
    return "opensearch" if version.get("distribution") == "opensearch" else "elasticsearch"


def takes_components(engine: Engine) -> bool:
    """Tell whether index templates may be composed, and say how an index is kept.

    OpenSearch Serverless decides itself about shards, copies, codecs and refreshing, and AWS lists no component
    templates among what it supports.
    https://docs.aws.amazon.com/opensearch-service/latest/developerguide/serverless-genref.html
    """
    return engine != "serverless"


def adapt_mapping(body: Any, engine: Engine) -> Any:
    """Return a template or mapping as ``engine`` takes it.

    Elasticsearch's ``wildcard`` type has no normalizer: queries on it ask for ``case_insensitive`` instead.
    """
    if engine != "elasticsearch":
        return body
    if isinstance(body, list):
        return [adapt_mapping(entry, engine) for entry in body]
    if not isinstance(body, dict):
        return body
    adapted = {key: adapt_mapping(value, engine) for key, value in body.items()}
    if adapted.get("type") == "wildcard":
        adapted.pop("normalizer", None)
    return adapted
