"""Lifecycle policies: ISM for OpenSearch, ILM for Elasticsearch, from ``mappings/lifecycle/``, planned and applied.

Sources: https://docs.opensearch.org/latest/im-plugin/ism/policies/ and
https://www.elastic.co/docs/reference/elasticsearch/configuration-reference/index-lifecycle-management-settings.
Both count from an index's creation, which the loader sets to the date in the name (:mod:`loader.index.gate`). For
indices that were there before, ILM is told the date here (``index.lifecycle.origination_date``); ISM cannot be told.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import date, datetime, timezone
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Literal

import orjson
from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from loader.errors import ClusterError, ConfigError, MappingError
from loader.index.retention import EVENTS, day_of, event_indices
from loader.project import mappings_dir

Manager = Literal["ism", "ilm"]
POLICY: Final = "siem-events"
_PATHS: Final[dict[Manager, str]] = {"ism": "/_plugins/_ism/policies", "ilm": "/_ilm/policy"}
_ISM_POLICY_ID: Final = "index.plugins.index_state_management.policy_id"
_INDICES_A_REQUEST: Final = 50


@dataclass(frozen=True, slots=True)
class Ages:
    """Days after which an index is warm, cold and deleted, counted as the manager counts."""

    hot_days: int = 14
    warm_days: int = 90
    delete_days: int = 730

    def __post_init__(self) -> None:
        if not 1 <= self.hot_days < self.warm_days < self.delete_days:
            raise ConfigError(
                f"ages must grow: hot until {self.hot_days}, warm until {self.warm_days}, deleted at "
                f"{self.delete_days} days",
                where="lifecycle",
                hint="The defaults are 14, 90 and 730.",
            )


@dataclass(frozen=True, slots=True)
class LifecyclePlan:
    """What applying would do. ``manager`` is ``None`` if the cluster has none: use ``siem mappings retention``.

    ``attach``: event indices the policy does not manage yet, with the day in their names. ``move``: those managed under
    another version of it.
    """

    manager: Manager | None
    action: Literal["create", "update", "keep"]
    body: dict[str, Any]
    attach: tuple[tuple[str, date | None], ...] = ()
    move: tuple[str, ...] = ()
    #: Sequence number and primary term of the policy there is: ISM wants them for an update.
    version: tuple[int, int] | None = None


def read_policy(manager: Manager, ages: Ages, folder: Path | None = None) -> dict[str, Any]:
    """Return the policy as it is sent, with ``ages`` in the places of the file's.

    Raises:
        MappingError: the file is broken, or has not the states this project means.
    """
    path = (folder or mappings_dir() / "lifecycle") / f"{POLICY}.{manager}.json"
    try:
        body = orjson.loads(path.read_bytes())
        filled = _fill_ism(body, ages) if manager == "ism" else _fill_ilm(body, ages)
    except (OSError, orjson.JSONDecodeError, KeyError, IndexError, TypeError) as error:
        raise MappingError(f"unusable lifecycle policy: {error!r}", where=str(path)) from None
    return _stamped(filled, manager)


def _fill_ism(body: dict[str, Any], ages: Ages) -> dict[str, Any]:
    filled = copy.deepcopy(body)
    states = {state["name"]: state for state in filled["policy"]["states"]}
    for name, days in (("hot", ages.hot_days), ("warm", ages.warm_days), ("cold", ages.delete_days)):
        states[name]["transitions"][0]["conditions"]["min_index_age"] = f"{days}d"
    return filled


def _fill_ilm(body: dict[str, Any], ages: Ages) -> dict[str, Any]:
    filled = copy.deepcopy(body)
    phases = filled["policy"]["phases"]
    for name, days in (("warm", ages.hot_days), ("cold", ages.warm_days), ("delete", ages.delete_days)):
        phases[name]["min_age"] = f"{days}d"
    return filled


def _stamped(body: dict[str, Any], manager: Manager) -> dict[str, Any]:
    """Put the content's hash where the manager gives it back unchanged: both rewrite bodies."""
    digest = blake2b(orjson.dumps(body, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()
    policy = body["policy"]
    if manager == "ism":
        return {"policy": {**policy, "description": f"{policy['description']} [{digest}]"}}
    return {"policy": {**policy, "_meta": {**policy.get("_meta", {}), "content_hash": digest}}}


def manager_of(client: OpenSearch) -> Manager | None:
    """Return which lifecycle manager the cluster has.

    Raises:
        ClusterError: the cluster cannot be asked.
    """
    managers: tuple[Manager, ...] = ("ism", "ilm")
    for manager in managers:
        try:
            client.transport.perform_request("GET", _PATHS[manager])
        except TransportError as error:
            if error.status_code == 404:  # there, but no policy yet; a serverless collection says nothing at all
                return manager if error.info and "no handler" not in str(error.info) else None
            if error.status_code not in (400, 405):  # Elasticsearch without x-pack: 9 answers the first, 8 the second
                raise ClusterError(f"cannot ask for lifecycle policies: {error.error}", where=_PATHS[manager]) from None
        else:
            return manager
    return None


def plan_lifecycle(client: OpenSearch, ages: Ages, folder: Path | None = None) -> LifecyclePlan:
    """Compare the policy with the cluster's, and find event indices that it does not manage.

    Raises:
        ClusterError: the cluster cannot be asked.
        MappingError: the policy's file is broken.
    """
    manager = manager_of(client)
    if manager is None:
        return LifecyclePlan(None, "keep", {})
    body = read_policy(manager, ages, folder)
    current, version = _current(client, manager)
    managed = _managed(client, manager)
    action: Literal["create", "update", "keep"] = (
        "create" if current is None else "keep" if _stamp(current, manager) == _stamp(body, manager) else "update"
    )
    attach = tuple((index, day_of(index)) for index in event_indices(client) if managed.get(index) is None)
    ours = tuple(sorted(index for index, policy in managed.items() if policy == POLICY))
    return LifecyclePlan(manager, action, body, attach, ours if action == "update" else (), version)


def apply_lifecycle(client: OpenSearch, plan: LifecyclePlan) -> None:
    """Send the policy if it is new or different, and put the indices under it that are under none.

    An index under another policy is left alone: somebody decided that.

    Raises:
        ClusterError: the cluster has no lifecycle manager, or refused something.
    """
    if plan.manager is None:
        raise ClusterError(
            "this cluster has neither ISM nor ILM",
            where="lifecycle",
            hint="Run `siem mappings retention` once a day instead.",
        )
    if plan.action != "keep":
        params = {"if_seq_no": plan.version[0], "if_primary_term": plan.version[1]} if plan.version else {}
        _send(client, "PUT", f"{_PATHS[plan.manager]}/{POLICY}", plan.body, params)
    if plan.manager == "ilm":
        # A policy's new version holds for indices at once; each index is told the day its age counts from.
        for index, day in plan.attach:
            _send(client, "PUT", f"/{index}/_settings", ilm_settings(day))
        return
    for verb, indices in (("add", [index for index, _ in plan.attach]), ("change_policy", list(plan.move))):
        for start in range(0, len(indices), _INDICES_A_REQUEST):
            names = ",".join(indices[start : start + _INDICES_A_REQUEST])
            _send(client, "POST", f"/_plugins/_ism/{verb}/{names}", {"policy_id": POLICY})


def ilm_settings(day: date | None) -> dict[str, Any]:
    """Return the settings that put an index under the policy, its age counted from ``day`` (UTC) if it has one.

    ``index.lifecycle.parse_origination_date`` would do the same for dated names, but makes the creation of an index
    without a date fail.
    """
    found: dict[str, Any] = {"index.lifecycle.name": POLICY}
    if day is not None:
        moment = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
        found["index.lifecycle.origination_date"] = int(moment.timestamp() * 1000)
    return found


def _current(client: OpenSearch, manager: Manager) -> tuple[dict[str, Any] | None, tuple[int, int] | None]:
    try:
        answer = client.transport.perform_request("GET", f"{_PATHS[manager]}/{POLICY}")
    except NotFoundError:
        return None, None
    except TransportError as error:
        raise ClusterError(f"cannot read the lifecycle policy: {error.error}", where=POLICY) from None
    if manager == "ilm":
        return {"policy": answer[POLICY]["policy"]}, None
    return {"policy": answer["policy"]}, (answer["_seq_no"], answer["_primary_term"])


def _managed(client: OpenSearch, manager: Manager) -> dict[str, str | None]:
    """Return the policy of each event index that has one."""
    path = f"/_plugins/_ism/explain/{EVENTS}" if manager == "ism" else f"/{EVENTS}/_ilm/explain"
    try:
        answer = client.transport.perform_request("GET", path)
    except NotFoundError:
        return {}
    except TransportError as error:
        raise ClusterError(f"cannot ask which indices are managed: {error.error}", where=path) from None
    if manager == "ilm":
        return {index: entry.get("policy") for index, entry in answer["indices"].items()}
    return {index: entry.get(_ISM_POLICY_ID) for index, entry in answer.items() if isinstance(entry, dict)}


def _stamp(body: dict[str, Any], manager: Manager) -> str:
    policy = body["policy"]
    if manager == "ism":
        return str(policy.get("description", "")).rpartition("[")[2]
    return str(policy.get("_meta", {}).get("content_hash", ""))


def _send(
    client: OpenSearch, method: str, path: str, body: dict[str, Any], params: dict[str, int] | None = None
) -> None:
    try:
        answer = client.transport.perform_request(method, path, params=params or {}, body=body)
    except TransportError as error:
        raise ClusterError(f"refused: {error.info or error.error}", where=path) from None
    if isinstance(answer, dict) and answer.get("failures"):
        raise ClusterError(f"refused for some indices: {answer.get('failed_indices')}", where=path)
