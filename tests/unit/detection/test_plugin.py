"""pySigma finds the backend, and converts with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from sigma.collection import SigmaCollection

from loader.detection.backend import SiemBackend
from loader.project import home, mappings_dir

RULE = """\
title: t
logsource: {product: aws, service: cloudtrail}
detection:
    s: {eventName: StopLogging, requestParameters.name|cased: Org}
    condition: s
"""


def sigma(*arguments: str) -> str:
    """Run sigma-cli where this checkout's ``sigma/backends`` is on the path, as the project's own install puts it."""
    environment = {**os.environ, "PYTHONPATH": str(home())}
    command = [sys.executable, "-m", "sigma.cli.main", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_sigma_cli_lists_it_and_converts_with_our_pipeline_file(tmp_path: Path) -> None:
    assert "siem" in sigma("list", "targets")
    (tmp_path / "rule.yml").write_text(RULE)
    converted = sigma(
        "convert", "-t", "siem", "-p", str(mappings_dir() / "sigma" / "aws_cloudtrail.yml"), str(tmp_path)
    )
    query = json.loads(converted)
    assert query["query"]["bool"]["filter"][0] == {"term": {"event.action.lower": "stoplogging"}}
    verified = {"leaf": "requestParameters.name", "pattern": "Org", "cased": True}
    assert query["verify"]["bool"]["filter"][1]["siem"] == verified


def test_the_field_map_applies_without_a_pipeline() -> None:
    (query,) = SiemBackend().convert(SigmaCollection.from_yaml(RULE))
    assert "event.action.lower" in query
