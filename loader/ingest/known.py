"""Records that were loaded before, told before any document is made of them.

A second delivery, a backfill over what is there, the same event from two trails: the cluster would refuse every
document, after both sides have done all their work. So a few ids of a batch are asked for first, and if they are there
all of them are. What is found counts as a duplicate, as a refusal would; the rest goes the usual way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from loader.index.lookup import Lookup
from loader.logtypes.model import LogType, ObjectContext, Whereabouts
from loader.source.objects import Piece

#: A batch with fewer records is not worth a question.
_WORTH_ASKING: Final = 64
#: Records asked for first, from the whole batch, and how many of them make it likely that others are there too.
_SAMPLE: Final = 8
_TELLING: Final = 4


class KnownRecords:
    """Tells which records of a batch the cluster has. Safe between threads."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def among(self, log_type: LogType, pieces: Sequence[Piece], context: ObjectContext) -> dict[int, Whereabouts]:
        """Return position in ``pieces`` → where its document is, of those that are certainly in the cluster."""
        locate = log_type.locate
        if locate is None or len(pieces) < _WORTH_ASKING:
            return {}

        def ask(positions: Sequence[int]) -> dict[int, Whereabouts]:
            placed = ((position, locate(pieces[position].raw, context)) for position in positions)
            return self._present(log_type, [(position, place) for position, place in placed if place is not None])

        sample = range(0, len(pieces), len(pieces) // _SAMPLE)
        return ask(range(len(pieces))) if len(ask(sample)) >= _TELLING else {}

    def _present(self, log_type: LogType, placed: Sequence[tuple[int, Whereabouts]]) -> dict[int, Whereabouts]:
        by_day: defaultdict[str, list[tuple[int, Whereabouts]]] = defaultdict(list)
        for position, place in placed:
            by_day[place.day].append((position, place))
        known: dict[int, Whereabouts] = {}
        for day, there in by_day.items():
            present = self._lookup.present(log_type.index(day), [place.id for _, place in there])
            known.update({position: place for position, place in there if place.id in present})
        return known
