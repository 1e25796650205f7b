"""Which documents the cluster has already: cheaper to ask for ids than to send documents that it then refuses."""

from __future__ import annotations

import logging
from collections.abc import Collection

import orjson
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from loader.clock import Clock

log = logging.getLogger(__name__)

_PARAMS = {"_source": "false", "filter_path": "docs._id,docs.found"}
#: After a failure nobody asks for so long: what cannot be asked for is written, and counted by the cluster's refusal.
_QUIET_S = 60.0


class Lookup:
    """Asks by id, in real time: also for documents that no search finds yet. Safe between threads."""

    def __init__(self, client: OpenSearch, *, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._quiet_until = float("-inf")

    def present(self, index: str, ids: Collection[str]) -> frozenset[str]:
        """Return those of ``ids`` that ``index`` certainly holds. Never raises: trouble means that none is known.

        https://docs.opensearch.org/latest/api-reference/document-apis/multi-get/
        """
        if not ids or self._clock.monotonic() < self._quiet_until:
            return frozenset()
        try:
            answer = self._client.transport.perform_request(
                "GET", f"/{index}/_mget", params=dict(_PARAMS), body=orjson.dumps({"ids": list(ids)})
            )
        except TransportError as error:
            self._quiet_until = self._clock.monotonic() + _QUIET_S
            log.info("documents cannot be asked for", extra={"index": index, "error": str(error.error)})
            return frozenset()
        listed = answer.get("docs") if isinstance(answer, dict) else None
        if not isinstance(listed, list):
            return frozenset()
        found = frozenset(e.get("_id", "") for e in listed if isinstance(e, dict) and e.get("found") is True)
        return found.intersection(ids)
