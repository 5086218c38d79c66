"""Patches of plain translators lie inside their view, hold what their domain says, and 2.5-D stacks are in order."""

from pathlib import Path

import numpy as np
import pytest

from medaug.data.cache import store_array
from medaug.data.prepared import View
from medaug.data.records import PreparedCase
from medaug.errors import DataError
from medaug.training.patches import patch_around
from medaug.training.samples import WholeViewSamples
from medaug.volumes import Window

SHAPE = (40, 36, 20)
WINDOW = Window(0.0, 1e5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A volume whose voxels hold their own index; an organ in one half; a tumor near a corner of it."""
    folder = tmp_path_factory.mktemp("prepared")
    organ, label = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    organ[:20] = 1
    label[0:5, 30:36, 16:20] = 1
    store_array(folder, "image", np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE))
    store_array(folder, "label", label)
    store_array(folder, "organ", organ)
    return folder


def view(level: int | None = None, tumor_voxels: int = 120) -> View:
    arrays = {kind: f"{kind}.npy" for kind in ("image", "label", "organ")}
    case = PreparedCase(
        case="c",
        patient="p",
        scan="c",
        image="c.nii.gz",
        label=None,
        channel=None,
        arrays=arrays,
        affine=(),
        spacing_mm=(1.0, 1.0, 1.0),
        shape=SHAPE,
        source_dtype="float32",
        window=WINDOW,
    )
    return View(case, level, tumor_voxels)


def indices_of(patch: np.ndarray) -> np.ndarray:
    """The index of every voxel of a patch, out of its brightness."""
    return np.rint((patch + 1) / 2 * WINDOW.high).astype(int)


def where(patch: np.ndarray) -> np.ndarray:
    return np.stack(np.unravel_index(indices_of(patch), SHAPE))


def test_patches_are_whole_pieces_of_the_volume_and_hold_what_their_domain_says(folder):
    samples = WholeViewSamples([view()], [view()], folder, seed=1, patch_size=(16, 12, 8))
    label = np.load(folder / "label.npy")
    corners = set()
    for index in range(40):
        sample = samples[index]
        for domain in ("a", "b"):
            assert sample[domain].shape == (1, 16, 12, 8)
            x, y, z = where(sample[domain][0].numpy())
            assert [np.ptp(axis) + 1 for axis in (x, y, z)] == [16, 12, 8]
            assert label[x, y, z].any() == (domain == "b")
            corners.add((int(x.min()), int(y.min()), int(z.min())))
        assert x.min() >= 0 and where(sample["a"][0].numpy())[0].min() < 20, "blank: outside the organ"
    assert len(corners) > 30


def test_every_voxel_of_a_tumor_can_be_anywhere_in_its_patch(folder):
    rng, starts = np.random.RandomState(0), set()
    for _ in range(400):
        region = patch_around(view(), folder, (10, 10, 6), rng)
        assert all(s.start >= 0 and s.stop <= n for s, n in zip(region, SHAPE, strict=True))
        starts.add(region[2].start)
    assert starts == set(range(11, 15)), "all that reach the tumor from inside the volume"


def test_patches_of_slices_read_the_slice_they_belong_to(folder):
    samples = WholeViewSamples([view(3, 0)], [view(17, 30)], folder, seed=0, patch_size=(16, 16))
    for index in range(6):
        a, b = (samples[index][key][0].numpy() for key in ("a", "b"))
        assert set(where(a)[2].flat) == {3} and set(where(b)[2].flat) == {17}


def test_neighbouring_slices_are_channels_and_the_end_slice_is_repeated(folder):
    samples = WholeViewSamples([view(0, 0)], [view(18, 30)], folder, seed=0, slices=5)
    a, b = (where(samples[0][key].numpy())[2] for key in ("a", "b"))
    assert [set(c.flat) for c in a] == [{0}, {0}, {0}, {1}, {2}]
    assert [set(c.flat) for c in b] == [{16}, {17}, {18}, {19}, {19}]


def test_a_healthy_stack_has_no_tumor_in_any_of_its_slices(folder):
    samples = WholeViewSamples([view(15, 0), view(9, 0)], [view(18, 30)], folder, seed=0, slices=3)
    assert {int(where(samples[i]["a"].numpy())[2].max()) for i in range(12)} == {10}
    only = WholeViewSamples([view(15, 0)], [view(18, 30)], folder, seed=0, slices=3)
    with pytest.raises(DataError, match="no tissue without tumor.*lower crop.size or data.slices"):
        only[0]


def test_a_patch_that_does_not_fit_is_told_rather_than_cut(folder):
    with pytest.raises(DataError, match=r"shape \(40, 36, 20\).*at least the patch, \(16, 16, 24\).*Lower crop.size"):
        WholeViewSamples([view()], [view()], folder, seed=0, patch_size=(16, 16, 24))


def test_single_pictures_have_no_neighbouring_slices(folder):
    samples = WholeViewSamples([view()], [view()], folder, seed=0, slices=3)
    with pytest.raises(DataError, match="a single picture.*data.slices is 3"):
        samples[0]
