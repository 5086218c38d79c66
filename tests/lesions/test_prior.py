"""The lesion prior: what it takes from the training fold, what it leaves out, and how it is stored."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from medaug.errors import DataError
from medaug.lesions.drawing import draw_lesion
from medaug.lesions.geometry import box_around, equivalent_diameter_mm, extract
from medaug.lesions.prior import LesionPrior

SPACING_MM = (2.7, 2.7)


def test_a_reference_keeps_its_patient_size_and_contrast(prior_and_organ):
    prior, _ = prior_and_organ
    assert [r.patient for r in prior.references] == ["patient0", "patient1", "patient2"]
    for reference, asked_mm in zip(prior.references, (14.0, 18.0, 24.0), strict=True):
        assert reference.diameter_mm == pytest.approx(asked_mm, rel=0.15)
        assert reference.contrast == pytest.approx((0.5,), abs=0.05)
        assert reference.surroundings == pytest.approx((-0.2,), abs=0.05)
        assert all(0 <= place <= 1 for place in reference.location)
        assert reference.mask.shape == prior.crop_size
        assert reference.image.shape == (1, *prior.crop_size)
        assert reference.mask.dtype == bool
        assert equivalent_diameter_mm(reference.mask, prior.spacing_mm) == reference.diameter_mm


def test_lesions_too_small_or_too_large_are_counted_by_reason(example):
    examples = [example(2, number, size) for number, size in enumerate((6.0, 7.0, 18.0, 30.0))]
    prior = LesionPrior.fit(examples, (16, 16), SPACING_MM, min_diameter_mm=10.0)
    assert [r.patient for r in prior.references] == ["patient2"]
    assert prior.left_out == {"smaller than 10 mm": 2, "larger than the crop": 1}


def test_every_component_of_a_label_is_a_lesion_of_its_own(example, ellipsoid):
    view = example(2, 0, 18.0)
    label = view.parts | ellipsoid(view.parts.shape, (20, 48), 4)
    prior = LesionPrior.fit([replace(view, parts=label)], (48, 48), SPACING_MM)
    assert len(prior.references) == 2
    assert all(r.diameter_mm < 25 for r in prior.references)


def test_a_lesion_without_tissue_around_it_is_left_out(example):
    view = example(2, 0, 18.0)
    floating = replace(view, image=np.where(view.parts, view.image, -1.0).astype(np.float32))
    prior = LesionPrior.fit([view, floating], (48, 48), SPACING_MM)
    assert len(prior.references) == 1
    assert prior.left_out == {"no tissue around it": 1}


def test_a_lesion_at_the_edge_of_the_image_is_taken_whole(example, ellipsoid):
    view = example(2, 0, 18.0)
    label = ellipsoid(view.parts.shape, (2, 48), 5)
    image = np.where(label, 0.3, -0.2).astype(np.float32)[None]
    prior = LesionPrior.fit([replace(view, image=image, parts=label)], (48, 48), SPACING_MM)
    (reference,) = prior.references
    assert reference.mask.sum() == label.sum()
    assert reference.contrast == pytest.approx((0.5,), abs=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_labels_and_organs_of_other_dtypes_give_the_same_prior(example, dtype):
    view = example(2, 0, 18.0)
    other = replace(view, parts=view.parts.astype(dtype), organ=view.organ.astype(dtype) * 2)
    first, second = (LesionPrior.fit([v], (48, 48), SPACING_MM).references[0] for v in (view, other))
    np.testing.assert_array_equal(first.mask, second.mask)
    assert first.mask.dtype == second.mask.dtype == bool
    assert (first.contrast, first.location, first.diameter_mm) == (second.contrast, second.location, second.diameter_mm)


def test_a_lesion_outside_the_organ_or_without_one_is_still_a_reference(example):
    view = example(2, 0, 18.0)
    far = np.zeros_like(view.organ)
    far[5, 5] = True
    for organ in (far, np.zeros_like(far)):
        assert len(LesionPrior.fit([replace(view, organ=organ)], (48, 48), SPACING_MM).references) == 1


def test_more_lesions_than_the_weights_keep_are_drawn_alike_and_counted(example):
    view = example(2, 0, 18.0)
    examples = [replace(view, case=f"case {number}") for number in range(12)]
    everything, some, again = (LesionPrior.fit(examples, (48, 48), SPACING_MM, most=most) for most in (None, 5, 5))
    cases = [reference.case for reference in some.references]
    assert len(everything.references) == 12 and everything.left_out == {}
    assert len(cases) == 5 and cases == sorted(cases, key=lambda case: int(case.split()[1]))
    assert cases != [f"case {number}" for number in range(5)]
    assert cases == [reference.case for reference in again.references]
    assert some.left_out == {"beyond the 5 that are kept (crop.references)": 7}


def test_a_fold_without_usable_lesions_is_refused_with_the_reasons(example):
    view = example(2, 0, 14.0)
    with pytest.raises(DataError, match="no usable lesion.*no lesion at all"):
        LesionPrior.fit([replace(view, parts=np.zeros_like(view.parts))], (48, 48), SPACING_MM)
    with pytest.raises(DataError, match="'smaller than 50 mm': 1.*crop.min_diameter_mm"):
        LesionPrior.fit([view], (48, 48), SPACING_MM, min_diameter_mm=50)


def test_a_view_of_another_voxel_size_is_refused_by_name(example):
    with pytest.raises(DataError, match="case0.*2.7 × 2.7 mm.*1 × 1 mm"):
        LesionPrior.fit([example(2, 0, 14.0)], (48, 48), (1.0, 1.0))


def test_the_crops_are_copies_of_the_image(example):
    view = example(2, 0, 18.0)
    before = view.image.copy()
    (reference,) = LesionPrior.fit([view], (48, 48), SPACING_MM).references
    reference.image[:] = 0
    np.testing.assert_array_equal(view.image, before)


def test_the_location_is_relative_to_the_organ(example, ellipsoid):
    view = example(2, 0, 18.0)
    shape = view.parts.shape
    organ = np.zeros(shape, bool)
    organ[10:50, 20:80] = True
    label = ellipsoid(shape, (30, 35), 4)
    (reference,) = LesionPrior.fit([replace(view, organ=organ, parts=label)], (48, 48), SPACING_MM).references
    assert reference.location == pytest.approx((20.5 / 40, 15.5 / 60))
    centered = box_around((30, 35), (48, 48))
    np.testing.assert_array_equal(reference.image, extract(view.image[0], centered, -1.0)[None])


def test_a_prior_survives_safetensors_and_json_exactly(prior_and_organ):
    prior, organ = prior_and_organ
    metadata = prior.metadata()
    again = LesionPrior.from_parts(load(save(prior.tensors())), json.loads(json.dumps(metadata)))
    assert (again.crop_size, again.spacing_mm, again.left_out) == (prior.crop_size, prior.spacing_mm, prior.left_out)
    assert again.metadata() == metadata
    for old, new in zip(prior.references, again.references, strict=True):
        np.testing.assert_array_equal(old.image, new.image)
        np.testing.assert_array_equal(old.mask, new.mask)
        assert new.mask.dtype == bool
        assert replace(old, image=None, parts=None) == replace(new, image=None, parts=None)
    drawn = [draw_lesion(p, organ, np.zeros_like(organ), np.random.RandomState(7)) for p in (prior, again)]
    np.testing.assert_array_equal(drawn[0].mask, drawn[1].mask)
    np.testing.assert_array_equal(drawn[0].texture, drawn[1].texture)


def test_metadata_is_a_copy_and_takes_numpy_levels(example):
    view = replace(example(2, 0, 18.0), level=np.int64(7))
    prior = LesionPrior.fit([view, example(2, 1, 3.0)], (48, 48), SPACING_MM)
    metadata = prior.metadata()
    assert json.loads(json.dumps(metadata)) == metadata | {
        "references": [
            row | {key: list(row[key]) for key in ("location", "contrast", "surroundings")}
            for row in metadata["references"]
        ]
    }
    metadata["left_out"]["smaller than 5 mm"] = 99
    assert prior.left_out == {"smaller than 5 mm": 1}
    assert isinstance(prior.tensors()["masks"], torch.Tensor)
