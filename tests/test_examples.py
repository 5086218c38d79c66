"""The examples run as they stand, and stay short."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_at_most_80_lines(path):
    assert len(path.read_text().splitlines()) <= 80


def test_the_monai_training_loop_runs_on_a_finished_run(tiny_run):
    path = next(path for path in EXAMPLES if path.name.startswith("01_"))
    command = [sys.executable, path, "--run", tiny_run.root, "--epochs", "1", "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert "epoch 1: loss " in done.stdout
