"""Where lesions may lie: found on phantoms whose anatomy is known, and on real scans where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from medaug.data.files import read_label, read_scan
from medaug.lesions.anatomy import find_foreground, find_organ
from medaug.lesions.geometry import grow
from medaug.phantoms import Phantom, abdomen_phantom, head_phantom
from medaug.resampling import resample_image, resample_mask
from medaug.volumes import Percentiles, Window, spacing_of

DATA = Path(os.environ.get("MEDAUG_DATA", Path(__file__).parents[3] / "shared" / "data"))
CT = Window(-160.0, 240.0, "HU")
MM2_OF_BRAIN = 8000
"""Slices with less brain are the crown and the skull base, where the skull does not stand out."""


@pytest.fixture(scope="module")
def head() -> Phantom:
    return head_phantom(0, shape=(96, 96, 12), spacing_mm=(2.0, 2.0, 8.0))


def normalized(image: np.ndarray) -> np.ndarray:
    return Percentiles().window_of(image).normalize(image).astype(np.float32)


def middle(phantom: Phantom) -> np.ndarray:
    """Which slices show a fair part of the brain."""
    brain = (phantom.organs > 0).sum(axis=(0, 1)) * np.prod(phantom.spacing_mm[:2])
    return brain > MM2_OF_BRAIN


def disc(shape: tuple[int, ...], radius: float) -> np.ndarray:
    return sum((g - (n - 1) / 2) ** 2 for g, n in zip(np.indices(shape), shape, strict=True)) <= radius**2


@pytest.mark.parametrize("sequence", ["flair", "t1"])
def test_in_a_head_with_a_skull_the_organ_is_the_brain(head, sequence):
    organ = find_organ(normalized(head.images[sequence]), head.spacing_mm, margin_mm=6.0)[..., middle(head)]
    brain = head.organs[..., middle(head)] > 0
    near = np.stack([grow(brain[..., z], 4.0, head.spacing_mm[:2]) for z in range(brain.shape[-1])], axis=-1)
    assert (organ & brain).sum() > 0.95 * brain.sum()
    assert (organ & ~near).sum() < 0.02 * organ.sum()


def near_in_plane(mask: np.ndarray, margin_mm: float, spacing_mm: tuple[float, ...]) -> np.ndarray:
    return np.stack([grow(mask[..., z], margin_mm, spacing_mm[:2]) for z in range(mask.shape[-1])], axis=-1)


@pytest.fixture(scope="module")
def face() -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """(image, brain, mm) (X, Y, Z) of a head on a neck, the face at small Y: all of soft tissue as bright as brain."""
    spacing_mm = (2.0, 2.0, 5.0)
    x, y, z = (
        (g - (n - 1) / 2) * s for g, n, s in zip(np.indices((96, 112, 40)), (96, 112, 40), spacing_mm, strict=True)
    )

    def ball(centre, radii):
        return sum(((g - c) / r) ** 2 for g, c, r in zip((x, y, z), centre, radii, strict=True)) <= 1

    brain = ball((0, 0, 25), (60, 74, 55))
    skull, head = ball((0, 0, 25), (67, 81, 61)), ball((0, 0, 25), (74, 88, 68))
    nose = ball((0, -75, -15), (22, 32, 42)) | ball((0, -40, -45), (45, 40, 50))
    neck = (np.abs(x) ** 2 + (y - 20) ** 2 <= 45**2) & (z < 0)
    image = np.full(brain.shape, -1.0, np.float32)
    image[head | nose | neck] = 0.2
    image[head & ~nose & ~neck] = 0.7
    image[skull] = -0.9
    image[brain] = 0.1
    image[ball((30, 30, 35), (18, 22, 20)) & brain] = 0.8  # a tumor, brighter than the scalp
    return image + np.random.RandomState(0).normal(0, 0.03, image.shape).astype(np.float32), brain, spacing_mm


@pytest.mark.parametrize("sequence", ["flair", "t1"])
def test_a_volume_has_no_organ_outside_the_brain(sequence):
    """Eyes, sinuses, muscles of the face and the scalp over the crown: all slices count, with neck and crown."""
    head = head_phantom(0)
    organ = find_organ(normalized(head.images[sequence]), head.spacing_mm, margin_mm=0.0)
    brain = head.organs > 0
    assert (organ & brain).sum() > 0.93 * brain.sum()
    assert (organ & ~near_in_plane(brain, 4.0, head.spacing_mm)).sum() < 0.02 * organ.sum()


def test_nose_and_neck_are_no_organ_though_they_are_as_bright_as_the_brain(face):
    image, brain, spacing_mm = face
    organ = find_organ(image, spacing_mm, margin_mm=0.0)
    assert (organ & brain).sum() > 0.95 * brain.sum(), "the bright tumor too"
    assert (organ & ~near_in_plane(brain, 4.0, spacing_mm)).sum() < 0.01 * organ.sum()
    assert not organ[..., : np.flatnonzero(brain.any(axis=(0, 1)))[0] - 1].any()


def test_the_organ_does_not_depend_on_the_order_of_the_slices(face):
    image, _, spacing_mm = face
    straight, turned = (find_organ(x, spacing_mm, margin_mm=6.0) for x in (image, image[..., ::-1]))
    np.testing.assert_array_equal(straight, turned[..., ::-1])


def test_a_wrong_distance_of_slices_does_not_matter(face):
    image, _, spacing_mm = face
    right, wrong = (find_organ(image, (*spacing_mm[:2], mm), margin_mm=6.0) for mm in (spacing_mm[2], 15.0))
    np.testing.assert_array_equal(right, wrong)


def test_finer_voxels_show_the_same_brain(face):
    image, _, spacing_mm = face
    fine = find_organ(np.repeat(np.repeat(image, 2, 0), 2, 1), (1.0, 1.0, 5.0), margin_mm=0.0)
    coarse = find_organ(image, spacing_mm, margin_mm=0.0)
    assert (fine[::2, ::2] & coarse).sum() > 0.97 * (fine[::2, ::2] | coarse).sum()


def test_slices_that_show_a_skull_by_chance_do_not_bound_a_stripped_brain(face):
    """Where a few slices have a dark line between bright regions, all others keep what they show."""
    image, brain, spacing_mm = face
    stripped = np.where(brain, image, -1.0).astype(np.float32)
    stripped[..., :23] = np.where(brain[..., :23], np.float32(0.1), np.float32(-1.0))
    stripped[..., 27:29] = image[..., 27:29]
    organ = find_organ(stripped, spacing_mm, margin_mm=0.0)
    assert (organ & brain).sum() > 0.97 * brain.sum()


def test_single_slices_find_the_brain_too(head):
    for z in np.flatnonzero(middle(head))[1:-1]:
        organ = find_organ(normalized(head.images["flair"][..., z]), head.spacing_mm[:2], margin_mm=6.0)
        brain = head.organs[..., z] > 0
        assert (organ & brain).sum() > 0.9 * brain.sum()
        assert (organ & ~grow(brain, 8.0, head.spacing_mm[:2])).sum() < 0.05 * organ.sum()


def test_tumors_of_the_phantom_lie_in_the_organ(head):
    organ = find_organ(normalized(head.images["flair"]), head.spacing_mm, margin_mm=6.0)
    assert (organ & (head.label > 0)).sum() > 0.97 * (head.label > 0).sum()


def test_a_tilted_background_does_not_matter(head):
    image = normalized(head.images["flair"])
    tilt = 0.15 * np.linspace(0, 1, image.shape[0], dtype=np.float32)[:, None, None]
    straight, tilted = (find_organ(x, head.spacing_mm, margin_mm=6.0) for x in (image, np.maximum(image + tilt, -1)))
    assert (straight & tilted).sum() > 0.93 * (straight | tilted).sum()


def test_a_stripped_brain_is_kept_whole(head):
    image = np.where(head.organs > 0, normalized(head.images["t1"]), -1.0).astype(np.float32)
    organ = find_organ(image, head.spacing_mm, margin_mm=0.0)
    brain = head.organs > 0
    assert (organ & brain).sum() > 0.97 * brain.sum()
    assert not (organ & ~np.stack([grow(plane, 4.0, (2.0, 2.0)) for plane in brain.T], -1).transpose(1, 0, 2)).any()


@pytest.mark.parametrize("sequence", ["contrast", "noncontrast"])
def test_in_a_windowed_ct_the_organ_holds_the_liver_and_no_air(sequence):
    abdomen = abdomen_phantom(0, shape=(96, 96, 8), spacing_mm=(4.0, 4.0, 24.0))
    hu = abdomen.images[sequence].astype(np.float32)
    organ = find_organ(CT.normalize(hu), abdomen.spacing_mm, margin_mm=6.0)
    liver = abdomen.organs == 1
    assert (organ & liver).sum() > 0.95 * liver.sum()
    for z in range(hu.shape[-1]):
        air = ~ndimage.binary_fill_holes(hu[..., z] > -300)
        assert (organ[..., z] & air).sum() < 0.01 * organ[..., z].sum()


@pytest.mark.parametrize("shape", [(80, 64), (80, 64, 6)])
@pytest.mark.parametrize("margin_mm", [0.0, 5.0, 12.0])
def test_the_margin_is_kept_in_mm_whatever_the_voxels(shape, margin_mm):
    spacing_mm = (1.0, 1.5, 5.0)[: len(shape)]
    x, y = np.indices(shape[:2])
    body = ((x - 40) * 1.0) ** 2 + ((y - 32) * 1.5) ** 2 <= 35.0**2
    image = np.where(body, 0.2, -1.0).astype(np.float32)
    organ = find_organ(
        np.broadcast_to(image.reshape(*image.shape, *[1] * (len(shape) - 2)), shape), spacing_mm, margin_mm=margin_mm
    )
    depth_mm = ndimage.distance_transform_edt(body, sampling=spacing_mm[:2])
    plane = organ if organ.ndim == 2 else organ[..., 0]
    assert (depth_mm[plane] > margin_mm).all()
    assert plane.sum() == pytest.approx(((depth_mm > margin_mm) & body).sum(), rel=0.02)


def test_a_margin_that_leaves_nothing_is_lowered_until_something_is_left():
    image = np.where(disc((64, 64), 10), 0.0, -1.0).astype(np.float32)
    organ = find_organ(image, (1.0, 1.0), margin_mm=30.0)
    assert organ.any()
    assert not (organ & (image < 0)).any()


@pytest.mark.parametrize("shape", [(32, 32), (32, 32, 5)])
def test_the_organ_is_never_empty(shape):
    rng = np.random.RandomState(0)
    speck = np.full(shape, -1.0, np.float32)
    speck[(16,) * len(shape) if len(shape) == 2 else (16, 16, 2)] = 1.0
    images = [
        np.zeros(shape, np.float32),
        np.full(shape, -1.0, np.float32),
        speck,
        -speck,
        rng.uniform(-1, 1, shape).astype(np.float32),
        np.linspace(-1, 1, np.prod(shape)).reshape(shape),
    ]
    for image in images:
        organ = find_organ(image, (1.0, 1.0, 3.0)[: len(shape)], margin_mm=6.0)
        assert organ.any()
        assert organ.dtype == bool
        assert organ.shape == shape


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_dtypes_find_the_same_organ(head, dtype):
    image = normalized(head.images["t1"])[..., 6].astype(np.float16)
    first, second = (find_organ(image.astype(d), (2.0, 2.0), margin_mm=6.0) for d in (np.float32, dtype))
    np.testing.assert_array_equal(first, second)


def test_the_image_is_not_changed(head):
    image = normalized(head.images["t1"])[..., 6]
    before = image.copy()
    find_organ(image, (2.0, 2.0), margin_mm=6.0)
    np.testing.assert_array_equal(image, before)


def test_real_heads_with_skulls_keep_their_tumors_and_lose_their_scalp():
    slices = sorted((DATA / "lgg").glob("*/*_mask.tif"))[::37]
    if not slices:
        pytest.skip("no LGG slices; set MEDAUG_DATA to a folder with lgg/")
    kept, scalp = [], []
    for path in slices:
        try:
            image = read_scan(str(path).replace("_mask", ""), channel=1).numpy()[0]
        except ValueError:
            continue
        image, tumor = resample_image(image, (96, 96)), resample_mask(read_label(path).numpy()[0] > 0, (96, 96))
        organ = find_organ(normalized(image), (2.67, 2.67), margin_mm=16.0)
        head = ndimage.binary_fill_holes(image > 0.15 * np.percentile(image, 99))
        rim = head & ~ndimage.binary_erosion(head, iterations=2)
        kept.append((organ & tumor).sum() / tumor.sum())
        scalp.append((organ & rim).sum() / rim.sum())
    assert np.mean(kept) > 0.95
    assert np.mean(scalp) < 0.02


def test_real_stacks_of_heads_keep_their_tumors_and_lose_their_faces():
    folder = DATA / "lgg_volumes"
    scans = sorted((folder / "imagesTr").glob("*_0001.nii.gz"))[4::10]
    if not scans:
        pytest.skip("no stacks of heads; set MEDAUG_DATA to a folder with lgg_volumes/")
    kept = []
    for path in scans:
        scan = read_scan(path)
        spacing_mm = spacing_of(scan.affine, 3)
        image = normalized(scan.numpy()[0])
        tumor = read_label(folder / "labelsTr" / path.name.replace("_0001", "")).numpy()[0] > 0
        organ = find_organ(image, spacing_mm, margin_mm=0.0)
        head = find_foreground(image)
        kept.append((organ & tumor).sum() / tumor.sum())
        areas = organ.sum(axis=(0, 1))
        assert max(areas[0], areas[-1]) < 0.2 * areas.max(), f"{path.name}: neck or crown"
        assert 0.3 < organ.sum() / head.sum() < 0.72, f"{path.name}: a face, or no brain"
    assert min(kept) > 0.9
    assert np.median(kept) > 0.98


def test_real_stripped_brains_are_kept_whole():
    paths = sorted((DATA / "brats").glob("*/*_flair.nii.gz"))[:3]
    if not paths:
        pytest.skip("no BraTS scans; set MEDAUG_DATA to a folder with brats/")
    for path in paths:
        scan = read_scan(path).numpy()[0][..., ::5]
        organ = find_organ(normalized(scan), (1.0, 1.0, 5.0), margin_mm=0.0)
        assert (organ & (scan > 0)).sum() > 0.95 * (scan > 0).sum()


def test_the_foreground_is_all_that_stands_out_with_its_holes():
    image = np.full((48, 48), -1.0, np.float32)
    image[4:20, 4:44] = image[30:44, 4:44] = 0.2
    expected = image > 0
    image[8:12, 8:20] = -1.0
    for volume in (image, np.stack([image] * 3, axis=-1)):
        body = find_foreground(volume).reshape(48, 48, -1)[..., 0]
        assert body[8:12, 8:20].all()
        assert not (body & ~expected).any() and (expected & ~body).sum() <= 8, "only corners are rounded off"
    assert find_foreground(np.zeros((8, 8), np.float32)).all()
