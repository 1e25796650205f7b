"""Sliding windows as Painless: what an Alerting monitor's aggregations compute, exactly as :mod:`..window` does.

A ``scripted_metric`` below each group gathers (time, which base rules matched, values) and slides over them in the
order of time: a matching event at t fires if [t - span, t], ties included, satisfies the condition. Which base rules an
event matches arrives as its score: each base rule is a ``constant_score`` of its own power of two.

Nothing of a rule becomes part of a script's source: names, spans and bounds are parameters. So scripts are compiled
once, and no value can be read as code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loader.detection.fields import Schema

#: Scores are floats: powers of two are exact, sums of as many of them as a float has bits.
MOST_RULES = 20

# Walks down a path of ``_source`` through lists; keys of payloads may hold dots, so every way to read it is tried.
_WALK = """
void walk(def node, String path, List found) {
  if (node instanceof List) { for (def item : node) { walk(item, path, found); } return; }
  if (path.length() == 0) { if (node != null && !(node instanceof Map)) { found.add(node.toString()); } return; }
  if (!(node instanceof Map)) { return; }
  if (node.containsKey(path)) { walk(node.get(path), '', found); return; }
  int end = path.indexOf('.');
  while (end != -1) {
    String head = path.substring(0, end);
    if (node.containsKey(head)) { walk(node.get(head), path.substring(end + 1), found); }
    end = path.indexOf('.', end + 1);
  }
}
"""

# What is in doc values is read from there: ``_source`` is a hundred times as dear.
_READ = (
    _WALK
    + """
List read(Map doc, def source, Map column) {
  List found = new ArrayList();
  if (column.indexed) { for (def value : doc[column.path]) { found.add(value.toString()); } }
  else { walk(source, column.path, found); }
  return found;
}
"""
)

_VALUES = (
    _READ
    + """
List found = read(doc, params.column.indexed ? null : params._source, params.column);
if (found.isEmpty() && params.absent != null) { found.add(params.absent); }
return found;
"""
)

_INIT = "state.seen = new ArrayList();"

_MAP = (
    _READ
    + """
List values = new ArrayList();
values.add('');
for (Map column : params.columns) {
  List found = read(doc, column.indexed ? null : params._source, column);
  List joined = new ArrayList();
  for (def before : values) { for (def value : found) { joined.add(before + value.length() + ':' + value); } }
  values = joined;
}
state.seen.add([doc['@timestamp'].value.toInstant().toEpochMilli(), (long) _score, values]);
"""
)

_COMBINE = "return state.seen;"

# ``measure`` is the count of events, of distinct values, of base rules present, or of those reached in order.
_REDUCE = """
boolean holds(double measure, Map bounds) {
  if (bounds.containsKey('gt') && !(measure > bounds.gt)) { return false; }
  if (bounds.containsKey('gte') && !(measure >= bounds.gte)) { return false; }
  return true;
}
int inOrder(List seen, int first, int last, int rules) {
  long[] reached = new long[rules + 1];
  for (int length = 0; length <= rules; length++) { reached[length] = Long.MAX_VALUE; }
  reached[0] = Long.MIN_VALUE;
  for (int rule = 0; rule < rules; rule++) {
    long bit = 1L << rule;
    for (int length = rule; length >= 0; length--) {
      if (reached[length] == Long.MAX_VALUE) { continue; }
      for (int at = first; at <= last; at++) {
        long time = (long) seen.get(at).get(0);
        if (time >= reached[length] && ((long) seen.get(at).get(1) & bit) != 0) {
          if (time < reached[length + 1]) { reached[length + 1] = time; }
          break;
        }
      }
    }
  }
  int most = 0;
  for (int length = 1; length <= rules; length++) { if (reached[length] != Long.MAX_VALUE) { most = length; } }
  return most;
}
List seen = new ArrayList();
for (def part : states) { if (part != null) { seen.addAll(part); } }
seen.sort((a, b) -> Long.compare((long) a.get(0), (long) b.get(0)));
Map counts = new HashMap();
int first = 0;
int fired = 0;
int at = 0;
while (at < seen.size()) {
  long time = (long) seen.get(at).get(0);
  int last = at;
  while (last + 1 < seen.size() && (long) seen.get(last + 1).get(0) == time) { last++; }
  for (int added = at; added <= last; added++) {
    def keys = params.kind == 'value_count' ? seen.get(added).get(2) : [];
    for (def key : keys) { counts.put(key, counts.getOrDefault(key, 0) + 1); }
  }
  while ((long) seen.get(first).get(0) < time - params.span) {
    def keys = params.kind == 'value_count' ? seen.get(first).get(2) : [];
    for (def key : keys) {
      int left = counts.get(key) - 1;
      if (left == 0) { counts.remove(key); } else { counts.put(key, left); }
    }
    first++;
  }
  double measure = last - first + 1;
  if (params.kind == 'value_count') { measure = counts.size(); }
  if (params.kind == 'temporal') {
    long present = 0L;
    for (int each = first; each <= last; each++) { present = present | (long) seen.get(each).get(1); }
    measure = Long.bitCount(present);
  }
  if (params.kind == 'temporal_ordered') { measure = inOrder(seen, first, last, (int) params.rules); }
  if (holds(measure, params.bounds)) { fired += last - at + 1; }
  at = last + 1;
}
return fired;
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A path of ``_source`` whose values are grouped or counted. ``indexed`` says that a keyword field holds them."""

    path: str
    indexed: bool

    @classmethod
    def of(cls, path: str, schema: Schema) -> Column:
        """Return the column for ``path``: payloads and fields that are no keywords are read from ``_source``."""
        field = schema.fields.get(path)
        return cls(path, field is not None and field.kind == "keyword" and not field.lowered)

    def params(self) -> dict[str, Any]:
        """Return the column as scripts take it."""
        return {"path": self.path, "indexed": self.indexed}


def group_source(column: Column, *, absent: str | None) -> dict[str, Any]:
    """Return a composite source over the values of ``column``.

    ``absent`` is the key of events that have none; with ``None`` they are in no group. A null key would break the
    monitor's trigger, so where one is wanted it is made by a script.
    """
    if column.indexed and absent is None:
        return {"terms": {"field": column.path}}
    params: dict[str, Any] = {"column": column.params()}
    if absent is not None:
        params["absent"] = absent
    return {"terms": {"script": {"lang": "painless", "source": _tidy(_VALUES), "params": params}}}


def sliding(kind: str, span: int, bounds: dict[str, float], counted: Sequence[Column], rules: int) -> dict[str, Any]:
    """Return the metric that counts the events at which a window of ``span`` milliseconds satisfies ``bounds``.

    ``kind`` is event_count, value_count (of the values ``counted``), temporal or temporal_ordered (of ``rules`` base
    rules).
    """
    columns = [column.params() for column in counted]
    return {
        "scripted_metric": {
            "init_script": _INIT,
            "map_script": {"lang": "painless", "source": _tidy(_MAP), "params": {"columns": columns}},
            "combine_script": _COMBINE,
            "reduce_script": {
                "lang": "painless",
                "source": _tidy(_REDUCE),
                "params": {"kind": kind, "span": span, "bounds": bounds, "rules": rules},
            },
        }
    }


def _tidy(source: str) -> str:
    return " ".join(line.strip() for line in source.splitlines() if line.strip())
