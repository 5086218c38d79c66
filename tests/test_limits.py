"""A time limit is one of its own test: what runs beside it goes on, whenever the alarm comes."""

import subprocess
import sys
from pathlib import Path

SETTINGS = Path(__file__).parents[1] / "pyproject.toml"
SLOW = """
import time, pytest

@pytest.fixture(scope="module")
def slow_to_make():
    time.sleep(1.5)

def test_beyond_its_limit():
    time.sleep(30)

def test_after_a_slow_fixture(slow_to_make):
    pass
"""


def test_a_limit_fails_its_own_test_and_nothing_else(tmp_path):
    (tmp_path / "test_slow.py").write_text(SLOW)
    command = [sys.executable, "-m", "pytest", "-c", SETTINGS, "--rootdir", tmp_path, "-p", "no:cacheprovider"]
    command += ["-n", "1", "-o", "timeout=1", "-o", "addopts=--import-mode=importlib", tmp_path]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout
    assert "1 failed, 1 passed" in said and "INTERNALERROR" not in said, said
