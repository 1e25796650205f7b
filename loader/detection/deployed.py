"""The deployed pack: the rules, correlations and filters that ``siem rules apply`` has put into ``siem-rules``.

A detector that is run with ``--deployed`` runs these and needs no files; whoever edits rules sees in a plan how the
files differ. What tells two versions apart is the content hash: comments, layout and the order of keys do not count.
Each document holds the rule as YAML, and its version before, which ``siem rules backtest`` compares with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import orjson
import yaml
from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from loader.clock import rfc3339
from loader.detection.compile import Pack, compile_rules, load_variables
from loader.detection.coverage import compare_and_set
from loader.detection.load import RuleSet, Written, rule_set
from loader.detection.model import AnyRule, CorrelationRule, Filter, digest
from loader.detection.needs import RuleData
from loader.detection.search import describe_error
from loader.errors import ClusterError, RuleError

RULES_INDEX = "siem-rules"

_PAGE = 500
_CONFLICT = 409
Action = Literal["add", "change", "remove", "keep"]


@dataclass(frozen=True, slots=True)
class Deployed:
    """One deployed rule. ``body`` is its document; ``version`` is ``(_seq_no, _primary_term)``."""

    key: str
    body: Mapping[str, Any]
    version: tuple[int, int]

    @property
    def content_hash(self) -> str:
        """Return the hash of what is deployed."""
        return str(self.body["content_hash"])


@dataclass(frozen=True, slots=True)
class Change:
    """What applying does about one rule. ``rule`` is the new version, ``deployed`` the one that is there."""

    action: Action
    key: str
    rule: AnyRule | None
    deployed: Deployed | None

    @property
    def name(self) -> str:
        """Return the rule's name."""
        return self.rule.name if self.rule else str(self.deployed.body["name"]) if self.deployed else ""

    @property
    def title(self) -> str:
        """Return the rule's title."""
        return self.rule.title if self.rule else str(self.deployed.body["title"]) if self.deployed else ""

    @property
    def kind(self) -> str:
        """Return rule, correlation or filter."""
        return kind_of(self.rule) if self.rule else str(self.deployed.body["kind"]) if self.deployed else ""


def kind_of(rule: AnyRule) -> str:
    """Return what sort of document a rule is."""
    if isinstance(rule, CorrelationRule):
        return "correlation"
    return "filter" if isinstance(rule, Filter) else "rule"


def key_of(rule: AnyRule) -> str:
    """Return what a rule is deployed under: its id."""
    return rule.uuid.lower()


class DeployedPack:
    """The deployed rules, compiled; compiled anew only when something else is deployed, or their data is new.

    ``data`` reads the lists and places that rules need; without, the project's own lists, which are empty.
    """

    def __init__(self, client: OpenSearch, *, data: Callable[[], RuleData] | None = None) -> None:
        self._client = client
        self._data = data or (lambda: RuleData(load_variables()))
        self._known: object = None
        self._pack = Pack()

    def read(self) -> Pack:
        """Return the deployed pack.

        Raises:
            RuleError: nothing is deployed.
            ClusterError: the cluster cannot be asked.
        """
        deployed = read_deployed(self._client)
        if not deployed:
            raise RuleError("no rules are deployed", where=RULES_INDEX, hint="siem rules apply")
        data = self._data()
        hashes = [[key, one.content_hash] for key, one in sorted(deployed.items())]
        known = (digest([hashes, dict(data.variables)]), data.places)
        if known != self._known:
            pack = compile_rules(deployed_rules(deployed.values()), variables=data.variables, places=data.places)
            self._pack = replace(pack, problems=(*pack.problems, *data.problems))
            self._known = known
        return self._pack


def plan_rules(rules: RuleSet, deployed: Mapping[str, Deployed]) -> list[Change]:
    """Return what has to be done for ``deployed`` to become ``rules``, in the order of names. Pure."""
    wanted: dict[str, AnyRule] = {key_of(rule): rule for rule in (*rules.rules, *rules.correlations, *rules.filters)}
    changes = []
    for key in {*wanted, *deployed}:
        mine, its = wanted.get(key), deployed.get(key)
        action: Action = "keep"
        if its is None:
            action = "add"
        elif mine is None:
            action = "remove"
        elif (mine.content_hash, mine.name) != (its.content_hash, its.body["name"]):
            action = "change"
        changes.append(Change(action, key, mine, its))
    return sorted(changes, key=lambda change: (change.name, change.key))


def read_deployed(client: OpenSearch) -> dict[str, Deployed]:
    """Return everything that is deployed, by key; nothing where nothing ever was.

    Raises:
        ClusterError: the cluster cannot be asked.
    """
    body: dict[str, Any] = {"size": _PAGE, "sort": [{"key": "asc"}], "seq_no_primary_term": True}
    found: dict[str, Deployed] = {}
    try:
        client.indices.refresh(index=RULES_INDEX)
        while True:
            hits = client.search(index=RULES_INDEX, body=body)["hits"]["hits"]
            for hit in hits:
                key = hit["_source"]["key"]
                found[key] = Deployed(key, hit["_source"], (hit["_seq_no"], hit["_primary_term"]))
            if len(hits) < _PAGE:
                return found
            body["search_after"] = hits[-1]["sort"]
    except NotFoundError:
        return {}
    except TransportError as error:
        raise ClusterError(f"cannot read the deployed rules: {error.error}", where=RULES_INDEX) from None


def deployed_rules(deployed: Iterable[Deployed]) -> RuleSet:
    """Return what is deployed as rules; their places are those of the files they came from.

    Of files from several folders two may have one place: a rule is known by its place, so the second is put elsewhere.
    """
    placed: dict[tuple[str, int], Written] = {}
    for one in sorted(deployed, key=lambda one: one.key):
        written = _written(one.body, one.body)
        line = int(one.body["line"])
        if (str(written.path), line) in placed:
            written = replace(written, path=written.path.parent / one.key / written.path.name)
        placed[str(written.path), line] = written
    return rule_set(placed.values())


def previous_version(one: Deployed) -> AnyRule | None:
    """Return the version that was deployed before."""
    before = one.body.get("previous")
    return _single(_written(one.body, before)) if before else None


def current_version(one: Deployed) -> AnyRule | None:
    """Return the version that is deployed."""
    return _single(_written(one.body, one.body))


def apply_rules(
    client: OpenSearch, changes: Sequence[Change], *, now: datetime, folder: Path, prune: bool = False
) -> list[Change]:
    """Write what is new or different, and with ``prune`` delete what is gone. Return the changes that were made.

    ``folder`` is what the stored places are relative to. Documents are written with compare-and-set.

    Raises:
        ClusterError: the cluster refused, or somebody else has applied meanwhile. What was written is whole; plan again
            for the rest.
    """
    made = [one for one in changes if one.action in ("add", "change") or (one.action == "remove" and prune)]
    for start in range(0, len(made), _PAGE):
        batch = made[start : start + _PAGE]
        lines = [orjson.dumps(part) for change in batch for part in _write(change, now, folder)]
        try:
            answer = client.bulk(body=b"\n".join(lines).decode() + "\n", params={"refresh": "true"})
        except TransportError as error:
            raise ClusterError(f"cannot write the rules: {error.error}", where=RULES_INDEX) from None
        for change, item in zip(batch, answer["items"], strict=True):
            (result,) = item.values()
            if result["status"] == _CONFLICT:
                hint = "siem rules plan"
                raise ClusterError(f"somebody else has applied {change.name} meanwhile", where=RULES_INDEX, hint=hint)
            if "error" in result:
                raise ClusterError(f"{change.name}: {describe_error(result['error'])}", where=RULES_INDEX)
    return made


def _write(change: Change, now: datetime, folder: Path) -> Iterable[dict[str, Any]]:
    version = change.deployed.version if change.deployed else None
    action = compare_and_set(RULES_INDEX, change.key, version)
    if change.rule is None:
        yield {"delete": action["index"]}
        return
    yield action
    yield document(change.rule, change.deployed, now=now, folder=folder)


def document(rule: AnyRule, before: Deployed | None, *, now: datetime, folder: Path) -> dict[str, Any]:
    """Return a rule's document in ``siem-rules``.

    Raises:
        RuleError: it does not survive being written as YAML.
    """
    content = yaml.safe_dump(dict(rule.content), sort_keys=False, allow_unicode=True)
    if digest(yaml.safe_load(content)) != rule.content_hash:
        raise RuleError("the rule reads differently once written as YAML", where=rule.where)
    body = {
        "key": key_of(rule),
        "uuid": rule.uuid,
        "name": rule.name,
        "title": rule.title,
        "kind": kind_of(rule),
        "level": rule.level,
        "path": _relative(rule.path, folder),
        "line": rule.line,
        "content_hash": rule.content_hash,
        "content": content,
        "applied": rfc3339(now),
    }
    if before is not None:
        same = before.content_hash == rule.content_hash
        kept = {name: before.body[name] for name in ("content_hash", "content", "applied")}
        body["previous"] = before.body.get("previous") if same else kept
    return body


def _relative(path: Path, folder: Path) -> str:
    try:
        return str(PurePosixPath(path.resolve().relative_to(folder.resolve())))
    except ValueError:
        return path.name


def _written(place: Mapping[str, Any], version: Mapping[str, Any]) -> Written:
    stem, _, suffix = str(place["name"]).partition("#")
    number = 0 if not suffix else int(suffix) if suffix.isdecimal() else 1
    path = Path(str(place["path"])).with_name(f"{stem}.yml")
    return Written(path, number, yaml.safe_load(version["content"]), {(): int(place["line"])})


def _single(written: Written) -> AnyRule | None:
    rules = rule_set([written])
    return next(iter((*rules.rules, *rules.correlations, *rules.filters)), None)
