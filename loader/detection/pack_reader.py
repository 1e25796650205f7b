"""Where a detector's rules come from, read anew each time: files, or what ``siem rules apply`` has deployed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from opensearchpy import OpenSearch

from loader.config import Settings
from loader.detection.compile import Pack, compile_rules, load_variables
from loader.detection.deployed import DeployedPack
from loader.detection.geo_database import open_places
from loader.detection.load import load_rules
from loader.detection.model import Problem
from loader.detection.needs import RuleData
from loader.errors import ConfigError
from loader.project import rules_dir


def read_data(settings: Settings, variables: Path | None = None) -> RuleData:
    """Read the lists and open the databases that rules need beside events, anew: files that were replaced count.

    Raises:
        RuleError: the lists cannot be read.
    """
    lists = load_variables(variables or settings.rule_variables)
    try:
        return RuleData(lists, open_places(settings.geoip_database, settings.geoip_asn_database))
    except ConfigError as error:  # one file that is being replaced stops no rule but those that need it
        where = Path(error.where or "SIEM_GEOIP_DATABASE")
        return RuleData(lists, None, (Problem(where, 1, "geo-database", error.message, hint=error.hint),))


def read_pack(settings: Settings, folders: Sequence[Path] = (), variables: Path | None = None) -> Pack:
    """Load and compile the rules; what cannot be used is in the pack's problems, what lacks data in its ``waiting``."""
    data = read_data(settings, variables)
    pack = compile_rules(load_rules(folders or (rules_dir(),)), variables=data.variables, places=data.places)
    return replace(pack, problems=(*pack.problems, *data.problems))


def pack_reader(
    client: OpenSearch,
    settings: Settings,
    *,
    deployed: bool,
    folders: Sequence[Path] = (),
    variables: Path | None = None,
) -> Callable[[], Pack]:
    """Return what reads the rules anew: the deployed ones, or those in files (without ``folders``: the project's)."""
    if not deployed:
        return lambda: read_pack(settings, folders, variables)
    kept = DeployedPack(client, data=lambda: read_data(settings, variables))
    return kept.read
