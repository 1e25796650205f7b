"""What a rule is once it is read, and what it is once it is compiled. Values only: no I/O, nothing of pySigma.

Field names: a :class:`Rule` speaks Sigma's (``userIdentity.arn``), a compiled rule the document's
(``aws.cloudtrail.user_identity.arn``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import orjson

from loader.detection.attack import Threat, threat
from loader.detection.places import Places

Engine = Literal["opensearch", "elasticsearch"]
Level = Literal["informational", "low", "medium", "high", "critical"]

#: A query body in the search server's DSL, or in the evaluator's dialect of it (see :mod:`loader.detection.evaluate`).
Query = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LogSource:
    """Sigma's ``logsource``."""

    product: str | None = None
    category: str | None = None
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Suppression:
    """``siem: {suppress: {by: [...], for: 1h}}``: within ``seconds``, matches that agree in ``by`` are one alert.

    ``by`` holds Sigma field names; :attr:`CompiledRule.suppress_by` the document's.
    """

    by: tuple[str, ...]
    seconds: int


@dataclass(frozen=True)
class Rule:
    """One Sigma rule (or the head of a correlation or filter) as its author wrote it.

    ``path`` and ``line`` are where it begins; ``name`` is the file's stem (a document after the first of a file adds
    its own ``name`` or number after ``#``); ``sigma_name`` is Sigma's ``name``, by which correlations refer to it.
    ``content_hash`` is SHA-256 (hex) over the parsed content: comments, key order and layout do not change it.
    """

    uuid: str
    name: str
    title: str
    level: Level
    status: str
    path: Path
    line: int
    content_hash: str
    description: str = ""
    author: str = ""
    license: str = ""
    references: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    falsepositives: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    logsource: LogSource = LogSource()
    sigma_name: str | None = None
    suppression: Suppression | None = None
    runbook: str = ""
    blind_spots: tuple[str, ...] = ()
    #: The whole document, as parsed from YAML.
    content: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def where(self) -> str:
        """Return ``file.yml:12``."""
        return f"{self.path}:{self.line}"

    @cached_property
    def threat(self) -> Threat:
        """Return what the tags say in ATT&CK's terms."""
        return threat(self.tags)


@dataclass(frozen=True)
class Filter(Rule):
    """A Sigma Filter: an exception that is added to rules. ``rules`` are ids or names, or ``("any",)``."""

    rules: tuple[str, ...] = ()
    owner: str = ""
    ticket: str = ""
    #: ISO date (``2027-01-31``) after which the lint fails.
    expires: str = ""


@dataclass(frozen=True)
class CorrelationRule(Rule):
    """A Sigma correlation (specification 2.1) or one of this project's own kinds, field names still Sigma's.

    ``rules`` are references (id or name) in the order written; the rest is described at :class:`CompiledCorrelation`.
    """

    type: str = ""
    rules: tuple[str, ...] = ()
    group_by: tuple[str, ...] = ()
    seconds: int = 0
    condition: Mapping[str, Any] = field(default_factory=dict)
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    generate: bool = False
    #: Keys of ``correlation:`` that the specification does not name (``baseline: 28d`` of new_terms, …).
    extra: Mapping[str, Any] = field(default_factory=dict)


AnyRule = Rule | CorrelationRule | Filter


@dataclass(frozen=True)
class CompiledFilter:
    """A filter as one rule uses it. ``query`` must hold for an event to be an alert; what it drops is counted."""

    filter: Filter
    query: Query


@dataclass(frozen=True)
class CompiledRule:
    """One rule, ready to be asked.

    ``query`` is structured DSL in filter context, without time bound, size or sort. It never misses a matching event.
    Where the server cannot express the rule, it may return more, and ``verify`` is then the exact condition in the
    evaluator's dialect: keep a hit only if ``evaluate.verified(rule, _source)``. ``verify`` is ``None`` when ``query``
    is exact. ``unfiltered`` is the query without Sigma Filters (``None`` when there are none): what it finds and
    ``query`` does not is what the filters suppressed.
    """

    rule: Rule
    #: Index pattern, ``log-aws-cloudtrail-*``.
    index: str
    query: Query
    verify: Query | None = None
    unfiltered: Query | None = None
    unfiltered_verify: Query | None = None
    filters: tuple[CompiledFilter, ...] = ()
    #: Document fields (paths into ``_source``) of the rule's suppression.
    suppress_by: tuple[str, ...] = ()
    #: Document fields the rule looks at, for showing evidence.
    fields: tuple[str, ...] = ()

    @cached_property
    def query_hash(self) -> str:
        """Return SHA-256 (hex) over what is asked: unlike ``content_hash``, a new title does not change it."""
        return digest([self.index, self.query, self.verify])


@dataclass(frozen=True)
class Condition:
    """A correlation's condition: ``field`` compared with bounds, all of which must hold.

    ``bounds`` maps gt, gte, lt, lte, eq, neq to a number. For extended temporal conditions ``expression`` is the
    boolean expression over rule references and ``bounds`` is empty.
    """

    bounds: Mapping[str, float] = field(default_factory=dict)
    #: Document fields whose values are counted, summed, …; several for a value_count over a tuple.
    fields: tuple[str, ...] = ()
    percentile: float | None = None
    expression: str | None = None


@dataclass(frozen=True)
class CompiledCorrelation:
    """A correlation with its base rules compiled and its fields mapped.

    ``rules`` maps each reference, in the order written, to a compiled rule or correlation. ``group_by`` holds document
    fields or alias names; ``aliases`` maps an alias to reference → document field.
    """

    rule: CorrelationRule
    type: str
    rules: Mapping[str, CompiledRule | CompiledCorrelation]
    seconds: int
    group_by: tuple[str, ...] = ()
    condition: Condition = Condition()
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    generate: bool = False
    suppress_by: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    #: Where addresses are, for ``impossible_travel``; such a correlation cannot be run without.
    places: Places | None = field(default=None, repr=False, compare=False)


def raising(nodes: Iterable[CompiledRule | CompiledCorrelation]) -> list[CompiledRule | CompiledCorrelation]:
    """Return what raises alerts: not the correlations that others only consume (without ``generate: true``)."""
    known = list(nodes)
    consumed = {
        child.rule.uuid
        for node in known
        if isinstance(node, CompiledCorrelation) and not node.generate
        for child in node.rules.values()
        if isinstance(child, CompiledCorrelation)
    }
    return [node for node in known if isinstance(node, CompiledRule) or node.rule.uuid not in consumed]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing a lint found. ``code`` is a stable short name; ``severity`` error fails the check, warning does not."""

    path: Path
    line: int
    code: str
    message: str
    severity: Literal["error", "warning", "notice"] = "error"
    hint: str | None = None

    @property
    def where(self) -> str:
        """Return ``file.yml:12``."""
        return f"{self.path}:{self.line}"


def digest(content: object) -> str:
    """Return SHA-256 (hex) over the canonical JSON of ``content`` (keys sorted, dates as ISO text)."""
    return hashlib.sha256(
        orjson.dumps(content, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    ).hexdigest()
