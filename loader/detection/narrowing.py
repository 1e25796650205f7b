"""What a rule has to look at, as pieces and as queries narrowed to it: some groups, around some moments. Pure.

The new events of a cycle are mostly of the last minutes, and some are of days before. One stretch of time around all of
them holds everything that happened in between. So moments that are far apart become stretches of their own, each with
the groups that were touched there, and one query asks for all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from loader.detection.correlation import DAY_MS, Group, Tree
from loader.detection.intervals import Range, Ranges, size, union
from loader.detection.lowercase import lower
from loader.detection.matches import PAYLOAD
from loader.detection.model import Query

#: Groups whose events are read together.
_GROUPS = 500
#: Stretches of one query, and clauses that they may be together: with 1,024 a search is refused, the rule's own among
#: them.
_STRETCHES = 100
_CLAUSES = 400
#: Milliseconds to which a stretch is rounded, at least.
_STEP = 60_000
#: Values of a field that a search is narrowed to, and how long they may be.
_NARROW = 1000
_LONGEST_TERM = 1000


def slabs(tree: Tree, touched: Mapping[Group | None, Ranges]) -> list[dict[Group | None, Ranges]]:
    """Cut the work, group → ranges of triggers, into pieces whose events fit into memory.

    What has to be read of a day on which little was touched is little: several of them are one piece.
    """
    length = max(8 * tree.bucket, 4 * tree.lookback, DAY_MS)
    pieces: list[dict[Group | None, list[Range]]] = []
    room = 0
    for groups in _periods(touched, length):
        needed = size(union((first - tree.lookback, last) for spans in groups.values() for first, last in spans))
        if not pieces or needed > room or len(pieces[-1].keys() | groups.keys()) > _GROUPS:
            pieces.append(defaultdict(list))
            room = length
        room -= needed
        for group, spans in groups.items():
            pieces[-1][group] += spans
    cut: list[dict[Group | None, Ranges]] = []
    for piece in pieces:
        items = [(group, union(spans)) for group, spans in piece.items()]
        cut += [dict(items[start : start + _GROUPS]) for start in range(0, len(items), _GROUPS)]
    return cut


def _periods(touched: Mapping[Group | None, Ranges], length: int) -> Iterable[dict[Group | None, list[Range]]]:
    """Yield what of ``touched`` is in each period of ``length`` milliseconds, in the order of time."""
    periods: dict[int, dict[Group | None, list[Range]]] = defaultdict(lambda: defaultdict(list))
    for group, spans in touched.items():
        for first, last in spans:
            for number in range(first // length, last // length + 1):
                part = (max(first, number * length), min(last, (number + 1) * length - 1))
                periods[number][group].append(part)
    return (groups for _, groups in sorted(periods.items()))


@dataclass(frozen=True, slots=True)
class Stretch:
    """What has to be looked at in [first, last] milliseconds: the events of ``groups`` (``None``: of all)."""

    first: int
    last: int
    groups: tuple[Group | None, ...]


def stretches(wanted: Mapping[Group | None, Ranges], before: int, most: int = _STRETCHES) -> list[Stretch]:
    """Return where the events are that may matter to ``wanted`` (group → ranges), up to ``before`` ms before them.

    There are ``most`` at most. Groups that need nearly the same times share a stretch: times are rounded to steps, and
    the steps are doubled until that many are left.
    """
    needed = {group: union((first - before, last) for first, last in spans) for group, spans in wanted.items()}
    origin = min(first for spans in needed.values() for first, _ in spans)
    step = max(before // 4, _STEP)
    while True:
        groups: dict[Range, dict[Group | None, None]] = defaultdict(dict)
        for group, spans in needed.items():
            for first, last in union(((first - origin) // step, (last - origin) // step) for first, last in spans):
                groups[first, last][group] = None
        if len(groups) <= most:
            break
        step *= 2
    return [
        Stretch(origin + first * step, origin + (last + 1) * step - 1, tuple(inside))
        for (first, last), inside in sorted(groups.items())
    ]


def narrowed(tree: Tree, leaf: str, wanted: Mapping[Group | None, Ranges], before: int) -> list[Query]:
    """Return what narrows a base rule to its events that may matter to ``wanted``: more may be found, never less.

    One stretch of time alone is not named again: whoever reads says from when to when.
    """
    fields = sum(map(len, (tree.routes or {}).get(leaf, ())))
    # A range of time counts as two.
    parts = stretches(wanted, before, min(_STRETCHES, max(1, _CLAUSES // (2 + fields))))
    if len(parts) == 1:
        return _of_groups(tree, leaf, parts[0].groups)
    either: list[Query] = [
        {"bool": {"filter": [period(part.first, part.last), *_of_groups(tree, leaf, part.groups)]}} for part in parts
    ]
    return [{"bool": {"should": either, "minimum_should_match": 1}}] if either else []


def period(first: int, last: int) -> Query:
    """Return the condition that an event was in [first, last] milliseconds."""
    return {"range": {"@timestamp": {"gte": first, "lte": last, "format": "epoch_millis"}}}


def _of_groups(tree: Tree, leaf: str, groups: Sequence[Group | None]) -> list[Query]:
    if tree.routes is None:
        return []
    known = [group for group in groups if group is not None]
    if len(known) < len(groups):
        return []
    either: list[Query] = []
    for route in tree.routes.get(leaf, []):
        clauses = [clause for name, path in route.items() for clause in _any_of(path, _values(known, name))]
        if not clauses:
            return []
        either.append({"bool": {"filter": clauses}})
    return [{"bool": {"should": either, "minimum_should_match": 1}}] if either else []


def _values(groups: Iterable[Group], name: str) -> set[object]:
    return {value for group in groups for key, value in group if key == name}


def _any_of(path: str, terms: set[object]) -> list[Query]:
    """Return the condition that ``path`` has one of ``terms``; nothing if that cannot be asked for.

    Payloads are not indexed under their own names, nor are very long values. Neither can an absence be asked for
    among them.
    """
    searchable = all(term is not None and len(str(term)) <= _LONGEST_TERM for term in terms)
    if PAYLOAD in path or not searchable or len(terms) > _NARROW:
        return []
    # A wildcard field holds lower case only.
    either = terms | {lower(term) for term in terms if isinstance(term, str)}
    return [{"terms": {path: sorted(either, key=str)}}]
