"""Pictures of sets of lesions: PNG data, the same for the same figures, in 2-D and 3-D."""

import io

import numpy as np
import pytest
from PIL import Image

from medaug.figures.distributions import crop_grid, histograms, scatter


@pytest.fixture
def sets():
    rng = np.random.RandomState(0)
    return rng.normal(size=(40, 2)), rng.normal(1, 1, (30, 2)), rng.gamma(2, 1, 200).tolist()


def size_of(png: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(png)).size


def test_each_column_has_a_panel_and_the_floor_another(sets):
    real, synthetic, floors = sets
    two = histograms(real, synthetic, floors, 3.0, xlabels=["x", "y"], figure_label="distance")
    one = histograms(real[:, 0], synthetic[:, 0], floors, 3.0, xlabels=["x"], figure_label="distance")
    assert size_of(two)[0] == pytest.approx(1.5 * size_of(one)[0], rel=0.01)


def test_the_same_figures_give_the_same_bytes(sets):
    pictures = [scatter(*sets, 3.0, labels=("a", "b"), figure_label="d²") for _ in range(2)]
    assert pictures[0] == pictures[1]


def test_sets_without_spread_are_drawn():
    flat = np.full(10, 2.0)
    assert histograms(flat, flat, [0.0] * 5, 0.0, xlabels=["x"], figure_label="distance")[:4] == b"\x89PNG"


def test_a_volume_is_shown_where_most_of_the_lesion_is():
    image, mask = np.zeros((8, 8, 4)), np.zeros((8, 8, 4), bool)
    image[..., 2], mask[2:6, 2:6, 2] = 1.0, True
    mask[3, 3, 1] = True
    shown = crop_grid([[(image, mask)]], ["a"], columns=["lesion"], title="one")
    flat = crop_grid([[(image[..., 2], mask[..., 2])]], ["a"], columns=["lesion"], title="one")
    assert shown == flat
