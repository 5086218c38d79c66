"""A checkpoint is whole or not there, and the newest whole one is what is read."""

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch

from medaug.errors import RunError
from medaug.training import checkpoint
from medaug.training.checkpoint import KEPT, load_checkpoint, save_checkpoint


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_state_comes_back(tmp_path):
    state = {"step": 3, "name": "x", "nested": [{"weight": torch.arange(4.0)}], "nothing": None}
    save_checkpoint(tmp_path, 3, state)
    loaded = load_checkpoint(tmp_path)
    assert torch.equal(loaded["nested"][0].pop("weight"), torch.arange(4.0))
    assert loaded == {"step": 3, "name": "x", "nested": [{}], "nothing": None}


def test_no_folder_and_an_empty_folder_hold_no_checkpoint(tmp_path):
    assert load_checkpoint(tmp_path) is None and load_checkpoint(tmp_path / "missing") is None


def test_newest_is_read_and_old_ones_are_removed(tmp_path):
    for step in (1, 2, 9, 10, 100):
        save_checkpoint(tmp_path, step, {"step": step})
    assert load_checkpoint(tmp_path)["step"] == 100
    assert names(tmp_path) == ["step-00000010", "step-00000100"] and KEPT == 2


def test_half_written_checkpoint_is_never_read(tmp_path):
    save_checkpoint(tmp_path, 1, {"step": 1})
    half = tmp_path / ".partial-00000002"
    half.mkdir()
    (half / "rank-0.pt").write_bytes((tmp_path / "step-00000001" / "rank-0.pt").read_bytes()[:200])
    assert load_checkpoint(tmp_path)["step"] == 1
    save_checkpoint(tmp_path, 2, {"step": 2})
    assert load_checkpoint(tmp_path)["step"] == 2 and names(tmp_path) == ["step-00000001", "step-00000002"]


def test_what_a_killed_run_left_half_written_is_cleared_away(tmp_path):
    (tmp_path / ".partial-00000007").mkdir()
    save_checkpoint(tmp_path, 8, {"step": 8})
    assert names(tmp_path) == ["step-00000008"]


@pytest.mark.parametrize("moment", ["write", "flush", "rename", "clean"])
def test_killed_at_any_moment_a_whole_checkpoint_is_left(tmp_path, monkeypatch, moment):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, {"step": step})

    def half_a_file(state, file):
        file.write(b"half of a checkpoint")
        raise Killed

    def kill(*args, **kwargs):
        raise Killed

    remove = shutil.rmtree

    def half_removed(path, **kwargs):
        if path.name.startswith("step-") and path.exists():
            (path / "rank-0.pt").unlink()
            raise Killed
        remove(path, **kwargs)

    with monkeypatch.context() as patch:
        if moment == "write":
            patch.setattr(torch, "save", half_a_file)
        elif moment == "flush":
            patch.setattr(os, "fsync", kill)
        elif moment == "rename":
            patch.setattr(Path, "rename", kill)
        else:
            patch.setattr(checkpoint.shutil, "rmtree", half_removed)
        with pytest.raises(Killed):
            save_checkpoint(tmp_path, 3, {"step": 3})
    assert load_checkpoint(tmp_path)["step"] == (3 if moment == "clean" else 2)
    save_checkpoint(tmp_path, 3, {"step": 3, "again": True})
    assert load_checkpoint(tmp_path)["again"]


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("PytorchStreamWriter failed writing file data/0")],
)
def test_full_disk_is_reported_with_the_remedy_and_leaves_nothing_half_done(tmp_path, monkeypatch, error):
    save_checkpoint(tmp_path, 1, {"step": 1})

    def fail(state, file):
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(RunError, match="step 2 could not be written .* Free some space"):
        save_checkpoint(tmp_path, 2, {"step": 2})
    assert names(tmp_path) == ["step-00000001"]


def test_failures_that_are_not_of_the_disk_are_not_disguised(tmp_path, monkeypatch):
    def fail(state, file):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        save_checkpoint(tmp_path, 2, {"step": 2})


def test_each_process_reads_its_own_part(tmp_path):
    save_checkpoint(tmp_path, 5, {"rank": 0})
    torch.save({"rank": 1}, tmp_path / "step-00000005" / "rank-1.pt")
    assert [load_checkpoint(tmp_path, rank=rank, processes=2)["rank"] for rank in (0, 1)] == [0, 1]


@pytest.mark.parametrize(("written", "read"), [(1, 2), (2, 1), (2, 3)])
def test_another_number_of_processes_is_refused(tmp_path, written, read):
    save_checkpoint(tmp_path, 5, {})
    for rank in range(1, written):
        torch.save({}, tmp_path / "step-00000005" / f"rank-{rank}.pt")
    for rank in range(read):
        with pytest.raises(RunError, match=f"written by {written} process.*found {read}.*--devices {written}"):
            load_checkpoint(tmp_path, rank=rank, processes=read)


def test_nothing_is_unpickled(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (os.system, ("echo harm",))

    save_checkpoint(tmp_path, 1, {"step": Harmful()})
    with pytest.raises(Exception, match="[Ww]eights.only"):
        load_checkpoint(tmp_path)
