"""Which engine a cluster is, by its first answer."""

from __future__ import annotations

from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException, NotFoundError, TransportError
from opensearchpy.exceptions import ConnectionError as ClusterConnectionError

from loader.errors import ClusterError
from loader.index.engine import read_engine


class _Answering(OpenSearch):
    """A client whose cluster answers so."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        super().__init__(hosts=["http://search.example.com:9201"])
        self._answer = answer

    def info(self, *, params: Any = None, headers: Any = None) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    ("answer", "engine"),
    [
        ({"version": {"distribution": "opensearch", "number": "3.8.0"}}, "opensearch"),
        ({"version": {"number": "9.0.0"}}, "elasticsearch"),
        ({"version": {"number": "7.10.2", "build_flavor": "oss"}}, "elasticsearch"),
        (NotFoundError(404, "not found"), "serverless"),
        (TransportError(405, "Incorrect HTTP method for uri [/]"), "elasticsearch"),
        (TransportError(400, "no handler found for uri [/]"), "elasticsearch"),
    ],
)
def test_engines(answer: dict[str, Any] | Exception, engine: str) -> None:
    assert read_engine(_Answering(answer)) == engine


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TransportError(503, "unavailable"), "unavailable"),
        (TransportError(429, "too many requests"), "too many requests"),
        (AuthorizationException(403, "security_exception"), "cluster:monitor/main"),
        (ClusterConnectionError("N/A", "refused", OSError("refused")), "refused"),
    ],
)
def test_a_cluster_that_does_not_say_is_not_guessed_at(error: Exception, said: str) -> None:
    with pytest.raises(ClusterError) as caught:
        read_engine(_Answering(error))
    assert said in f"{caught.value} {caught.value.hint}"
    assert "search.example.com:9201" in str(caught.value)
