"""Links that open Discover on an alert's events, in OpenSearch Dashboards or Kibana. Pure.

Both screens keep their state in the URL's fragment as RISON, a JSON that survives in URLs
(https://github.com/Nanonid/rison). What an alert names was chosen by whoever caused its events: every string is quoted
by RISON's rules, and then the whole is percent-encoded, quotes and brackets too, so that a link ends where it ends in a
terminal, in Markdown, in HTML and in a chat.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from loader.clock import rfc3339
from loader.config import Settings
from loader.errors import ConfigError

Flavour = Literal["opensearch", "kibana"]

#: Characters of a link; Slack takes 3,000 for a button (https://docs.slack.dev/reference/block-kit/block-elements).
LONGEST = 2900

_MOST_EVENTS = 50
_MOST_VALUES = 5
_AROUND = timedelta(minutes=1)
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")
#: Who did it, the most telling first.
_ACTORS = ("aws.cloudtrail.user_identity.arn", "user.name", "user.id", "source.address")
_ALERTS = "siem-alerts"
_DATED = re.compile(r"-(?:\d{4}\.\d{2}(?:\.\d{2})?|misdated)\Z")

#: An alert's id and document → its link, or ``None`` when it says too little.
Link = Callable[[str, Mapping[str, Any]], str | None]
#: Ids of alerts and the times (RFC 3339) of the first and the last → a link to all of them.
AlertsLink = Callable[[Sequence[str], str, str], str | None]


@dataclass(frozen=True, slots=True)
class Screen:
    """Where Discover is. ``url`` may have a base path; ``space`` is Kibana's space or the security plugin's tenant."""

    url: str
    flavour: Flavour = "opensearch"
    space: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ConfigError(
                "expected the address of Dashboards or Kibana, without ? and #",
                where="SIEM_DASHBOARDS_URL",
                hint="For example https://search.example/_dashboards",
            )
        if parts.username or parts.password:
            raise ConfigError("a link must not carry a password", where="SIEM_DASHBOARDS_URL")


def link_maker(settings: Settings) -> Link | None:
    """Return what makes links by the settings; ``None`` when ``SIEM_DASHBOARDS_URL`` is not set.

    Raises:
        ConfigError: the address cannot be one.
    """
    screen = _screen(settings)
    return partial(link_to, screen) if screen else None


def alerts_link_maker(settings: Settings) -> AlertsLink | None:
    """Return what makes links to many alerts by the settings; ``None`` when ``SIEM_DASHBOARDS_URL`` is not set.

    Raises:
        ConfigError: the address cannot be one.
    """
    screen = _screen(settings)
    return partial(link_to_alerts, screen) if screen else None


def _screen(settings: Settings) -> Screen | None:
    if settings.dashboards_url is None:
        return None
    return Screen(settings.dashboards_url, settings.dashboards_flavour, settings.dashboards_space)


def link_to_alerts(screen: Screen, identifiers: Sequence[str], first: str, last: str) -> str | None:
    """Return the link for alerts of that time: exactly these if they are few, else all of that time."""
    span = _around(first, last)
    if span is None:
        return None
    filters = [_ids_filter(_ALERTS, identifiers)] if len(identifiers) <= _MOST_EVENTS else []
    link = _address(screen, _ALERTS, ["message"], filters, span)
    return link if len(link) <= LONGEST else _address(screen, _ALERTS, ["message"], [], span)


def link_to(screen: Screen, identifier: str, alert: Mapping[str, Any]) -> str | None:
    """Return the link for an alert: its events, in the time of its events, with its actor ready as a filter.

    The filter on the events' ids is on and the one on the actor off: taking out the first and switching on the second
    shows what else they did. With more events than a link can hold, the actor's filter is on instead. An alert without
    events (one about the SIEM itself) is shown itself.
    """
    view, ids, span = _subject(identifier, alert)
    if span is None:
        return None
    actor = _actor(alert)
    columns = ["message"] if view == _ALERTS else ["event.action", "user.name", "source.address", "event.outcome"]
    attempts = [
        [*([_ids_filter(view, ids)] if ids else []), *([_actor_filter(view, *actor, on=not ids)] if actor else [])],
        [_ids_filter(view, ids)] if ids else [],
        [],
    ]
    for filters in attempts:
        link = _address(screen, view, columns, filters, span)
        if len(link) <= LONGEST:
            return link
    return None


def rison(value: Any) -> str:
    """Return ``value`` (made of dict, list, str, int, float, bool and None) as RISON.

    >>> rison({"a": [True, None, 1], "b": "it's!"})
    "(a:!(!t,!n,1),b:'it!'s!!')"
    """
    if value is None:
        return "!n"
    if isinstance(value, bool):
        return "!t" if value else "!f"
    if isinstance(value, (int, float)):
        return repr(value).replace("e+", "e")
    if isinstance(value, str):
        return value if _BARE.match(value) else "'" + value.replace("!", "!!").replace("'", "!'") + "'"
    if isinstance(value, Mapping):
        return "(" + ",".join(f"{rison(str(key))}:{rison(part)}" for key, part in value.items()) + ")"
    return "!(" + ",".join(rison(part) for part in value) + ")"


def data_view(index: str) -> str:
    """Return the id of the index pattern (data view) of ``dashboards/saved_objects`` that holds ``index``."""
    return f"siem-index-pattern-{_DATED.sub('', index)}"


def _subject(identifier: str, alert: Mapping[str, Any]) -> tuple[str, list[str], tuple[str, str] | None]:
    """Return the view's index, the ids to show (none if there are too many), and the time around them."""
    siem = _under(alert, "siem")
    evidence = [entry for entry in siem.get("evidence") or [] if isinstance(entry, Mapping)]
    if not evidence:
        moment = alert.get("@timestamp")
        return _ALERTS, [identifier], _around(moment, moment)
    first = siem.get("first_event") or evidence[0].get("timestamp")
    last = siem.get("last_event") or evidence[-1].get("timestamp")
    index = _DATED.sub("", str(evidence[0].get("index", "")))
    same = [str(entry.get("id")) for entry in evidence if _DATED.sub("", str(entry.get("index", ""))) == index]
    whole = siem.get("evidence_total", len(evidence)) == len(evidence) <= _MOST_EVENTS
    return index, same if whole else [], _around(first, last)


def _around(first: object, last: object) -> tuple[str, str] | None:
    try:
        start, end = (datetime.fromisoformat(str(moment).replace("Z", "+00:00")) for moment in (first, last))
        return rfc3339(start - _AROUND), rfc3339(end + _AROUND)
    except (ValueError, OverflowError):
        return None


def _actor(alert: Mapping[str, Any]) -> tuple[str, list[str]] | None:
    for path in _ACTORS:
        value: Any = alert
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        found = [str(each) for each in (value if isinstance(value, list) else [value]) if each not in (None, "")]
        if 0 < len(found) <= _MOST_VALUES:
            return path, found
    return None


def _ids_filter(view: str, ids: Sequence[str]) -> dict[str, Any]:
    query = {"ids": {"values": list(ids)}}
    name = "events of the alert"
    if view == _ALERTS:
        name = "this alert" if len(ids) == 1 else "these alerts"
    return _filter(view, query, {"alias": name, "disabled": False, "type": "custom", "key": "ids"})


def _actor_filter(view: str, path: str, found: Sequence[str], *, on: bool) -> dict[str, Any]:
    meta: dict[str, Any]
    if len(found) == 1:
        meta = {"alias": None, "disabled": not on, "type": "phrase", "key": path, "params": {"query": found[0]}}
        return _filter(view, {"match_phrase": {path: found[0]}}, meta)
    either = {"should": [{"match_phrase": {path: value}} for value in found], "minimum_should_match": 1}
    meta = {"alias": None, "disabled": not on, "type": "phrases", "key": path, "params": list(found)}
    return _filter(view, {"bool": either}, meta)


def _filter(view: str, query: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    return {
        "$state": {"store": "appState"},
        "meta": {**meta, "index": data_view(view), "negate": False},
        "query": query,
    }


def _address(
    screen: Screen, view: str, columns: Sequence[str], filters: Sequence[dict[str, Any]], span: tuple[str, str]
) -> str:
    base = screen.url.rstrip("/")
    time = {"from": span[0], "to": span[1]}
    refresh = {"pause": True, "value": 0}
    query = {"language": "kuery", "query": ""}
    sort = [["@timestamp", "asc"]]
    if screen.flavour == "kibana":
        space = f"/s/{quote(screen.space, safe='')}" if screen.space else ""
        state = {"columns": columns, "filters": filters, "index": data_view(view), "query": query, "sort": sort}
        general = {"filters": [], "refreshInterval": refresh, "time": time}
        return f"{base}{space}/app/discover#/?_g={_encoded(general)}&_a={_encoded(state)}"
    # Discover lives in the data explorer since OpenSearch Dashboards 2.10; its filters are in a part of their own, _q.
    tenant = f"?security_tenant={quote(screen.space, safe='')}" if screen.space else ""
    discover = {"columns": columns, "isDirty": False, "sort": sort}
    state = {"discover": discover, "metadata": {"indexPattern": data_view(view), "view": "discover"}}
    general = {"filters": [], "refreshInterval": refresh, "time": time}
    asked = {"filters": filters, "query": query}
    fragment = f"_a={_encoded(state)}&_g={_encoded(general)}&_q={_encoded(asked)}"
    return f"{base}/app/data-explorer/discover{tenant}#?{fragment}"


def _encoded(value: Any) -> str:
    # RISON's own brackets and quotes are encoded, too: many readers of text end a link at them.
    return quote(rison(value), safe=":,", errors="replace")


def _under(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = body.get(name)
    return found if isinstance(found, Mapping) else {}
