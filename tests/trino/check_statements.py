"""Athena's statements on Trino's own engine (420), whose dialect Athena speaks: in one Java process, no server.

Not part of the test suite: it fetches some 180 jars, needs a JDK 17 or later (``java`` and ``javac``) and the program
``jgo`` (``pip install 'jgo[cli]'``), and takes seconds for a statement.

    python tests/trino/check_statements.py                           # every rule and correlation that exports
    python tests/trino/check_statements.py --rule aws_signin_brute_force

Each statement runs over its rule's own test events (and a few of others), which are written into it as a table; found
must be what the evaluator in memory finds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "unit" / "detection" / "export"))

from athena_engine import row  # noqa: E402  (a module of the tests beside this one)

from loader.detection import evaluate, offline  # noqa: E402
from loader.detection.cases import read_cases  # noqa: E402
from loader.detection.compile import compile_rules  # noqa: E402
from loader.detection.event import Event  # noqa: E402
from loader.detection.export.athena import athena_statement  # noqa: E402
from loader.detection.export.athena_period import AthenaOptions  # noqa: E402
from loader.detection.export.athena_table import COLUMNS  # noqa: E402
from loader.detection.export.model import UnsaidError  # noqa: E402
from loader.detection.load import load_rules  # noqa: E402
from loader.detection.model import Rule  # noqa: E402
from loader.detection.testing import read_event  # noqa: E402
from loader.project import rules_dir  # noqa: E402

TRINO = "io.trino:trino-main:420"
#: One period that holds every test event.
DECADE = AthenaOptions(every=60 * 24 * 3650, lateness=0, now="TIMESTAMP '2030-01-01 00:00:00 UTC'")
NAMES = [*COLUMNS, "account", "region", "day", "history"]
OTHERS = 15

One = tuple[str, dict[str, Any], Event]


def main() -> int:
    """Write the statements, run them, compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rule", action="append", default=[], help="only this rule, by name (repeatable)")
    chosen = set(parser.parse_args().rule)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "in").mkdir()
        expected = {}
        for name, statement, wanted in statements(chosen):
            (folder / "in" / name).write_text(statement, encoding="utf-8")
            expected[name] = wanted
        run(folder)
        wrong = 0
        for line in (folder / "out").read_text(encoding="utf-8").splitlines():
            name, state, *rest = line.split("\t")
            found = sorted(part for part in (rest[0] if rest else "").split("|") if part)
            if state != "OK" or found != expected[name]:
                wrong += 1
                sys.stdout.write(f"{name}: {state} {found} instead of {expected[name]}\n")
        right = len(expected) - wrong
        sys.stdout.write(f"{right} of {len(expected)} statements find on {TRINO} what the evaluator finds\n")
    return 1 if wrong or not expected else 0


def statements(chosen: set[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield file name, statement with its table in it, and the ids that must be found."""
    pack = compile_rules(load_rules([rules_dir()]))
    events = {rule.rule.name: [one for history in histories(rule.rule) for one in history] for rule in pack.rules}
    everything = [one for some in events.values() for one in some]
    choice = random.Random(1)
    for rule in pack.rules:
        if chosen and rule.rule.name not in chosen:
            continue
        try:
            text = str(athena_statement(rule, DECADE).body)
        except UnsaidError:
            continue
        some = list({one[0]: one for one in (*events[rule.rule.name], *choice.sample(everything, OTHERS))}.values())
        wanted = sorted(id_ for id_, _, event in some if evaluate.fires(rule, event))
        yield f"rule-{rule.rule.name}.sql", with_table(text, some), wanted
    for node in pack.correlations:
        if chosen and node.rule.name not in chosen:
            continue
        try:
            text = str(athena_statement(node, DECADE).body)
        except UnsaidError:
            continue
        for at, history in enumerate(histories(node.rule)):
            triggers = offline.triggers(node, [event for _, _, event in history])
            wanted = sorted({history[int(trigger.event.id)][0] for trigger in triggers})
            yield f"correlation-{node.rule.name.replace('#', '-')}-{at}.sql", with_table(text, history), wanted


def histories(rule: Rule) -> Iterator[list[One]]:
    """Yield a rule's test histories, each event with an id of its own."""
    cases = read_cases(rule)
    for at, records in enumerate((*cases.match, *cases.near_miss)):
        yield [(f"{rule.name}/{at}#{n}", json.loads(raw), read_event(raw)[1]) for n, raw in enumerate(records)]


def with_table(text: str, events: list[One]) -> str:
    """Return a statement whose table is part of it."""
    rows = json.dumps([dict(zip(NAMES, row(id_, "", record), strict=True)) for id_, record, _ in events])
    kind = "ARRAY(ROW(" + ", ".join(f'"{name}" {sql_type(COLUMNS.get(name, ""))}' for name in NAMES) + "))"
    columns = ", ".join(f'"{name}"' for name in NAMES)
    quoted = rows.replace("'", "''")
    table = f"cloudtrail_logs AS (SELECT * FROM UNNEST(CAST(json_parse('{quoted}') AS {kind})) AS x({columns}))"
    body = "\n".join(line for line in text.splitlines() if not line.startswith("-- ")).rstrip(";\n")
    body = body.replace('"default"."cloudtrail_logs"', "cloudtrail_logs")
    return f"WITH {table}, {body[5:]}" if body.startswith("WITH ") else f"WITH {table}\n{body}"


def sql_type(kind: Any) -> str:
    """Return a column's type in Trino's words."""
    if isinstance(kind, list):
        return f"ARRAY({sql_type(kind[0])})"
    if isinstance(kind, dict):
        return "ROW(" + ", ".join(f'"{name}" {sql_type(member)}' for name, member in kind.items()) + ")"
    return "VARCHAR"


def run(folder: Path) -> None:
    """Run every file of ``folder/in`` and write ``folder/out``."""
    asked = ["jgo", "info", "modulepath", TRINO]  # all of them are modules; they run from the class path as well
    found = subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    classpath = os.pathsep.join([*found, str(folder)])
    subprocess.run(["javac", "-cp", classpath, "-d", str(folder), str(HERE / "RunSql.java")], check=True)
    words = ["java", "-Xmx2g", "-cp", classpath, "RunSql", str(folder / "in"), str(folder / "out")]
    subprocess.run(words, check=True)


if __name__ == "__main__":
    sys.exit(main())
