"""Nothing is half-written: a failed write leaves the earlier file, and no rest; tables come back from spreadsheets."""

import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from medaug.data.atomic import atomic_path, csv_text, read_csv, read_json, write_json, write_text
from medaug.errors import DataError, RunError


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_temporary_name_keeps_the_ending_and_the_folder(tmp_path):
    with atomic_path(tmp_path / "scan.nii.gz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith("-scan.nii.gz") and temporary.name.startswith(".tmp-")
        temporary.write_text("x")
    assert names_in(tmp_path) == ["scan.nii.gz"]


def test_the_old_file_stands_until_the_block_ends(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        assert (tmp_path / "a.txt").read_text() == "old"
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize("failure", [ValueError("bad"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_earlier_file_and_nothing_else(tmp_path, failure):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(type(failure)), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise failure
    assert names_in(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_full_disk_is_a_run_error_that_says_so(tmp_path):
    with pytest.raises(RunError, match=r"a\.txt.*Free some space"), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert names_in(tmp_path) == []


def test_a_full_disk_at_fsync_keeps_the_earlier_file(tmp_path, monkeypatch):
    write_text(tmp_path / "a.txt", "old")

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(RunError, match="No space left"):
        write_text(tmp_path / "a.txt", "new")
    assert names_in(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("target", ["file/deeper/a.txt", "file/a.txt"])
def test_a_file_in_place_of_a_folder_is_a_run_error(tmp_path, target):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="A parent of this path is a file"):
        write_text(tmp_path / target, "text")


def test_a_folder_in_place_of_the_file_is_a_run_error(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(RunError, match="A folder has this name"):
        write_text(tmp_path / "a.txt", "text")
    assert names_in(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_write_permission_is_a_run_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="you may write to"):
        write_text(tmp_path / "a.txt", "text")
    tmp_path.chmod(0o700)


def test_an_error_about_another_file_passes_through(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        (tmp_path / "source.txt").read_text()


def test_a_folder_can_appear_as_a_whole(tmp_path):
    with atomic_path(tmp_path / "weights") as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("1")
    assert names_in(tmp_path) == ["weights"] and names_in(tmp_path / "weights") == ["a"]
    with pytest.raises(ValueError, match="stop"), atomic_path(tmp_path / "other") as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("1")
        raise ValueError("stop")
    assert names_in(tmp_path) == ["weights"]


def test_json_holds_numpy_values_paths_and_dataclasses(tmp_path):
    @dataclass
    class Point:
        x: int

    values = {"n": np.float32(0.5), "a": np.arange(3), "p": Path("x"), "d": Point(2)}
    write_json(tmp_path / "a.json", values)
    assert read_json(tmp_path / "a.json") == {"n": 0.5, "a": [0, 1, 2], "p": "x", "d": {"x": 2}}


def test_malformed_json_names_file_and_line(tmp_path):
    (tmp_path / "a.json").write_text('{\n "a": 1,\n "b" 2\n}')
    with pytest.raises(DataError, match=r"a\.json, line 3"):
        read_json(tmp_path / "a.json")


def test_cut_off_binary_and_missing_json_are_data_errors(tmp_path):
    (tmp_path / "cut.json").write_text(json.dumps({"a": list(range(9))})[:-4])
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00\x80")
    for name in ("cut.json", "binary.json", "missing.json"):
        with pytest.raises(DataError, match=name):
            read_json(tmp_path / name)


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@sum", "\t=1", "\r=1", "'quoted", "''", "plain", "a,b\nc", "–"])
def test_a_name_that_a_spreadsheet_would_run_is_text_there_and_comes_back(tmp_path, name):
    text = csv_text(["patient", "score"], [[name, -0.5], ["b", "-1.5"]])
    assert not any(line.startswith(("=", "+", "-", "@", "\t")) for line in text.split("\n"))
    (tmp_path / "a.csv").write_bytes(text.encode())
    assert read_csv(tmp_path / "a.csv") == [{"patient": name, "score": "-0.5"}, {"patient": "b", "score": "-1.5"}]


@pytest.mark.parametrize("content", [b"a,b\n1\n", b'a\n"x', b""])
def test_a_table_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.csv: found no readable table"):
        read_csv(tmp_path / "a.csv")
