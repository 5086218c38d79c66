"""How soon inserted tumors look like real ones: crops, as by default, against whole images, as in the paper.

Both translators are trained on the same patients and asked the same two audits on the patients held out: how well a
probe tells inserted from real lesions (AUC; 0.5 is best), and how far apart their contrasts are (in window units; 0 is
best). The whole-image CycleGAN is the paper's (Zhu 2017: ResNet-9 of width 64, batch 1, learning rate 2e-4) and is
given one time and over ten times the CPU seconds of the crops' training, its learning rate falling to zero at each. On
`lgg`, whose slices all show a tumor, it sees patches of 48 × 48 instead, which can be found without one.

Run: make time-to-quality LGG=<folder>; an hour or more on one core.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import medaug
from medaug.config import PipelineConfig
from medaug.config.files import load_config
from medaug.runs.folder import RunDir, open_run
from medaug.stages.prepare import prepare
from medaug.stages.train import train

PIPELINES = Path(__file__).parents[2] / "pipelines"
LGG = os.environ.get("MEDAUG_LGG")
COMMON = ("training.workers=0", "training.preview_every=1000000", "audit.volumes=0")
PAPER = (
    "translator={type: cyclegan, mask_guided: false}", "training.batch_size=1", "training.learning_rate=2e-4",
    "training.beta2=0.999",
)  # fmt: skip
BUDGETS = (1, 11)
"""Of the whole-image training, in CPU seconds of the crops'; a step of a longer training is a little quicker."""
CALIBRATION_STEPS = 8
PHANTOMS = (
    "data.phantoms.patients=24", "data.phantoms.shape=[96,96,20]", "data.phantoms.spacing_mm=[2.0,2.0,5.0]",
    "crop.size=[48,48]",
)  # fmt: skip
LESS = ("training.steps=200",)
"""Of `lgg`: a third of the pipeline's, so that ten times as long is half an hour."""
SEEN = {"phantoms": "crop.size=null", "lgg": "crop.size=[48,48]"}


@pytest.mark.timeout(0)
@pytest.mark.parametrize("data", ["phantoms", "lgg"])
def test_crops_look_real_in_a_tenth_of_the_time(benchmark, tmp_path, data, tell):
    if data == "lgg" and not LGG:
        pytest.skip("MEDAUG_LGG does not name the folder of the Kaggle-LGG data set")
    file = PIPELINES / ("lgg_tumor.yaml" if data == "lgg" else "quickstart.yaml")
    own = (f"data.root={LGG}", *LESS) if data == "lgg" else PHANTOMS

    def trained(name: str, *settings: str) -> tuple[float, RunDir]:
        config = load_config(file, [*own, *COMMON, *settings])
        run = open_run(tmp_path / name, config)
        prepare(config, run)
        return cpu_seconds(config, run), run

    crops_s, crops = benchmark.pedantic(trained, ("crops",), rounds=1)
    tell(f"{data}, crops: {crops_s:.0f} s of CPU; {quality(crops)}")
    paper = (*PAPER, SEEN[data])
    step_s = trained("calibration", *paper, f"training.steps={CALIBRATION_STEPS}")[0] / CALIBRATION_STEPS
    for budget in BUDGETS:
        steps = max(1, round(budget * crops_s / step_s))
        whole_s, whole = trained(f"whole-{budget}", *paper, f"training.steps={steps}")
        step_s = whole_s / steps  # the longer training is reckoned from the shorter: first steps are slow
        tell(f"{data}, whole images: {whole_s:.0f} s of CPU ({steps} steps); {quality(whole)}")


def cpu_seconds(config: PipelineConfig, run: RunDir) -> float:
    """Of the training alone."""
    start = time.process_time()
    train(config, run)
    return time.process_time() - start


def quality(run: RunDir) -> str:
    """What the two audits say."""
    shortcut, contrast = medaug.audit(run.root, only=["shortcut", "lesion_contrast"])
    return "; ".join(
        f"{finding.name} {finding.sentence}" if finding.value is None else
        f"{finding.name} {finding.value:.2f} ({finding.low:.2f} to {finding.high:.2f}), {finding.n}"
        for finding in (shortcut, contrast)
    )  # fmt: skip
