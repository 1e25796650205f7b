"""Reading from an index that somebody else is making at this moment: for an instant it has no shard to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from loader.clock import Clock
from loader.errors import ClusterError

T = TypeVar("T")

_UNAVAILABLE = 503
_NO_SHARD = "no_shard_available_action_exception"
#: Seconds between attempts: together 6.3, then it is not being made but broken.
_WAITS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)


class NoShardError(ClusterError):
    """A document's index has no shard that could answer."""


def patiently(ask: Callable[[], T], *, clock: Clock) -> T:
    """Return what ``ask`` returns, asking again for a few seconds while there is no shard to answer.

    Raises:
        NoShardError, TransportError: what ``ask`` raised last.
    """
    for wait in _WAITS:
        try:
            return ask()
        except NoShardError:
            pass
        except TransportError as error:
            if error.status_code != _UNAVAILABLE or _NO_SHARD not in f"{error.error} {error.info}":
                raise
        clock.sleep(wait)
    return ask()


def get_documents(client: OpenSearch, body: Mapping[str, Any], *, clock: Clock, **where: str) -> list[dict[str, Any]]:
    """Return the documents of an ``_mget``, each found, not found or with an ``error``.

    Raises:
        NoShardError: one has no shard that could answer.
        TransportError: the cluster refused the request.
    """

    def ask() -> list[dict[str, Any]]:
        docs: list[dict[str, Any]] = client.mget(body=body, **where)["docs"]
        for doc in docs:
            if doc.get("error", {}).get("type") == _NO_SHARD:
                raise NoShardError(f"no shard is available ({_NO_SHARD})", where=doc["_index"])
        return docs

    return patiently(ask, clock=clock)


def find_documents(
    client: OpenSearch, body: Mapping[str, Any], *, what: str, clock: Clock, **where: str
) -> list[dict[str, Any]]:
    """Return those documents of an ``_mget`` that exist; ``what`` they are, for errors. No index is no document.

    Raises:
        ClusterError: they cannot be read.
    """
    try:
        docs = get_documents(client, body, clock=clock, **where)
    except NotFoundError:
        return []
    except TransportError as error:
        raise ClusterError(f"cannot read {what}: {error.error}", where=where.get("index", "_mget")) from None
    for doc in docs:
        if (kind := doc.get("error", {}).get("type")) not in (None, "index_not_found_exception"):
            raise ClusterError(f"cannot read {what}: {kind}", where=doc["_index"])
    return [doc for doc in docs if doc.get("found")]
