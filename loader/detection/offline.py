"""Correlations without a server: the windows and folds the scheduler uses, over events in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loader.detection.correlation import Tree, Trigger, canonical
from loader.detection.evaluate import fires
from loader.detection.event import Event, milliseconds
from loader.detection.matches import Match
from loader.detection.model import CompiledCorrelation, CompiledRule


def correlation_fires(correlation: CompiledCorrelation, history: Sequence[Event]) -> bool:
    """Say whether ``correlation`` is triggered by ``history``, in whatever order it is given."""
    return bool(triggers(correlation, history))


def triggers(node: CompiledRule | CompiledCorrelation, events: Sequence[Event]) -> list[Trigger]:
    """Return every trigger of a rule or correlation, in the order of time.

    The event of a trigger has the position in ``events`` as its id. Events without a time are left out, as they are in
    an index.
    """
    tree = Tree(node)
    return tree.triggers({key: list(_matches(leaf, events)) for key, leaf in tree.leaves.items()})


def _matches(rule: CompiledRule, events: Sequence[Event]) -> Iterator[Match]:
    for position, event in enumerate(events):
        time = milliseconds(event.source.get("@timestamp"))
        if time is not None and fires(rule, event):
            yield Match("", f"{position:09d}", time, event.source)


def count_alerts(node: CompiledRule | CompiledCorrelation, found: Sequence[Trigger]) -> int:
    """Return how many alerts these triggers would be: folded by group and bucket, as suppression has it."""
    if isinstance(node, CompiledRule) and node.rule.suppression is None:
        return len(found)
    tree = Tree(node)
    folded = set()
    for trigger in found:
        for group in tree.fold(trigger) or [()]:
            folded.add((canonical(group), trigger.time // tree.bucket))
    return len(folded)
