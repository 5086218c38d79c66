"""docs/nnunet.md as it stands: every command of it, in order, by nnU-Net's own entry points, on a small data set.

The commands are the page's; what is added are the CPU and the sizes of a test. All run in one process, and in what
nnU-Net starts from it, as `python -m medaug.nnunet` would run them one by one.
"""

import os
import shlex
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from medaug.cli import app

from ..doc_blocks import ROOT, blocks_of
from .conftest import FOLDERS, NAME

RUNNER = """
import sys
from importlib.metadata import entry_points
from medaug.nnunet import __main__ as medaug_nnunet
from medaug.nnunet.trainers import export_trainers

def main():
    export_trainers()
    for line in open(sys.argv[1]).read().splitlines():
        sys.argv = line.split()
        print("RUN", line, flush=True)
        medaug_nnunet.main()

if __name__ == "__main__":
    main()
"""
"""What runs several commands with one import of nnU-Net: seconds each."""
SHORT = {"MEDAUG_EPOCHS": "1", "MEDAUG_ITERATIONS": "1", "MEDAUG_PROB": "1"}


def commands():
    """(program, arguments) of the page, without what installs."""
    lines = (
        line
        for block in blocks_of(ROOT / "docs" / "nnunet.md")
        if block.language == "bash"
        for _, line in block.commands()
    )
    return [tuple(shlex.split(line, comments=True)) for line in lines]


@pytest.fixture
def environment(heads, tmp_path):
    """A copy of the data set, and a scan to predict."""
    for name in FOLDERS[:2]:
        shutil.copytree(heads / name, tmp_path / name)
    (tmp_path / "scans").mkdir()
    for channel in ("0000", "0001"):
        image = heads / "nnUNet_raw" / NAME / "imagesTr" / f"phantom-003_{channel}.nii.gz"
        shutil.copy(image, tmp_path / "scans")
    one = {"OMP_NUM_THREADS": "1", "nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1", "nnUNet_compile": "f"}
    return os.environ | one | SHORT | {name: str(tmp_path / name) for name in FOLDERS}


def test_every_command_of_the_page_runs(environment, tmp_path, small, monkeypatch):
    """One after the other: the GAN, a training, the same continued, a prediction, the rivals, the CPU's command."""
    sizes = [*(flag for setting in small for flag in ("--set", setting)), "--max-steps", "2"]
    found, lines, training = [], [], []
    for program, *arguments in commands():
        found.append(program)
        if program == "medaug":
            training.append([*arguments, *sizes])
        elif program in ("python", "nnUNetv2_train", "nnUNetv2_predict"):
            words = arguments[2:] if program == "python" else [program, *arguments]
            device = [] if "-device" in words else ["-device", "cpu"]
            lines.append(" ".join(["medaug.nnunet", *words, *device]))
    assert set(found) == {"pip", "export", "medaug", "nnUNetv2_train", "nnUNetv2_predict", "python"}
    monkeypatch.chdir(tmp_path)
    for arguments in training:
        result = CliRunner(env=environment).invoke(app, arguments)
        assert result.exit_code == 0, result.output
    (tmp_path / "lines").write_text("\n".join(lines))
    (tmp_path / "runner.py").write_text(RUNNER)
    command = [sys.executable, "runner.py", "lines"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    results = tmp_path / "nnUNet_results" / NAME
    for name in ("nnUNetTrainerMedaug", "nnUNetTrainerMedaug_copypaste", "nnUNetTrainerMedaug_carvemix"):
        fold = results / f"{name}__nnUNetPlans__3d_fullres" / "fold_0"
        assert (fold / "checkpoint_final.pth").exists() and (fold / "validation" / "summary.json").exists()
    assert (tmp_path / "predicted" / "phantom-003.nii.gz").exists()
    assert "train_loss nan" not in done.stdout and "edits 100% of the training patches" in done.stdout
