"""Pictures of a translation beside the truth: valid, the same every time, at home with odd input."""

import io

import numpy as np
import pytest
from PIL import Image

from medaug.audits.measures.similarity import GREY_LEVELS, HOUNSFIELD, ImagePair, Scale
from medaug.report.terminal import comparison_text
from medaug.report.translation import bland_altman, difference_panel, joint_histogram, shown_range, translation_grid


def pair(shape: tuple[int, ...] = (24, 20)) -> ImagePair:
    rng = np.random.RandomState(0)
    real = 300 * rng.randn(*shape)
    mask = np.zeros(shape, dtype=bool)
    mask[4:-4, 4:-4] = True
    return ImagePair(real, real + 40 + 20 * rng.randn(*shape), mask)


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_pictures_are_the_same_every_time():
    def draw() -> list[bytes]:
        values, volume = (pair().real.ravel(), pair().synthetic.ravel()), pair((9, 9, 3))
        groups = {"soft": values, "bone": values}
        return [
            joint_histogram(*values, unit="HU"), bland_altman(groups, unit="HU"),
            difference_panel(pair(), HOUNSFIELD), difference_panel(pair((24, 20, 3)), GREY_LEVELS),
            translation_grid({"p": (pair().real, pair(), pair().real)}, HOUNSFIELD, rival="mean"),
            translation_grid({"p": (volume.real, volume, volume.real)}, HOUNSFIELD, rival="mean"),
        ]  # fmt: skip

    first = draw()
    assert first == draw() and all((decoded(png) != 255).any() for png in first)


@pytest.mark.parametrize("values", [np.zeros(1), np.full(50, 3.0)])
def test_constant_and_single_values_are_drawn(values):
    assert decoded(joint_histogram(values, values, unit="au")).size
    assert decoded(bland_altman({"all voxels": (values, values)}, unit="au")).size


def test_the_grey_window_depends_on_the_unit_and_not_on_the_image():
    assert shown_range(HOUNSFIELD) == (-1000, 1000, 500)
    assert shown_range(GREY_LEVELS) == (0, 255, 127.5)
    assert shown_range(Scale("window units", -1, 1)) == (-1, 1, 1)


def test_the_panel_has_no_difference_outside_the_mask():
    image = pair()
    outside = ImagePair(image.real, np.where(image.mask, image.synthetic, 1e4), image.mask)
    shown = [decoded(difference_panel(p, HOUNSFIELD)) for p in (image, outside)]
    third = shown[0].shape[1] * 2 // 3
    np.testing.assert_array_equal(shown[0][:, third + 20 :], shown[1][:, third + 20 :])


def test_the_table_states_unit_scale_and_paths():
    found = {
        "real": "some [odd] name.nii.gz", "synthetic": "s", "mask": "m", "unit": "grey levels", "scale": [0, 255],
        "voxels": 9, "scores": {"mae": 1.5, "psnr": None, "ssim": 0.5, "ms_ssim": 0.25}, "bias": -1.25,
    }  # fmt: skip
    text = comparison_text(found)
    for words in ("some [odd] name.nii.gz", "grey levels (0 to 255), 9 voxels", "1.5", "∞", "−1.25"):
        assert words in text
    assert "tissue" not in text
