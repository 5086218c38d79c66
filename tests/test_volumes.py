"""Windows are invertible, domains survive JSON, and grid checks name the files."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from medaug.errors import DataError
from medaug.orientation import check_same_grid
from medaug.volumes import (
    Domain,
    Percentiles,
    Window,
    affine_of,
    as_meta,
    check_finite,
    check_modality,
    padding_in,
    spacing_of,
    widest_slice,
)

BOUNDS = st.floats(-1e5, 1e5, allow_nan=False)


@st.composite
def windows(draw):
    low = draw(BOUNDS)
    return Window(low, low + draw(st.floats(0.1, 1e5)), draw(st.sampled_from(["HU", "au"])))


@given(window=windows(), fractions=st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_window_inverts_itself_inside(window, fractions):
    x = window.low + np.array(fractions) * (window.high - window.low)
    y = window.normalize(x)
    assert y.min() >= -1 and y.max() <= 1
    np.testing.assert_allclose(window.denormalize(y), x, rtol=0, atol=1e-9 * (abs(window.low) + abs(window.high)))


@settings(deadline=None)
@given(low=st.integers(-2000, 1000), width=st.integers(1, 8000), kind=st.sampled_from(["numpy", "torch"]))
def test_whole_numbers_inside_a_window_come_back_exactly_from_float32(low, width, kind):
    window = Window(low, low + width, "HU")
    x = np.unique(np.linspace(low, low + width, 300).round()).astype(np.float32)
    given_x = x if kind == "numpy" else torch.from_numpy(x)
    back = window.denormalize(window.normalize(given_x))
    assert (back.dtype == np.float32) if kind == "numpy" else (back.dtype == torch.float32)
    assert np.array_equal(np.asarray(back).round(), x)


@given(window=windows(), beyond=st.floats(0, 1e6))
def test_window_clips_what_lies_outside(window, beyond):
    x = np.array([window.low - beyond, window.high + beyond])
    np.testing.assert_allclose(window.normalize(x), [-1, 1], atol=1e-9)
    assert np.abs(window.normalize(x)).max() <= 1


def test_window_does_not_overflow_on_integer_images():
    x = np.array([-1024, 0, 3071], dtype=np.int16)
    np.testing.assert_allclose(Window(-30000, 30000).normalize(x), (x + 30000.0) / 30000 - 1)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (np.nan, 1), (0, np.inf), (-np.inf, 0)])
def test_window_refuses_bounds_that_are_no_interval(low, high):
    with pytest.raises(ValueError, match="low < high"):
        Window(low, high)


def head_like(seed: int = 0) -> np.ndarray:
    """Three quarters background 0, tissue around 400."""
    rng = np.random.RandomState(seed)
    scan = np.zeros((64, 64), dtype=np.float32)
    scan[16:48, 16:48] = rng.normal(400, 50, (32, 32))
    return scan


@pytest.mark.parametrize("spike", [60000, -60000])
def test_percentile_window_hardly_moves_with_a_spike(spike):
    scan = head_like()
    before = Percentiles(upper=99).window_of(scan)
    scan[5, 5] = spike
    after = Percentiles(upper=99).window_of(scan)
    assert after.low == pytest.approx(before.low, abs=1)
    assert after.high == pytest.approx(before.high, rel=0.1)


def test_percentile_window_spans_the_tissue_whatever_the_background():
    scan = head_like()
    wide = np.zeros((256, 256), dtype=np.float32)
    wide[:64, :64] = scan
    assert Percentiles().window_of(wide) == Percentiles().window_of(scan)
    assert Percentiles().window_of(scan).low == 0 and 500 < Percentiles().window_of(scan).high < 600


@pytest.mark.parametrize("value", [0, 7.5])
def test_constant_image_has_no_window_and_is_named(value):
    with pytest.raises(DataError, match=r"knee\.nii\.gz: found an almost constant image .* expected .*contrast"):
        Percentiles().window_of(np.full((8, 8), value), "knee.nii.gz")


DOMAINS = st.builds(
    Domain,
    name=st.text(min_size=1),
    modality=st.sampled_from(["CT", "MR"]),
    window=windows() | st.builds(Percentiles, lower=st.floats(0, 10), upper=st.floats(90, 100)),
)


@given(domain=DOMAINS)
def test_domain_comes_back_from_json(domain):
    assert Domain.from_dict(json.loads(json.dumps(domain.to_dict()))) == domain


def test_domain_without_a_window_gets_percentiles():
    assert Domain.from_dict({"name": "healthy", "modality": "MR"}) == Domain("healthy", "MR", Percentiles())


def test_domain_window_is_fixed_for_ct_and_found_for_mr():
    scan = head_like()
    fixed = Domain("tumor", "CT", Window(-100, 300, "HU"))
    assert fixed.window_of(scan) == Window(-100, 300, "HU") and fixed.unit == "HU"
    found = Domain("tumor", "MR")
    assert found.window_of(scan) == Percentiles().window_of(scan) and found.unit == "au"


@pytest.mark.parametrize("spacing_mm", [(0.5, 2.0), (1.0, 0.7, 5.0)])
def test_spacing_is_read_from_rotated_and_flipped_affines(spacing_mm):
    affine = affine_of(spacing_mm)
    assert affine.shape == (4, 4) and spacing_of(affine, len(spacing_mm)) == spacing_mm
    turn = np.array([[0, -1, 0, 4], [1, 0, 0, 5], [0, 0, -1, 6], [0, 0, 0, 1]])
    assert spacing_of(turn @ affine, len(spacing_mm)) == pytest.approx(spacing_mm)


def test_voxels_that_are_not_finite_are_counted_and_the_file_named():
    scan = np.zeros((4, 4), dtype=np.float32)
    check_finite(scan, "a.nii.gz")
    check_finite(scan.astype(np.int16), "a.nii.gz")
    scan[0, :3] = [np.nan, np.inf, -np.inf]
    with pytest.raises(DataError, match=r"a\.nii\.gz: found 3 voxels that are NaN or infinite; expected finite"):
        check_finite(scan, "a.nii.gz")


def test_image_and_label_of_different_shapes_are_refused_by_name():
    with pytest.raises(DataError, match=r"label\.nii: found shape \(4, 5\); expected the shape \(4, 4\) of image\.nii"):
        check_same_grid((4, 4), (4, 5), np.eye(4), np.eye(4), "image.nii", "label.nii")


def test_affines_may_differ_by_rounding_only():
    moved = np.eye(4)
    moved[0, 3] = 0.05
    check_same_grid((4, 4), (4, 4), np.eye(4), moved, "image.nii", "label.nii")
    moved[0, 3] = 2.5
    with pytest.raises(DataError, match=r"label\.nii: found voxels up to 2\.5 mm away from those of image\.nii"):
        check_same_grid((4, 4), (4, 4), np.eye(4), moved, "image.nii", "label.nii")


def test_a_small_turn_is_large_at_the_far_end_and_a_rounded_origin_is_not():
    turned = np.eye(4)
    turned[0, 1], turned[1, 0] = 0.009, -0.009  # no entry differs by more than 0.009
    with pytest.raises(DataError, match=r"up to 6\.5 mm away"):
        check_same_grid((512, 512, 20), (512, 512, 20), np.eye(4), turned, "image.nii", "label.nii")
    rounded = np.eye(4)
    rounded[0, 3] = 0.012
    check_same_grid((512, 512, 20), (512, 512, 20), np.eye(4), rounded, "image.nii", "label.nii")


def test_affine_with_nan_is_refused():
    broken = np.eye(4)
    broken[1, 1] = np.nan
    with pytest.raises(DataError, match=r"label\.nii: found voxels up to nan mm"):
        check_same_grid((4, 4), (4, 4), np.eye(4), broken, "image.nii", "label.nii")


HU = Domain("ct", "CT", Window(-160, 240, "HU"))
AU = Domain("mr", "MR")


@pytest.mark.parametrize(
    ("domain", "low", "high"), [(HU, -1024, 1500), (HU, -100, 300), (AU, 0, 4000), (AU, -4, 12), (AU, -600, 30000)]
)
def test_intensities_that_the_modality_can_have_are_accepted(domain, low, high):
    check_modality(np.array([low, high], float), domain, "scan.nii")


@pytest.mark.parametrize("padding", [-32768, -3.4e38, -1e300, 1e300])
def test_padding_makes_no_ct_of_an_mr_and_does_not_count_in_its_window(padding):
    mr = np.random.RandomState(0).rand(10, 10, 10) * 900
    padded = np.concatenate([np.full((10, 10, 10), padding), mr])
    check_modality(padded, AU, "scan.nii")
    assert AU.window_of(padded) == AU.window_of(mr)


def test_bright_spikes_noise_and_hounsfield_units_are_no_padding():
    mr = np.random.RandomState(0).rand(10, 10, 10) * 900
    mr[5, 5, 5] = 32767
    ct = np.where(mr > 450, -3024.0, mr - 1024)
    saturated = np.where(mr > 880, 32767, mr)
    saturated[[0, -1]] = 5
    phase = np.random.RandomState(0).rand(10, 10, 10) * 65535 - 32768
    for scan in (mr, ct, saturated, phase, mr.astype(np.int16)):
        assert padding_in(scan) is None


def test_an_image_that_lost_its_affine_is_no_volume():
    image = MetaTensor(torch.zeros(1, 2, 2), affine=torch.eye(4))
    assert as_meta(image) is image
    with pytest.raises(TypeError, match="Tensor, which has no affine"):
        as_meta(image.as_tensor())


@pytest.mark.parametrize(("domain", "low", "high", "word"), [(AU, -1024, 1500, "MR"), (HU, 0, 255, "HU")])
def test_an_image_of_another_modality_is_refused(domain, low, high, word):
    with pytest.raises(DataError, match=f"scan.nii.*{low}.*{high}.*{word}"):
        check_modality(np.array([low, high], float), domain, "scan.nii")


def test_the_slice_with_the_largest_mask_is_shown():
    mask = np.zeros((8, 8, 4), dtype=bool)
    mask[:2, :2] = True
    mask[:5, :5, 2] = True
    assert widest_slice(mask) == 2
    assert widest_slice(np.zeros((8, 8, 4))) == 2
