"""Add tumor insertion to a MONAI training loop: one line in `Compose` (marked below).

Run `make demo` first, or train weights of your own, then:
    python examples/01_add_to_monai_training.py --run out/quickstart
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from monai.data import CacheDataset, DataLoader
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import (
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    RandFlipd,
    RandSpatialCropd,
    ScaleIntensityRangePercentilesd,
)  # fmt: skip
from monai.utils import set_determinism

from medaug.transforms import RandInsertTumord


def training_cases(run: Path) -> list[dict[str, list[str]]]:
    """The training patients of a run: the weights were made from these, so validation and test stay untouched."""
    patients = json.loads((run / "split.json").read_text())["train"]
    cases = json.loads((run / "prepared" / "datalist.json").read_text())["cases"]
    chosen = [case for case in cases if case["patient"] in patients]
    return [
        {"image": [c["image"], *(other["image"] for other in c.get("others", []))], "label": [c["label"]]}
        for c in chosen
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("out/quickstart"), help="a medaug run on volumes")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()

    set_determinism(seed=0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    transforms = Compose([
        LoadImaged(["image", "label"]),
        EnsureChannelFirstd(["image", "label"]),
        ScaleIntensityRangePercentilesd("image", 0.5, 99.8, b_min=-1.0, b_max=1.0, clip=True, channel_wise=True),
        # The line medaug adds: half of the scans get a tumor more, and the label with it.
        RandInsertTumord("image", weights=str(args.run / "train" / "weights"), label_key="label", prob=0.5),
        AsDiscreted("label", threshold=0.5),  # all parts of a tumor together
        RandSpatialCropd(["image", "label"], roi_size=(48, 48, 16), random_size=False),
        RandFlipd(["image", "label"], prob=0.5, spatial_axis=0),
    ])  # fmt: skip
    dataset = CacheDataset(training_cases(args.run), transforms, progress=False)
    loader = DataLoader(dataset, batch_size=2, shuffle=True, num_workers=args.workers)

    network = UNet(3, len(dataset[0]["image"]), 1, channels=(16, 32, 64), strides=(2, 2)).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    loss_function = DiceCELoss(sigmoid=True)
    for epoch in range(args.epochs):
        losses = []
        for batch in loader:
            optimizer.zero_grad()
            loss = loss_function(network(batch["image"].to(device)), batch["label"].to(device))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.3f}")


if __name__ == "__main__":
    main()
