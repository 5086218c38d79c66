"""Crops of each class show what the class says, take turns, and are the same whoever asks for them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset

from medaug.errors import DataError
from medaug.lesions.geometry import CropBox, extract
from medaug.models.noise.config import HEALTHY, TUMOR
from medaug.training.samples import ClassCropSamples

TUMOR_VALUE = 0.75


class StubView:
    """One slice in memory: tissue from -0.5 to 0, at most one tumor of a brightness that nothing else has."""

    level, spacing_mm = 0, (2.0, 2.0)

    def __init__(self, seed: int, center: tuple[int, int] | None = None, radius: int = 4):
        self.name, rng = f"{seed}", np.random.RandomState(seed)
        x, y = np.indices((48, 48))
        self.inside = (x - 24) ** 2 + (y - 24) ** 2 < 20**2
        self.label = np.zeros((48, 48), dtype=bool)
        if center is not None:
            self.label = (x - center[0]) ** 2 + (y - center[1]) ** 2 <= radius**2
        tissue = np.where(self.inside, rng.uniform(-0.5, 0, (48, 48)), -1.0)
        self.image = np.where(self.label, TUMOR_VALUE, tissue).astype(np.float32)
        self.tumor_voxels = int(self.label.sum())

    def organ(self, folder: Path) -> np.ndarray:
        return self.inside

    def classes(self, folder: Path) -> np.ndarray:
        return self.label.astype(np.uint8)

    def crop(self, folder: Path, box: CropBox) -> np.ndarray:
        return extract(self.image, box, -1.0)[None]


def samples(healthy=None, tumor=None, *, seed=0, size=(16, 12), min_diameter_mm=4.0) -> ClassCropSamples:
    tumor = [StubView(1, (30, 20)), StubView(2, (20, 28))] if tumor is None else tumor
    healthy = [StubView(3), *tumor] if healthy is None else healthy
    return ClassCropSamples(healthy, tumor, Path(), size=size, min_diameter_mm=min_diameter_mm, seed=seed)


@pytest.mark.parametrize("size", [(16, 12), (15, 13)])
def test_healthy_crops_hold_no_tumor_and_tumor_crops_hold_one_about_the_middle(size):
    crops = samples(size=size)
    for index in range(80):
        sample = crops[index]
        x = sample["x"]
        assert x.shape == (1, *size) and x.dtype == torch.float32 and x.abs().max() <= 1
        inside = (x == TUMOR_VALUE).nonzero()[:, 1:].float()
        assert bool(len(inside)) == (sample["label"] == TUMOR)
        if len(inside):
            assert len(inside) >= 25
            assert ((inside.mean(dim=0) - torch.tensor(size) / 2).abs() <= 4).all()
        else:
            assert x.max() > -1, "nothing but air"


def test_classes_take_turns():
    labels = torch.stack([samples()[i]["label"] for i in range(10)])
    assert labels.tolist() == [HEALTHY, TUMOR] * 5


def test_crops_are_the_same_for_the_same_number_and_seed_only():
    first, again, other = samples(seed=1), samples(seed=1), samples(seed=2)
    for index in (0, 5, 2**33 + 1):
        assert all(torch.equal(first[index][key], again[index][key]) for key in ("x", "label", "seed"))
        assert not torch.equal(first[index]["x"], other[index]["x"])
    loaded = [list(DataLoader(Subset(first, range(8)), batch_size=4, num_workers=n)) for n in (0, 2)]
    assert all(torch.equal(x["x"], y["x"]) for x, y in zip(*loaded, strict=True))


def test_views_without_room_or_with_too_small_a_lesion_are_passed_over():
    full, small = StubView(4, (24, 24), radius=18), StubView(5, (24, 24), radius=1)
    crops = samples(healthy=[full, StubView(6)], tumor=[small, StubView(7, (24, 24))], min_diameter_mm=8.0)
    for index in range(40):
        inside = int((crops[index]["x"] == TUMOR_VALUE).sum())
        assert inside == 0 if index % 2 == HEALTHY else inside > 30


def test_classes_without_a_place_are_refused_with_the_remedy():
    with pytest.raises(DataError, match="0 training views for healthy crops and 2 with a tumor"):
        samples(healthy=[])
    with pytest.raises(DataError, match="no place for a healthy crop of 16 × 12 voxels .* make crop.size smaller"):
        samples(healthy=[StubView(4, (24, 24), radius=24)])[0]
    with pytest.raises(DataError, match="no place for a tumor crop"):
        samples(min_diameter_mm=99.0)[1]
