"""Weights as a MONAI bundle, and the bundle run by MONAI: every scan of a folder gets a tumor.

Run `make demo` first, or train weights of your own, then (`pip install "medaug[export]"`):
    python examples/05_monai_bundle.py --run out/quickstart
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from monai import bundle
from monai.data import MetaTensor
from monai.transforms import SaveImage

from medaug.exports.bundle import export_bundle
from medaug.models.weights import load_weights
from medaug.phantoms import phantoms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("out/quickstart"), help="a medaug run on head phantoms")
    parser.add_argument("--out", type=Path, default=Path("out/bundle"))
    args = parser.parse_args()

    sequences = load_weights(args.run / "train" / "weights").sequences
    scans, made = args.out / "scans", export_bundle(args.run / "train" / "weights", args.out / "bundle")
    shape, spacing_mm = (64, 64, 20), (3.0, 3.0, 5.0)
    save = SaveImage(scans, output_postfix="", separate_folder=False, print_log=False)
    for patient in phantoms("head", 2, seed=7, shape=shape, spacing_mm=spacing_mm, tumors=0, parts=True):
        meta = {"filename_or_obj": f"{patient.patient}.nii.gz"}
        image = np.stack([patient.images[sequence] for sequence in sequences])
        save(MetaTensor(image, affine=patient.affine, meta=meta))
    bundle.run(  # what `python -m monai.bundle run` calls
        config_file=str(made / "configs" / "inference.json"), meta_file=str(made / "configs" / "metadata.json"),
        bundle_root=str(made), dataset_dir=str(scans), output_dir=str(args.out / "inserted"),
    )  # fmt: skip
    version = json.loads((made / "configs" / "metadata.json").read_text())["version"]
    print(f"bundle {version}: {len(list((args.out / 'inserted').glob('*.nii.gz')))} files in {args.out / 'inserted'}")


if __name__ == "__main__":
    main()
