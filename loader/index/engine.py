"""Where OpenSearch and Elasticsearch differ, in one place."""

from __future__ import annotations

from typing import Any, Literal

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

Engine = Literal["opensearch", "elasticsearch"]


def read_engine(client: OpenSearch) -> Engine:
    """Ask the cluster which engine it is."""
    try:
        version: dict[str, Any] = client.info().get("version", {})
    except TransportError:
        return "elasticsearch"  # some of its distributions have no root page
    return "opensearch" if version.get("distribution") == "opensearch" else "elasticsearch"


def adapt_mapping(body: Any, engine: Engine) -> Any:
    """Return a template or mapping as ``engine`` takes it.

    Elasticsearch's ``wildcard`` type has no normalizer: queries on it ask for ``case_insensitive`` instead.
    """
    if engine == "opensearch":
        return body
    if isinstance(body, list):
        return [adapt_mapping(entry, engine) for entry in body]
    if not isinstance(body, dict):
        return body
    adapted = {key: adapt_mapping(value, engine) for key, value in body.items()}
    if adapted.get("type") == "wildcard":
        adapted.pop("normalizer", None)
    return adapted
