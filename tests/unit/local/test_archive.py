from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from loader.errors import LocalStackError
from loader.local.archive import unpack


def packed(path: Path, entries: dict[str, bytes], modes: dict[str, int] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (modes or {}).get(name, 0o100644) << 16
            archive.writestr(entry, content)
    return path


def test_the_top_folder_becomes_the_target_and_everybody_can_read_it(tmp_path: Path) -> None:
    archive = packed(
        tmp_path / "a.zip",
        {"server-1/": b"", "server-1/bin/run": b"#!", "server-1/lib/x.jar": b"x", "server-1/modules/m/m.jar": b"m"},
        {"server-1/": stat.S_IFDIR | 0o700, "server-1/bin/run": 0o100700, "server-1/lib/x.jar": 0o100600},
    )
    unpack(archive, tmp_path / "out" / "server")
    target = tmp_path / "out" / "server"
    assert (target / "modules" / "m" / "m.jar").read_bytes() == b"m"
    assert stat.S_IMODE((target / "bin" / "run").stat().st_mode) == 0o755
    assert stat.S_IMODE((target / "lib" / "x.jar").stat().st_mode) == 0o644
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (target, target / "bin", target / "lib")} == {0o755}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["server"]


def test_what_is_not_kept_is_not_there(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"s/modules/keep/a.jar": b"a", "s/modules/drop/b.jar": b"b"})
    unpack(archive, tmp_path / "s", keep=lambda path: "drop" not in path.parts)
    assert [path.name for path in (tmp_path / "s" / "modules").iterdir()] == ["keep"]


def test_what_is_there_is_not_unpacked_again(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    unpack(tmp_path / "does-not-exist.zip", tmp_path / "s")


@pytest.mark.parametrize("name", ["s/../../evil", "../evil", "/evil", "s/..\\evil", "..", "s/a/../../../evil"])
def test_a_path_that_leads_outside_is_refused_and_nothing_stays(tmp_path: Path, name: str) -> None:
    archive = packed(tmp_path / "a.zip", {"s/good": b"", name: b"evil"})
    inside = tmp_path / "deep" / "cache"
    with pytest.raises(LocalStackError, match="leads outside") as error:
        unpack(archive, inside / "server")
    assert error.value.where == str(archive)
    assert list(inside.iterdir()) == []
    assert not any(path.name == "evil" for path in tmp_path.rglob("*"))


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"s/link": b"/etc/passwd"}, {"s/link": stat.S_IFLNK | 0o777})
    with pytest.raises(LocalStackError, match="leads outside"):
        unpack(archive, tmp_path / "server")


def test_a_broken_archive_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(LocalStackError, match="cannot be unpacked") as error:
        unpack(tmp_path / "a.zip", tmp_path / "out" / "server")
    assert error.value.hint
    assert list((tmp_path / "out").iterdir()) == []
