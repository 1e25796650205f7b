from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from loader.errors import LocalStackError
from loader.local.cache import Cache
from loader.local.distribution import ELASTICSEARCH, OPENSEARCH, Distribution, Progress, fetch, installed, silent


def content() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("opensearch-3.8.0/modules/analysis-common/a.jar", "a")
        archive.writestr("opensearch-3.8.0/modules/lang-painless/p.jar", "p")
    return buffer.getvalue()


ZIP = content()
SMALL = replace(OPENSEARCH, sha256=hashlib.sha256(ZIP).hexdigest())


class Central:
    """Stands for Maven Central: a unit test downloads nothing."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.calls = 0

    def __call__(self, distribution: Distribution, folder: Path, _progress: Progress) -> Path:
        self.calls += 1
        path = folder / distribution.file_name
        path.write_bytes(self.answers.pop(0))
        return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    cache = Cache(tmp_path / "cache")
    cache.prepare(None)
    return cache


def test_a_verified_file_is_kept_and_not_fetched_again(cache: Cache) -> None:
    central = Central(ZIP)
    first = fetch(SMALL, cache, download=central)
    assert fetch(SMALL, cache, download=central) == first == cache.downloads / "opensearch-3.8.0.zip"
    assert central.calls == 1


def test_a_wrong_checksum_is_an_error_and_the_file_is_removed(cache: Cache) -> None:
    with pytest.raises(LocalStackError, match="checksum is wrong") as error:
        fetch(SMALL, cache, download=Central(b"something else"))
    assert SMALL.sha256 in error.value.message
    assert hashlib.sha256(b"something else").hexdigest() in error.value.message
    assert error.value.hint
    assert list(cache.downloads.iterdir()) == []


def test_a_file_damaged_on_disk_is_fetched_again(cache: Cache) -> None:
    (cache.downloads / "opensearch-3.8.0.zip").write_bytes(ZIP[:50])
    central = Central(ZIP)
    assert fetch(SMALL, cache, download=central).read_bytes() == ZIP
    assert central.calls == 1


def test_a_local_maven_repository_is_used_if_its_file_is_right(cache: Cache, tmp_path: Path) -> None:
    there = tmp_path / "m2" / "org/opensearch/distribution/integ-test-zip/opensearch/3.8.0/opensearch-3.8.0.zip"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"cut off")
    central = Central(ZIP)
    assert fetch(SMALL, cache, download=central) == cache.downloads / "opensearch-3.8.0.zip"
    assert there.read_bytes() == b"cut off"  # not ours to remove
    (cache.downloads / "opensearch-3.8.0.zip").unlink()
    there.write_bytes(ZIP)
    assert fetch(SMALL, cache, download=central) == there
    assert central.calls == 1


def test_a_failed_download_says_what_and_leaves_nothing(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    from jgo.maven import PythonResolver

    def no_network(_resolver: object, _artifact: object) -> Path:
        raise ConnectionError("name resolution failed")

    monkeypatch.setattr(PythonResolver, "download", no_network)
    with pytest.raises(LocalStackError, match=r"download failed: name resolution failed") as error:
        fetch(SMALL, cache)
    assert "org.opensearch.distribution.integ-test-zip:opensearch:3.8.0" in str(error.value)
    assert list(cache.downloads.iterdir()) == []


def test_a_limited_java_gets_its_own_copy_without_what_it_cannot_run(cache: Cache) -> None:
    fetch(SMALL, cache, download=Central(ZIP))
    full = installed(SMALL, cache, full_jdk=True, progress=silent)
    limited = installed(SMALL, cache, full_jdk=False, progress=silent)
    assert (full.name, limited.name) == ("opensearch-3.8.0", "opensearch-3.8.0-jre")
    assert sorted(path.name for path in (full / "modules").iterdir()) == ["analysis-common", "lang-painless"]
    assert sorted(path.name for path in (limited / "modules").iterdir()) == ["lang-painless"]


def test_a_full_disk_is_said_before_anything_is_fetched(cache: Cache) -> None:
    with pytest.raises(LocalStackError, match="not enough disk"):
        installed(replace(SMALL, packed=1 << 60), cache, full_jdk=True)


def test_elasticsearch_needs_no_second_copy() -> None:
    assert ELASTICSEARCH.folder_name(full_jdk=False) == ELASTICSEARCH.folder_name(full_jdk=True)
