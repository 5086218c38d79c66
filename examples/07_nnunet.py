"""Train nnU-Net on real and synthetic cases: export a run, and say what nnU-Net finds.

Run `make demo` first, or a pipeline of your own, then:
    python examples/07_nnunet.py --run out/quickstart --out out/nnUNet_raw
    nnUNet_raw=out/nnUNet_raw nnUNetv2_plan_and_preprocess -d 501     # nnU-Net itself is not a part of medaug
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from medaug.exports.datasets import export_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("out/quickstart"), help="a finished medaug run")
    parser.add_argument("--out", type=Path, default=Path("out/nnUNet_raw"))
    args = parser.parse_args()
    print(export_dataset(args.run, args.out, "nnunet"))
    (dataset,) = args.out.iterdir()
    about = json.loads((dataset / "dataset.json").read_text())
    print(f"{dataset.name}: {about['numTraining']} training cases, labels {about['labels']}")
    for number, fold in enumerate(json.loads((dataset / "splits_final.json").read_text())):
        synthetic = sum("inserted" in case or "removed" in case for case in fold["train"])
        print(
            f"fold {number}: {len(fold['train'])} train ({synthetic} synthetic), {len(fold['val'])} validate, all real"
        )


if __name__ == "__main__":
    main()
