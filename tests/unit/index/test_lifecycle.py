"""Policies: their shape by the schemas below, and what is asked of ISM and ILM.

Neither manager runs here (OpenSearch's minimal distribution has no ISM, and ILM is part of Elasticsearch's default
distribution), so the schemas restate their documentation, and the answers below are the documented ones.
"""

from __future__ import annotations

import copy
import json
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from opensearchpy.exceptions import NotFoundError, RequestError, TransportError

from loader.errors import ClusterError, ConfigError, MappingError
from loader.index import templates
from loader.index.lifecycle import (
    POLICY,
    Ages,
    LifecyclePlan,
    apply_lifecycle,
    ilm_settings,
    manager_of,
    plan_lifecycle,
    read_policy,
)

AGE = {"type": "string", "pattern": r"^\d+(d|h|m|s|ms)$"}
#: https://docs.opensearch.org/latest/im-plugin/ism/policies/
ISM = {
    "type": "object",
    "required": ["policy"],
    "additionalProperties": False,
    "properties": {
        "policy": {
            "type": "object",
            "required": ["description", "default_state", "states", "ism_template"],
            "additionalProperties": False,
            "properties": {
                "description": {"type": "string"},
                "default_state": {"type": "string"},
                "ism_template": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["index_patterns", "priority"],
                        "additionalProperties": False,
                        "properties": {
                            "index_patterns": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                            "priority": {"type": "integer", "minimum": 0},
                        },
                    },
                },
                "states": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["name", "actions", "transitions"],
                        "additionalProperties": False,
                        "properties": {
                            "name": {"type": "string"},
                            "actions": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "additionalProperties": False,
                                    "minProperties": 1,
                                    "maxProperties": 1,
                                    "properties": {
                                        "delete": {"type": "object", "maxProperties": 0},
                                        "index_priority": {
                                            "type": "object",
                                            "required": ["priority"],
                                            "properties": {"priority": {"type": "integer", "minimum": 0}},
                                        },
                                    },
                                },
                            },
                            "transitions": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "required": ["state_name", "conditions"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "state_name": {"type": "string"},
                                        "conditions": {
                                            "type": "object",
                                            "required": ["min_index_age"],
                                            "additionalProperties": False,
                                            "properties": {"min_index_age": AGE},
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}
#: https://www.elastic.co/docs/reference/elasticsearch/index-lifecycle-actions/: which action each phase allows.
_PRIORITY = {"type": "object", "required": ["priority"], "properties": {"priority": {"type": "integer"}}}


def _phase(**actions: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["min_age", "actions"],
        "additionalProperties": False,
        "properties": {"min_age": AGE, "actions": {"additionalProperties": False, "properties": actions}},
    }


ILM = {
    "type": "object",
    "required": ["policy"],
    "additionalProperties": False,
    "properties": {
        "policy": {
            "type": "object",
            "required": ["phases"],
            "additionalProperties": False,
            "properties": {
                "_meta": {"type": "object"},
                "phases": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["hot", "delete"],
                    "properties": {
                        "hot": _phase(set_priority=_PRIORITY),
                        "warm": _phase(set_priority=_PRIORITY),
                        "cold": _phase(set_priority=_PRIORITY),
                        "delete": _phase(delete={"type": "object"}),
                    },
                },
            },
        }
    },
}
AGES = Ages(3, 30, 365)


@pytest.mark.parametrize("ages", [Ages(), AGES])
def test_the_policies_have_the_documented_shape(ages: Ages) -> None:
    jsonschema.validate(read_policy("ism", ages), ISM)
    jsonschema.validate(read_policy("ilm", ages), ILM)


def test_every_state_leads_to_the_next_and_the_last_deletes() -> None:
    states = {state["name"]: state for state in read_policy("ism", AGES)["policy"]["states"]}
    name, seen = "hot", []
    while states[name]["transitions"]:
        (transition,) = states[name]["transitions"]
        seen.append((name, transition["conditions"]["min_index_age"]))
        name = transition["state_name"]
    assert seen == [("hot", "3d"), ("warm", "30d"), ("cold", "365d")]
    assert states[name]["actions"] == [{"delete": {}}]


def test_ages_of_ilm() -> None:
    phases = read_policy("ilm", AGES)["policy"]["phases"]
    assert {name: phase["min_age"] for name, phase in phases.items()} == {
        "hot": "0ms",
        "warm": "3d",
        "cold": "30d",
        "delete": "365d",
    }


def test_the_defaults_are_in_the_files() -> None:
    """Whoever applies a file by hand gets what the settings' defaults give."""
    for manager in ("ism", "ilm"):
        body = read_policy(manager, Ages())
        text = json.dumps(body)
        assert all(f'"{days}d"' in text for days in (14, 90, 730))


def test_no_policy_makes_an_index_read_only() -> None:
    """Late and back-filled events are still written to old indices."""
    for manager in ("ism", "ilm"):
        text = json.dumps(read_policy(manager, Ages()))
        assert "read_only" not in text
        assert "readonly" not in text
        assert "shrink" not in text
        # ISM's sets index.blocks.write first and leaves it, see mappings/lifecycle/README.md.
        assert "merge" not in text


@pytest.mark.parametrize("ages", [(0, 90, 730), (90, 14, 730), (14, 90, 90), (14, 730, 90)])
def test_ages_that_do_not_grow_are_a_mistake(ages: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match="ages must grow"):
        Ages(*ages)


@pytest.mark.parametrize("content", ["", "{}", '{"policy":{"states":[],"phases":{}}}'])
def test_a_broken_file_is_named(tmp_path: Path, content: str) -> None:
    for manager in ("ism", "ilm"):
        (tmp_path / f"{POLICY}.{manager}.json").write_text(content)
        with pytest.raises(MappingError) as caught:
            read_policy(manager, Ages(), tmp_path)
        assert caught.value.where == str(tmp_path / f"{POLICY}.{manager}.json")


class Cluster:
    """Stands for ISM or ILM, which do not run on a developer's machine; answers as documented."""

    def __init__(self, manager: str | None, indices: dict[str, str | None] | None = None) -> None:
        self.manager = manager
        self.managed = indices or {}
        self.policy: dict[str, Any] | None = None
        self.sent: list[tuple[str, str, Any, Any]] = []
        self.transport = self
        self.indices = self

    def get_settings(self, **_: Any) -> dict[str, Any]:
        return {index: {} for index in self.managed}

    def perform_request(self, method: str, path: str, params: Any = None, body: Any = None) -> Any:
        if path.startswith("/_plugins/_ism") and self.manager != "ism":
            raise RequestError(400, "no handler found", {"error": "no handler found"})
        if "_ilm" in path and self.manager != "ilm":
            raise RequestError(400, "no handler found", {"error": "no handler found"})
        if method != "GET":
            self.sent.append((method, path, params, body))
            if path.endswith(f"/{POLICY}"):
                self.policy = copy.deepcopy(body)
            return {}
        if path.endswith(f"/{POLICY}"):
            if self.policy is None:
                raise NotFoundError(404, "policy not found", {})
            if self.manager == "ilm":
                return {POLICY: {"version": 1, **self.policy}}
            return {"_id": POLICY, "_seq_no": 7, "_primary_term": 1, "policy": {**self.policy["policy"], "x": 1}}
        if path.startswith("/_plugins/_ism/explain"):
            key = "index.plugins.index_state_management.policy_id"
            return {"total_managed_indices": 1, **{name: {key: policy} for name, policy in self.managed.items()}}
        if path.endswith("/_ilm/explain"):
            return {
                "indices": {
                    name: {"managed": bool(policy), **({"policy": policy} if policy else {})}
                    for name, policy in self.managed.items()
                }
            }
        return {}


INDICES = {
    "log-aws-cloudtrail-2023.07.10": None,
    "log-aws-cloudtrail-misdated": None,
    "log-aws-cloudtrail-2023.07.11": POLICY,
    "log-aws-cloudtrail-2023.07.12": "somebody-else-s",
}


def plan(cluster: Any, ages: Ages = AGES) -> LifecyclePlan:
    return plan_lifecycle(cluster, ages)


@pytest.mark.parametrize("manager", ["ism", "ilm"])
def test_applying_twice_changes_nothing_the_second_time(manager: str) -> None:
    cluster = Cluster(manager, dict(INDICES))
    first = plan(cluster)
    assert (first.manager, first.action) == (manager, "create")
    assert [index for index, _ in first.attach] == ["log-aws-cloudtrail-2023.07.10", "log-aws-cloudtrail-misdated"]
    apply_lifecycle(cluster, first)  # type: ignore[arg-type]
    for index, _ in first.attach:
        cluster.managed[index] = POLICY
    second = plan(cluster)
    assert (second.action, second.attach, second.move) == ("keep", (), ())
    sent = len(cluster.sent)
    apply_lifecycle(cluster, second)  # type: ignore[arg-type]
    assert len(cluster.sent) == sent


def test_ism_attaches_and_moves_to_a_new_version() -> None:
    cluster = Cluster("ism", dict(INDICES))
    apply_lifecycle(cluster, plan(cluster))  # type: ignore[arg-type]
    names = "log-aws-cloudtrail-2023.07.10,log-aws-cloudtrail-misdated"
    assert cluster.sent[1:] == [("POST", f"/_plugins/_ism/add/{names}", {}, {"policy_id": POLICY})]
    cluster.sent.clear()
    cluster.managed = {"log-aws-cloudtrail-2023.07.11": POLICY, "log-aws-cloudtrail-2023.07.12": "else"}
    update = plan(cluster, Ages(1, 2, 3))
    assert (update.action, update.move) == ("update", ("log-aws-cloudtrail-2023.07.11",))
    apply_lifecycle(cluster, update)  # type: ignore[arg-type]
    assert [(path, params) for _, path, params, _ in cluster.sent] == [
        (f"/_plugins/_ism/policies/{POLICY}", {"if_seq_no": 7, "if_primary_term": 1}),
        ("/_plugins/_ism/change_policy/log-aws-cloudtrail-2023.07.11", {}),
    ]


def test_ilm_counts_from_the_date_in_the_name() -> None:
    cluster = Cluster("ilm", dict(INDICES))
    apply_lifecycle(cluster, plan(cluster))  # type: ignore[arg-type]
    assert [(path, body) for _, path, _, body in cluster.sent[1:]] == [
        (
            "/log-aws-cloudtrail-2023.07.10/_settings",
            {"index.lifecycle.name": POLICY, "index.lifecycle.origination_date": 1688947200000},
        ),
        ("/log-aws-cloudtrail-misdated/_settings", {"index.lifecycle.name": POLICY}),
    ]
    assert ilm_settings(date(1970, 1, 1))["index.lifecycle.origination_date"] == 0


def test_a_cluster_with_neither_is_told_what_to_do() -> None:
    cluster = Cluster(None, dict(INDICES))
    assert manager_of(cluster) is None  # type: ignore[arg-type]
    nothing = plan(cluster)
    assert nothing.manager is None
    with pytest.raises(ClusterError) as caught:
        apply_lifecycle(cluster, nothing)  # type: ignore[arg-type]
    assert "siem mappings retention" in (caught.value.hint or "")


def test_ilm_is_named_by_the_templates_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "read_engine", lambda _: "elasticsearch")
    for manager, named in (("ilm", True), (None, False)):
        cluster = Cluster(manager)
        monkeypatch.setattr(templates, "_current", lambda *_: None)
        bodies = {
            change.template.name: change.template.body
            for change in templates.plan(cluster, templates.read_templates())  # type: ignore[arg-type]
        }
        settings = {
            name: body.get("template", {}).get("settings", {}).get("index.lifecycle.name")
            for name, body in bodies.items()
        }
        assert {name for name, policy in settings.items() if policy == POLICY} == (
            {"log-aws-cloudtrail"} if named else set()
        )


class Refusing:
    """A cluster that answers every question about policies with one status: what distributions without x-pack and
    serverless collections do."""

    def __init__(self, status: int, info: object) -> None:
        self.transport = self
        self.error = TransportError(status, "", info)

    def perform_request(self, *_: object) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("status", "info"),
    [
        (400, {"error": "no handler found for uri [/_ilm/policy] and method [GET]"}),
        (405, {"error": "Incorrect HTTP method for uri [/_ilm/policy] and method [GET], allowed: [POST]"}),
        (404, ""),
    ],
    ids=["OpenSearch without ISM", "Elasticsearch 8 without x-pack", "serverless"],
)
def test_a_cluster_that_knows_no_policies_has_no_manager(status: int, info: object) -> None:
    assert manager_of(Refusing(status, info)) is None  # type: ignore[arg-type]


def test_a_cluster_that_may_not_be_asked_for_policies_is_an_error() -> None:
    with pytest.raises(ClusterError):
        manager_of(Refusing(403, {"error": "no permissions"}))  # type: ignore[arg-type]
