"""What a pack would alert on, decided in memory: the same windows and folds the scheduler uses, without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest

from loader.detection.compile import Pack, compile_rules
from loader.detection.correlation import Tree, canonical
from loader.detection.evaluate import fires
from loader.detection.event import Event, milliseconds
from loader.detection.load import RuleSet, load_rules
from loader.detection.matches import Match
from loader.detection.model import CompiledCorrelation, CompiledRule, Rule
from loader.project import rules_dir


@pytest.fixture(scope="session")
def rules() -> RuleSet:
    """Return the project's own rules as they are written."""
    return load_rules([rules_dir()])


@pytest.fixture(scope="session")
def pack(rules: RuleSet) -> Pack:
    """Return the project's own rules, compiled once for all tests."""
    return compile_rules(rules)


@pytest.fixture(scope="session")
def correlate() -> Callable[[CompiledCorrelation, Sequence[Event]], bool]:
    """Return what says whether a correlation is triggered by a history."""
    return _correlation_fires


@pytest.fixture(scope="session")
def alerts() -> Callable[[Pack, Sequence[Event]], Iterator[tuple[Rule, str, int]]]:
    """Return what lists the alerts a pack raises on events."""
    return _alerts


def _match_of(event: Event, number: int) -> Match:
    """Return ``event`` as the reader would hand it to a correlation."""
    time = milliseconds(event.source["@timestamp"])
    assert time is not None
    return Match("log", f"{number:06d}", time, event.source)


def _correlation_fires(correlation: CompiledCorrelation, history: Sequence[Event]) -> bool:
    """Say whether ``correlation`` is triggered by ``history``."""
    return any(_triggers(correlation, history))


def _alerts(pack: Pack, events: Sequence[Event]) -> Iterator[tuple[Rule, str, int]]:
    """Yield each alert after suppression: the rule, the group folded by, and how many triggers it folds."""
    nodes: Iterable[CompiledRule | CompiledCorrelation] = (*pack.rules, *pack.correlations)
    for node in nodes:
        if node.rule.level == "informational":
            continue
        tree = Tree(node)
        folded: dict[tuple[str, int], int] = {}
        for trigger in _triggers(node, events):
            for group in tree.fold(trigger) or [()]:
                key = (canonical(group), trigger.time // tree.bucket)
                folded[key] = folded.get(key, 0) + 1
        for (group_text, _), count in folded.items():
            yield node.rule, group_text, count


def _triggers(node: CompiledRule | CompiledCorrelation, events: Sequence[Event]) -> list:  # type: ignore[type-arg]
    tree = Tree(node)
    found = {
        key: [_match_of(event, number) for number, event in enumerate(events) if fires(leaf, event)]
        for key, leaf in tree.leaves.items()
    }
    return tree.triggers(found)
