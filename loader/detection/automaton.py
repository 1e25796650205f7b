"""Will a server take this regular expression? Lucene makes it deterministic first, and may refuse to.

``a.{1,50}b``, searched, is refused with a 400 by OpenSearch 3.8.0. The same construction is done here, on the
expressions this project writes, with a lower limit: better found out when a rule is compiled than when it runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

_LAST = 0x10FFFF
#: Lucene stops at 100,000 (``max_determinized_states`` 10,000, times ten) on a smaller automaton than ours.
_LIMIT = 30_000
_MAX_STATES = 20_000

_Ranges = tuple[tuple[int, int], ...]


class _TooLargeError(Exception):
    pass


@lru_cache(maxsize=4096)
def is_affordable(expression: str) -> bool:
    """Say whether making ``expression`` deterministic stays well below what Lucene allows."""
    automaton = _Automaton()
    try:
        start, _ = _Parser(expression, automaton).union()
        return automaton.determinize(start)
    except _TooLargeError:
        return False


class _Automaton:
    """A nondeterministic automaton with empty transitions."""

    def __init__(self) -> None:
        self.empty: list[list[int]] = []
        self.steps: list[list[tuple[_Ranges, int]]] = []

    def state(self) -> int:
        if len(self.empty) >= _MAX_STATES:
            raise _TooLargeError
        self.empty.append([])
        self.steps.append([])
        return len(self.empty) - 1

    def determinize(self, start: int) -> bool:
        first = self._closed([start])
        seen, todo, effort = {first}, [first], 0
        while todo:
            current = todo.pop()
            effort += len(current)
            if effort > _LIMIT:
                return False
            steps = [step for state in current for step in self.steps[state]]
            for targets in _targets(steps):
                reached = self._closed(targets)
                if reached and reached not in seen:
                    seen.add(reached)
                    todo.append(reached)
        return True

    def _closed(self, states: Iterable[int]) -> frozenset[int]:
        """Return the states with something to read, or the end, that can be reached without reading."""
        todo = list(states)
        reached = set(todo)
        while todo:
            for target in self.empty[todo.pop()]:
                if target not in reached:
                    reached.add(target)
                    todo.append(target)
        return frozenset(state for state in reached if self.steps[state] or not self.empty[state])


def _targets(steps: list[tuple[_Ranges, int]]) -> set[frozenset[int]]:
    points = {point for ranges, _ in steps for low, high in ranges for point in (low, high + 1)}
    return {
        frozenset(target for ranges, target in steps if any(low <= point <= high for low, high in ranges))
        for point in points
    }


class _Parser:
    """Reads Lucene's syntax as far as this project writes it. Each method returns the start and end of a piece."""

    def __init__(self, text: str, automaton: _Automaton) -> None:
        self.text = text
        self.position = 0
        self.automaton = automaton

    def union(self) -> tuple[int, int]:
        start, end = self.automaton.state(), self.automaton.state()
        while True:
            first, last = self._sequence()
            self.automaton.empty[start].append(first)
            self.automaton.empty[last].append(end)
            if not self._take("|"):
                return start, end

    def _sequence(self) -> tuple[int, int]:
        start = end = self.automaton.state()
        while self.position < len(self.text) and self.text[self.position] not in "|)":
            first, last = self._repeated()
            self.automaton.empty[end].append(first)
            end = last
        return start, end

    def _repeated(self) -> tuple[int, int]:
        begin = self.position
        piece = self._atom()
        low, high = 1, 1
        while self.position < len(self.text) and self.text[self.position] in "*+?{":
            low, high = self._bounds()
        end = self.position
        if (low, high) == (1, 1):
            return piece
        start = last = self.automaton.state()
        done = self.automaton.state()
        for number in range(max(low, high, 1)):
            if number:  # Each round needs states of its own: read the atom again.
                self.position = begin
                piece = self._atom()
            if number >= low:
                self.automaton.empty[last].append(done)
            self.automaton.empty[last].append(piece[0])
            last = piece[1]
        self.position = end
        self.automaton.empty[last].append(done)
        if high < low:  # unlimited
            self.automaton.empty[last].append(piece[0])
        return start, done

    def _bounds(self) -> tuple[int, int]:
        """Return the least and the greatest number of rounds; a greatest below the least means unlimited."""
        character = self.text[self.position]
        self.position += 1
        if character == "*":
            return 0, -1
        if character == "+":
            return 1, 0
        if character == "?":
            return 0, 1
        body, _, _ = self.text[self.position :].partition("}")
        self.position += len(body) + 1
        low, comma, high = body.partition(",")
        if not comma:
            return int(low), int(low)
        return int(low), int(high) if high else int(low) - 1

    def _atom(self) -> tuple[int, int]:
        character = self.text[self.position]
        self.position += 1
        if character == "(":
            piece = self.union()
            self._take(")")
            return piece
        if character == "[":
            return self._reading(self._class())
        if character == ".":
            return self._reading(((0, _LAST),))
        if character == "#":
            return self._reading(())
        if character == "\\":
            character = self.text[self.position]
            self.position += 1
        return self._reading(((ord(character), ord(character)),))

    def _class(self) -> _Ranges:
        negated = self._take("^")
        ranges: list[tuple[int, int]] = []
        while not self._take("]"):
            low = self._member()
            ranges.append((low, self._member() if self._take("-") else low))
        if not negated:
            return tuple(ranges)
        gaps, start = [], 0
        for low, high in sorted(ranges):
            if low > start:
                gaps.append((start, low - 1))
            start = max(start, high + 1)
        return (*gaps, (start, _LAST))

    def _member(self) -> int:
        if self.text[self.position] == "\\":
            self.position += 1
        self.position += 1
        return ord(self.text[self.position - 1])

    def _reading(self, ranges: _Ranges) -> tuple[int, int]:
        start, end = self.automaton.state(), self.automaton.state()
        self.automaton.steps[start].append((ranges, end))
        return start, end

    def _take(self, character: str) -> bool:
        found = self.text[self.position : self.position + 1] == character
        self.position += found
        return found
