"""Amazon Athena: rules as SQL over CloudTrail's own files (engine version 3, Trino's dialect).

A statement is run once every so many minutes and examines one period: that which ended ``lateness`` ago, by the wall
clock rounded down to the interval. So runs of one interval examine every event once, however late in it they start, and
no event before its file had the time to arrive. What was found in a period comes as one row a group (suppression).

Windows of correlations slide in event time, exactly: :mod:`.athena_windows`.
"""

from __future__ import annotations

from loader.detection.export.athena_period import AthenaOptions
from loader.detection.export.athena_table import Place, stored_column
from loader.detection.export.athena_windows import windowed
from loader.detection.export.model import Document, Node, UnsaidError, distinct, file_name, one_line
from loader.detection.export.nodes import schema_for
from loader.detection.export.sql import Conditions, identifier
from loader.detection.model import CompiledCorrelation, CompiledRule, Rule
from loader.detection.timespan import in_words

__all__ = ["athena_statement", "athena_table"]

#: https://docs.aws.amazon.com/athena/latest/ug/service-limits.html: bytes of one statement.
_LONGEST = 262_144
_NOTE_LATE = "Events that arrive later than {lateness} after their time are missed; nothing is taken back or made up."
_NOTE_ONCE = "Run it once every {every}, no oftener: each run examines one period."
_NOTE_TWICE = "Records with one eventID (several trails) count as one event."
_NOTE_STATE = "It knows nothing of earlier runs: what goes on for longer comes again in the next period."
_NOTE_CASE = "Keys of a payload that differ in letter case only are not told apart."


def athena_table(options: AthenaOptions) -> Document:
    """Return the statement that makes the table all the rules read."""
    return Document("00-table.sql", options.table.ddl())


def athena_statement(node: Node, options: AthenaOptions) -> Document:
    """Return the statement of a rule or correlation.

    Raises:
        UnsaidError: SQL over the files cannot express it.
    """
    if isinstance(node, CompiledCorrelation):
        statement, more = windowed(node, options)
        return _document(node.rule, statement, more, options)
    return _document(node.rule, _rule(node, options), [], options)


def _rule(rule: CompiledRule, options: AthenaOptions) -> str:
    try:
        condition = Conditions(schema_for(rule)).sql(rule.query if rule.verify is None else rule.verify)
    except UnsaidError as error:
        raise UnsaidError(error.reason, "detection", hint="Run it with siem detect.") from None
    groups = [_shown(stored_column(schema_for(rule), path)) for path in rule.suppress_by]
    columns = "".join(f"  {sql} AS {identifier(path)},\n" for path, sql in zip(rule.suppress_by, groups, strict=True))
    by = ", ".join(str(number + 1) for number in range(len(groups))) or "eventid"
    return (
        f"SELECT\n{columns}"
        "  count(DISTINCT eventid) AS events,\n  min(eventtime) AS first_event,\n  max(eventtime) AS last_event,\n"
        "  array_agg(DISTINCT eventid) AS event_ids\n"
        f"FROM {options.table.qualified}\n"
        f"WHERE {options.scanned(0)}\n  AND {condition}\n"
        f"GROUP BY {by}"
    )


def _shown(place: Place) -> str:
    return f"array_join(array_distinct({place.sql}), ', ')" if place.many else place.sql


def _document(rule: Rule, statement: str, more: list[str], options: AthenaOptions) -> Document:
    every, lateness = in_words(options.every * 60_000), in_words(options.lateness * 1000)
    notes = [_NOTE_ONCE.format(every=every), _NOTE_LATE.format(lateness=lateness), _NOTE_TWICE, *more]
    if rule.suppression and rule.suppression.seconds > options.every * 60:
        notes.append(_NOTE_STATE)
    if "json_query(" in statement or "json_exists(" in statement:
        notes.append(_NOTE_CASE)
    lines = [f"{one_line(rule.title)} ({rule.level})", f"{rule.name}, id {rule.uuid}", *notes]
    text = "".join(f"-- {one_line(line)}\n" for line in lines) + statement + ";\n"
    if len(text.encode()) > _LONGEST:
        raise UnsaidError(f"the statement has {len(text.encode())} bytes; Athena takes {_LONGEST}")
    return Document(file_name(rule, "sql"), text, rule, distinct(notes))
