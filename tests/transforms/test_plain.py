"""Weights of the plain CycleGAN in use: the whole slice is translated, and the label is where that changed it."""

import numpy as np
import pytest

from medaug.errors import DataError
from medaug.models.methods import build_translator
from medaug.models.weights import Weights
from medaug.transforms import InsertTumor, RandInsertTumor, RemoveTumor
from medaug.volumes import Domain


@pytest.fixture(scope="module")
def plain_weights():
    settings = {"generator": "unet", "width": 4, "depth": 2, "discriminator_width": 4, "discriminator_layers": 1}
    domains = Domain("healthy", "MR"), Domain("tumor", "MR")
    translator = build_translator("cyclegan", settings, *domains, 2, seed=0).eval().requires_grad_(False)
    return Weights(translator, None, {"spacing_mm": [6.0, 6.0]})


@pytest.fixture(scope="module")
def lit(plain_weights):
    """Weights whose insertion lights up one corner and leaves the rest."""

    class Lamp(type(plain_weights.translator)):
        def translate(self, x, direction, **options):
            y = x.clone()
            y[..., 10:16, 10:16] += 0.5
            return y

    plain_weights.translator.__class__ = Lamp
    return plain_weights


def test_label_is_where_the_image_clearly_changed(lit, head):
    transform = RandInsertTumor(lit, prob=1.0, window=(0, 200))
    image, label = transform(head.slice, None, np.ones_like(head.slice))
    assert label[0, 11:15, 11:15].all() and not label[0, :8].any() and not label[0, :, 18:].any()
    np.testing.assert_array_equal(image[label == 0][:100], head.slice[label == 0][:100])
    assert transform.lesions == [{"patient": None, "voxels": int(label.sum())}]


def test_label_stays_in_the_organ_and_keeps_existing_values(lit, head):
    organ, existing = np.zeros_like(head.slice), np.zeros_like(head.slice)
    organ[:, 12:] = 1
    existing[:, 14, 14] = 2
    _, label = RandInsertTumor(lit, prob=1.0, window=(0, 200))(head.slice, existing, organ)
    assert not label[:, :12].any() and label[0, 14, 14] == 2 and label[0, 13, 13] == 2


def test_removal_translates_the_other_way_where_there_is_something_to_remove(lit, head):
    remove = RemoveTumor(lit, window=(0, 200))
    assert (remove(head.slice, head.slice_label) != head.slice).any()
    np.testing.assert_array_equal(remove(head.slice, head.slice_label * 0), head.slice)


def test_a_place_cannot_be_chosen(plain_weights):
    with pytest.raises(DataError, match="plain translator.*mask-guided"):
        InsertTumor(plain_weights)


def test_a_volume_is_translated_as_its_slices_are(lit, head):
    image, label = RandInsertTumor(lit, prob=1.0, window=(0, 200))(head.image[None], None, head.organ[None])
    for z in (0, head.level):
        one, _ = RandInsertTumor(lit, prob=1.0, window=(0, 200))(head.image[None, ..., z])
        np.testing.assert_array_equal(image[..., z], one)
    assert label[0, 11:15, 11:15, head.level].any() and not label[0, :8].any()


def test_padding_and_the_range_of_the_image_bound_what_is_written(lit, head):
    image = head.slice.copy()
    image[0, 10:13] = -50
    image[0, 13:16, 10:16] = 0.9 * image.max()
    edited, _ = RandInsertTumor(lit, prob=1.0)(image, None, np.ones_like(image))
    assert (edited != image).any() and edited.max() == image.max()
    np.testing.assert_array_equal(edited[image == -50], image[image == -50])
