"""What fills a tumor's mask on healthy tissue, where the truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medaug.audits.measures.finding import Limits
from medaug.audits.measures.removal import FILLS, OWN, filled_by, measures, region_of, removal

from .conftest import tissue

LIMITS = Limits(0.75, 0.95)
ONE = ("flair",)
pytestmark = pytest.mark.usefixtures("quick_probe")


def asked(views, fill):
    """The finding about weights that fill by `fill(image, mask, rng)`."""
    _, made = views(fill)
    return removal(filled_by(made, seed=0), (24, 24), LIMITS, ONE, seed=0)


def test_tissue_as_it_was_is_not_told_from_itself_and_has_no_error(views):
    finding = asked(views, lambda image, mask, rng: image)
    own = {figure: row["mean"] for figure, row in finding.details["fills"][OWN].items()}
    assert finding.verdict == "pass" and own["mae"] == 0 and own["psnr"] == 100
    assert own["texture"] == own["fine_texture"] == own["ssim"] == 1


def other_tissue(image, mask, rng):
    """Goes over into the tissue around within three voxels, and is as noisy there as anywhere."""
    share = np.clip(ndimage.distance_transform_edt(mask) / 3, 0, 1)
    level = -0.3
    mixed = level + ((1 - share) * (image - level) + share * (tissue(rng) - level)) / np.hypot(share, 1 - share)
    return np.where(mask, mixed, image)


def test_real_tissue_has_a_texture_and_the_smoothest_fill_the_least_error_of_those_that_know_nothing(views):
    finding = asked(views, other_tissue)
    own = finding.details["fills"][OWN]
    smooth, *taken = (finding.details["fills"][name] for name in FILLS)
    for fill in (own, *taken):
        assert fill["fine_texture"]["low"] > 0.8 and fill["fine_texture"]["high"] < 1.25
    assert smooth["fine_texture"]["high"] < 0.3
    assert smooth["mae"]["mean"] < min(fill["mae"]["mean"] for fill in taken)


def test_a_smooth_disc_fails_whatever_its_error(views):
    finding = asked(views, lambda image, mask, rng: np.where(mask, image[mask].mean(), image))
    assert finding.verdict == "fail" and "fine texture" in finding.sentence, finding.sentence


@pytest.mark.parametrize("shape", [(40, 32), (40, 32, 6)])
def test_fills_find_again_what_they_suppose(views, shape):
    """A ramp is continued, a symmetric image mirrored, an image that repeats itself copied; nothing else is touched."""
    x, y, *_ = np.meshgrid(*map(np.arange, shape), indexing="ij")
    images = {
        "biharmonic": 0.02 * x - 0.01 * y,
        "mirrored": np.abs(x - 19.5) / 40 - 0.01 * y,
        "copied": 0.5 * ((x + y) % 2) - 0.25,
    }
    parts = np.zeros(shape, dtype=np.uint8)
    parts[6:12, 12:19, ...] = 1
    organ = np.ones(shape, dtype=bool)
    if len(shape) == 3:
        parts[..., [0, -1]] = 0
    _, (made, *_) = views()
    for name, image in images.items():
        before = image[None].astype(np.float32)
        own = replace(
            made, before=before, image=before, parts=parts, organ=organ, label=~organ, spacing_mm=(1.0,) * len(shape)
        )
        filled = FILLS[name](own, np.random.RandomState(0))
        np.testing.assert_array_equal(filled[:, ~region_of(own)], before[:, ~region_of(own)])
        assert measures(replace(own, image=filled))["mae"] < (0.02 if name == "biharmonic" else 1e-6)


def test_a_mask_that_fits_nowhere_else_is_filled_smoothly_not_left_as_it_was(views):
    _, (made, *_) = views()
    alone = replace(made, organ=made.mask)
    found, smooth = (FILLS[name](alone, np.random.RandomState(0)) for name in ("copied", "biharmonic"))
    np.testing.assert_array_equal(found, smooth)
    assert (found != made.before)[:, made.mask].any()
