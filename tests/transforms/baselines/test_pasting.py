"""Copy-paste, CarveMix and CutMix: the label is right voxel by voxel, and nothing else changes."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import Compose
from monai.utils import set_determinism
from scipy import ndimage

from medaug.errors import ConfigError, DataError
from medaug.transforms.baselines import (
    BASELINES,
    RandCarveMix,
    RandCarveMixd,
    RandCopyPasteTumor,
    RandCopyPasteTumord,
    RandCutMix,
    RandCutMixd,
    build_baseline,
)
from medaug.transforms.baselines.mixing import carved_region, cut_box

SOFT_EDGE_VOXELS = 2
ARRAYS = {"copy-paste": RandCopyPasteTumor, "carvemix": RandCarveMix, "cutmix": RandCutMix}
DICTS = {"copy-paste": RandCopyPasteTumord, "carvemix": RandCarveMixd, "cutmix": RandCutMixd}
KINDS = pytest.mark.parametrize("kind", list(ARRAYS))
DIMS = pytest.mark.parametrize("dims", [2, 3])


@pytest.fixture
def bank(sample_of):
    """`bank(dims)`: two other heads."""
    return lambda dims: [sample_of(number, dims) for number in (1, 2)]


def near(region: np.ndarray, voxels: int) -> np.ndarray:
    return ndimage.binary_dilation(region, np.ones((3,) * region.ndim), iterations=voxels)


@KINDS
@DIMS
def test_the_case_is_not_changed_and_the_result_is_of_its_type(bank, sample_of, kind, dims):
    case = sample_of(0, dims)
    before = {key: value.copy() for key, value in case.items()}
    changed = 0
    for seed in range(4):
        result = DICTS[kind]("image", bank(dims), prob=1.0).set_random_state(seed=seed)(case)
        assert set(result) == set(case) and result["organ"] is case["organ"]
        for key in ("image", "label"):
            assert result[key].shape == case[key].shape and result[key].dtype == np.float32
        assert np.isfinite(result["image"]).all() and np.abs(result["image"]).max() < 1 + 1e-5
        assert set(np.unique(result["label"])) <= {0, 1}
        changed += (result["image"] != case["image"]).any()
    assert changed >= 3
    for key, value in before.items():
        np.testing.assert_array_equal(case[key], value)


@KINDS
@DIMS
def test_same_seed_same_case_and_another_seed_another(bank, sample_of, kind, dims):
    transform, case = ARRAYS[kind](bank(dims), prob=1.0), sample_of(0, dims)

    def drawn(seed):
        transform.set_random_state(seed=seed)
        return np.stack([np.stack(transform(case["image"], case["label"])) for _ in range(3)])

    first, again, other = drawn(3), drawn(3), drawn(4)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() and (first[0] != first[1]).any()


@KINDS
def test_probability_zero_passes_the_case_on(bank, sample_of, kind):
    case = sample_of(0, 2)
    result = DICTS[kind]("image", bank(2), prob=0.0)(case)
    assert all(result[key] is case[key] for key in case)


@KINDS
def test_types_affines_and_the_dtype_of_labels_are_kept(bank, sample_of, kind):
    case, affine = sample_of(0, 3), np.eye(4)
    expected = ARRAYS[kind](bank(3), prob=1.0).set_random_state(seed=1)(case["image"], case["label"])
    image, label = MetaTensor(case["image"], affine=affine), torch.from_numpy(case["label"]).to(torch.uint8)
    result = ARRAYS[kind](bank(3), prob=1.0).set_random_state(seed=1)(image, label)
    assert isinstance(result[0], MetaTensor) and result[1].dtype == torch.uint8
    np.testing.assert_array_equal(result[0].affine, affine)
    for got, wanted in zip(result, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(got), wanted)


@DIMS
def test_a_pasted_tumor_joins_the_label_and_changes_nothing_beyond_its_soft_edge(bank, sample_of, dims):
    case, pasted = sample_of(0, dims), 0
    before = case["label"] > 0
    for seed in range(10):
        transform = RandCopyPasteTumor(bank(dims), prob=1.0).set_random_state(seed=seed)
        image, label = transform(case["image"], case["label"], case["organ"])
        new = (label > 0) & ~before
        assert (label[before] == 1).all(), "old tumors stay marked"
        assert not (ndimage.binary_dilation(new[0], iterations=2)[None] & before).any(), "and keep clear"
        assert (case["organ"][new] > 0).all()
        untouched = ~near(new[0], SOFT_EDGE_VOXELS)[None]
        np.testing.assert_array_equal(image[untouched], case["image"][untouched])
        assert bool(transform.lesions) == bool(new.any())
        if new.any():
            assert (image[new] != case["image"][new]).mean() > 0.9
            assert transform.lesions[0]["patient"].startswith("bank item")
        pasted += bool(new.any())
    assert pasted >= 6


def test_a_pasted_tumor_stands_out_as_it_did_where_it_came_from(ellipse_case):
    """Bright lesions of contrast 0.5 stay bright on a darker organ."""
    bank, case = [ellipse_case(0.2, lesion=0.7)], ellipse_case(-0.3, lesion=None)
    contrasts = []
    for seed in range(12):
        image, label = RandCopyPasteTumor(bank, prob=1.0).set_random_state(seed=seed)(
            case["image"], case["label"], case["organ"]
        )
        contrasts.append(image[label > 0].mean() - (-0.3))
    assert np.mean(contrasts) == pytest.approx(0.5, abs=0.1)
    assert np.std(contrasts) > 0.02, "and its contrast varies"


def test_pasted_tumors_keep_their_size_in_mm_on_another_grid(ellipse_case):
    coarse, fine = ellipse_case(0.2, lesion=0.7, spacing_mm=2.0), ellipse_case(0.0, lesion=None, spacing_mm=1.0)
    lesion_mm2 = 4 * coarse["label"].sum()
    areas = []
    for seed in range(20):
        transform = RandCopyPasteTumor([coarse], prob=1.0).set_random_state(seed=seed)
        areas.append(float(transform(fine["image"], fine["label"], fine["organ"])[1].sum()))
    assert np.median(areas) == pytest.approx(float(lesion_mm2), rel=0.35)
    plain = {key: np.asarray(value) for key, value in fine.items()}
    with pytest.raises(DataError, match="voxel size of bank item 0 but none of the image"):
        RandCopyPasteTumor([coarse], prob=1.0)(plain["image"], plain["label"])


def test_no_room_to_paste_is_no_error_and_leaves_the_case(bank, sample_of):
    case = sample_of(0, 2)
    transform = RandCopyPasteTumor(bank(2), prob=1.0)
    image, label = transform(case["image"], case["label"], np.zeros_like(case["label"]))
    assert transform.lesions == []
    assert image is case["image"] and label is case["label"]


def test_the_organ_of_a_case_bounds_the_tumor_and_is_found_where_it_is_missing(bank, sample_of):
    case = sample_of(0, 2)
    organ = np.zeros_like(case["organ"])
    organ[:, :20] = case["organ"][:, :20]
    for seed in range(5):
        transform = RandCopyPasteTumord("image", bank(2), prob=1.0).set_random_state(seed=seed)
        label = transform({**case, "organ": organ})["label"]
        assert not ((label > 0) & (case["label"] == 0) & (organ == 0)).any()
    del case["organ"]
    transform = RandCopyPasteTumord("image", bank(2), prob=1.0)
    assert any((transform.set_random_state(seed=s)(case)["label"] != case["label"]).any() for s in range(5))


@pytest.mark.parametrize("kind", ["carvemix", "cutmix"])
@DIMS
def test_mixing_takes_image_and_label_of_the_same_voxels_from_the_donor(sample_of, kind, dims):
    case, donor = sample_of(0, dims), sample_of(1, dims)
    donor["label"] *= 3  # classes are taken over
    for seed in range(6):
        image, label = ARRAYS[kind]([donor], prob=1.0).set_random_state(seed=seed)(case["image"], case["label"])
        taken = image != case["image"]
        np.testing.assert_array_equal(image[taken], donor["image"][taken])
        np.testing.assert_array_equal(label[taken], donor["label"][taken])
        kept = ~taken & (case["image"] != donor["image"])
        np.testing.assert_array_equal(label[kept], case["label"][kept])
    if kind == "carvemix":
        assert (label == 3).any()


@given(seed=st.integers(0, 2**31 - 1), radius=st.integers(2, 9), z_mm=st.floats(0.5, 4.0), dims=st.sampled_from([2, 3]))
@settings(max_examples=60, deadline=None)
def test_a_carved_region_is_a_level_set_of_the_distance_to_the_lesion(seed, radius, z_mm, dims):
    shape, spacing_mm = (32, 32, 12)[:dims], (1.0, 1.0, z_mm)[:dims]
    center = np.array(shape) // 2
    lesion = ((np.moveaxis(np.indices(shape), 0, -1) - center) ** 2).sum(-1) <= radius**2
    region = carved_region(lesion, spacing_mm, np.random.RandomState(seed))
    inside = ndimage.distance_transform_edt(lesion, sampling=spacing_mm)
    outside = ndimage.distance_transform_edt(~lesion, sampling=spacing_mm)
    assert region[inside == inside.max()].all(), "the deepest voxels are always in it"
    assert region[inside >= inside.max() / 2 + 1e-9].all() and (outside[region] <= inside.max() + 1e-9).all()
    assert (lesion & ~region).sum() == 0 or (region & ~lesion).sum() == 0, "shrunk or grown, never both"


def test_half_of_the_carved_regions_are_smaller_and_half_larger_than_the_lesion():
    """λ is uniform below and above 0: with a deep lesion, a quarter of all draws is beyond each half's middle."""
    x, y = np.mgrid[:100, :100] - 50
    radius = np.hypot(x, y)
    lesion, rng = radius <= 24, np.random.RandomState(0)
    reach = np.array([radius[carved_region(lesion, (1.0, 1.0), rng)].max() for _ in range(400)])
    assert np.mean(reach < 23.5) == pytest.approx(0.5, abs=0.1)
    assert np.mean(reach < 18) == pytest.approx(0.25, abs=0.08)  # 24 − 24/2 · ½
    assert np.mean(reach > 36) == pytest.approx(0.25, abs=0.08)  # 24 + 24 · ½
    assert reach.min() >= 11 and reach.max() <= 49


@given(seed=st.integers(0, 2**31 - 1), alpha=st.floats(0.2, 5.0), dims=st.sampled_from([2, 3]))
@settings(max_examples=60, deadline=None)
def test_a_cut_region_is_a_box(seed, alpha, dims):
    region = cut_box((24, 16, 10)[:dims], alpha, np.random.RandomState(seed))
    if region.any():
        extents = [np.ptp(places) + 1 for places in np.nonzero(region)]
        assert region.sum() == np.prod(extents)


def test_the_box_covers_the_drawn_part_unless_the_edge_cuts_it():
    rng = np.random.RandomState(0)
    parts = np.array([cut_box((60, 80), 1e6, rng).mean() for _ in range(300)])  # λ is one half
    assert parts.max() == pytest.approx(0.5, abs=0.03)
    uniform = np.array([cut_box((60, 80), 1.0, rng).mean() for _ in range(300)])
    assert uniform.min() < 0.02 and uniform.max() > 0.7


@KINDS
def test_workers_draw_differently_and_a_seed_repeats_them(bank, sample_of, kind):
    flags = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark

    def epoch():
        set_determinism(seed=5)
        pipeline = Compose([DICTS[kind]("image", bank(2), prob=1.0)])
        loader = DataLoader(Dataset([sample_of(0, 2) for _ in range(4)], pipeline), batch_size=1, num_workers=2)
        return torch.cat([torch.cat([batch["image"], batch["label"]], dim=1) for batch in loader])

    try:
        first, again = epoch(), epoch()
    finally:
        set_determinism(None)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = flags
    assert torch.equal(first, again)
    assert len({sample.numpy().tobytes() for sample in first}) >= 3


@KINDS
def test_it_can_be_pickled_for_spawned_workers(bank, sample_of, kind):
    transform = DICTS[kind]("image", bank(2), prob=1.0)
    twin = pickle.loads(pickle.dumps(transform)).set_random_state(seed=3)
    transform.set_random_state(seed=3)
    np.testing.assert_array_equal(twin(sample_of(0, 2))["image"], transform(sample_of(0, 2))["image"])


def test_a_bank_that_cannot_be_used_is_refused(sample_of):
    case = sample_of(0, 2)
    image, label = case["image"], case["label"]
    for kind, transform in ARRAYS.items():
        with pytest.raises(ConfigError, match="bank: found none"):
            transform([])
        with pytest.raises(DataError, match="bank item 0: found no label"):
            transform([{"image": image}], prob=1.0)(image, label)
        with pytest.raises(DataError, match="does not lie on the image"):
            transform([{"image": image, "label": label[:, 1:]}], prob=1.0)(image, label)
        if kind != "cutmix":
            with pytest.raises(DataError, match="no lesion in 1 items"):
                transform([{"image": image, "label": 0 * label}], prob=1.0)(image, label)
        if kind != "copy-paste":
            coarse = {key: MetaTensor(case[key], affine=np.diag([2.0, 2, 2, 1])) for key in ("image", "label")}
            with pytest.raises(DataError, match="found voxels of 2 × 2 mm; expected those of the image, 1 × 1 mm"):
                transform([coarse], prob=1.0)(image, label)


def test_tumors_alone_are_carved_out_of_their_organ_which_comes_along_in_the_rim(sample_of):
    case, donor = sample_of(0, 2), sample_of(1, 2)
    with_organ = {"image": donor["image"], "label": donor["organ"] + donor["label"]}  # 1 organ, 2 tumor in it
    carve = RandCarveMix([with_organ], prob=1.0, tumor_labels=[2])
    for seed in range(6):
        image, label = carve.set_random_state(seed=seed)(case["image"], 0 * case["label"])
        taken = image != case["image"]
        assert (label == 2).any() and np.array_equal(label[taken], with_organ["label"][taken])
        assert taken.sum() < 5 * donor["label"].sum() < donor["organ"].sum()


@pytest.mark.parametrize("kind", ["carvemix", "cutmix"])
def test_cases_of_other_shapes_are_laid_centre_on_centre(sample_of, kind):
    case, other = sample_of(0, 2), sample_of(1, 2)
    inner = {key: array[:, 5:35, 8:32] for key, array in other.items()}
    whole, cut = (ARRAYS[kind]([bank], prob=1.0).set_random_state(seed=4) for bank in (other, inner))
    (image, label), (image_cut, label_cut) = (mix(case["image"], case["label"]) for mix in (whole, cut))
    same = (slice(None), slice(5, 35), slice(8, 32))
    np.testing.assert_array_equal(image[same], image_cut[same])
    np.testing.assert_array_equal(label[same], label_cut[same])


def test_a_case_without_lesion_in_the_bank_is_passed_over(sample_of):
    case, other = sample_of(0, 2), sample_of(1, 2)
    empty = {"image": other["image"], "label": 0 * other["label"]}
    for seed in range(4):
        _, label = RandCarveMix([empty, other], prob=1.0).set_random_state(seed=seed)(case["image"], 0 * case["label"])
        assert label.any()


def with_parts(sample_of, number, dims):
    """Flair and t1 as two channels, the tumor in three shells: part 1 outside, 3 inside."""
    case, other = sample_of(number, dims), sample_of(number, dims, "t1")
    cross = ndimage.generate_binary_structure(2, 1).reshape(3, 3, *[1] * (dims - 2))
    shells = [ndimage.binary_erosion(case["label"][0], cross, iterations=n) for n in (1, 2)]
    image, label = np.concatenate([case["image"], other["image"]]), case["label"] + np.sum(shells, axis=0)[None]
    return case | {"image": image, "label": label.astype(np.float32)}


@DIMS
def test_a_tumor_is_pasted_in_all_channels_with_all_its_parts(sample_of, dims):
    case, donors = with_parts(sample_of, 0, dims), [with_parts(sample_of, n, dims) for n in (1, 2)]
    before, seen = case["label"] > 0, set()
    for seed in range(8):
        paste = RandCopyPasteTumord("image", donors, prob=1.0, tumor_labels=[1, 2, 3]).set_random_state(seed=seed)
        result = paste(case)
        new = (result["label"] > 0) & ~before
        np.testing.assert_array_equal(result["label"][before], case["label"][before])
        untouched = ~near(new[0], SOFT_EDGE_VOXELS)
        np.testing.assert_array_equal(result["image"][:, untouched], case["image"][:, untouched])
        if new.any():
            assert all(
                (now != was)[new[0]].mean() > 0.9 for now, was in zip(result["image"], case["image"], strict=True)
            )
            depth = ndimage.distance_transform_edt(new, sampling=(1, 1, 1, 99)[: new.ndim])
            means = [depth[new & (result["label"] == part)].mean() for part in np.unique(result["label"][new])]
            assert means == sorted(means), "the shells keep their order"
            seen |= set(np.unique(result["label"][new]).tolist())
    assert seen == {1.0, 2.0, 3.0}


@pytest.mark.parametrize("kind", ["copy-paste", "carvemix", "cutmix"])
def test_what_is_pasted_does_not_leave_an_organ_that_a_label_says(sample_of, kind):
    case, donors = with_parts(sample_of, 0, 2), [with_parts(sample_of, n, 2) for n in (1, 2)]
    organ = np.zeros_like(case["organ"])
    organ[:, 8:30, 8:30] = case["organ"][:, 8:30, 8:30]
    options, changed = {"tumor_labels": [1, 2, 3]} if kind == "copy-paste" else {}, 0
    for seed in range(8):
        paste = DICTS[kind]("image", donors, prob=1.0, strictly_inside=True, **options).set_random_state(seed=seed)
        result = paste(case | {"organ": organ})
        assert not ((result["label"] != case["label"]) & (organ == 0)).any()
        changed += (result["label"] != case["label"]).any()
    assert changed > 2


def test_an_organ_in_the_label_stays_where_no_tumor_is_pasted(bank, sample_of):
    """Organ 1 with a tumor 2: the tumor is moved, and its value."""

    def relabelled(case):
        return case | {"label": np.where(case["label"] > 0, 2, case["organ"]).astype(np.float32)}

    case, donors = relabelled(sample_of(0, 2)), [relabelled(item) for item in bank(2)]
    with pytest.raises(DataError, match=r"found the label values 0, 1, 2; expected 0 and 1.*tumor_labels=\[2\]"):
        RandCopyPasteTumor(donors, prob=1.0)(case["image"], case["label"])
    changed = 0
    for seed in range(5):
        paste = RandCopyPasteTumor(donors, prob=1.0, tumor_labels=[2]).set_random_state(seed=seed)
        label = paste(case["image"], case["label"], case["organ"])[1]
        assert set(np.unique(label[label != case["label"]])) <= {2}
        changed += (label != case["label"]).any()
    assert changed > 2


@KINDS
def test_a_bank_of_other_channels_is_refused(bank, sample_of, kind):
    two = with_parts(sample_of, 0, 2)
    with pytest.raises(DataError, match=r"bank item \d, image of shape \(1, 40, 40\); expected \(2, X, Y\)"):
        ARRAYS[kind](bank(2), prob=1.0)(two["image"], (two["label"] > 0).astype(np.float32))


def test_several_images_are_refused_because_the_bank_holds_one(bank):
    for transform in DICTS.values():
        with pytest.raises(ConfigError, match="flair, t1"):
            transform(["flair", "t1"], bank(2))


@pytest.mark.parametrize("name", list(BASELINES))
def test_every_arm_is_built_by_its_name(bank, sample_of, name):
    references = [sample_of(1, 2, "t1")["image"]]
    transform = build_baseline(name, prob=1.0, bank=bank(2), references=references)
    case = sample_of(0, 2)
    assert any((transform.set_random_state(seed=s)(case)["image"] != case["image"]).any() for s in range(3))


def test_an_unknown_arm_is_refused_with_the_names_of_the_others(bank):
    with pytest.raises(ConfigError, match="'mixup'; expected one of strong, histogram-match, copy-paste"):
        build_baseline("mixup")
    with pytest.raises(ConfigError, match="carvemix: found no bank"):
        build_baseline("carvemix", references=bank(2))
