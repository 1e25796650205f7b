from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from loader.config import Settings
from loader.errors import LocalStackError
from loader.local.account import Account, blocked_at, service_account
from loader.local.cache import Cache, default_root

STRANGER = Account("stranger", 54321, 54321)


def test_the_setting_names_the_folder(tmp_path: Path) -> None:
    assert Cache.of(Settings(cache_dir=tmp_path)).run_dir("dev") == tmp_path / "run" / "dev"


def test_an_empty_setting_is_none() -> None:
    assert Cache.of(Settings(cache_dir=Path())) == Cache.of(Settings())


def test_root_keeps_it_where_others_may_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_root() == Path("/var/cache/cloudtrail-siem")


def test_others_keep_it_in_their_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_root() == Path("/somewhere/cloudtrail-siem")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_root() == Path("/home/me/.cache/cloudtrail-siem")
    assert service_account() is None


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "-x", "a" * 64, "a b"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LocalStackError, match="cannot name a local stack"):
        Cache(tmp_path).run_dir(name)


def test_a_path_with_a_space_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="space") as error:
        Cache(tmp_path / "my files").prepare(None)
    assert "SIEM_CACHE_DIR" in str(error.value.hint)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalStackError, match="cannot be created"):
        Cache(tmp_path / "file" / "below").prepare(None)


def test_the_folder_an_account_cannot_enter_is_named(open_tmp: Path) -> None:
    private = open_tmp / "private"
    private.mkdir(mode=0o700)
    assert blocked_at(private / "cache", STRANGER) == private
    with pytest.raises(LocalStackError, match=f"'stranger', which may not enter {private}"):
        Cache(private / "cache").prepare(STRANGER)
    private.chmod(0o711)
    assert blocked_at(private / "cache", STRANGER) is None


def test_the_folders_are_open_whatever_the_umask(open_tmp: Path) -> None:
    before = os.umask(0o077)
    try:
        Cache(open_tmp / "cache").prepare(STRANGER)
    finally:
        os.umask(before)
    assert stat.S_IMODE((open_tmp / "cache" / "run").stat().st_mode) == 0o755


def test_a_lock_keeps_others_out_and_may_be_deleted_by_its_holder(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    waiting, order = threading.Event(), []

    def second() -> None:
        with cache.lock("x", waiting.set):
            order.append("second")

    with cache.lock("x") as path:
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        order.append("first")
        path.unlink()
    thread.join(10)
    assert order == ["first", "second"]
    assert (tmp_path / ".x.lock").exists()  # the second's own: the first's was gone
