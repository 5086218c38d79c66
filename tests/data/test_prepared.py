"""A patch of a view is read alone, and its classes' voxels are found without looking for them."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from medaug.data.cache import VOXELS_KEPT, store_array, with_array
from medaug.data.prepared import View, without_labels
from medaug.data.records import PreparedCase, frozen
from medaug.errors import DataError
from medaug.volumes import Window

SHAPE = (12, 10, 6)
WINDOWS = (Window(0.0, 4.0), Window(-1.0, 1.0))


def stored(folder, shape=SHAPE, classes=None, organ=None) -> View:
    """A volume of two channels with these classes and this organ."""
    image = np.random.RandomState(0).normal(size=(2, *shape)).astype(np.float32)
    case = PreparedCase(
        case="a",
        patient="a",
        scan="a",
        image="a.nii.gz",
        label=None if classes is None else "a_seg.nii.gz",
        arrays={"image": store_array(folder, "a.image", image)},
        voxels={},
        shape=shape,
        affine=frozen(np.diag([-2.0, -2.0, 5.0, 1.0]).tolist()),
        spacing_mm=(2.0, 2.0, 5.0),
        source_dtypes=("float32",) * 2,
        windows=WINDOWS,
    )
    for kind, array in (("label", classes), ("organ", organ)):
        case = case if array is None else with_array(case, folder, kind, array)
    return View(case, None, 0)


@pytest.fixture
def view(tmp_path) -> View:
    rng = np.random.RandomState(1)
    return stored(tmp_path, classes=rng.choice(3, SHAPE, p=(0.8, 0.15, 0.05)), organ=rng.rand(*SHAPE) > 0.3)


@pytest.mark.parametrize("start", [(0, 0, 0), (3, 2, 1), (-2, 7, -1), (11, 9, 5), (20, 0, 0)])
def test_a_patch_is_what_the_whole_view_has_there_and_the_floor_beyond(view, tmp_path, start):
    size, whole = (5, 4, 4), view.read(tmp_path)
    patch = view.patch(tmp_path, start, size)
    assert patch.image.dtype == np.float32 and patch.classes.dtype == np.uint8 and patch.organ.dtype == bool
    around = [(30, 30)] * 3
    box = tuple(slice(s + 30, s + 30 + n) for s, n in zip(start, size, strict=True))
    assert_array_equal(patch.image, np.pad(whole.image, [(0, 0), *around], constant_values=-1.0)[:, *box])
    assert_array_equal(patch.classes, np.pad(whole.classes, around)[box])
    assert_array_equal(patch.organ, np.pad(whole.organ, around)[box])
    assert_array_equal(view.affine_at(start) @ [0, 0, 0, 1], view.affine @ [*start, 1])


def test_a_patch_of_a_slice_is_of_that_slice_and_its_neighbours_on_request(view, tmp_path):
    level = View(view.case, 2, 0)
    patch = level.patch(tmp_path, (3, -1), (4, 6))
    assert_array_equal(patch.image, view.patch(tmp_path, (3, -1, 2), (4, 6, 1)).image[..., 0])
    assert_array_equal(patch.classes, view.patch(tmp_path, (3, -1, 2), (4, 6, 1)).classes[..., 0])
    thick = level.patch(tmp_path, (3, -1), (4, 6), slices=3)
    assert thick.image.shape == (6, 4, 6)
    assert_array_equal(thick.image[2:4], patch.image)


def test_a_case_without_label_and_organ_is_all_organ_and_no_class_inside_itself(tmp_path):
    view = stored(tmp_path)
    patch = view.patch(tmp_path, (-1, 0, 0), (3, 3, 3))
    assert not patch.classes.any() and not patch.organ[0].any() and patch.organ[1:].all()
    assert view.foreground(tmp_path).shape == (0, 3)
    with pytest.raises(DataError, match=r"a\.nii\.gz: found no voxels of its organ"):
        view.tissue(tmp_path)


def test_the_voxels_of_classes_and_organ_are_those_of_the_arrays(view, tmp_path):
    whole = view.read(tmp_path)
    for classes, wanted in (((1,), [1]), ((2,), [2]), ((2, 1), [1, 2]), (None, [1, 2]), ((7,), [])):
        found = view.foreground(tmp_path, classes)
        assert found.shape[1:] == (3,)
        assert {*map(tuple, found)} == {*map(tuple, np.argwhere(np.isin(whole.classes, wanted)))}
        level = View(view.case, 3, 0)
        assert_array_equal(level.foreground(tmp_path, classes), np.argwhere(np.isin(whole.classes[..., 3], wanted)))
    assert_array_equal(view.tissue(tmp_path), np.argwhere(whole.organ))
    (blind,) = without_labels([view.case])
    assert not len(View(blind, None, 0).foreground(tmp_path)) and not {"label"} & {*blind.voxels}


def test_of_many_voxels_a_part_is_stored_that_is_drawn_alike_and_the_same_each_time(tmp_path):
    classes = np.zeros((40, 40, 40), np.uint8)
    classes[2:38, 2:38, :20], classes[5, 5, 30:33] = 1, 2
    view = stored(tmp_path, classes.shape, classes)
    found, small = view.foreground(tmp_path, (1,)), view.foreground(tmp_path, (2,))
    assert len(found) == VOXELS_KEPT and len(small) == 3 and len(view.foreground(tmp_path)) == VOXELS_KEPT + 3
    assert (classes[tuple(found.T)] == 1).all() and len(np.unique(found, axis=0)) == VOXELS_KEPT
    np.testing.assert_allclose(found.mean(axis=0), (19.5, 19.5, 9.5), atol=0.4)
    again = with_array(view.case, tmp_path, "label", np.ascontiguousarray(classes))
    assert_array_equal(found, View(again, None, 0).foreground(tmp_path, (1,)))


def test_voxels_are_found_without_the_arrays_they_lie_in(view, tmp_path):
    found, organ = view.foreground(tmp_path), view.tissue(tmp_path)
    for kind in ("label", "organ"):
        (tmp_path / view.case.arrays[kind]).unlink()
    assert_array_equal(view.foreground(tmp_path), found)
    assert_array_equal(view.tissue(tmp_path), organ)
