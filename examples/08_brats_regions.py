"""BraTS with four sequences and three overlapping regions: tumors are inserted into all sequences at once (marked).

`--run` is a medaug run (medaug train-cycle is enough) on the same folder, with data.sequences=[t1,t1ce,t2,flair] and
data.tumor={edema: 2, core: 1, enhancing: 4}. Then:
    python examples/08_brats_regions.py --data brats --run out/brats
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from monai.data import CacheDataset, DataLoader
from monai.losses import DiceLoss
from monai.networks.nets import UNet
from monai.transforms import (
    Compose,
    ConcatItemsd,
    ConvertToMultiChannelBasedOnBratsClassesd,
    LoadImaged,
    NormalizeIntensityd,
    RandFlipd,
    RandSpatialCropd,
)
from monai.utils import set_determinism

from medaug.transforms import RandInsertTumord

SEQUENCES = ["t1", "t1ce", "t2", "flair"]
REGIONS = ["tumor core", "whole tumor", "enhancing tumor"]


def training_cases(data: Path, run: Path) -> list[dict[str, Path]]:
    """The training patients of the run: validation and test patients are in no lesion of its weights."""
    patients = json.loads((run / "split.json").read_text())["train"]
    names = {name: name for name in SEQUENCES} | {"label": "seg"}
    return [{key: data / p / f"{p}_{name}.nii.gz" for key, name in names.items()} for p in patients]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder in the layout of BraTS")
    parser.add_argument("--run", type=Path, required=True, help="a medaug run on it")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--roi", type=int, nargs=3, default=(96, 96, 64))
    args = parser.parse_args()
    set_determinism(seed=0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    transforms = Compose([
        LoadImaged([*SEQUENCES, "label"], ensure_channel_first=True),
        # The line medaug adds, before labels become regions: half of the scans get a tumor more, in every sequence.
        RandInsertTumord(SEQUENCES, weights=str(args.run / "train" / "weights"), label_key="label", prob=0.5),
        ConvertToMultiChannelBasedOnBratsClassesd("label"),
        ConcatItemsd(SEQUENCES, "image"),
        NormalizeIntensityd("image", nonzero=True, channel_wise=True),
        RandSpatialCropd(["image", "label"], roi_size=args.roi, random_size=False),
        RandFlipd(["image", "label"], prob=0.5, spatial_axis=0),
    ])  # fmt: skip
    dataset = CacheDataset(training_cases(args.data, args.run), transforms, progress=False)
    loader = DataLoader(dataset, batch_size=1, shuffle=True)

    network = UNet(3, len(SEQUENCES), len(REGIONS), channels=(16, 32, 64), strides=(2, 2)).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    loss_function = DiceLoss(sigmoid=True, reduction="none")
    for epoch in range(args.epochs):
        losses = []
        for batch in loader:
            optimizer.zero_grad()
            by_region = loss_function(network(batch["image"].to(device)), batch["label"].to(device)).flatten(1).mean(0)
            by_region.mean().backward()
            optimizer.step()
            losses.append(by_region.detach())
        means = torch.stack(losses).mean(0).tolist()
        print(f"epoch {epoch + 1}: loss", ", ".join(f"{n} {v:.3f}" for n, v in zip(REGIONS, means, strict=True)))


if __name__ == "__main__":
    main()
