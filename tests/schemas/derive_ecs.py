"""Derive ``ecs-9.0.0.json`` from the npm package ``@elastic/ecs``: the facts of the schema that tests hold us to.

    npm pack @elastic/ecs@9.0.0
    python tests/schemas/derive_ecs.py elastic-ecs-9.0.0.tgz > tests/schemas/ecs-9.0.0.json

Only names, types and allowed values are taken, no descriptions, and only of the field sets that this project's
templates use. Node.js reads the package's own JavaScript.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

#: Where a field begins: the sets that are derived.
ROOTS = (
    *("@timestamp", "tags", "message", "labels", "ecs", "event", "cloud", "user", "group", "service", "source"),
    *("user_agent", "tls", "related", "log", "rule", "threat", "error", "host"),
)
_DUMP = (
    "const {EcsFlat, EcsVersion} = require(process.argv[1]);"
    "process.stdout.write(JSON.stringify({version: EcsVersion, flat: EcsFlat}));"
)


def derive(package: Path) -> dict[str, object]:
    """Return the table of one downloaded package."""
    with TemporaryDirectory() as folder:
        with tarfile.open(package) as archive:
            archive.extractall(folder, filter="data")
        program = Path(folder) / "package" / "build" / "commonjs" / "index.js"
        dumped = json.loads(subprocess.run(["node", "-e", _DUMP, str(program)], check=True, capture_output=True).stdout)
    flat = dumped["flat"]
    return {
        "origin": {
            "package": "npm @elastic/ecs",
            "sha256": sha256(package.read_bytes()).hexdigest(),
            "licence": "Apache-2.0, see NOTICE",
        },
        "version": dumped["version"],
        "types_of_category": {
            value["name"]: sorted(value.get("expected_event_types", ()))
            for value in flat["event.category"]["allowed_values"]
        },
        "values": {
            name: sorted(value["name"] for value in flat[name]["allowed_values"])
            for name in ("event.kind", "event.outcome", "event.type")
        },
        "arrays": sorted(name for name, body in flat.items() if _is_ours(name) and "array" in body["normalize"]),
        "fields": {name: body["type"] for name, body in sorted(flat.items()) if _is_ours(name)},
    }


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in ROOTS and not name.startswith(("threat.indicator.", "threat.enrichments"))


if __name__ == "__main__":
    json.dump(derive(Path(sys.argv[1])), sys.stdout, indent=1)
    sys.stdout.write("\n")
