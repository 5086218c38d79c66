"""Real nnU-Net on real scans, 2-D on the CPU: minutes, so only where it is asked for.

MEDAUG_DATA=shared/data MEDAUG_NNUNET=1 pytest tests/nnunet/test_lgg.py -s
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

DATA = Path(os.environ.get("MEDAUG_DATA", "")) / "lgg_volumes"
NAME = "Dataset510_LGG"
STEPS, EPOCHS, ITERATIONS = 300, 8, 40
pytestmark = pytest.mark.skipif(
    "MEDAUG_NNUNET" not in os.environ or not DATA.is_dir(),
    reason="minutes: set MEDAUG_NNUNET=1, and MEDAUG_DATA to a folder with lgg_volumes/",
)


def smaller(plans: Path) -> None:
    """The 2-D plan with batches of 8 and a network of 5 levels, 8 to 128 features."""
    content = json.loads(plans.read_text())
    configuration = content["configurations"]["2d"]
    network = configuration["architecture"]["arch_kwargs"]
    levels = min(5, network["n_stages"])
    configuration["batch_size"], network["n_stages"] = 8, levels
    network["features_per_stage"] = [8 * 2**level for level in range(levels)]
    for key in ("kernel_sizes", "strides", "n_conv_per_stage"):
        network[key] = network[key][:levels]
    network["n_conv_per_stage_decoder"] = network["n_conv_per_stage_decoder"][: levels - 1]
    plans.write_text(json.dumps(content))


@pytest.mark.timeout(3600)
def test_nnunet_learns_with_tumors_inserted_while_it_trains(tmp_path):
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    sizes = {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1", "nnUNet_compile": "f", "OMP_NUM_THREADS": "1"}
    sizes |= {"MEDAUG_EPOCHS": str(EPOCHS), "MEDAUG_ITERATIONS": str(ITERATIONS)}
    environment = os.environ | sizes | {name: str(tmp_path / name) for name in names}
    (tmp_path / "nnUNet_raw").mkdir()
    (tmp_path / "nnUNet_raw" / NAME).symlink_to(DATA.resolve())

    def run(what: str, *arguments: str) -> str:
        started = time.monotonic()
        command = [sys.executable, "-m", *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        print(f"{what}: {time.monotonic() - started:.0f} s")
        return done.stdout

    planner = ("nnUNetv2_plan_and_preprocess", "-d", "510", "-c", "2d", "-np", "1", "-npfp", "1")
    run("planned and preprocessed", "medaug.nnunet", *planner)
    smaller(tmp_path / "nnUNet_preprocessed" / NAME / "nnUNetPlans.json")
    run(f"GAN, {STEPS} steps", "medaug", "train-cycle", "--nnunet", "510", "--fold", "0", "--max-steps", str(STEPS))
    training = ("nnUNetv2_train", "510", "2d", "0", "-tr", "nnUNetTrainerMedaug", "-device", "cpu")
    said = run(f"nnU-Net, {EPOCHS} × {ITERATIONS} iterations", "medaug.nnunet", *training)
    losses = [float(value) for value in re.findall(r"train_loss (-?[\d.]+)", said)]
    dice = re.findall(r"Pseudo dice \[np.float32\(([\d.]+)\)\]", said)  # of so few iterations it says little
    print(f"  loss {losses}, pseudo Dice {dice}", *re.findall(r"Mean Validation Dice:\s+[\d.]+", said))
    assert len(losses) == len(dice) == EPOCHS and losses[-1] < losses[0] - 0.3
