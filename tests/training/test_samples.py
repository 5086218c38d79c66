"""Sample i is the same whoever asks for it, lies in the network's range, and comes from the views it may come from."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medaug.data.cache import store_array, with_array
from medaug.data.prepared import View
from medaug.data.records import PreparedCase, frozen
from medaug.errors import DataError
from medaug.lesions.geometry import CropBox, extract
from medaug.lesions.prior import LesionExample, LesionPrior
from medaug.training.samples import TumorCropSamples, healthy_views
from medaug.volumes import Window

SPACING_MM = (2.0, 2.0)


class StubView:
    """One slice in memory instead of on the disk."""

    level = 0

    def __init__(self, seed: int, tumor_voxels: int = 0, relative_level: float | None = 0.5):
        rng = np.random.RandomState(seed)
        x, y = np.indices((48, 48)) - 24
        self.organ = x**2 + y**2 < 20**2
        self.label = (x - 4) ** 2 + y**2 < (4**2 if tumor_voxels else 0)
        self.image = np.where(self.organ, rng.normal(-0.3, 0.05, (48, 48)) + 0.5 * self.label, -1.0).astype(np.float32)
        self.tumor_voxels, self.relative_level = tumor_voxels, relative_level

    def raw(self, folder: Path, kind: str) -> np.ndarray:
        return getattr(self, kind)

    def crop(self, folder: Path, box: CropBox) -> np.ndarray:
        return extract(self.image, box, -1.0)[None]


@pytest.fixture(scope="module")
def prior() -> LesionPrior:
    views = [StubView(seed, tumor_voxels=49) for seed in range(3)]
    examples = [
        LesionExample(v.image[None], v.label, v.organ, f"p{i}", f"c{i}", None, SPACING_MM) for i, v in enumerate(views)
    ]
    return LesionPrior.fit(examples, (24, 24), SPACING_MM)


def test_crops_are_the_same_for_the_same_number_and_seed_only(prior):
    views = [StubView(seed) for seed in range(10, 13)]
    first, again, other = (TumorCropSamples(views, Path(), prior, seed=seed) for seed in (1, 1, 2))
    for index in (0, 5, 2**33):
        sample = first[index]
        assert all(torch.equal(sample[key], again[index][key]) for key in sample)
        assert not torch.equal(sample["a"], other[index]["a"])
    assert not torch.equal(first[0]["a"], first[1]["a"]) and first[0]["seed"] != first[1]["seed"]


def test_crops_have_the_keys_shapes_and_ranges_the_translator_needs(prior):
    samples = TumorCropSamples([StubView(7)], Path(), prior, seed=0)
    for index in range(20):
        sample = samples[index]
        assert set(sample) == {"a", "mask_a", "reference_a", "b", "mask_b", "seed"}
        for key in ("a", "reference_a", "b"):
            assert sample[key].shape == (1, 24, 24) and sample[key].dtype == torch.float32
            assert torch.isfinite(sample[key]).all() and sample[key].abs().max() <= 1
        for key in ("mask_a", "mask_b"):
            assert sample[key].shape == (1, 24, 24) and set(sample[key].unique().tolist()) == {0, 1}


def test_crops_of_a_volume_lie_in_its_organ_and_clear_of_its_tumor(tmp_path):
    shape = (40, 40, 30)
    x, y, z = np.indices(shape)
    organ, label = (x - 20) ** 2 + (y - 20) ** 2 + (z - 15) ** 2 < 14**2, (x - 12) ** 2 + (y - 20) ** 2 < 3**2
    label &= organ & (np.abs(z - 15) < 3)
    image = np.where(organ, 0.1 + 0.5 * label, 0.0).astype(np.float32)[None]
    case = PreparedCase(
        case="v",
        patient="v",
        scan="v",
        image="v.nii.gz",
        label="v_seg.nii.gz",
        voxels={},
        shape=shape,
        arrays={"image": store_array(tmp_path, "v.image", image)},
        affine=frozen(np.eye(4).tolist()),
        spacing_mm=(1.0, 1.0, 1.0),
        source_dtypes=("float32",),
        windows=(Window(0.0, 1.0),),
    )
    for kind, array in (("label", label), ("organ", organ)):
        case = with_array(case, tmp_path, kind, array)
    example = LesionExample(2 * image - 1, label.astype(np.uint8), organ, "v", "v", None, (1.0, 1.0, 1.0))
    prior = LesionPrior.fit([example], (18, 18, 18), (1.0, 1.0, 1.0), min_diameter_mm=2)
    samples = TumorCropSamples([View(case, None, int(label.sum()))], tmp_path, prior, seed=0)
    for index in range(10):
        sample = samples[index]
        healthy, mask = sample["a"].numpy()[0], sample["mask_a"].numpy()[0] > 0
        assert healthy.shape == (18, 18, 18) and mask.any()
        assert np.mean(healthy[mask] > -0.95) > 0.9 and healthy[mask].max() < -0.5  # tissue, and no tumor
        assert torch.equal(sample["a"], samples[index]["a"])
    empty = with_array(case, tmp_path, "organ", np.zeros(shape))
    with pytest.raises(DataError, match="no room for a lesion"):
        TumorCropSamples([View(empty, None, 0)], tmp_path, prior, seed=0)[0]


def test_crops_cannot_come_from_nowhere(prior):
    with pytest.raises(DataError, match="no slice to cut healthy crops from; set crop.healthy=anywhere"):
        TumorCropSamples([], Path(), prior, seed=0)


def test_a_scan_without_room_is_reported_rather_than_searched_for_ever(prior):
    full = StubView(3)
    full.organ = np.zeros_like(full.organ)
    with pytest.raises(DataError, match="no room for a lesion in .* healthy slices"):
        TumorCropSamples([full], Path(), prior, seed=0)[0]


def test_healthy_views_are_matched_by_level():
    levels = [(0, 0.1), (0, 0.45), (30, 0.5), (0, 0.9)]
    views = [StubView(i, tumor_voxels=n, relative_level=level) for i, (n, level) in enumerate(levels)]
    assert healthy_views(views, "anywhere", 0.1) == views
    assert healthy_views(views, "tumor-free", 0.1) == [views[1]]
    assert healthy_views(views, "tumor-free", 1.0) == [views[0], views[1], views[3]]
    assert healthy_views(views[:2], "tumor-free", 0.0) == views[:2]
