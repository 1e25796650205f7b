"""Who is behind an alert: asked of the sessions when somebody looks, never guessed when it was written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from loader.errors import ClusterError
from loader.identity.actor import Actor
from loader.identity.documents import identity_of_event
from loader.identity.resolve import Resolver
from loader.identity.store import ClusterStore


def behind_alert(client: OpenSearch, body: Mapping[str, Any]) -> Actor | None:
    """Return the first principal behind an alert's last event, or ``None`` if that event is no longer there.

    Sessions that arrived after the alert was written are taken into account.

    Raises:
        ClusterError: the cluster cannot be asked.
    """
    evidence = body.get("siem", {}).get("evidence", [])
    if not evidence:
        return None
    last = evidence[-1]
    try:
        source = client.get(index=last["index"], id=last["id"])["_source"]
    except NotFoundError:
        return None
    except TransportError as error:
        raise ClusterError(f"the event cannot be read: {error.error}", where=f"{last['index']}/{last['id']}") from None
    moment = datetime.fromisoformat(str(source["@timestamp"]).replace("Z", "+00:00"))
    return Resolver(ClusterStore(client)).resolve_identity(identity_of_event(source), at=int(moment.timestamp()))
