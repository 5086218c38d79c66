"""Synthetic CT from MR as a MONAI transform: train on phantoms, translate one that was not trained on, compare in HU.

python examples/04_synthetic_ct.py --out out/mr-ct
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, SaveImaged

from medaug.config.files import load_config
from medaug.phantoms import abdomen_phantom
from medaug.stages.pipeline import run_pipeline
from medaug.transforms import SynthesizeCTd

SETTINGS = [
    "domain=ct", "translator.type=pix2pix", "data.phantoms.shape=[64,64,16]", "data.phantoms.spacing_mm=[6,6,12]",
    "target.window_hu=[-1000,1000]", "crop.size=[48,48]", "translator.generator=unet", "translator.width=16",
    "translator.depth=3", "training.steps=200", "training.batch_size=4",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/mr-ct"))
    parser.add_argument("--set", action="append", default=[], help="key=value over the settings; repeatable")
    args = parser.parse_args()
    config = load_config(None, [*SETTINGS, *args.set])
    run = run_pipeline(config, args.out, until="train")

    drawn = config.data.phantoms
    patient = abdomen_phantom(1000, shape=drawn.shape, spacing_mm=drawn.spacing_mm)  # none of the training's
    mr = MetaTensor(torch.from_numpy(patient.images["mr"])[None], affine=torch.from_numpy(patient.affine))
    transforms = Compose([
        SynthesizeCTd("image", weights=str(run.weights)),  # (1, X, Y, Z) → int16 HU, affine kept
        SaveImaged("image", output_dir=args.out / "synthetic", output_postfix="ct", separate_folder=False,
                   print_log=False),
    ])  # fmt: skip
    ct = transforms({"image": mr})["image"][0].numpy()
    body = patient.organs > 0
    error = np.abs(ct - patient.images["contrast"])[body].mean()
    print(f"mean absolute error in the organs: {error:.0f} HU; written to {args.out / 'synthetic'}")


if __name__ == "__main__":
    main()
