"""How telling people does: what waits, what failed, what was given up, and which channels do not work."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from loader.clock import Clock
from loader.errors import ClusterError
from loader.notify.channel_state import CHANNELS_INDEX
from loader.notify.outbox import OPEN, PATTERN

_LENIENT = {"ignore_unavailable": "true"}
_DAY = "now-1d"


@dataclass(slots=True)
class ChannelHealth:
    """One channel's figures; ``sent`` is of the last day."""

    waiting: int = 0
    failed: int = 0
    given_up: int = 0
    sent: int = 0
    failing_since: str | None = None
    error: str | None = None
    last_sent: str | None = None


@dataclass(slots=True)
class OutboxHealth:
    """All channels that were ever used."""

    channels: dict[str, ChannelHealth] = field(default_factory=dict)
    #: Since when the oldest entry waits.
    oldest: str | None = None
    oldest_seconds: float | None = None

    def total(self, name: str) -> int:
        """Return the sum of one figure over the channels."""
        return sum(int(getattr(channel, name)) for channel in self.channels.values())

    @property
    def troubles(self) -> list[str]:
        """Return what a person has to see to, in words."""
        found = [
            f"channel {name} fails since {channel.failing_since}: {channel.error}"
            for name, channel in self.channels.items()
            if channel.failing_since
        ]
        if given_up := self.total("given_up"):
            found.append(f"{given_up} notifications were given up")
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for ``--json``."""
        return {
            "waiting": self.total("waiting"),
            "failed": self.total("failed"),
            "given_up": self.total("given_up"),
            "oldest": self.oldest,
            "channels": {name: asdict(channel) for name, channel in self.channels.items()},
        }


def read_outbox(client: OpenSearch, *, clock: Clock) -> OutboxHealth:
    """Ask the cluster how the outbox does.

    Raises:
        ClusterError: it cannot be asked.
    """
    open_or_lost = {"terms": {"state": [*OPEN, "given-up"]}}
    lately = {"bool": {"filter": [{"term": {"state": "sent"}}, {"range": {"sent_at": {"gte": _DAY}}}]}}
    body = {
        "size": 0,
        "query": {"bool": {"should": [open_or_lost, lately], "minimum_should_match": 1}},
        "aggs": {
            "channels": {
                "terms": {"field": "channel", "size": 1000},
                "aggs": {"states": {"terms": {"field": "state", "size": 10}}},
            },
            "open": {"filter": {"terms": {"state": list(OPEN)}}, "aggs": {"oldest": {"min": {"field": "since"}}}},
        },
    }
    found = OutboxHealth()
    try:
        client.indices.refresh(index=f"{PATTERN},{CHANNELS_INDEX}", params=_LENIENT)
        answer = client.search(index=PATTERN, body=body, params=_LENIENT).get("aggregations", {})
        states = client.search(index=CHANNELS_INDEX, body={"size": 1000}, params=_LENIENT)["hits"]["hits"]
    except TransportError as error:
        raise ClusterError(f"cannot read the outbox: {error.error}", where=PATTERN) from None
    for bucket in answer.get("channels", {}).get("buckets", []):
        counts = {state["key"]: int(state["doc_count"]) for state in bucket["states"]["buckets"]}
        found.channels[bucket["key"]] = ChannelHealth(
            counts.get("waiting", 0), counts.get("failed", 0), counts.get("given-up", 0), counts.get("sent", 0)
        )
    for hit in states:
        source = hit["_source"]
        channel = found.channels.setdefault(source["channel"], ChannelHealth())
        channel.last_sent = source.get("last_sent")
        if source.get("failures"):
            channel.failing_since, channel.error = source.get("failing_since"), source.get("error")
    oldest = answer.get("open", {}).get("oldest", {})
    if oldest.get("value") is not None:
        found.oldest = str(oldest["value_as_string"])
        since = datetime.fromisoformat(found.oldest.replace("Z", "+00:00"))
        found.oldest_seconds = (clock.now() - since).total_seconds()
    return found
