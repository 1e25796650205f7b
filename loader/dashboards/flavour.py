"""What differs between the screens that import our saved objects. There is one so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class Flavour:
    """One importer of saved objects.

    ``versions`` maps a type to the ``migrationVersion`` its newest release exports: older ones are migrated, newer ones
    fail the whole import, and a type that is not in it is refused. ``attributes`` maps a type to those it may have.
    """

    name: str
    versions: Mapping[str, str]
    attributes: Mapping[str, frozenset[str]]
    import_path: str
    import_headers: Mapping[str, str]
    #: Additions to the parameters of a date histogram: their names carry the product's name.
    date_histogram_params: Mapping[str, Any] = field(default_factory=dict)


_SEARCH_SOURCE = "kibanaSavedObjectMeta"

#: Versions and behaviour as measured against a running 3.3.0.
OPENSEARCH_DASHBOARDS = Flavour(
    name="opensearch-dashboards",
    versions=MappingProxyType(
        {"index-pattern": "7.6.0", "search": "7.9.3", "visualization": "7.10.0", "dashboard": "7.9.3"}
    ),
    attributes=MappingProxyType(
        {
            "index-pattern": frozenset({"title", "timeFieldName", "fields", "fieldFormatMap", "sourceFilters"}),
            "search": frozenset({"title", "description", "hits", "columns", "sort", "version", _SEARCH_SOURCE}),
            "visualization": frozenset({"title", "description", "version", "visState", "uiStateJSON", _SEARCH_SOURCE}),
            "dashboard": frozenset(
                {
                    "title",
                    "description",
                    "hits",
                    "version",
                    "panelsJSON",
                    "optionsJSON",
                    "timeRestore",
                    "timeFrom",
                    "timeTo",
                    "refreshInterval",
                    _SEARCH_SOURCE,
                }
            ),
        }
    ),
    import_path="/api/saved_objects/_import",
    import_headers=MappingProxyType({"osd-xsrf": "true"}),
    date_histogram_params=MappingProxyType({"useNormalizedOpenSearchInterval": True}),
)
