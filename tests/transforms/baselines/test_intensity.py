"""Random convolutions and histogram matching: another appearance of the same anatomy, and nothing else changed."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import Compose
from monai.utils import set_determinism
from scipy.stats import ks_2samp, spearmanr

from medaug.errors import ConfigError, DataError
from medaug.lesions.anatomy import find_foreground
from medaug.transforms.baselines import (
    RandConvolutions,
    RandConvolutionsd,
    RandHistogramMatch,
    RandHistogramMatchd,
    random_convolutions,
)

DIMS = pytest.mark.parametrize("dims", [2, 3])
KINDS = pytest.mark.parametrize("kind", ["strong", "histogram-match"])


@pytest.fixture
def made(sample_of):
    """`made(kind, dims, prob)`: the dictionary transform."""

    def make(kind, dims, prob=1.0):
        if kind == "strong":
            return RandConvolutionsd("image", prob=prob)
        return RandHistogramMatchd("image", [sample_of(n, dims, "t1")["image"] for n in (1, 2)], prob=prob)

    return make


@KINDS
@DIMS
def test_the_image_changes_within_its_range_and_the_label_does_not(made, sample_of, kind, dims):
    case = sample_of(0, dims)
    before = {key: value.copy() for key, value in case.items()}
    for seed in range(4):
        result = made(kind, dims).set_random_state(seed=seed)(case)
        assert result["label"] is case["label"] and result["organ"] is case["organ"]
        assert result["image"].shape == case["image"].shape and result["image"].dtype == np.float32
        assert np.abs(result["image"]).max() <= 1 and np.isfinite(result["image"]).all()
        assert (result["image"] != case["image"]).mean() > 0.2
    for key, value in before.items():
        np.testing.assert_array_equal(case[key], value)


@KINDS
@DIMS
def test_same_seed_same_image_and_another_seed_another(made, sample_of, kind, dims):
    transform, case = made(kind, dims), sample_of(0, dims)
    first, again, other = (
        [transform.set_random_state(seed=seed)(case)["image"], *(transform(case)["image"] for _ in range(3))]
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (np.stack(first) != np.stack(other)).any()


@KINDS
def test_probability_zero_passes_the_case_on(made, sample_of, kind):
    case = sample_of(0, 2)
    assert made(kind, 2, prob=0.0)(case)["image"] is case["image"]


@KINDS
def test_type_and_affine_are_kept(made, sample_of, kind):
    case, affine = sample_of(0, 3), np.diag([2.0, 2.0, 4.0, 1.0])
    expected = made(kind, 3).set_random_state(seed=0)(case)["image"]
    for image in (torch.from_numpy(case["image"]), MetaTensor(case["image"], affine=affine)):
        result = made(kind, 3).set_random_state(seed=0)({"image": image})["image"]
        assert isinstance(result, torch.Tensor) and result.dtype == torch.float32
        np.testing.assert_array_equal(np.asarray(result), expected)
    np.testing.assert_array_equal(result.affine, affine)


@KINDS
def test_workers_draw_differently_and_a_seed_repeats_them(made, sample_of, kind):
    flags = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark

    def epoch():
        set_determinism(seed=5)
        cases = [{"image": sample_of(0, 2)["image"]} for _ in range(4)]
        loader = DataLoader(Dataset(cases, Compose([made(kind, 2)])), batch_size=1, num_workers=2)
        return torch.cat([batch["image"] for batch in loader])

    try:
        first, again = epoch(), epoch()
    finally:
        set_determinism(None)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = flags
    assert torch.equal(first, again)
    different = {image.numpy().tobytes() for image in first}
    assert len(different) == 4 if kind == "strong" else len(different) == 2  # there are two references


@KINDS
def test_it_can_be_pickled_for_spawned_workers(made, sample_of, kind):
    transform = made(kind, 2)
    twin = pickle.loads(pickle.dumps(transform)).set_random_state(seed=3)
    transform.set_random_state(seed=3)
    np.testing.assert_array_equal(twin(sample_of(0, 2))["image"], transform(sample_of(0, 2))["image"])


@KINDS
def test_several_images_of_a_case_get_one_draw(sample_of, kind):
    image = sample_of(0, 2)["image"]
    keys, references = ["flair", "again"], [sample_of(n, 2)["image"] for n in (1, 2)]
    if kind == "strong":
        transform = RandConvolutionsd(keys, prob=1.0)
    else:
        transform = RandHistogramMatchd(keys, references, prob=1.0)
    result = transform.set_random_state(seed=0)({"flair": image, "again": image.copy()})
    np.testing.assert_array_equal(result["flair"], result["again"])


@KINDS
def test_what_is_not_normalised_is_refused(made, sample_of, kind):
    case = sample_of(0, 2)
    with pytest.raises(DataError, match=r"from -\d+ to \d+; expected \[-1, 1\]. Normalise"):
        made(kind, 2)({"image": 200 * case["image"]})
    with pytest.raises(DataError, match="channel"):
        made(kind, 2)({"image": case["image"][0]})


@KINDS
def test_a_blank_image_stays_finite(made, kind):
    blank = np.full((1, 16, 16), -1.0, np.float32)
    result = made(kind, 2).set_random_state(seed=0)({"image": blank})["image"]
    assert np.isfinite(result).all() and np.abs(result).max() <= 1


@given(seed=st.integers(0, 2**31 - 1), dims=st.sampled_from([2, 3]), offset=st.floats(-0.5, 0.5))
@settings(max_examples=40, deadline=None)
def test_random_convolutions_keep_the_energy_of_the_body_and_the_background(seed, dims, offset):
    rng = np.random.RandomState(seed)
    image = np.full((12,) * dims, -1.0, np.float32)
    body = np.zeros(image.shape, dtype=bool)
    body[(slice(2, 10),) * dims] = True
    image[body] = rng.uniform(offset - 0.4, offset + 0.4, body.sum())
    changed = random_convolutions(image, body, rng)
    mean = image[body].mean()
    np.testing.assert_allclose(np.linalg.norm(changed[body] - mean), np.linalg.norm(image[body] - mean), rtol=1e-3)
    np.testing.assert_array_equal(changed[~body], image[~body])


def test_random_convolutions_give_many_appearances_some_of_them_with_the_contrast_turned_round(sample_of):
    image = sample_of(0, 2)["image"][0]
    body = find_foreground(image)
    likeness = [
        spearmanr(image[body], random_convolutions(image, body, np.random.RandomState(seed))[body])[0]
        for seed in range(60)
    ]
    assert min(likeness) < -0.1 and max(likeness) > 0.95
    assert np.std(likeness) > 0.2


@DIMS
def test_the_matched_body_has_the_histogram_of_the_reference(sample_of, dims):
    image, reference = sample_of(0, dims)["image"], sample_of(1, dims, "t1")["image"]
    body, other = find_foreground(image[0])[None], find_foreground(reference[0])[None]
    matched = RandHistogramMatch([reference], prob=1.0)(image)
    assert ks_2samp(image[body], reference[other]).statistic > 0.15
    assert ks_2samp(matched[body], reference[other]).statistic < 0.03
    np.testing.assert_array_equal(matched[~body], image[~body])
    assert spearmanr(matched[body], image[body])[0] > 0.999, "matching is monotonic"


def test_the_blend_lies_between_the_image_and_the_matched_one(sample_of):
    image, reference = sample_of(0, 2)["image"], sample_of(1, 2, "t1")["image"]
    full, half = (RandHistogramMatch([reference], 1.0, blend)(image) for blend in ((1.0, 1.0), (0.5, 0.5)))
    np.testing.assert_allclose(half, (image + full) / 2, atol=1e-6)


@KINDS
def test_every_channel_has_an_appearance_of_its_own_and_one_alone_is_as_the_first(made, sample_of, kind):
    one = sample_of(0, 2)["image"]
    two, blank = np.concatenate([one, one]), np.concatenate([one, np.full_like(one, -1.0)])
    if kind == "strong":
        transform, single = RandConvolutions(1.0), RandConvolutions(1.0)
    else:
        other, more = sample_of(1, 2, "t1")["image"], sample_of(2, 2)["image"]
        transform, single = RandHistogramMatch([np.concatenate([other, more])], 1.0), RandHistogramMatch([other], 1.0)
    changed, alone, lacking = (
        apply.set_random_state(seed=3)(image) for apply, image in ((transform, two), (single, one), (transform, blank))
    )
    np.testing.assert_array_equal(changed[:1], alone)
    assert (changed[0] != changed[1]).any()
    np.testing.assert_array_equal(lacking[1], blank[1])
    if kind == "histogram-match":
        with pytest.raises(DataError, match=r"reference 0 of shape \(1, 40, 40\); expected \(2, X, Y\)"):
            single(two)


def test_references_are_read_only_when_they_are_drawn(sample_of):
    class Lazy:
        read = 0

        def __len__(self):
            return 1000

        def __getitem__(self, number):
            Lazy.read += 1
            return sample_of(1, 2)["image"]

    transform = RandHistogramMatch(Lazy(), prob=1.0)
    assert Lazy.read == 0
    transform(sample_of(0, 2)["image"])
    assert Lazy.read == 1


def test_references_that_cannot_be_used_are_refused(sample_of):
    image = sample_of(0, 2)["image"]
    with pytest.raises(ConfigError, match="references: found none"):
        RandHistogramMatchd("image", [])
    with pytest.raises(ConfigError, match="blend"):
        RandHistogramMatch([image], blend=(0.2, 1.4))
    with pytest.raises(DataError, match="reference 0"):
        RandHistogramMatch([900 * image], prob=1.0)(image)
