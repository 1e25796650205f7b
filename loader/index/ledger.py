"""The ledger: one document for each object, so that "was this file loaded?" has an answer with figures."""

from __future__ import annotations

import re
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConflictError, TransportError

from loader.errors import ClusterError
from loader.index.identifiers import derived_id
from loader.source.objects import ObjectRef

_KEY_DATE = re.compile(r"_(\d{4})(\d{2})\d{2}T\d{4}Z|/(\d{4})/(\d{2})/\d{2}/")
#: What a later load of the same object adds, beside the figures of the load that first succeeded.
_COUNTS = ("read", "indexed", "duplicates", "dead_lettered", "dropped", "balanced")


def ledger_index(ref: ObjectRef) -> str:
    """Return ``siem-objects-YYYY.MM`` by the date in the object's key: a later load finds the same entry."""
    match = _KEY_DATE.search(ref.key)
    if match is None:
        return "siem-objects-undated"
    year, month = match.group(1) or match.group(3), match.group(2) or match.group(4)
    return f"siem-objects-{year}.{month}"


class Ledger:
    """Writes one entry an object. An entry of a successful load is never overwritten by a later one."""

    def __init__(self, client: OpenSearch) -> None:
        self._client = client

    def write(self, ref: ObjectRef, entry: dict[str, Any]) -> None:
        """Record that ``ref`` was dealt with.

        Raises:
            ClusterError: the entry could not be written.
        """
        index = ledger_index(ref)
        identifier = derived_id(ref.bucket, ref.key, ref.version_id)
        try:
            try:
                self._client.index(index=index, id=identifier, body={**entry, "loads": 1}, params={"op_type": "create"})
            except ConflictError:
                self._again(index, identifier, entry)
        except TransportError as error:
            raise ClusterError(f"the ledger could not be written: {error.error}", where=index) from None

    def _again(self, index: str, identifier: str, entry: dict[str, Any]) -> None:
        known = self._client.get(index=index, id=identifier)["_source"]
        loads = int(known.get("loads", 1)) + 1
        if known.get("outcome") != "loaded" or known.get("etag") != entry.get("etag"):
            self._client.index(index=index, id=identifier, body={**entry, "loads": loads})
            return
        latest = {name: entry[name] for name in _COUNTS if name in entry}
        latest["@timestamp"] = entry["@timestamp"]
        self._client.update(index=index, id=identifier, body={"doc": {"loads": loads, "latest": latest}})
