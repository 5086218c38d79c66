"""nnU-Net with tumors inserted online: a GAN for one fold of an nnU-Net data set, and nnU-Net's own training.

Set nnUNet_raw, nnUNet_preprocessed and nnUNet_results as for nnU-Net, plan and preprocess the data set, then:
    python examples/07_nnunet.py --dataset 501 --fold 0 --configuration 3d_fullres
    python examples/07_nnunet.py --dataset 501 --print        # only says what nnU-Net is asked to do
A finished medaug run becomes such a data set by `medaug export out/quickstart out/nnUNet_raw --to nnunet`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

import medaug
from medaug.nnunet.datasets import find_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="501", help="number or name of the data set")
    parser.add_argument("--fold", default="0")
    parser.add_argument("--configuration", default="3d_fullres")
    parser.add_argument("--set", action="append", default=[], help="settings of the GAN")
    parser.add_argument("--print", action="store_true", help="do not train")
    args = parser.parse_args()
    dataset = find_dataset(args.dataset)
    fold = dataset.fold(args.fold)
    print(f"{dataset.name}: channels {', '.join(dataset.channels)}; {dataset.tumors.sentence}")
    print(f"fold {args.fold}: {len(fold.train)} train, {len(fold.val)} validate")
    command = ["nnUNetv2_train", dataset.name, args.configuration, args.fold, "-tr", "nnUNetTrainerMedaug"]
    print(" ".join(command))
    if not args.print:
        print(medaug.train_cycle(nnunet=args.dataset, fold=args.fold, set_=args.set))
        subprocess.run([sys.executable, "-m", "medaug.nnunet", *command], check=True)


if __name__ == "__main__":
    main()
