"""A document reduced to some paths says at each of them what the whole one says."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from loader.detection.matches import Match, flatten, values

NAMES = st.sampled_from(("a", "b", "c"))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(("x", "", "y" * 300)))
PAYLOAD_PATHS = ("aws.cloudtrail.flattened.p.a.b", "aws.cloudtrail.flattened.p.c")
PATHS = st.lists(
    st.one_of(st.lists(NAMES, min_size=1, max_size=3).map(".".join), st.sampled_from(PAYLOAD_PATHS)),
    unique=True,
    max_size=6,
)
CONTAINERS = lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3))  # noqa: E731
VALUES = st.recursive(SCALARS, CONTAINERS, max_leaves=8)


@given(st.dictionaries(NAMES, VALUES), VALUES, PATHS)
def test_the_values_at_each_path(fields: dict[str, Any], payload: Any, paths: list[str]) -> None:
    source = {**fields, "aws": {"cloudtrail": {"flattened": {"p": payload}}}}
    flat = flatten(Match("i", "1", 0, source), paths).source
    for path in paths:
        assert values(flat, path) == values(source, path)
    assert set(flat) <= set(paths)
