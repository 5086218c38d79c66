"""What `make gpu-check` runs, on the CPU with its tiny sizes: that it runs, says so, and goes on past what fails."""

import json

import pytest
import torch

from ..benchmarks import gpu_check
from ..benchmarks.gpu_bench import Bench, Row


def test_without_a_gpu_it_runs_and_says_that_it_measured_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MASTER_PORT", "0")  # a section sets it; so it is set back
    monkeypatch.setenv("MASTER_ADDR", "")
    sections = ["--sections", "resuming", "one_rank", "convolutions"]
    assert gpu_check.main(["--accelerator", "cpu", "--out", str(tmp_path / "found.json"), *sections]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0] == lines[-1] == gpu_check.NOTHING
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["measured_a_gpu"] is False
    assert {row["section"] for row in found["rows"]} == {"resuming", "one_rank", "convolutions"}


def test_a_section_that_fails_is_a_row_and_the_others_go_on(tmp_path):
    def broken(bench):
        yield Row("first", "1", True)
        raise torch.OutOfMemoryError("too large\nwith a long trace")

    def whole(bench):
        yield Row("second", "2", True)

    rows = [row for _, row in gpu_check.check([broken, whole], Bench("cpu", True, tmp_path))]
    shown = [(row.what, row.found) for row in rows if row.what != "took"]
    assert shown == [("first", "1"), ("ended", "FAILED: OutOfMemoryError: too large"), ("second", "2")]
    assert [row.good for row in rows if row.found.startswith("FAILED")] == [False]


def test_no_section_is_begun_when_the_time_is_over(tmp_path):
    def never(bench):
        pytest.fail("it was begun")

    (row,) = (row for _, row in gpu_check.check([never], Bench("cpu", True, tmp_path), minutes=-1))
    assert row.good is False and "minutes are over" in row.found
