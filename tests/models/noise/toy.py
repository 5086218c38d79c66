"""Crops that a GAN learns in seconds: a square of some brightness (healthy), with a bright middle (tumor)."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from medaug.models.noise.config import DCGANConfig
from medaug.models.noise.dcgan import DCGAN, build_dcgan
from medaug.volumes import Domain, Window

DOMAIN = Domain("crops", "CT", Window(-100, 300, "HU"))


def tiny_gan(size: tuple[int, ...] = (16, 16), *, seed: int = 0, **settings) -> DCGAN:
    small = {"latent_dim": 6, "width": 4, "levels": 2, "discriminator_width": 4}
    return build_dcgan(DCGANConfig(**small | settings), size, DOMAIN, seed=seed)


def batch_of(first: int, count: int, size: tuple[int, ...] = (16, 16)) -> dict[str, Tensor]:
    samples = [toy_crop(i, size) for i in range(first, first + count)]
    return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}


def toy_crop(index: int, size: tuple[int, ...] = (16, 16)) -> dict[str, Tensor]:
    chance = torch.rand(2, generator=torch.Generator().manual_seed(index))
    label, x = index % 2, torch.full((1, *size), -0.9)
    inside, middle = ((slice(None), *(slice(n // k, n - n // k) for n in size)) for k in (6, 3))
    x[inside] = -0.5 + 0.8 * chance[0]
    if label:
        x[middle] = 0.8
    return {"x": x, "label": torch.tensor(label), "seed": torch.tensor(index)}


class ToyCrops(Dataset):
    """Endless toy crops; `before(index)` may interfere."""

    def __init__(self, before=lambda index: None):
        self.before = before

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        self.before(index)
        return toy_crop(index)
