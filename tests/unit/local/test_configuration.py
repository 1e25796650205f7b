from __future__ import annotations

import os
from pathlib import Path

import pytest

from loader.errors import LocalStackError
from loader.local.configuration import RunFolder, as_yaml, jvm_options, prepare

OPTIONS = """\
# a comment about logs/
-Xms1g
-XX:HeapDumpPath=data
-XX:ErrorFile=logs/hs_err_pid%p.log
9-:-Xlog:gc*,gc+age=trace,safepoint:file=logs/gc.log:utctime,pid,tags:filecount=32,filesize=64m
20-:--add-modules=jdk.incubator.vector
"""


def test_every_output_goes_into_the_run_folder() -> None:
    lines = jvm_options(OPTIONS, Path("/run/logs"), full_jdk=True).splitlines()
    assert lines == [
        "# a comment about logs/",
        "-Xms1g",
        "-XX:HeapDumpPath=/run/logs",
        "-XX:ErrorFile=/run/logs/hs_err_pid%p.log",
        "9-:-Xlog:gc*,gc+age=trace,safepoint:file=/run/logs/gc.log:utctime,pid,tags:filecount=32,filesize=64m",
        "20-:--add-modules=jdk.incubator.vector",
    ]


def test_a_limited_java_is_not_asked_for_the_module_it_lacks() -> None:
    assert "# 20-:--add-modules=jdk.incubator.vector" in jvm_options(OPTIONS, Path("/l"), full_jdk=False).splitlines()


def test_settings_are_yaml() -> None:
    assert as_yaml({"a.b": "x: #y", "c": "1"}) == 'a.b: "x: #y"\nc: "1"\n'


def test_a_second_start_has_fresh_settings_old_data_and_the_last_log(tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.mkdir()
    (template / "jvm.options").write_text(OPTIONS)
    folder = RunFolder(tmp_path / "run" / "dev")
    prepare(folder, template, {"opensearch.yml": "a: 1\n"}, full_jdk=True, account=None)
    (folder.data / "kept").write_text("")
    (folder.config / "forgotten").write_text("")
    folder.console.write_text("first\n")
    prepare(folder, template, {"opensearch.yml": "a: 2\n"}, full_jdk=True, account=None)
    assert (folder.data / "kept").exists()
    assert not (folder.config / "forgotten").exists()
    assert (folder.config / "opensearch.yml").read_text() == "a: 2\n"
    assert folder.console.with_name("console.log.1").read_text() == "first\n"
    assert not folder.console.exists()


def test_a_folder_that_cannot_be_prepared_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="cannot be prepared"):
        prepare(RunFolder(tmp_path / "run"), tmp_path / "absent", {}, full_jdk=True, account=None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another account")
def test_what_the_account_put_into_its_folder_is_not_given_to_it_again(tmp_path: Path) -> None:
    from loader.local.account import service_account

    account = service_account()
    assert account is not None
    template = tmp_path / "template"
    template.mkdir()
    (template / "jvm.options").write_text(OPTIONS)
    folder = RunFolder(tmp_path / "run")
    prepare(folder, template, {}, full_jdk=True, account=account)
    roots = tmp_path / "roots"
    roots.write_text("")
    os.link(roots, folder.data / "link")
    prepare(folder, template, {}, full_jdk=True, account=account)
    assert roots.stat().st_uid == 0
    assert {path.stat().st_uid for path in (folder.data, folder.config, folder.logs, folder.tmp)} == {account.uid}
