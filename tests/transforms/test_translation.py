"""Translation of single images: an identity returns the input, units, bodies, voxel sizes and what is refused."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from monai.data import MetaTensor
from scipy import ndimage

from medaug.data.files import read_scan, write_scan
from medaug.errors import ConfigError, DataError, WeightsError
from medaug.lesions.anatomy import body_of
from medaug.phantoms import abdomen_phantom
from medaug.transforms import RandTranslateDomain, SynthesizeCT, TranslateDomain
from medaug.transforms.translation import DIM_MM
from medaug.volumes import Domain, Window

WIDE, NARROW = Window(-1024, 3000, "HU"), Window(-160, 240, "HU")
CONTRAST, PLAIN = Domain("contrast", "CT", NARROW), Domain("noncontrast", "CT", NARROW)
MR = Domain("mr", "MR")
LOOKS = [(2, None, 1), (2, (16, 16), 1), (2, None, 3), (2, (16, 16), 3), (3, (16, 16, 8), 1)]
"""Dimensions, windows and slices of the weights."""


def same(x, direction, style):
    return x.clone()


def darkened(x, direction, style):
    return x - 1


def inverted(x, direction, style):
    return -x


def on_grid(array: np.ndarray, spacing_mm=(1.0, 1.0, 1.0), **meta) -> MetaTensor:
    affine = torch.diag(torch.tensor([*spacing_mm, 1.0], dtype=torch.float64))
    return MetaTensor(torch.from_numpy(array), affine=affine, meta=meta)


@pytest.fixture(scope="module")
def abdomen():
    return abdomen_phantom(0, shape=(48, 48, 6), spacing_mm=(8.0, 8.0, 32.0))


@pytest.mark.parametrize(("dims", "patch_size", "slices"), LOOKS)
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_identity_returns_a_ct_bit_for_bit_also_beyond_the_window(translating, dims, patch_size, slices, data):
    shape = tuple(data.draw(st.integers(1 if axis == 2 else 9, 21)) for axis in range(3))
    scan = data.draw(arrays.arrays(np.int16, (1, *shape), elements=st.integers(-3024, 3071), fill=st.just(-1000)))
    scan.flat[0] = -1000
    weights = translating(same, CONTRAST, PLAIN, dims, patch_size, slices)
    for body in ("auto", False):
        result = TranslateDomain(weights, body=body)(scan)
        assert result.dtype == np.int16
        np.testing.assert_array_equal(result, scan)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(low=st.integers(-2000, -1), width=st.integers(100, 4096), size=st.tuples(*[st.integers(9, 20)] * 2))
def test_an_identity_into_another_kind_of_image_returns_whole_hu_inside_the_window(translating, low, width, size):
    window = Window(low, low + width, "HU")
    weights = translating(same, Domain("cbct", "CBCT", window), Domain("ct", "CT", window))
    scan = np.linspace(low, low + width, np.prod(size)).round().astype(np.float32).reshape(1, *size)
    result = SynthesizeCT(weights, body=False)(scan)
    assert result.dtype == np.int16
    np.testing.assert_array_equal(result, scan)
    beyond = np.where(scan > low + width / 2, low + width + 7.0, scan).astype(np.float32)
    np.testing.assert_array_equal(SynthesizeCT(weights, body=False)(beyond), beyond.clip(low, low + width))


@pytest.mark.parametrize(("dims", "patch_size", "slices"), LOOKS)
def test_an_identity_survives_writing_and_reading(translating, abdomen, tmp_path, dims, patch_size, slices):
    write_scan(tmp_path / "scan.nii.gz", abdomen.images["contrast"][None], abdomen.affine)
    scan = read_scan(tmp_path / "scan.nii.gz")
    weights = translating(same, CONTRAST, PLAIN, dims, patch_size, slices, spacing_mm=(8.0, 8.0, 32.0)[:dims])
    write_scan(tmp_path / "out.nii.gz", TranslateDomain(weights)(scan))
    again = read_scan(tmp_path / "out.nii.gz")
    assert again.meta["dtype"] == "int16" and torch.equal(again.affine, scan.affine)
    np.testing.assert_array_equal(again.numpy()[0], abdomen.images["contrast"])


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint8, np.uint16])
def test_an_identity_between_sequences_keeps_type_and_bits(translating, head, kind):
    image = head.image[None].astype(kind)
    result = TranslateDomain(translating(same))(image)
    assert result.dtype == kind
    np.testing.assert_array_equal(result, image)


def test_a_change_between_sequences_is_added_in_the_scans_own_scale(translating, head):
    weights = translating(lambda x, direction, style: x + 0.1)
    transform = TranslateDomain(weights)
    result, window = transform(head.image[None]), MR.window_of(head.image)
    step = 0.1 * (window.high - window.low) / 2
    np.testing.assert_allclose((result - head.image)[0][transform.body], step, rtol=1e-3)
    np.testing.assert_array_equal(result[0][~transform.body], head.image[~transform.body])
    assert 0.1 < transform.body.mean() < 0.9 and transform.windows_of_result([window]) == (window,)


def test_images_that_are_normalised_stay_so(translating):
    """What a segmentation pipeline holds in the middle: the window says where [-1, 1] is, and the unit stays."""
    image = np.linspace(-0.9, 0.9, 400, dtype=np.float32).reshape(1, 20, 20)
    for a, b in ((None, None), (CONTRAST, PLAIN)):
        transform = TranslateDomain(translating(inverted, a, b), window=(-1, 1), body=False)
        result = transform(image)
        assert result.dtype == np.float32 and transform.windows_of_result([Window(-1, 1)]) == (Window(-1, 1),)
        np.testing.assert_allclose(result, -image, atol=1e-6)


def test_windows_of_two_hu_domains_may_differ(translating):
    weights = translating(inverted, CONTRAST, Domain("wide", "CT", WIDE))
    scan = np.array([[-160, 40, 240] * 12] * 16, np.int16)[None]
    result = TranslateDomain(weights, body=False)(scan)
    np.testing.assert_array_equal(result[0, 0, :3], [3000, 988, -1024])


def test_mr_to_ct_is_hu_in_the_body_and_air_outside(translating, abdomen):
    weights = translating(same, MR, CONTRAST, spacing_mm=(8.0, 8.0))
    scan = on_grid(abdomen.images["mr"][None], abdomen.spacing_mm, filename_or_obj="mr.nii.gz")
    before, transform = scan.clone(), SynthesizeCT(weights)
    result = transform(scan)
    assert isinstance(result, MetaTensor) and result.dtype == torch.int16 and result.meta["filename_or_obj"]
    assert torch.equal(result.affine, scan.affine) and torch.equal(scan, before)
    outside = ~transform.body
    assert outside.any() and (result.numpy()[0][outside] == -1024).all()
    inside = result.numpy()[0][transform.body]
    assert inside.min() >= -160 and inside.max() == 240
    body = body_of(abdomen.images["mr"], MR.window_of(abdomen.images["mr"]), abdomen.spacing_mm)
    around = np.ones([2 * int(DIM_MM / size_mm) + 1 for size_mm in abdomen.spacing_mm])
    np.testing.assert_array_equal(transform.body, ndimage.binary_dilation(body, around))
    assert transform.windows_of_result([MR.window_of(abdomen.images["mr"])]) == (NARROW,)


def test_a_given_body_is_used_and_false_translates_everything(translating, abdomen):
    weights = translating(lambda x, direction, style: torch.zeros_like(x), MR, CONTRAST)
    scan, body = abdomen.images["mr"][None], np.zeros((1, 48, 48, 6), np.uint8)
    body[:, :20] = 1
    transform = TranslateDomain(weights)
    result = transform(scan, body)
    assert (result[:, :20] == 40).all() and (result[:, 20:] == -1024).all()
    np.testing.assert_array_equal(transform.body, body[0] > 0)
    transform = TranslateDomain(weights, body=False)
    assert transform(scan)[0, 0, 0, 0] == 40 and transform.body is None
    with pytest.raises(DataError, match="body mask is empty"):
        transform(scan, 0 * body)
    with pytest.raises(DataError, match="does not lie on the image"):
        transform(scan, body[:, 1:])


def test_a_result_without_a_unit_lies_between_zero_and_one(translating, abdomen):
    transform = TranslateDomain(translating(inverted, CONTRAST, MR))
    result = transform(abdomen.images["contrast"][None])
    assert result.dtype == np.float32 and result.min() == 0 and result.max() == 1
    assert (result[0][~transform.body] == 0).all()


def test_grey_levels_are_a_window_of_their_own(translating, abdomen):
    weights = translating(same, MR, Domain("ct", "CT", Window(0, 255)))
    transform = TranslateDomain(weights)
    result = transform(abdomen.images["mr"][None])
    assert result.dtype == np.float32 and result[0][transform.body].max() == 255
    assert (result[0][~transform.body] == 0).all()


def test_both_directions_are_there_and_synthesize_ct_finds_its_own(translating, abdomen):
    seen = []
    note = lambda x, direction, style: seen.append(direction) or x.clone()  # noqa: E731
    mr_first, ct_first = translating(note, MR, CONTRAST), translating(note, CONTRAST, MR)
    assert SynthesizeCT(mr_first)(abdomen.images["mr"][None]).dtype == np.int16
    assert SynthesizeCT(ct_first)(abdomen.images["mr"][None]).dtype == np.int16
    assert set(seen[:1]) == {"a2b"} and seen[-1] == "b2a"
    assert SynthesizeCT(translating(note, CONTRAST, PLAIN), "b2a").target == CONTRAST
    for domains, words in (((MR, MR), "weights of a translation to CT"), ((CONTRAST, PLAIN), "say direction='a2b'")):
        with pytest.raises(WeightsError, match=words):
            SynthesizeCT(translating(note, *domains))
    with pytest.raises(WeightsError, match=r"leads to mr \(MR\); expected CT"):
        SynthesizeCT(ct_first, "a2b")


@pytest.mark.parametrize(("dims", "patch_size"), [(2, None), (3, (16, 16, 4))])
def test_another_voxel_size_is_resampled_and_told_once(translating, abdomen, caplog, dims, patch_size):
    sizes = []

    def noted(x, direction, style):
        sizes.append(tuple(x.shape[2:]))
        return x.clone()

    weights = translating(noted, CONTRAST, PLAIN, dims, patch_size, spacing_mm=(16.0, 16.0, 32.0)[:dims])
    scan, transform = on_grid(abdomen.images["contrast"][None], abdomen.spacing_mm), TranslateDomain(weights)
    with caplog.at_level(logging.WARNING):
        result, _ = transform(scan), transform(scan)
    assert len(caplog.records) == 1 and "voxels of 8 × 8" in caplog.text and "learnt from 16 × 16" in caplog.text
    assert transform.resampled_from_mm == (8.0, 8.0, 32.0)[:dims]
    assert torch.equal(result, scan), "the change is put back, not the resampled image"
    assert set(sizes) == ({(24, 24)} if dims == 2 else {(16, 16, 4)})


def test_resampled_translations_to_another_unit_come_back_on_the_scans_grid(translating, abdomen):
    weights = translating(same, MR, CONTRAST, spacing_mm=(12.0, 12.0))
    scan = on_grid(abdomen.images["mr"][None], abdomen.spacing_mm)
    coarse, fine = TranslateDomain(weights, body=False), TranslateDomain(translating(same, MR, CONTRAST), body=False)
    difference = coarse(scan).float() - fine(scan.as_tensor()).float()
    assert coarse.resampled_from_mm == (8.0, 8.0) and difference.shape == scan.shape
    assert 0 < difference.abs().mean() < 25 and abs(float(difference.mean())) < 2


def test_voxel_sizes_that_are_near_or_unknown_are_left_alone(translating, abdomen):
    transform = TranslateDomain(translating(same, CONTRAST, PLAIN, spacing_mm=(8.5, 8.5)))
    near = on_grid(abdomen.images["contrast"][None], abdomen.spacing_mm)
    picture = on_grid(abdomen.images["contrast"][None, ..., 0], spacing_known=False)
    for image in (near, picture, abdomen.images["contrast"][None]):
        transform(image)
        assert transform.resampled_from_mm is None


def test_an_image_of_another_modality_is_refused(translating, abdomen):
    to_ct = translating(same, MR, CONTRAST)
    with pytest.raises(DataError, match="look like a CT in HU; expected an MR"):
        TranslateDomain(to_ct)(abdomen.images["contrast"][None])
    with pytest.raises(DataError, match="expected a CT in HU"):
        TranslateDomain(to_ct, "b2a")(abdomen.images["mr"][None])


def test_a_style_is_one_for_all_slices_and_follows_the_seed(translating, head):
    weights = translating(lambda x, direction, style: x + 0.1 * style.sum(1).view(-1, 1, 1, 1), style_dim=3)
    image = head.image[None]
    first, again, other = (TranslateDomain(weights, seed=seed)(image) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    fixed = [TranslateDomain(weights, style=[0.1, 0.2, 0.3], seed=seed)(image) for seed in (1, 2)]
    np.testing.assert_array_equal(*fixed)
    with pytest.raises(ConfigError, match="expected 3 finite numbers"):
        TranslateDomain(weights, style=[1.0])
    with pytest.raises(WeightsError, match="know no styles"):
        TranslateDomain(translating(same), style=[1.0])


def test_what_was_drawn_replays_alone(translating, head):
    def styled(x, direction, style):
        return x + (0.1 if direction == "a2b" else -0.1) * style.sum(1).view(-1, 1, 1, 1)

    weights, image = translating(styled, style_dim=3), head.image[None]
    transform = RandTranslateDomain(weights, prob=0.7, direction="random").set_random_state(seed=0)
    directions, left = set(), 0
    for _ in range(12):
        result = transform(image)
        if transform.drawn is None:
            left += 1
            assert result is image and transform.body is None
            continue
        directions.add(transform.drawn["direction"])
        seed = TranslateDomain(weights, transform.drawn["direction"], seed=transform.drawn["seed"])
        style = TranslateDomain(weights, transform.drawn["direction"], style=transform.drawn["style"])
        np.testing.assert_array_equal(seed(image), result)
        np.testing.assert_array_equal(style(image), result)
    assert directions == {"a2b", "b2a"} and 0 < left < 12


def test_what_cannot_translate_is_refused(translating, weights, head):
    with pytest.raises(WeightsError, match="edit inside a mask; expected those of a translation"):
        TranslateDomain(weights)
    with pytest.raises(ConfigError, match="direction: found 'b2b'"):
        TranslateDomain(translating(same), "b2b")
    with pytest.raises(ConfigError, match="body: found 'brain'"):
        TranslateDomain(translating(same), body="brain")
    with pytest.raises(DataError, match="3 neighbouring slices"):
        TranslateDomain(translating(same, slices=3))(head.slice)
    with pytest.raises(DataError, match="fit 16 bits"):
        TranslateDomain(translating(same, CONTRAST, PLAIN))(np.linspace(-1e5, 1e5, 256).reshape(1, 16, 16))


@pytest.mark.parametrize("padding", [None, -2000, -32768])
def test_a_ct_keeps_its_padding_and_never_goes_below_its_own_floor(translating, padding):
    """A generator that darkens everything; lungs at the floor would leave it."""
    scan = np.random.RandomState(0).randint(-990, 200, (1, 24, 24)).astype(np.int16)
    scan[0, :3] = -990 if padding is None else padding
    measured = scan > -2000
    for weights in (translating(darkened, CONTRAST, PLAIN), translating(darkened, CONTRAST, Domain("ct", "CT", WIDE))):
        for image in (scan, scan.astype(np.float32)):
            result = TranslateDomain(weights, body=False)(image)
            np.testing.assert_array_equal(result[~measured], scan[~measured])
            assert result[measured].min() == -990 and (result < scan).any()
    part = np.clip(scan[:, 3:], -50, 100)  # without air there is no floor but the window's
    assert (TranslateDomain(translating(darkened, CONTRAST, PLAIN), body=False)(part) == -160).any()
    made = SynthesizeCT(translating(darkened, MR, CONTRAST), body=False)(scan.astype(np.float32) + 3000)
    assert made.min() == -160
