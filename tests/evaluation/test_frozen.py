"""How well a segmenter sees what was inserted: around the insertion, and nowhere else."""

import numpy as np
import pytest
import torch
from torch import nn

from medaug.evaluation.networks import SegmentationConfig
from medaug.evaluation.predictions import FrozenSegmenter, agreement, around


class Bright(nn.Module):
    """Sees a tumor wherever it is bright."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return 20 * (x - 0.5)


def segmenter(dims):
    return FrozenSegmenter(Bright(), SegmentationConfig(spatial_dims=dims, channels=(4, 8, 8)))


def scene(dims=2, size=40):
    """An insertion of 6 voxels across, a real tumor far away: (image (1, *S), label, inserted)."""
    inserted, real = np.zeros((size,) * dims, bool), np.zeros((size,) * dims, bool)
    inserted[(slice(10, 16),) * dims] = True
    real[(slice(30, 36),) * dims] = True
    return np.where(inserted | real, 1.0, -0.5).astype(np.float32)[None], inserted | real, inserted


@pytest.mark.parametrize(("dims", "network"), [(2, 2), (3, 3), (3, 2)])
def test_what_is_painted_inside_the_mask_agrees(dims, network):
    assert agreement(segmenter(network), *scene(dims)) == 1.0


def test_a_generator_that_paints_nothing_or_elsewhere_does_not_agree():
    image, label, inserted = scene()
    nothing = np.where(inserted, -0.5, image).astype(np.float32)
    assert agreement(segmenter(2), nothing, label, inserted) == 0.0
    beside = nothing.copy()
    beside[0, 17:23, 10:16] = 1.0
    assert agreement(segmenter(2), beside, label, inserted) < 0.1
    spilt = image.copy()
    spilt[0, 7:19, 7:19] = 1.0
    assert 0.3 < agreement(segmenter(2), spilt, label, inserted) < 0.5


def test_what_the_network_makes_of_the_rest_of_the_scan_does_not_count():
    image, label, inserted = scene()
    image[0, 30:36, 30:36], image[0, 0:5, 30:40] = -0.5, 1.0
    assert agreement(segmenter(2), image, label, inserted) == 1.0


def test_a_real_tumor_beside_the_insertion_does_not_count():
    """Seen or not: a generator that paints nothing gains nothing by it."""
    image, label, inserted = scene()
    label[16:18, 10:16] = True
    for seen, painted, expected in ((1.0, 1.0, 1.0), (-0.5, 1.0, 1.0), (1.0, -0.5, 0.0)):
        image[0, 16:18, 10:16], image[0, 10:16, 10:16] = seen, painted
        assert agreement(segmenter(2), image, label, inserted) == expected


def test_boxes_are_twice_as_long_as_each_lesion_and_stay_in_the_scan():
    inserted = np.zeros((40, 40), bool)
    inserted[10:16, 10:14], inserted[38:40, 0:1] = True, True
    region = around(inserted)
    assert region[7:19, 8:16].all() and region[37:40, 0:2].all() and region.sum() == 12 * 8 + 3 * 2
    assert agreement(segmenter(2), np.zeros((1, 40, 40), np.float32), inserted, np.zeros((40, 40), bool)) == 0.0
