"""The server's distribution: fetched from Maven Central, verified, unpacked once."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from loader.errors import LocalStackError
from loader.local.archive import unpack
from loader.local.cache import Cache
from loader.local.capacity import MIB, check_disk

Progress = Callable[[str, float | None], None]
"""Told what is being done, and which fraction of it is (None: unknown)."""


def silent(_step: str, _fraction: float | None) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """One release of a server, as Maven Central has it. Sizes are in bytes."""

    flavour: Literal["opensearch", "elasticsearch"]
    group: str
    version: str
    sha256: str
    packed: int
    unpacked: int
    java_minimum: int
    java_maximum: int | None
    #: Modules that cannot work on a Java without all locales and modules (they make index creation fail).
    full_jdk_modules: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """What the names of the server's environment variables begin with."""
        return "OPENSEARCH" if self.flavour == "opensearch" else "ES"

    @property
    def file_name(self) -> str:
        """The name of the downloaded file."""
        return f"{self.flavour}-{self.version}.zip"

    @property
    def coordinates(self) -> str:
        """How Maven names it."""
        return f"{self.group}:{self.flavour}:{self.version}"

    @property
    def repository_path(self) -> str:
        """Where the file is in a Maven repository."""
        return f"{self.group.replace('.', '/')}/{self.flavour}/{self.version}/{self.file_name}"

    def folder_name(self, full_jdk: bool) -> str:
        """Return the name of the unpacked folder: complete, or without what a limited Java cannot run."""
        limited = bool(self.full_jdk_modules) and not full_jdk
        return f"{self.flavour}-{self.version}{'-jre' if limited else ''}"


OPENSEARCH = Distribution(
    flavour="opensearch",
    group="org.opensearch.distribution.integ-test-zip",
    version="3.8.0",
    sha256="196c3cf4602c394f2e40e6174ccbf2a924eae37246f08fa6bbb6b75f9fd5ff1f",
    packed=154 * MIB,
    unpacked=202 * MIB,
    java_minimum=21,
    java_maximum=None,
    full_jdk_modules=("analysis-common",),
    settings={"cluster.max_shards_per_node": "5000"},
)

ELASTICSEARCH = Distribution(
    flavour="elasticsearch",
    group="org.elasticsearch.distribution.integ-test-zip",
    version="9.0.0",
    sha256="66a7b3227b35b6c92aa9adf2463f03a61abed2e338ba9585402636a89df3cb88",
    packed=100 * MIB,
    unpacked=105 * MIB,
    java_minimum=21,
    java_maximum=24,
    settings={
        "cluster.max_shards_per_node": "5000",
        # As OpenSearch has it: tests clear a cluster by a pattern.
        "action.destructive_requires_name": "false",
        "xpack.security.enabled": "false",
        "xpack.ml.enabled": "false",
    },
)

#: The oldest releases that are supported, for compatibility tests. They hold a transport and nothing else besides the
#: server itself; 2.19 needs the security manager, which Java 24 no longer has.
OPENSEARCH_2 = Distribution(
    flavour="opensearch",
    group="org.opensearch.distribution.integ-test-zip",
    version="2.19.3",
    sha256="760530e522de0a9f06380d4a4a43dfd83c31fa8911f41745513ce715ed5dfd03",
    packed=50 * MIB,
    unpacked=55 * MIB,
    java_minimum=17,
    java_maximum=23,
    settings=OPENSEARCH.settings,
)

ELASTICSEARCH_8 = Distribution(
    flavour="elasticsearch",
    group="org.elasticsearch.distribution.integ-test-zip",
    version="8.18.0",
    sha256="6d31acf7ab3496eaa7cfbdc410095d02ed2232cd26c214c0c69e4f7b3b2958b8",
    packed=93 * MIB,
    unpacked=107 * MIB,
    java_minimum=17,
    java_maximum=24,
    settings=ELASTICSEARCH.settings,
)


def installed(distribution: Distribution, cache: Cache, *, full_jdk: bool, progress: Progress = silent) -> Path:
    """Return the folder of the unpacked server; download, verify and unpack it if it is not there yet.

    Raises:
        LocalStackError: no room, no network, a wrong checksum, or a broken archive.
    """
    target = cache.root / distribution.folder_name(full_jdk)
    if target.is_dir():
        return target
    with cache.lock(f"install-{distribution.flavour}"):
        if target.is_dir():
            return target
        check_disk(cache.root, distribution.packed + distribution.unpacked)
        archive = fetch(distribution, cache, progress=progress)
        progress(f"Unpack {distribution.flavour} {distribution.version}", None)
        left_out = set() if full_jdk else set(distribution.full_jdk_modules)

        def keep(path: PurePosixPath) -> bool:
            return not (len(path.parts) > 1 and path.parts[0] == "modules" and path.parts[1] in left_out)

        unpack(archive, target, keep=keep)
    return target


def fetch(
    distribution: Distribution,
    cache: Cache,
    *,
    progress: Progress = silent,
    download: Callable[[Distribution, Path, Progress], Path] | None = None,
) -> Path:
    """Return the path of the verified zip file; download it if it is not there yet.

    A file whose SHA-256 is not the pinned one is removed.

    Raises:
        LocalStackError: the download failed, or what came is not what is pinned.
    """
    kept = cache.downloads / distribution.file_name
    if kept.is_file():
        if sha256(kept) == distribution.sha256:
            return kept
        kept.unlink()  # cut off, or damaged on disk: fetch it again
    local = _maven_repository() / distribution.repository_path
    if local.is_file() and sha256(local) == distribution.sha256:
        return local
    work = Path(tempfile.mkdtemp(prefix=".download-", dir=cache.downloads))
    try:
        came = (download or _download)(distribution, work, progress)
        found = sha256(came)
        if found != distribution.sha256:
            raise LocalStackError(
                f"the checksum is wrong: SHA-256 {found} instead of {distribution.sha256}; the file was removed",
                where=f"Maven Central, {distribution.coordinates}",
                hint="Try again; if it stays wrong, what lies between you and Maven Central changes the file.",
            )
        came.chmod(0o644)
        came.replace(kept)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return kept


def _maven_repository() -> Path:
    """Return the folder where Maven, if somebody uses it here, keeps what it downloaded."""
    return Path(os.environ.get("M2_REPO") or Path(os.environ.get("HOME", "/")) / ".m2" / "repository")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _download(distribution: Distribution, folder: Path, progress: Progress) -> Path:
    """Fetch the file into ``folder`` with jgo, a Maven resolver in Python."""
    try:
        from jgo.maven import MavenContext, PythonResolver
    except ImportError as error:
        raise LocalStackError(
            "the Python package jgo is missing",
            where="Python environment",
            hint="Install the local stack's packages: pip install 'cloudtrail-siem[local]'",
        ) from error
    step = f"Download {distribution.flavour} {distribution.version} ({distribution.packed // MIB} MiB)"
    progress(step, None)

    @contextmanager
    def report(_name: str, total: int) -> Iterator[Callable[[int], None]]:
        done = 0
        told = 0.0

        def update(count: int) -> None:
            nonlocal done, told
            done += count
            if done / total - told >= 0.01:
                told = done / total
                progress(step, told)

        yield update

    context: Any = MavenContext(PythonResolver(progress_callback=report), repo_cache=folder, timeout=60)
    try:
        project = context.project(distribution.group, distribution.flavour)
        return Path(project.at_version(distribution.version).artifact(packaging="zip").resolve())
    except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
        raise LocalStackError(
            f"the download failed: {error}",
            where=f"Maven Central, {distribution.coordinates}",
            hint="Check the network and the proxy settings (HTTPS_PROXY), then try again.",
        ) from error
