"""The whole body: on phantoms with couches, arms and air under the skin, and on real scans where they are at hand."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from medaug.data.files import read_scan
from medaug.lesions.anatomy import body_of, find_organ
from medaug.phantoms import abdomen_phantom, head_phantom
from medaug.volumes import Percentiles, Window, spacing_of

DATA = Path(os.environ.get("MEDAUG_DATA", Path(__file__).parents[3] / "shared" / "data"))
WINDOWS = [Window(-160, 240, "HU"), Window(-1024, 3000, "HU")]


def disc(radius_mm: float, centre=(0.0, 0.0), size=128, spacing_mm=(2.0, 2.0)) -> np.ndarray:
    x, y = ((np.arange(size) - size / 2) * s for s in spacing_mm)
    return (x[:, None] - centre[0]) ** 2 + (y[None] - centre[1]) ** 2 <= radius_mm**2


@pytest.fixture
def trunk() -> np.ndarray:
    """(X, Y) HU, 2 mm: a disc of soft tissue with a lung."""
    hu = np.full((128, 128), -1000.0, np.float32)
    hu[disc(80)] = 40
    hu[disc(30, (30, 0))] = -850
    return hu


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("sequence", ["contrast", "mr"])
def test_the_body_of_an_abdomen_has_its_lungs_and_skin_and_no_air(sequence, window):
    abdomen = abdomen_phantom(1, shape=(96, 96, 8), spacing_mm=(4.0, 4.0, 24.0))
    scan = abdomen.images[sequence].astype(np.float32)
    window = Percentiles().window_of(scan) if sequence == "mr" else window
    body = body_of(scan, window, abdomen.spacing_mm)
    hu = abdomen.images["contrast"]
    truth = np.stack([ndimage.binary_fill_holes(hu[..., z] > -500) for z in range(hu.shape[-1])], axis=-1)
    assert body.shape == scan.shape and (body & truth).sum() > 0.98 * (body | truth).sum()


def test_the_body_of_a_head_has_its_skull_and_scalp():
    head = head_phantom(0, shape=(96, 96, 12), spacing_mm=(2.0, 2.0, 8.0))
    scan = head.images["t1"]
    body = body_of(scan, Percentiles().window_of(scan), head.spacing_mm)
    brain = find_organ(Percentiles().window_of(scan).normalize(scan), head.spacing_mm, margin_mm=0.0)
    assert (body & brain).sum() == brain.sum() and body.sum() > 1.15 * brain.sum()


def test_muscle_below_bright_fat_is_body_where_a_scan_shows_little_air():
    """A limb on T1, cropped: Otsu parts fat from all that is darker."""
    limb = disc(56, size=64)
    drawn = np.where(disc(48, (8, 0), size=64) & limb, 300.0, np.where(limb, 900.0, 0.0))
    scan = np.abs(ndimage.gaussian_filter(drawn, 1) + np.random.RandomState(0).normal(0, 15, drawn.shape))[8:]
    body = body_of(scan, Percentiles().window_of(scan), (2.0, 2.0))
    assert (body & limb[8:]).sum() > 0.98 * limb[8:].sum() and body.sum() < 1.15 * limb[8:].sum()


@pytest.mark.parametrize("window", WINDOWS)
def test_a_couch_is_left_out_and_arms_are_kept(trunk, window):
    body = trunk > -1000
    arms = disc(18, (-105, 0)) | disc(18, (105, 0))
    trunk[arms] = 40
    y = (np.arange(128) - 64) * 2.0
    couch = np.zeros_like(body)
    couch[10:118, (y > 90) & (y < 94)] = couch[10:118, (y > 112) & (y < 116)] = True
    couch[10:12, (y > 90) & (y < 116)] = couch[116:118, (y > 90) & (y < 116)] = True
    trunk[couch] = 200
    found = body_of(trunk, window, (2.0, 2.0))
    np.testing.assert_array_equal(found & (body | arms), body | arms)
    assert not (found & couch).any()
    assert found.sum() < 1.02 * (body | arms).sum()


def test_ears_stay_on_the_head_and_air_under_the_skin_is_body(trunk):
    """What is thin comes back where it touches the body, and a narrow gap is closed."""
    thin = disc(83) & ~disc(80) & disc(20, (0, -80))
    trunk[thin] = 40
    gap = disc(76) & ~disc(73) & disc(30, (0, 78))
    trunk[gap] = -1000
    found = body_of(trunk, WINDOWS[0], (2.0, 2.0))
    assert found[thin].all() and found[gap].all()


def test_padding_of_the_scanner_is_no_body(trunk):
    trunk[~disc(120)] = -3024
    np.testing.assert_array_equal(body_of(trunk, WINDOWS[1], (2.0, 2.0)), disc(80))


@settings(deadline=None, max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(0, 3)),
    values=st.sampled_from(["constant", "noise", "speck"]),
    spacing_mm=st.floats(0.3, 20),
)
def test_there_always_is_a_body(shape, values, spacing_mm):
    shape = shape if shape[2] else shape[:2]
    image = np.full(shape, -1.0, np.float32)
    if values == "noise":
        image = np.random.RandomState(0).uniform(-1, 1, shape).astype(np.float32)
    if values == "speck":
        image.flat[image.size // 2] = 1
    body = body_of(image, Window(-1, 1), (spacing_mm,) * len(shape))
    assert body.any() and body.dtype == bool and body.shape == shape


def test_real_heads_have_bodies_with_nothing_bright_beside_them():
    paths = sorted((DATA / "mri_ct_pairs").glob("*/MRI/*.png"))[::12]
    if not paths:
        pytest.skip("no brain slices; set MEDAUG_DATA to a folder with mri_ct_pairs/")
    for path in paths:
        image = np.asarray(Image.open(path).convert("L")).T.astype(np.float32)
        body = body_of(image, Percentiles().window_of(image), (1.0, 1.0))
        bright = ndimage.binary_opening(image > 60)
        assert (body & bright).sum() > 0.97 * bright.sum() and 0.2 < body.mean() < 0.75


def test_a_real_ct_has_a_body_without_its_couch():
    path = DATA / "ct_organs" / "ct.nii.gz"
    if not path.exists():
        pytest.skip("no body CT; set MEDAUG_DATA to a folder with ct_organs/")
    scan = read_scan(path)
    hu = scan.numpy()[0]
    body = body_of(hu, WINDOWS[0], spacing_of(scan.affine, 3))
    labels, _ = ndimage.label(ndimage.binary_opening(hu > -200))
    trunk = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    assert (body & trunk).sum() > 0.99 * trunk.sum()
    assert (body & (hu < -900)).sum() < 0.03 * body.sum()
