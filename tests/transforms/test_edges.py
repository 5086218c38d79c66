"""Where an edit ends: an insertion at its label's edge, a removal a little beyond its mask; never in padding, in mm."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from medaug.errors import DataError
from medaug.models.weights import load_weights
from medaug.transforms import GrowTumor, InsertTumor, RandInsertTumor, RandRemoveTumord, RemoveTumor
from medaug.volumes import Domain, Window

GRIDS = {"finer": (2.0, 2.0, 10.0), "thick": (3.0, 3.0, 20.0), "oblong": (1.5, 6.0, 10.0), "coarser": (8.0, 8.0, 10.0)}
PAINTED = 0.6
"""In [-1, 1]: what the stub paints, wherever it is asked to."""
TISSUE = (75.0, 85.0)
WINDOW = (0.0, 200.0)


def painting(weights, value=PAINTED):
    """The weights, with a generator that paints `value` from the mask alone."""
    translator = deepcopy(weights.translator)

    class Painter(type(translator)):
        def paint(self, seen, mask, noise, direction, style):
            return torch.full_like(mask, float(np.arctanh(value)))

    translator.__class__, translator.config = Painter, replace(translator.config, content="free", fill="emptied")
    return replace(weights, translator=translator)


@pytest.fixture(scope="module")
def painters(weights, volume_run):
    return {2: painting(weights), 3: painting(load_weights(volume_run.weights))}


def scene(spacing_mm, mm=(192.0, 192.0, 100.0)):
    """(body in padding of 0 with noise, where the body is), on this grid."""
    shape = tuple(int(round(length / s)) for length, s in zip(mm, spacing_mm, strict=True))
    offsets = [(np.arange(n) + 0.5) * s - n * s / 2 for n, s in zip(shape, spacing_mm, strict=True)]
    x, y, z = np.meshgrid(*offsets, indexing="ij")
    body = np.hypot(x, y) < 84
    image = np.where(body, np.random.RandomState(0).uniform(*TISSUE, shape), 0).astype(np.float32)
    affine = torch.diag(torch.tensor([*spacing_mm, 1.0], dtype=torch.float64))
    return MetaTensor(torch.from_numpy(image)[None], affine=affine), body, (x, y, z)


def ball(where, center, diameter_mm):
    offsets = [(axis - c) ** 2 for axis, c in zip(where, center, strict=True)]
    return sum(offsets) <= (diameter_mm / 2) ** 2


def arrays(image, label):
    return np.asarray(image)[0], np.asarray(label)[0] > 0


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("grid", GRIDS)
def test_an_inserted_tumor_is_seen_where_its_label_is_and_nowhere_else(painters, grid, dims):
    """Every labelled voxel is at least half tumor, and all of it away from the edge; the others keep their bits."""
    image, _, where = scene(GRIDS[grid])
    before = np.asarray(image)[0]
    masks = [ball(where, (5, 5, 5), mm) | ball(where, (-40, 0, 5), 3 * mm) for mm in (1.0, 6.0, 20.0)]
    masks = [mask for mask in masks if mask.any()]
    masks[0][tuple(n // 2 for n in before.shape)] = True  # a single voxel
    made = [(InsertTumor(painters[dims], window=WINDOW)(image, mask[None]), mask) for mask in masks]
    drawn = RandInsertTumor(painters[dims], prob=1.0, window=WINDOW).set_random_state(seed=1)(image)
    series = GrowTumor(painters[dims], 2, 24.0, window=WINDOW).set_random_state(seed=1)(image)
    grown = [(series[0][k : k + 1], series[1][k : k + 1]) for k in range(2)]
    tumor = Window(*WINDOW).denormalize(PAINTED)
    for (edited, label), mask in [*made, (drawn, None), *((step, None) for step in grown)]:
        edited, label = arrays(edited, label)
        assert label.any() and (mask is None or (label == mask).all())
        np.testing.assert_array_equal(edited[~label], before[~label])
        assert (np.abs(edited[label] - before[label]) >= 0.5 * (tumor - TISSUE[1])).all()
        core = ndimage.binary_erosion(label, np.ones((3, 3, 3 if dims == 3 else 1)))
        assert np.abs(edited[core] - tumor).max(initial=0) < (TISSUE[1] - TISSUE[0])


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("grid", GRIDS)
def test_a_removal_replaces_every_voxel_of_the_mask_on_any_grid(painters, grid, dims):
    """Lesions of 1 to 60 mm: bright before, like the fill after; nothing changes three voxels of the weights away."""
    image, _, where = scene(GRIDS[grid])
    mask = ball(where, (0, 0, 5), 60) | ball(where, (60, 20, -35), 1)
    mask[tuple(n // 2 + n // 3 for n in mask.shape[:2])][2] = True
    array = np.asarray(image)[0]
    array[mask] = 190
    edited, left = arrays(*RemoveTumor(painters[dims], window=WINDOW).with_label(image, mask[None].astype(np.uint8)))
    assert not left.any()
    assert np.abs(edited[mask] - Window(*WINDOW).denormalize(PAINTED)).max() < 0.1 * (190 - np.mean(TISSUE))
    own_mm = painters[dims].lesion_prior.spacing_mm
    sampling = np.divide(GRIDS[grid][:dims], own_mm)
    far = np.ones_like(mask)
    for z in range(mask.shape[2]) if dims == 2 else (slice(None),):
        if mask[..., z].any():
            far[..., z] = ndimage.distance_transform_edt(~mask[..., z], sampling=sampling) >= 3
    np.testing.assert_array_equal(edited[far], array[far])


@pytest.mark.parametrize("dims", [2, 3])
def test_edits_leave_the_padding_and_the_range_of_the_scan_alone(painters, dims):
    image, body, where = scene((3.0, 3.0, 10.0))
    image = image - 50 * (image == 0)  # padding far below the body
    before, mask = np.asarray(image)[0], ball(where, (80, 0, 5), 40)
    inside = mask & body
    for edit in (InsertTumor, RemoveTumor):
        transform = edit(painters[dims])
        call = transform.with_label if edit is RemoveTumor else transform
        edited, label = arrays(*call(image, mask[None].astype(np.uint8)))
        np.testing.assert_array_equal(edited[~body], before[~body])
        np.testing.assert_array_equal(label, inside if edit is InsertTumor else mask & ~body)
        assert (edited != before)[inside].mean() > 0.99
        assert before[body].min() <= edited[body].min() and edited.max() <= before.max()
        with pytest.raises(DataError, match=r"0 of them outside the scan's padding, and no change"):
            transform(image, (mask & ~body)[None].astype(np.uint8))
    case = {"image": image, "label": mask[None].astype(np.int16) * 3}
    left = RandRemoveTumord("image", painters[dims], prob=1.0)(case)["label"]
    np.testing.assert_array_equal(left[0], 3 * (mask & ~body))


@pytest.mark.parametrize("padding", [None, -2000, -32768])
def test_edits_of_a_ct_stay_above_its_floor(weights, padding):
    """A generator that paints below everything the scan holds, with air in the body and a corner of padding."""
    dark = painting(weights, -0.999)
    dark.translator.domain_a = Domain("healthy", "CT", Window(-1024, 1000, "HU"))
    image, body, where = scene((3.0, 3.0, 10.0))
    before = np.asarray(image)[0]
    before[~body] = np.random.RandomState(1).uniform(-1000, -950, (~body).sum())
    before[ball(where, (30, 0, 5), 20)] = -990
    before[:8, :8] = -1000 if padding is None else padding
    mask, measured = ball(where, (30, 0, 5), 40), before > -1500
    edits = [(edit(dark), mask[None].astype(np.uint8)) for edit in (InsertTumor, RemoveTumor)]
    edits.append((GrowTumor(dark, 2, 24.0).set_random_state(seed=1), None))
    for transform, region in edits:
        made = transform(image) if region is None else transform(image, region)
        edited = np.asarray(made if isinstance(transform, RemoveTumor) else made[0])[-1]
        assert edited[measured].min() == before[measured].min() and (edited < before).any()
        np.testing.assert_array_equal(edited[~measured], before[~measured])
