"""Which groups have enough events for any trigger, as the server can count them: the others need not be read.

Most groups that new events touch are far from what a correlation asks for. Counting by group costs the server a part of
what reading their events does, and this process nothing. What is asked is necessary, never sufficient: a group that is
left out cannot have a trigger, and since events only come, it cannot have had one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Literal

from loader.detection.correlation import Group, Tree
from loader.detection.event_reader import EventReader
from loader.detection.intervals import Range, Ranges
from loader.detection.model import CompiledCorrelation, CompiledRule, Query
from loader.detection.narrowing import narrowed

#: Values that are longer may not be indexed, so that the server has no group of them.
_UNCOUNTABLE = 8000


@dataclass(frozen=True, slots=True)
class Least:
    """A group needs ``number`` events, different values, or rules that match; they may be ``before`` ms earlier."""

    what: Literal["events", "values", "rules"]
    number: int
    before: int


def least(tree: Tree) -> Least | None:
    """Return what any trigger of ``tree`` needs; ``None`` when nothing can be said, or nothing worth counting."""
    root = tree.root
    if not isinstance(root, CompiledCorrelation) or not all(isinstance(c, CompiledRule) for c in root.rules.values()):
        return None
    window = tree.windows[id(root)]
    if window.type == "spike":
        return Least("events", window.minimum, window.span) if window.minimum > 1 else None
    if not window.monotone or window.expression is not None:
        return None
    number = max(ceil(window.bounds.get("gte", 1)), floor(window.bounds.get("gt", 0)) + 1)
    if window.type in ("temporal", "temporal_ordered"):
        number = number if window.bounds else len(root.rules)
        return Least("rules", number, tree.lookback) if number > 1 else None
    kinds: dict[str, Literal["events", "values"]] = {"event_count": "events", "value_count": "values"}
    if window.type in kinds and number > 1:
        return Least(kinds[window.type], number, tree.lookback)
    return None


def plausible(
    tree: Tree,
    reader: EventReader,
    slab: Mapping[Group | None, Ranges],
    *,
    broad: Mapping[str, int],
) -> Mapping[Group | None, Ranges]:
    """Return the part of ``slab`` (group → times touched) that can have triggers.

    ``broad`` says how many events each base rule has just had: the one with the fewest is counted first, and what it
    leaves out is not looked for in the others.

    Raises:
        RuleError: the events cannot be counted.
        ClusterError: the cluster cannot be reached.
    """
    needed = least(tree)
    if needed is None or not slab or None in slab or tree.routes is None:
        return slab
    first, last = hull(slab.values())
    odd = {group for group in slab if group is not None and uncountable(group)}
    left = [group for group in slab if group is not None and group not in odd]
    found: Counter[Group] = Counter()
    leaves = sorted(tree.leaves, key=lambda name: broad.get(name, 0))
    for name in leaves:
        if not left:
            break
        also = narrowed(tree, name, {group: slab[group] for group in left}, needed.before)
        counts = _count(tree, reader, needed, name, (first - needed.before, last), also)
        if counts is None:
            return slab
        found.update(counts)
        if needed.what == "rules" and needed.number >= _references(tree):
            left = [group for group in left if counts[group]]
    kept = {group for group in left if found[group] >= needed.number} | odd
    return {group: spans for group, spans in slab.items() if group in kept}


def _count(
    tree: Tree, reader: EventReader, needed: Least, name: str, period: Range, also: Sequence[Query]
) -> Counter[Group] | None:
    root = tree.root
    assert isinstance(root, CompiledCorrelation)  # noqa: S101 (else nothing is needed)
    references = [
        reference
        for reference, child in root.rules.items()
        if isinstance(child, CompiledRule) and child.query_hash == name
    ]
    total: Counter[Group] = Counter()
    for reference, route in zip(references, (tree.routes or {})[name], strict=True):
        fields = root.condition.fields if needed.what == "values" else ()
        values = [root.aliases[field].get(reference, "") if field in root.aliases else field for field in fields]
        counts = reader.count_groups(tree.leaves[name], route, *period, values=values, also=also)
        if counts is None:
            return None
        # However many its events, a rule is there once.
        total.update(dict.fromkeys(counts, 1) if needed.what == "rules" else counts)
    return total


def _references(tree: Tree) -> int:
    return sum(len(routes) for routes in (tree.routes or {}).values())


def hull(ranges: Iterable[Ranges]) -> Range:
    """Return the shortest range that holds all of ``ranges``."""
    spans = [span for one in ranges for span in one]
    return min(first for first, _ in spans), max(last for _, last in spans)


def uncountable(group: Group) -> bool:
    """Return whether the server may have no bucket of the group."""
    return any(not isinstance(value, str) or len(value) > _UNCOUNTABLE for _, value in group)
