"""Lower case as the search server's ``lowercase`` normalizer writes it, which is not Python's ``str.lower``.

Lucene lower-cases code point by code point with Java's ``Character.toLowerCase``: no context (for a final sigma), no
expansion (``İ`` becomes ``i``). Measured on OpenSearch 3.8.0 over every code point.
"""

from __future__ import annotations

from functools import cache, lru_cache

#: Where Python differs: it expands U+0130, and before 3.14 does not know the letters that came with Unicode 16.
_SPECIAL = {
    0x130: "i",
    0x1C89: "\u1c8a",
    0xA7CB: "\u0264",
    0xA7CC: "\ua7cd",
    0xA7DA: "\ua7db",
    0xA7DC: "\u019b",
    **{point: chr(point + 0x20) for point in range(0x10D50, 0x10D66)},
}
#: No character above has case.
_END = 0x20000


@cache
def _table() -> dict[int, str]:
    table = {point: chr(point).lower() for point in range(_END) if chr(point).lower() != chr(point)}
    return table | _SPECIAL


@lru_cache(maxsize=65536)
def lower(text: str) -> str:
    """Return ``text`` as it is indexed by a lowercase-normalised keyword field."""
    return text.lower() if text.isascii() else text.translate(_table())


def has_case(text: str) -> bool:
    """Say whether two texts could differ from ``text`` in case only."""
    return any(character in variants() for character in text)


@cache
def variants() -> dict[str, str]:
    """Return for each character that has case all characters with the same lower case, itself included."""
    groups: dict[str, set[str]] = {}
    for point, lowered in _table().items():
        groups.setdefault(lowered, {lowered}).add(chr(point))
    return {member: "".join(sorted(group)) for group in groups.values() for member in group}
