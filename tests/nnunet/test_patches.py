"""An edit of a patch: image and label together, and nothing where nothing is known."""

import multiprocessing
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medaug.nnunet.looks import Look
from medaug.nnunet.patches import PatchEdits
from medaug.orientation import Turn
from medaug.volumes import Window

OUTSIDE, IGNORE = -1, 3


class Square:
    """Paints a square of the label value 2 in all channels, whatever lies there; keeps what it was given."""

    def set_random_state(self, seed=None):
        self.seed = seed

    def __call__(self, data):
        self.data = data
        image, label = data["image"].clone(), data["label"].clone()
        image[:, 2:6, 2:6], label[:, 2:6, 2:6] = 0.5, 2
        return {**data, "image": image, "label": label}


def edits(**options):
    """(the edit, what it is done with), of one case in windows of -1 to 3 and 0 to 10."""
    windows = (Window(-1.0, 3.0), Window(0.0, 10.0))
    look = Look(windows, Turn((1, 2, 0), (), "LPS"), np.eye(4), flat=True, masked=options.pop("masked", False))
    square = Square()
    return PatchEdits(square, SimpleNamespace(look=lambda: look), **options), square


def sample(channels=1):
    """A patch of 8 × 8 with an organ (1), outside (-1) to the left and the ignore label at the top of it."""
    image = torch.from_numpy(np.random.RandomState(0).uniform(-0.9, 2.9, size=(2, 8, 8)).astype(np.float32))
    labels = torch.ones((channels, 8, 8), dtype=torch.int16)
    labels[:, :, :3], labels[0, :3, 3:] = OUTSIDE, IGNORE
    return {"image": image, "segmentation": labels}


def test_image_and_label_change_together_and_the_rest_keeps_its_bits():
    edit, _ = edits(ignore=IGNORE)
    before = sample()
    after = edit(**before)
    changed = torch.zeros(8, 8, dtype=torch.bool)
    changed[3:6, 3:6] = True  # of the square 2:6, what is neither outside nor under the ignore label
    assert torch.equal((after["segmentation"] != before["segmentation"])[0], changed)
    assert (after["segmentation"][0][changed] == 2).all() and after["segmentation"].dtype == torch.int16
    for channel, value in ((0, 2.0), (1, 7.5)):  # 0.5 in the windows
        assert torch.allclose(after["image"][channel][changed], torch.tensor(value))
        assert torch.equal(after["image"][channel][~changed], before["image"][channel][~changed])


def test_the_given_patch_is_not_changed():
    edit, _ = edits()
    before = sample()
    copies = {key: value.clone() for key, value in before.items()}
    edit(**before)
    assert all(torch.equal(copies[key], before[key]) for key in before)


def test_an_edit_sees_background_outside_and_no_value_that_is_none():
    edit, square = edits(ignore=IGNORE, organ=(1, 2))
    edit(**sample())
    seen, known, organ = (np.asarray(square.data[key]) for key in ("image", "label", "organ"))
    assert (seen[:, :, :3] == -1).all() and seen.min() >= -1 and seen.max() <= 1
    assert set(np.unique(known)) == {0, 1} and (organ[0] == (known[0] == 1)).all()


def test_the_stage_before_of_a_cascade_has_found_what_is_new():
    edit, _ = edits(ignore=IGNORE)
    before = sample(channels=2)
    after = edit(**before)
    new = after["segmentation"][0] != before["segmentation"][0]
    assert new.any() and (after["segmentation"][1][new] == 2).all()
    assert torch.equal(after["segmentation"][1][~new], before["segmentation"][1][~new])


def test_regions_are_made_of_the_new_label_as_of_any():
    from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform

    edit, _ = edits(ignore=IGNORE)
    to_regions = ConvertSegmentationToRegionsTransform([(1, 2), 2, IGNORE], channel_in_seg=0)
    whole, tumor, ignored = to_regions(**edit(**sample()))["segmentation"].bool()
    assert tumor.sum() == 9 and (whole | ~tumor).all() and ignored.sum() == 15 and not (ignored & whole).any()


@pytest.mark.parametrize(("probability", "edited"), [(0.0, 0), (1.0, 20), (0.5, 12)])
def test_a_share_of_the_patches_is_edited(probability, edited):
    edit, _ = edits(probability=probability, seed=1)
    count = sum(not torch.equal(edit(**sample())["image"], sample()["image"]) for _ in range(20))
    assert count == edited


def test_draws_follow_from_the_seed_and_differ_between_processes():
    def seeds_in(name):
        multiprocessing.current_process().name, before = name, multiprocessing.current_process().name
        edit, square = edits(seed=4)
        found = []
        for _ in range(3):
            edit(**sample())
            found.append(square.seed)
        multiprocessing.current_process().name = before
        return found

    assert seeds_in("Process-1") == seeds_in("Process-1") != seeds_in("Process-2")


def test_a_case_without_contrast_is_left_as_it_is():
    edit = PatchEdits(Square(), SimpleNamespace(look=lambda: None))
    before = sample()
    assert edit(**before) == before
