from __future__ import annotations

from pathlib import Path

import pytest

from loader.errors import LocalStackError
from loader.local.capacity import GIB, MIB, available_memory, check_disk, check_memory, heap_bytes


@pytest.mark.parametrize(("heap", "size"), [("512m", 512 * MIB), ("2g", 2 * GIB), ("1G", GIB)])
def test_heap_sizes(heap: str, size: int) -> None:
    assert heap_bytes(heap) == size


@pytest.mark.parametrize("heap", ["", "1", "1.5g", "g", "-1g", "1t", "0g", "128m", "1g -Dx=y", "1g\n"])
def test_what_is_no_heap_size_is_refused(heap: str) -> None:
    with pytest.raises(LocalStackError, match="no usable heap size") as error:
        heap_bytes(heap)
    assert error.value.hint


def test_too_little_memory_is_said_in_figures() -> None:
    with pytest.raises(LocalStackError, match=r"1,536 MiB needed \(heap 1g .* 700 MiB available") as error:
        check_memory("1g", available=lambda: 700 * MIB)
    assert error.value.hint


@pytest.mark.parametrize("available", [1536 * MIB, 64 * GIB, None])
def test_enough_or_unknown_memory_passes(available: int | None) -> None:
    check_memory("1g", available=lambda: available)


def test_too_little_disk_is_said_in_figures_for_a_folder_that_does_not_exist_yet(tmp_path: Path) -> None:
    asked: list[Path] = []

    def free(folder: Path) -> int:
        asked.append(folder)
        return 100 * MIB

    wanted = tmp_path / "not" / "yet"
    with pytest.raises(LocalStackError, match="1,024 MiB needed, 100 MiB free") as error:
        check_disk(wanted, GIB, free=free)
    assert asked == [tmp_path]
    assert error.value.where == str(wanted)
    assert "SIEM_CACHE_DIR" in str(error.value.hint)


def test_enough_disk_passes(tmp_path: Path) -> None:
    check_disk(tmp_path, 1)


def test_a_containers_limit_counts_and_page_cache_can_be_had_back(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 32000000 kB\nMemAvailable:   8388608 kB\n")
    assert available_memory(meminfo, tmp_path) == 8 * GIB
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(meminfo, tmp_path) == 8 * GIB
    (tmp_path / "memory.max").write_text(f"{2 * GIB}\n")
    (tmp_path / "memory.current").write_text(f"{GIB}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {512 * MIB}\nactive_file 0\n")
    assert available_memory(meminfo, tmp_path) == GIB + 512 * MIB
