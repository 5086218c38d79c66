"""What downstream networks train on: every arm of a seed draws the same real views, and replaces some of them."""

import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandAffined, RandGaussianNoised

from medaug.data.atomic import read_json
from medaug.data.prepared import views_of
from medaug.data.records import prepared_cases
from medaug.errors import DataError
from medaug.evaluation.augmentation import standard_augmentation
from medaug.evaluation.samples import SegmentationSamples, SyntheticSample, ViewFolder

RATIO = 0.4


def source_of(run, part, dims):
    patients = read_json(run.split)[part]
    entries = [entry for entry in prepared_cases(run.datalist) if entry.patient in patients]
    return ViewFolder(views_of(entries, dims), run.prepared)


@pytest.fixture(scope="module")
def real(tiny_run):
    return source_of(tiny_run, "train", 2)


class Painted:
    """A stand-in for insertion and removal: the view turned over, everything labelled; no room in every other view."""

    def __init__(self, folder, with_tumor=False, always=True):
        self.folder, self.with_tumor, self.always, self.seen = folder, with_tumor, always, []

    def __call__(self, view, seed):
        self.seen.append((view, seed))
        if not self.always and len(self.seen) % 2:
            return None
        image = -view.normalized(self.folder)
        return SyntheticSample(image, np.ones(view.shape, np.uint8))


def samples(real, synthetic=None, *, ratio=RATIO, seed=3, augmentation=None, **options):
    augment = Compose([]) if augmentation is None else augmentation
    return SegmentationSamples(
        real, synthetic, synthetic_ratio=ratio, seed=seed, length=400, augmentation=augment, **options
    )


def unlike(a, b, count=200):
    return [i for i in range(count) if not torch.equal(a[i]["image"], b[i]["image"])]


def test_every_arm_of_a_seed_draws_the_same_real_views(real, tiny_run):
    """Written and online samples replace the very same ones; all others are those of the arm without."""
    standard = samples(real)
    written, online = samples(real, source_of(tiny_run, "test", 2)), samples(real, Painted(real.folder))
    replaced = unlike(standard, online)
    assert unlike(standard, written) == replaced
    assert abs(len(replaced) / 200 - RATIO) < 0.1
    assert all(online[i]["label"].all() for i in replaced)


def test_an_edit_that_finds_no_room_leaves_the_real_sample(real):
    standard, edit = samples(real), Painted(real.folder, always=False)
    half = unlike(standard, samples(real, edit))
    assert 0.3 < len(half) / len(edit.seen) < 0.7


def test_edits_are_of_any_view_or_of_views_with_a_tumor_and_never_of_one_seed_twice(real):
    for with_tumor in (False, True):
        edit = Painted(real.folder, with_tumor)
        wanted = samples(real, edit, ratio=1.0)
        for index in range(100):
            wanted[index]
        assert all(view.tumor_voxels > 0 for view, _ in edit.seen) == with_tumor
        assert len({seed for _, seed in edit.seen}) == len(edit.seen) == 100
        again = Painted(real.folder, with_tumor)
        samples(real, again, ratio=1.0)[7]
        assert again.seen == [edit.seen[7]]
        other = Painted(real.folder, with_tumor)
        samples(real, other, ratio=1.0, seed=4)[7]
        assert other.seen != again.seen


def test_a_third_of_the_patches_lies_around_foreground_and_edits_are_made_in_the_patch(volume_run):
    real, size, boxes = source_of(volume_run, "train", 3), (8, 8, 4), []

    class Removed:
        with_tumor = True

        def __call__(self, view, seed, start=None, size=None):
            boxes.append((view, start, size))
            return SyntheticSample(np.full((1, *size), -0.5, np.float32), np.zeros(size, np.uint8))

    patches = samples(real, None, patch_size=size)
    shown = np.mean([bool(patches[i]["label"].any()) for i in range(150)])
    assert 0.33 < shown < 0.8 and patches[0]["image"].shape == (1, *size)
    edited = samples(real, Removed(), ratio=1.0, patch_size=size)
    assert all(float(edited[i]["image"].max()) == -0.5 for i in range(30))
    for view, start, read in boxes:
        assert all(n < m <= 1.5 * n + 2 for n, m in zip(size, read, strict=True))
        middle = [slice(max(0, s), s + n) for s, n in zip(start, read, strict=True)]
        assert view.classes(real.folder)[tuple(middle)].any()


def test_a_patch_is_the_part_of_its_view_that_its_affine_says(volume_run):
    real = source_of(volume_run, "train", 3)
    seen = []

    def look(sample):
        seen.append(sample["image"].affine.numpy())
        return sample

    patches = samples(real, None, patch_size=(8, 8, 4), augmentation=Compose([look]))
    for index in range(10):
        found = patches[index]["image"].numpy()
        affine, matches = seen[-1], 0
        for view in real.views:
            start = np.linalg.solve(view.affine, affine[:, 3])[:3].round().astype(int) + 1  # the margin
            part = view.patch(real.folder, start, (8, 8, 4)).image
            matches += np.array_equal(part, found)
        assert matches == 1


def test_whole_views_are_filled_up_to_the_size_of_every_arm_before_and_after_the_augmentation(real):
    """Where the views of another arm are larger: samples that were turned and those that were not have that size."""
    size = tuple(n + 6 for n in real.views[0].shape)
    wide = samples(real, augmentation=standard_augmentation(size), whole_size=size)
    assert {tuple(wide[i][key].shape) for i in range(30) for key in ("image", "label")} == {(1, *size)}


def test_an_augmentation_that_spoils_the_label_is_refused_with_the_remedy(real):
    noise = Compose([RandGaussianNoised(["image", "label"], prob=1.0, std=0.1)])
    with pytest.raises(DataError, match="found .* in a label; expected class numbers.*nearest"):
        samples(real, augmentation=noise)[0]
    blurred = Compose([RandAffined(["image", "label"], prob=1.0, rotate_range=[0.5], mode="bilinear")])
    with pytest.raises(DataError, match="class numbers"):
        for index in range(20):
            samples(real, augmentation=blurred)[index]
