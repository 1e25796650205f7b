"""Records that were loaded before, told before any document is made of them.

A second delivery, a backfill over what is there, the same event from two trails: the cluster would refuse every
document, after both sides have done all their work. So a few ids of a batch are asked for first, and if they are there
all of them are. What is found counts as a duplicate, as a refusal would; the rest goes the usual way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from loader.index.lookup import Lookup
from loader.ingest.work import Work
from loader.logtypes.model import Whereabouts
from loader.source.objects import Piece

#: A batch with fewer records is not worth a question.
_WORTH_ASKING: Final = 64
#: Records asked for first, from the whole batch, and how many of them make it likely that others are there too.
_SAMPLE: Final = 8
_TELLING: Final = 4

#: Some records of one object.
Run = tuple[Work, Sequence[Piece]]


class KnownRecords:
    """Tells which records of a batch the cluster has. Safe between threads."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def among(self, runs: Sequence[Run]) -> list[dict[int, Whereabouts]]:
        """Return for each run: position in it → where its document is, of records that are certainly in the cluster.

        Objects are loaded from their beginning: of one whose first records are new, the others are not asked for.
        """
        known: list[dict[int, Whereabouts]] = [{} for _ in runs]
        asked = [number for number, (work, pieces) in enumerate(runs) if pieces and not work.is_new]
        everything = [(number, position) for number in asked for position in range(len(runs[number][1]))]
        if len(everything) >= _WORTH_ASKING:
            found = self._ask(runs, everything[:: len(everything) // _SAMPLE])
            if len(found) >= _TELLING:
                found = self._ask(runs, everything)
            else:
                for number in asked:
                    runs[number][0].is_new = True
            # What a sample that tells nothing has found is known all the same.
            for (number, position), place in found.items():
                known[number][position] = place
        return known

    def _ask(self, runs: Sequence[Run], chosen: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Whereabouts]:
        by_index: defaultdict[str, list[tuple[tuple[int, int], Whereabouts]]] = defaultdict(list)
        for number, position in chosen:
            work, pieces = runs[number]
            log_type = work.log_type
            if log_type is None or log_type.locate is None:
                continue
            place = log_type.locate(pieces[position].raw, work.context)
            if place is not None:
                by_index[log_type.index(place.day)].append(((number, position), place))
        found: dict[tuple[int, int], Whereabouts] = {}
        for index, there in by_index.items():
            present = self._lookup.present(index, [place.id for _, place in there])
            found.update({at: place for at, place in there if place.id in present})
        return found
