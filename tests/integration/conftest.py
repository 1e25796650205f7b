"""What the tests here share: an index of events on whichever engine the run has, and the modules beside them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import OpenSearch

from loader.index.engine import read_engine
from loader.index.templates import Template, adapt, compose

sys.path.insert(0, str(Path(__file__).resolve().parent))  # pytest's importlib mode does not


@pytest.fixture(scope="session")
def event_index(opensearch_client: OpenSearch, project_templates: list[Template]) -> dict[str, Any]:
    """The body of an index that holds CloudTrail events as the templates say, and takes a test's own fields besides."""
    adapted = adapt(project_templates, read_engine(opensearch_client))
    (template,) = (known for known in adapted if known.kind == "index" and known.name == "log-aws-cloudtrail")
    mappings = {**compose(template, adapted), "dynamic": False}
    return {"settings": {"number_of_replicas": 0}, "mappings": mappings}
