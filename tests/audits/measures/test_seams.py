"""Seams, checkerboards, drift and flicker: each planted fault is caught by its metric, and clean images pass all."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference
from scipy.ndimage import gaussian_filter
from torch import nn
from torch.nn import functional

from medaug.audits.measures.seams import (
    brightness_drift,
    checkerboard_ratio,
    seam_ratio,
    tiles_of,
    tiling_difference,
    z_consistency,
    z_ratio,
)
from medaug.errors import DataError
from medaug.phantoms import abdomen_phantom

PATCH, OVERLAP = (32, 32), 0.5


@pytest.fixture(scope="module")
def slices():
    """Two patients' middle slices in HU, (96, 96) each."""
    return [
        abdomen_phantom(i, shape=(96, 96, 4), spacing_mm=(4.0, 4.0, 48.0)).images["contrast"][..., 2].astype(np.float32)
        for i in (0, 1)
    ]


def in_windows(network, image: np.ndarray, patch_size=PATCH, overlap=OVERLAP) -> np.ndarray:
    """As MONAI joins windows, with Gaussian weights."""
    x = torch.from_numpy(image)[None, None]
    with torch.inference_mode():
        return sliding_window_inference(x, patch_size, 4, network, overlap=overlap, mode="gaussian")[0, 0].numpy()


def alone(network, image: np.ndarray, patch_size=PATCH, overlap=OVERLAP) -> list[tuple]:
    with torch.inference_mode():
        return [
            (region, network(torch.from_numpy(image[region])[None, None])[0, 0].numpy())
            for region in tiles_of(image.shape, patch_size, overlap)
        ]


def blur(seed: int = 0) -> nn.Conv2d:
    """A convolution that reflects at the border, so that tiles differ from the whole only near their edges."""
    convolution = nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect", bias=False)
    with torch.no_grad():
        convolution.weight.fill_(1 / 9)
    return convolution


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(3, 70), st.integers(3, 70)), patch=st.integers(2, 40),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]),
)  # fmt: skip
def test_tiles_are_the_windows_that_monai_takes(shape, patch, overlap):
    seen = []
    image = torch.arange(float(np.prod(shape))).reshape(1, 1, *shape)
    sliding_window_inference(image, (patch, patch), 1, lambda x: seen.append(x.shape) or x, overlap=overlap)
    tiles = tiles_of(shape, (patch, patch), overlap)
    covered = np.zeros(shape, bool)
    for region in tiles:
        covered[region] = True
        assert all(s.stop - s.start == min(patch, n) for s, n in zip(region, shape, strict=True))
    assert covered.all() and len(seen) == len(tiles)


def test_a_clean_scan_has_no_seams_and_steps_at_the_borders_are_seen(slices):
    image = slices[0]
    assert 0.5 < seam_ratio(image, PATCH, OVERLAP) < 1.6
    stepped = image.copy()
    for number, region in enumerate(tiles_of(image.shape, PATCH, 0.0)):
        stepped[region] += 100 * (-1) ** (number + number // 3)
    assert seam_ratio(stepped, PATCH, 0.0) > 2 * seam_ratio(image, PATCH, 0.0)
    assert seam_ratio(stepped - image, PATCH, 0.0) == np.inf, "in the change there is nothing else"
    assert seam_ratio(np.zeros((64, 64)), PATCH, OVERLAP) == 1.0


def test_seams_across_the_slices_of_a_volume_are_seen():
    volume = np.random.RandomState(0).normal(0, 10, (24, 24, 32))
    assert 0.8 < seam_ratio(volume, (24, 24, 16), 0.0) < 1.2
    volume[..., 16:] += 60
    assert seam_ratio(volume, (24, 24, 16), 0.0) > 3
    assert seam_ratio(volume, (24, 24, 32), 0.0) == 1.0, "one window has no borders inside"


@pytest.mark.parametrize(("stride", "amplitude_hu"), [(2, 10), (4, 40)])
def test_a_checkerboard_is_seen_and_another_patient_has_none(slices, stride, amplitude_hu):
    fake, reference = slices
    x, y = np.indices(fake.shape)
    planted = fake + amplitude_hu * ((x % stride < stride / 2) ^ (y % stride < stride / 2))
    assert checkerboard_ratio(fake, reference, stride) < 6
    assert checkerboard_ratio(planted, reference, stride) > 15
    assert checkerboard_ratio(planted[:90, :93], reference, stride) > 10, "whatever the size"
    volumes = (np.stack([image] * 3, axis=-1) for image in (planted, reference))
    assert checkerboard_ratio(*volumes, stride) == pytest.approx(checkerboard_ratio(planted, reference, stride))


@pytest.mark.parametrize("axis", [0, 1])
def test_stripes_of_a_large_stride_are_seen_in_the_change(slices, axis):
    rng = np.random.RandomState(0)
    change, another = rng.normal(0, 10, (2, 96, 96))
    stripes = 5.0 * (np.indices((96, 96))[axis] % 8 < 4)
    assert checkerboard_ratio(change, another, 8) < 6
    assert checkerboard_ratio(change + stripes, another, 8) > 15


def test_a_transposed_convolution_leaves_a_checkerboard_and_a_resize_convolution_leaves_less(slices):
    torch.manual_seed(0)
    image = torch.from_numpy(slices[0])[None, None]
    small = functional.avg_pool2d(image, 2)
    with torch.inference_mode():
        bad = functional.conv_transpose2d(small, torch.rand(1, 1, 3, 3), stride=2, padding=1, output_padding=1)
        good = functional.interpolate(small, scale_factor=2, mode="bilinear")
    ratios = [checkerboard_ratio(made[0, 0].numpy(), slices[1], 2) for made in (bad, good)]
    assert ratios[0] > 20 > 2 > ratios[1]


def test_an_instance_norm_drifts_from_tile_to_tile_and_a_plain_convolution_does_not(slices):
    image = slices[0] / 100
    for network, drifts in ((blur(), False), (nn.Sequential(blur(), nn.InstanceNorm2d(1)), True)):
        whole = network(torch.from_numpy(image)[None, None]).detach()[0, 0].numpy()
        tiles = alone(network, image)
        drift = brightness_drift(whole, tiles)
        difference = tiling_difference(whole, in_windows(network, image))
        assert len(drift.offsets) == len(tiles) == 25
        assert (drift.spread > 0.3) == drifts and (difference.mean > 0.1) == drifts
        if not drifts:
            assert drift.spread < 0.05 and abs(drift.slope) < 0.05


def test_a_planted_drift_is_measured_in_the_targets_unit():
    whole = np.zeros((40, 80))
    tiles = [(region, np.full((20, 20), 10.0 * region[1].start / 60)) for region in tiles_of((40, 80), (20, 20), 0)]
    drift = brightness_drift(whole, tiles)
    assert drift.slope == pytest.approx(10 * 80 / 60) and drift.spread == pytest.approx(np.std([0, 10 / 3, 20 / 3, 10]))
    same = brightness_drift(whole, [(region, values + 5) for region, values in tiles])
    assert same.slope == pytest.approx(drift.slope) and same.spread == pytest.approx(drift.spread)


def test_only_the_mask_counts(slices):
    whole = slices[0]
    mask = np.zeros(whole.shape, bool)
    mask[:32, :32] = True
    tiled = np.where(mask, whole, whole + 300)
    assert tiling_difference(whole, tiled, mask) == (0.0, 0.0) and tiling_difference(whole, tiled).largest == 300
    tiles = [(region, tiled[region]) for region in tiles_of(whole.shape, PATCH, 0.0)]
    np.testing.assert_array_equal(brightness_drift(whole, tiles, mask).offsets, [0.0])


def test_a_clean_translation_passes(slices):
    image, network = slices[0], nn.Identity()
    tiled = in_windows(network, image)
    assert 0.5 < seam_ratio(tiled, PATCH, OVERLAP) < 1.6
    assert checkerboard_ratio(tiled, image, 2) == pytest.approx(1, abs=0.01)
    drift = brightness_drift(image, alone(network, image))
    assert tiling_difference(image, tiled).largest < 1e-3 and drift.spread == 0 == drift.slope


def test_what_cannot_be_measured_is_refused(slices):
    image = slices[0]
    with pytest.raises(DataError, match="expected one scan's"):
        tiling_difference(image, image[1:])
    with pytest.raises(DataError, match="expected some on"):
        tiling_difference(image, image, np.zeros(image.shape, bool))
    with pytest.raises(DataError, match="constant image"):
        checkerboard_ratio(np.zeros((16, 16)), image, 2)
    with pytest.raises(DataError, match="as its region"):
        brightness_drift(image, [((slice(0, 8), slice(0, 8)), np.zeros((4, 4)))])
    with pytest.raises(DataError, match="no tile with a voxel"):
        brightness_drift(image, [])


REGION = np.zeros((24, 24, 16), bool)
REGION[4:20, 4:20, 3:13] = True


def tissue(seed: int, spacing_mm=(1.0, 1.0, 1.0)) -> np.ndarray:
    """Noise as smooth in mm along each axis."""
    sigma = [2.0 / mm for mm in spacing_mm]
    return gaussian_filter(np.random.RandomState(seed).normal(size=REGION.shape), sigma)


def test_isotropic_texture_has_a_ratio_of_one_at_any_contrast():
    ratios = [z_ratio(tissue(seed), REGION, (1.0, 1.0, 1.0)) for seed in range(6)]
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.1)
    assert z_ratio(0.1 * tissue(0) - 0.5, REGION, (1.0, 1.0, 1.0)) == pytest.approx(ratios[0])


def test_a_known_slope_gives_a_known_ratio():
    x, y, z = np.indices(REGION.shape)
    assert z_ratio(0.03 * x - 0.01 * y + 0.06 * z, REGION, (1.0, 1.0, 1.0)) == pytest.approx(3.0)
    assert z_ratio(0.03 * x - 0.01 * y + 0.06 * z, REGION, (1.0, 1.0, 3.0)) == pytest.approx(1.0)


def test_slices_of_other_brightness_raise_it_and_blurring_across_them_lowers_it():
    real = [z_ratio(tissue(seed), REGION, (1.0, 1.0, 1.0)) for seed in range(4)]
    flicker = 0.1 * (-1.0) ** np.arange(16)
    flickering = [z_ratio(tissue(seed) + flicker, REGION, (1.0, 1.0, 1.0)) for seed in range(4)]
    smeared = [z_ratio(gaussian_filter(tissue(seed), (0, 0, 3)), REGION, (1.0, 1.0, 1.0)) for seed in range(4)]
    assert z_consistency(real, real).ratio == 1.0
    assert z_consistency(real, flickering).ratio > 2 > 0.7 > z_consistency(real, smeared).ratio
    assert z_consistency(real, flickering[:3]).n_synthetic == 3


def test_only_the_region_counts():
    image = tissue(0)
    elsewhere = np.where(REGION, image, 100 * np.random.RandomState(1).normal(size=REGION.shape))
    assert z_ratio(elsewhere, REGION, (1, 1, 1)) == z_ratio(image, REGION, (1, 1, 1))


def test_what_lies_in_one_slice_has_no_ratio():
    flat = np.zeros_like(REGION)
    flat[4:10, 4:10, 5] = True
    assert z_ratio(tissue(0), flat, (1, 1, 1)) is None
    assert z_ratio(np.zeros(REGION.shape), REGION, (1, 1, 1)) is None
    assert z_consistency([], [1.0]) is None and z_consistency([1.0], []) is None


def test_slices_are_refused():
    with pytest.raises(DataError, match="two volumes of one shape"):
        z_ratio(np.zeros((4, 4)), np.zeros((4, 4), bool), (1, 1))
