"""What inserting tumors while a network trains costs: against MONAI's elastic deformation, and in a whole loop."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import Compose, Rand2DElasticd, Rand3DElasticd, RandFlipd

from medaug.phantoms import head_phantom
from medaug.transforms import FindOrgand, RandInsertTumord

CROPS = {2: (128, 128), 3: (96, 96, 96)}
STEPS, BATCH = 40, 16


@pytest.fixture(scope="module")
def scan() -> dict[int, dict[str, torch.Tensor]]:
    """One head phantom by dimension: {"image", "label"}, (1, *S)."""
    head = head_phantom(0, shape=CROPS[3], spacing_mm=(2.0, 2.0, 2.0))
    flat = head_phantom(0, shape=(*CROPS[2], 8), spacing_mm=(1.5, 1.5, 10.0))
    level = int(flat.label.reshape(-1, 8).sum(axis=0).argmax())
    return {
        3: sample(head.images["flair"], head.label),
        2: sample(flat.images["flair"][..., level], flat.label[..., level]),
    }


def sample(image: np.ndarray, label: np.ndarray) -> dict[str, torch.Tensor]:
    arrays = {"image": image, "label": label > 0}
    return {key: torch.from_numpy(np.ascontiguousarray(array))[None].float() for key, array in arrays.items()}


@pytest.mark.parametrize("dims", [2, 3])
def test_insertion_against_elastic_deformation(benchmark, request, scan, dims, seconds_in_turns, tell):
    weights = request.getfixturevalue("slice_weights" if dims == 2 else "volume_weights")
    insert = RandInsertTumord("image", weights=weights, label_key="label", prob=1.0).set_random_state(seed=0)
    keys, modes = ["image", "label"], ("bilinear", "nearest")
    elastic = (
        Rand2DElasticd(keys, spacing=(20, 20), magnitude_range=(1, 2), prob=1.0, mode=modes)
        if dims == 2
        else Rand3DElasticd(keys, sigma_range=(5, 8), magnitude_range=(50, 150), prob=1.0, mode=modes)
    ).set_random_state(seed=0)
    torch.set_num_threads(1)  # as in a worker of a DataLoader
    seconds = seconds_in_turns({"insert": lambda: insert(scan[dims]), "elastic": lambda: elastic(scan[dims])})
    benchmark.extra_info["ratio_to_elastic"] = seconds["insert"] / seconds["elastic"]
    benchmark.pedantic(insert, (scan[dims],), rounds=3)
    tell(
        f"{dims}-D, {'×'.join(map(str, CROPS[dims]))}: RandInsertTumord {1e3 * seconds['insert']:.1f} ms, "
        f"MONAI's elastic {1e3 * seconds['elastic']:.1f} ms: {seconds['insert'] / seconds['elastic']:.2f}"
    )


def test_a_training_loop_with_insertion_keeps_its_speed(benchmark, slice_weights, scan, tell):
    """2-D, 128², batch 16, two workers, MONAI's UNet of 16 to 256 channels; the loader is started before the clock."""
    organ = FindOrgand("image", slice_weights)
    insert = RandInsertTumord("image", weights=slice_weights, label_key="label", organ_key="organ", prob=0.5)
    flip = RandFlipd(["image", "label"], prob=0.5, spatial_axis=0)
    ways = {"without": [flip], "with": [organ, insert, flip], "finding the organ every time": [insert, flip]}
    loops = {name: Loop(Compose(transforms), scan[2]) for name, transforms in ways.items()}
    seconds = dict.fromkeys(loops, 0.0)
    for _ in range(3):  # in turns: a slow spell slows both
        for name, loop in loops.items():
            seconds[name] += loop.run()
    kept = {name: seconds["without"] / spent for name, spent in seconds.items()}
    benchmark.extra_info["speed_kept"] = kept
    benchmark.pedantic(loops["with"].run, rounds=1)
    tell(
        f"UNet loop with two workers: {kept['with']:.0%} of its speed with RandInsertTumord in half of the samples, "
        f"{kept['finding the organ every time']:.0%} without FindOrgand"
    )


class Loop:
    """A MONAI training loop on copies of one slice; `run` trains some steps and says the seconds they took."""

    def __init__(self, transforms: Compose, sample: dict[str, torch.Tensor]):
        dataset = CacheDataset([sample] * (STEPS + 4) * BATCH, transforms, progress=False)
        self.loader = DataLoader(dataset, batch_size=BATCH, num_workers=2)
        self.network = UNet(2, 1, 1, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2))
        self.optimizer = torch.optim.AdamW(self.network.parameters(), 1e-3)
        self.loss = DiceCELoss(sigmoid=True)

    def run(self) -> float:
        batches = iter(self.loader)
        for _ in range(4):
            self._step(next(batches))
        start = time.perf_counter()
        for batch in batches:
            self._step(batch)
        return time.perf_counter() - start

    def _step(self, batch: dict[str, torch.Tensor]) -> None:
        self.optimizer.zero_grad()
        self.loss(self.network(batch["image"]), batch["label"]).backward()
        self.optimizer.step()
