"""What downstream networks train on: every arm of a seed draws the same real views, and replaces some of them."""

import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandAdjustContrastd, RandAffined, RandGaussianNoised

from medaug.data.atomic import read_json
from medaug.data.prepared import views_of
from medaug.data.records import prepared_cases
from medaug.errors import DataError
from medaug.evaluation.samples import SegmentationSamples, SyntheticSample, ViewFolder, standard_augmentation

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


def test_patches_lie_around_the_edit_also_where_its_label_is_empty(volume_run):
    real = source_of(volume_run, "train", 3)

    class Removed:
        with_tumor = True

        def __call__(self, view, seed):
            image, around = np.full((1, *view.shape), -0.5, np.float32), np.zeros(view.shape, bool)
            image[0, 3, 4, 2], around[3, 4, 2] = 1.0, True
            return SyntheticSample(image, np.zeros(view.shape, np.uint8), around)

    patches = samples(real, Removed(), ratio=1.0, patch_size=(8, 8, 4))
    shown = np.mean([float(patches[i]["image"].max()) == 1.0 for i in range(90)])
    anywhere = np.prod([8 / 32, 8 / 32, 4 / 8])
    assert shown > 0.5 > 3 * anywhere


def test_the_standard_augmentation_moves_all_channels_together_and_changes_each_by_itself():
    """Whether a gamma or noise is drawn once, as in nnU-Net; one channel alone is as MONAI's own twins have it."""
    monai = Compose(
        [
            *standard_augmentation(2).transforms[:2],
            RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.4)),
            RandGaussianNoised("image", prob=0.3, std=0.05),
        ]
    )
    rng, augment, apart, together = np.random.RandomState(0), standard_augmentation(2), 0, 0
    one, label = torch.from_numpy(rng.uniform(-1, 1, (1, 24, 24)).astype(np.float32)), torch.zeros(1, 24, 24)
    for seed in range(30):
        alone, expected, both = (
            chain.set_random_state(seed=seed)({"image": image, "label": label})["image"]
            for chain, image in ((augment, one), (monai, one), (augment, torch.cat([one, one])))
        )
        assert torch.equal(torch.as_tensor(alone), torch.as_tensor(expected))
        assert torch.equal(torch.as_tensor(both[:1]), torch.as_tensor(alone))
        apart, together = apart + (not torch.equal(both[0], both[1])), together + torch.equal(both[0], both[1])
        assert np.corrcoef(both[0].ravel(), both[1].ravel())[0, 1] > 0.9
    assert apart > 8 and together > 8


def test_an_augmentation_that_spoils_the_label_is_refused_with_the_remedy(real):
    noise = Compose([RandGaussianNoised(["image", "label"], prob=1.0, std=0.1)])
    with pytest.raises(DataError, match="found .* in a label; expected class numbers.*nearest"):
        samples(real, augmentation=noise)[0]
    blurred = Compose([RandAffined(["image", "label"], prob=1.0, rotate_range=[0.5], mode="bilinear")])
    with pytest.raises(DataError, match="class numbers"):
        for index in range(20):
            samples(real, augmentation=blurred)[index]
