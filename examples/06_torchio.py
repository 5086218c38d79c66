"""Tumor insertion in a TorchIO pipeline: one of our dictionary transforms among TorchIO's own.

Run `make demo` first, or train weights of your own, then (`pip install "medaug[torchio]"`):
    python examples/06_torchio.py --run out/quickstart
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torchio as tio

from medaug.models.weights import Weights, load_weights
from medaug.phantoms import phantoms
from medaug.transforms import RandInsertTumord
from medaug.transforms.torchio import to_torchio


def subjects(weights: Weights) -> list[tio.Subject]:
    """Two healthy heads, in the sequences of the weights.

    With scans of your own: `tio.ScalarImage("scan.nii.gz")`, `tio.LabelMap("tumor.nii.gz")`.
    """
    drawn = phantoms("head", 2, seed=7, shape=(64, 64, 20), spacing_mm=(3.0, 3.0, 5.0), tumors=0, parts=True)
    return [
        tio.Subject(
            mri=tio.ScalarImage(tensor=np.stack([p.images[name] for name in weights.sequences]), affine=p.affine),
            tumor=tio.LabelMap(tensor=p.label[None], affine=p.affine),
        )
        for p in drawn
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("out/quickstart"), help="a medaug run on head phantoms")
    args = parser.parse_args()
    weights = load_weights(args.run / "train" / "weights")
    insert = RandInsertTumord("mri", weights=weights, label_key="tumor", prob=1.0)
    pipeline = tio.Compose([to_torchio(insert), tio.RandomFlip(axes=(0,)), tio.RandomNoise(std=0.01)])
    loader = tio.SubjectsLoader(tio.SubjectsDataset(subjects(weights), transform=pipeline), batch_size=2)
    for batch in loader:
        print(f"tumor voxels: {batch['tumor'][tio.DATA].flatten(1).sum(dim=1).tolist()}")


if __name__ == "__main__":
    main()
