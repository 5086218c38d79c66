"""Masked MAE, PSNR, SSIM and MS-SSIM: hand-computed values, scikit-image, and what must not change them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from medaug.audits.measures.similarity import (
    GREY_LEVELS,
    HOUNSFIELD,
    IMAGE_METRICS,
    SCALE_WEIGHTS,
    ImagePair,
    mae,
    ms_ssim,
    psnr,
    similarity,
    ssim,
)
from medaug.errors import DataError


def everywhere(real: np.ndarray, synthetic: np.ndarray) -> list[ImagePair]:
    return [ImagePair(real, synthetic, np.ones(real.shape, dtype=bool))]


def noisy(shape: tuple[int, ...], seed: int = 0, spread_hu: float = 300.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(seed)
    waves = sum(np.sin(g / (3.0 + axis)) for axis, g in enumerate(np.indices(shape)))
    real = 200.0 * waves + 50 * rng.randn(*shape)
    return tuple(np.clip(image, -1024, 3000) for image in (real, real + spread_hu * rng.randn(*shape)))


def test_mae_and_psnr_by_hand():
    real, synthetic = np.zeros((8, 8)), np.zeros((8, 8))
    mask = np.zeros((8, 8), dtype=bool)
    mask[0, :4] = True
    synthetic[0, :4] = [0.0, 10.0, -20.0, 30.0]
    synthetic[5] = 1000.0  # outside the mask
    found = similarity([ImagePair(real, synthetic, mask)], HOUNSFIELD)
    assert found["mae"] == pytest.approx(15.0)
    assert found["psnr"] == pytest.approx(10 * np.log10(4024**2 / 350))
    assert similarity([ImagePair(real, synthetic, mask)], GREY_LEVELS)["psnr"] == pytest.approx(
        10 * np.log10(255**2 / ((0 + 100 + 0 + 900) / 4))
    )


def test_psnr_has_a_fixed_range_and_clips_to_it():
    real, synthetic = noisy((32, 24))
    expected = peak_signal_noise_ratio(real, synthetic, data_range=4024)
    assert psnr(everywhere(real, synthetic), HOUNSFIELD) == pytest.approx(expected)
    far = synthetic.copy()
    real[0, 0], synthetic[0, 0], far[0, 0] = 3000.0, 3000.0, 30000.0
    assert psnr(everywhere(real, far), HOUNSFIELD) == psnr(everywhere(real, synthetic), HOUNSFIELD)
    assert mae(everywhere(real, far), HOUNSFIELD) > mae(everywhere(real, synthetic), HOUNSFIELD)


def test_equal_images_are_as_near_as_can_be():
    real, _ = noisy((40, 40))
    found = similarity(everywhere(real, real), HOUNSFIELD)
    assert found == {"mae": 0.0, "psnr": np.inf, "ssim": pytest.approx(1.0), "ms_ssim": pytest.approx(1.0)}
    assert list(found) == list(IMAGE_METRICS)


@pytest.mark.parametrize("shape", [(40, 31), (24, 20, 16)])
def test_ssim_over_everything_is_that_of_scikit_image(shape):
    real, synthetic = noisy(shape)
    expected = structural_similarity(real + 1024, synthetic + 1024, data_range=4024)
    assert ssim(everywhere(real, synthetic), HOUNSFIELD) == pytest.approx(expected, abs=1e-12)


def test_ssim_of_two_constant_images_by_hand():
    real, synthetic = np.full((16, 16), 0.0), np.full((16, 16), 100.0)
    x, y, c1 = 1024.0, 1124.0, (0.01 * 4024) ** 2
    expected = (2 * x * y + c1) / (x**2 + y**2 + c1)
    assert ssim(everywhere(real, synthetic), HOUNSFIELD) == pytest.approx(expected)


def test_ms_ssim_of_two_constant_images_has_only_the_luminance_of_the_coarsest_level():
    real, synthetic = np.full((112, 112), 0.0), np.full((112, 112), 900.0)
    expected = ssim(everywhere(real, synthetic), HOUNSFIELD) ** (SCALE_WEIGHTS[-1] / sum(SCALE_WEIGHTS))
    assert ms_ssim(everywhere(real, synthetic), HOUNSFIELD) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(112, 128), (50, 37), (56, 56, 14)])
def test_ms_ssim_follows_its_definition_level_by_level(shape):
    real, synthetic = noisy(shape)
    a, b, scores, c2 = real + 1024, synthetic + 1024, [], (0.03 * 4024) ** 2

    def halved(image):
        for axis in [axis for axis, size in enumerate(image.shape) if (size + 1) // 2 >= 7]:
            if image.shape[axis] % 2:
                image = np.concatenate([image, image.take([-1], axis)], axis)
            even, odd = (image.take(range(start, image.shape[axis], 2), axis) for start in (0, 1))
            image = (even + odd) / 2
        return image

    def windows(image):
        return np.lib.stride_tricks.sliding_window_view(image, (7,) * image.ndim).reshape(-1, 7**image.ndim)

    for level in range(5):
        x, y = windows(a), windows(b)
        covariance = ((x - x.mean(1, keepdims=True)) * (y - y.mean(1, keepdims=True))).sum(1) / (x.shape[1] - 1)
        scores.append(((2 * covariance + c2) / (x.var(1, ddof=1) + y.var(1, ddof=1) + c2)).mean())
        last = structural_similarity(a, b, data_range=4024)
        if level == 4 or all((n + 1) // 2 < 7 for n in a.shape):
            break
        a, b = halved(a), halved(b)
    weights = np.array(SCALE_WEIGHTS[: len(scores)])
    expected = np.prod(np.array([*scores[:-1], last]) ** (weights / weights.sum()))
    assert ms_ssim(everywhere(real, synthetic), HOUNSFIELD) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), size=st.integers(9, 40), fill=st.floats(-2000, 4000))
def test_what_lies_outside_the_mask_changes_nothing(seed, size, fill):
    real, synthetic = noisy((size, size + 3), seed)
    mask = np.zeros(real.shape, dtype=bool)
    mask[size // 4 : -2, 3 : size // 2 + 3] = True
    changed = np.where(mask, synthetic, fill)
    assert similarity([ImagePair(real, synthetic, mask)], HOUNSFIELD) == similarity(
        [ImagePair(real, changed, mask)], HOUNSFIELD
    )


def test_more_noise_is_further_in_every_metric():
    real, near = noisy((64, 64), spread_hu=50)
    _, far = noisy((64, 64), spread_hu=400)
    near, far = (similarity(everywhere(real, image), HOUNSFIELD) for image in (near, far))
    for name, metric in IMAGE_METRICS.items():
        assert (near[name] > far[name]) == metric.higher_is_better, name


def test_slices_of_a_patient_count_by_their_voxels():
    pairs = [everywhere(*noisy(shape, seed))[0] for seed, shape in enumerate([(20, 20), (40, 40)])]
    alone = [similarity([pair], HOUNSFIELD) for pair in pairs]
    together = similarity(pairs, HOUNSFIELD)
    for name in ("mae", "ssim", "ms_ssim"):
        assert together[name] == pytest.approx(0.2 * alone[0][name] + 0.8 * alone[1][name]), name
    squared = [4024**2 / 10 ** (scores["psnr"] / 10) for scores in alone]
    assert together["psnr"] == pytest.approx(10 * np.log10(4024**2 / (0.2 * squared[0] + 0.8 * squared[1])))


def test_volumes_too_flat_for_a_window_are_scored_slice_by_slice():
    real, synthetic = noisy((20, 20, 5))
    slices = [everywhere(real[..., z], synthetic[..., z])[0] for z in range(5)]
    assert similarity(everywhere(real, synthetic), HOUNSFIELD) == pytest.approx(similarity(slices, HOUNSFIELD))


def test_a_mask_at_the_rim_of_the_image_is_scored_there():
    real, synthetic = noisy((20, 20))
    mask = np.zeros((20, 20), dtype=bool)
    mask[0, 3:9] = True
    assert 0 < ssim([ImagePair(real, synthetic, mask)], HOUNSFIELD) < 1


def test_pairs_that_cannot_be_compared_are_refused():
    good = np.zeros((8, 8))
    mask = np.ones((8, 8), dtype=bool)
    for pair, words in (
        ((good, np.zeros((8, 9)), mask), "synthetic: found shape (8, 9)"),
        ((good, good, mask[:4]), "mask: found shape (4, 8)"),
        ((good, good + np.nan, mask), "synthetic: found NaN"),
        ((good, good, ~mask), "no voxel marked"),
        ((good[:6], good[:6], mask[:6]), "at least 7 voxels"),
    ):
        with pytest.raises(DataError) as error:
            similarity([ImagePair(*pair)], HOUNSFIELD)
        assert words in str(error.value)
    with pytest.raises(DataError, match="without a single pair"):
        similarity([], HOUNSFIELD)
