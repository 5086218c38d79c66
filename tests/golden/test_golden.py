"""What tiny runs give, down to the last bit: no change of the code's shape may move a number.

`golden.json` holds the hashes of weights after three steps of every method, of a run's scores, synthesized cases and
audits. A change that is meant to move one writes the file anew, and its commit says why:

    MEDAUG_GOLDEN=write pytest tests/golden

Bits are those of one kind of machine; on another the rounded figures beside the hashes are compared. The runs have a
process of their own: what other tests leave in torch changes the order of sums.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

GOLDEN = Path(__file__).with_name("golden.json")
CPU = Path("/proc/cpuinfo")
NAMES = re.findall(r"^(?:vendor_id|cpu family|model)\s*: (.+)$", CPU.read_text(), re.MULTILINE) if CPU.exists() else []
"""Two makers' processors of one capability round sums differently."""
MACHINE = " ".join(
    [
        f"torch {torch.__version__.split('+')[0]} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        *(NAMES[:3] or [platform.processor()]),
    ]
)


def test_no_number_of_a_tiny_run_has_moved(tmp_path, tiny_settings):
    command = [sys.executable, Path(__file__).with_name("marks.py"), tmp_path, *tiny_settings]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    if os.environ.get("MEDAUG_GOLDEN") == "write":
        GOLDEN.write_text(json.dumps({"machine": MACHINE, "marks": found}, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())
    assert sorted(found) == sorted(golden["marks"])
    if golden["machine"] == MACHINE:
        assert found == golden["marks"]
    else:
        for name, expected in golden["marks"].items():
            assert found[name]["size"] == pytest.approx(expected["size"], rel=0.05, abs=1e-3), name
