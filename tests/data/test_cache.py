"""Cases are decoded once: checked, resampled with the right geometry, stored slice by slice."""

import os
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from medaug.data import cache, decoding
from medaug.data.atomic import read_json
from medaug.data.cache import file_name, open_array, prepare_cases, store_array
from medaug.data.cases import make_case
from medaug.data.files import write_scan
from medaug.data.layouts import find_cases
from medaug.data.records import Case, PreparedCase
from medaug.errors import ConfigError, DataError
from medaug.resampling import resample_image, resample_mask, resampled_affine

from ..stored import is_current, prepare_case

AFFINE = np.array([[-1.0, 0, 0, 10], [0, -1.0, 0, 20], [0, 0, 2.5, -5], [0, 0, 0, 1]])


def write_case(folder: Path, name: str = "a", shape=(8, 6, 4), label_affine=AFFINE, label_shape=None, labels=(0, 1, 4)):
    rng = np.random.RandomState(len(name))
    image = rng.randint(-100, 900, size=shape).astype(np.int16)
    label = rng.choice(labels, size=label_shape or shape).astype(np.uint8)
    write_scan(folder / f"{name}.nii.gz", image[None], AFFINE)
    write_scan(folder / f"{name}_seg.nii.gz", label[None], label_affine)
    return make_case(name, folder / f"{name}.nii.gz", folder / f"{name}_seg.nii.gz"), image, label


def write_pictures(folder: Path, count: int, damaged: tuple[int, ...] = ()) -> list[Case]:
    rng, cases = np.random.RandomState(0), []
    for n in range(count):
        image, label = folder / f"s_{n}.tif", folder / f"s_{n}_mask.tif"
        Image.fromarray(rng.randint(0, 255, (6, 8)).astype(np.uint8)).save(image)
        Image.fromarray((rng.rand(6, 8) > 0.5).astype(np.uint8) * 255).save(label)
        if n in damaged:
            image.write_bytes(image.read_bytes()[:40])
        cases.append(make_case(f"s_{n}", image, label))
    return cases


def test_a_prepared_case_holds_raw_values_the_tumor_and_the_geometry(tmp_path):
    case, image, label = write_case(tmp_path)
    entry = prepare_case(case, tmp_path / "p", spatial_dims=3, tumor_labels=(4,))
    assert {key: entry.to_json()[key] for key in case.to_json()} == case.to_json()
    assert PreparedCase.from_json(read_json(tmp_path / "p" / "a.source.json")["entry"]) == entry
    assert entry.source_dtypes == ("int16",) and entry.shape == (8, 6, 4) and entry.spacing_mm == (1.0, 1.0, 2.5)
    np.testing.assert_allclose(entry.affine, AFFINE)
    stored, tumor = (open_array(tmp_path / "p", entry.arrays[key]) for key in ("image", "label"))
    assert isinstance(stored, np.memmap) and stored.dtype == np.float32 and tumor.dtype == np.uint8
    assert stored[..., 1].flags.f_contiguous and stored.flags.f_contiguous and not stored.flags.writeable
    np.testing.assert_array_equal(stored, image[None])
    np.testing.assert_array_equal(tumor, label == 4)


def test_without_tumor_labels_every_value_but_zero_is_tumor(tmp_path):
    case, _, label = write_case(tmp_path)
    entry = prepare_case(case, tmp_path / "p", spatial_dims=2)
    np.testing.assert_array_equal(open_array(tmp_path / "p", entry.arrays["label"]), label > 0)


def test_undeclared_label_values_are_refused(tmp_path):
    case, _, _ = write_case(tmp_path)
    with pytest.raises(DataError, match=r"a_seg\.nii\.gz: found label values \[4\]"):
        prepare_case(case, tmp_path / "p", spatial_dims=3, known_labels=(1, 2))
    prepare_case(case, tmp_path / "p", spatial_dims=3, known_labels=(1, 4))


def test_a_case_without_label_has_no_label_array(tmp_path):
    case, _, _ = write_case(tmp_path)
    entry = prepare_case(replace(case, label=None), tmp_path / "p", spatial_dims=3)
    assert set(entry.arrays) == {"image"}


def test_image_and_label_on_different_grids_are_refused(tmp_path):
    moved = AFFINE.copy()
    moved[0, 3] += 1
    shifted, _, _ = write_case(tmp_path, "shifted", label_affine=moved)
    with pytest.raises(DataError, match=r"shifted_seg\.nii\.gz: found voxels up to 1 mm away"):
        prepare_case(shifted, tmp_path / "p", spatial_dims=3)
    smaller, _, _ = write_case(tmp_path, "smaller", label_shape=(8, 6, 3))
    with pytest.raises(DataError, match=r"found shape \(8, 6, 3\)"):
        prepare_case(smaller, tmp_path / "p", spatial_dims=3)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
@pytest.mark.parametrize("depth", [1, 4])
def test_a_label_with_its_axes_in_another_order_and_sense_lies_on_its_image(tmp_path, order, depth):
    case, _, label = write_case(tmp_path, shape=(8, 6, depth))
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for new, old in enumerate(order):
        turn[old, new], turn[old, 3] = -1, label.shape[old] - 1
    image = nibabel.Nifti1Image(np.flip(label, (0, 1, 2)).transpose(order).copy(), AFFINE @ turn)
    nibabel.save(image, case.label)
    entry = prepare_case(case, tmp_path / "p", spatial_dims=2)
    np.testing.assert_array_equal(open_array(tmp_path / "p", entry.arrays["label"]), (label > 0).squeeze())


def test_constant_images_and_pictures_in_3d_work_are_refused(tmp_path):
    write_scan(tmp_path / "c.nii.gz", np.full((1, 4, 4, 4), 7, np.int16), AFFINE)
    with pytest.raises(DataError, match="a constant image"):
        prepare_case(make_case("c", tmp_path / "c.nii.gz", None), tmp_path / "p", spatial_dims=3)
    with pytest.raises(DataError, match="the method is 3-D"):
        prepare_case(write_pictures(tmp_path, 1)[0], tmp_path / "p", spatial_dims=3)


def test_pictures_take_the_given_spacing_and_one_millimetre_without(tmp_path):
    (case,) = write_pictures(tmp_path, 1)
    assert prepare_case(case, tmp_path / "p", spatial_dims=2).spacing_mm == (1.0, 1.0)
    entry = prepare_case(case, tmp_path / "p", spatial_dims=2, spacing_mm=(0.5, 0.75))
    assert entry.spacing_mm == (0.5, 0.75) and entry.shape == (8, 6)
    with pytest.raises(ConfigError, match="spacing_mm has 3 values"):
        prepare_case(case, tmp_path / "p", spatial_dims=2, spacing_mm=(1.0, 1.0, 1.0))
    volume, _, _ = write_case(tmp_path)
    assert prepare_case(volume, tmp_path / "p", spatial_dims=2, spacing_mm=(9.0, 9.0)).spacing_mm[0] == 1.0


def test_resampling_keeps_the_field_of_view_and_shifts_the_origin(tmp_path):
    case, _, _ = write_case(tmp_path)
    entry = prepare_case(case, tmp_path / "p", spatial_dims=2, grid_size=(4, 3))
    assert entry.shape == (4, 3, 4) and entry.spacing_mm == (2.0, 2.0, 2.5)
    corner = np.array([-0.5, -0.5, 0, 1])
    far_old, far_new = np.array([7.5, 5.5, 0, 1]), np.array([3.5, 2.5, 0, 1])
    new = np.array(entry.affine)
    np.testing.assert_allclose(new @ corner, AFFINE @ corner)
    np.testing.assert_allclose(new @ far_new, AFFINE @ far_old)
    assert open_array(tmp_path / "p", entry.arrays["image"])[0].shape == (4, 3, 4)


@pytest.mark.parametrize("grid", [(16, 24), (11, 7), (64, 50)])
def test_image_mask_and_affine_stay_together_when_resampled(grid):
    x, y = np.meshgrid(np.arange(32), np.arange(40), indexing="ij")
    mask = ((x - 20) / 7) ** 2 + ((y - 12) / 9) ** 2 < 1
    affine = resampled_affine(AFFINE, (32, 40), grid)
    small_mask, small_image = resample_mask(mask, grid), resample_image(mask.astype(np.float32), grid)

    def centre_mm(weights, affine):
        index = [np.average(axis, weights=weights) for axis in np.indices(weights.shape)]
        return (affine @ [*index, 0, 1])[:2]

    np.testing.assert_allclose(
        centre_mm(small_mask.astype(float), affine), centre_mm(mask.astype(float), AFFINE), atol=0.7
    )
    np.testing.assert_allclose(centre_mm(small_image, affine), centre_mm(mask.astype(float), AFFINE), atol=0.2)
    area = abs(np.linalg.det(affine[:2, :2]))
    assert small_mask.sum() * area == pytest.approx(mask.sum(), abs=max(0.12 * mask.sum(), 2 * area))


def test_whole_volumes_are_resampled_with_their_mask_and_affine(tmp_path):
    case, image, _ = write_case(tmp_path)
    entry = prepare_case(case, tmp_path / "p", spatial_dims=3, grid_size=(4, 3, 2))
    assert entry.shape == (4, 3, 2) and entry.spacing_mm == (2.0, 2.0, 5.0)
    near, far = np.array([-0.5, -0.5, -0.5, 1]), np.array([7.5, 5.5, 3.5, 1])
    np.testing.assert_allclose(np.array(entry.affine) @ near, AFFINE @ near)
    np.testing.assert_allclose(np.array(entry.affine) @ [3.5, 2.5, 1.5, 1], AFFINE @ far)
    ramp = np.broadcast_to(np.arange(8.0), (6, 6, 8))
    np.testing.assert_allclose(resample_image(ramp, (6, 6, 4))[..., 1:3], np.broadcast_to([2.5, 4.5], (6, 6, 2)))
    half = ramp >= 3
    np.testing.assert_array_equal(resample_mask(half, (6, 6, 4)), np.broadcast_to([False, True, True, True], (6, 6, 4)))
    (picture,) = write_pictures(tmp_path, 1)
    with pytest.raises(ConfigError, match="grid_size has 3 sizes.*picture"):
        prepare_case(picture, tmp_path / "q", spatial_dims=2, grid_size=(4, 3, 2))


def test_a_mask_voxel_needs_half_of_its_area():
    mask = np.zeros((4, 4), bool)
    mask[:2, 0] = True  # half of the first new voxel
    mask[2, 2] = True  # a quarter of the last
    assert resample_mask(mask, (2, 2)).tolist() == [[True, False], [False, False]]


def test_a_mask_on_its_own_grid_is_unchanged():
    mask = np.random.RandomState(0).rand(9, 7, 3) > 0.5
    np.testing.assert_array_equal(resample_mask(mask, (9, 7)), mask)


def test_shrinking_does_not_alias():
    stripes = np.tile([0.0, 1.0], 32)[:, None] * np.ones((1, 64))
    assert resample_image(stripes, (16, 16))[2:-2].std() < 0.02


def test_a_tumor_lost_to_the_grid_is_said(tmp_path, caplog):
    image = np.arange(64, dtype=np.int16).reshape(1, 8, 8)
    write_scan(tmp_path / "a.nii.gz", image, AFFINE)
    write_scan(tmp_path / "l.nii.gz", (image == 9).astype(np.uint8), AFFINE)
    case = make_case("a", tmp_path / "a.nii.gz", tmp_path / "l.nii.gz")
    prepare_case(case, tmp_path / "p", spatial_dims=2, grid_size=(2, 2))
    assert "too small for the grid" in caplog.text


def test_an_unchanged_case_is_not_decoded_again(tmp_path, monkeypatch):
    case, _, _ = write_case(tmp_path)
    options = {"spatial_dims": 3, "grid_size": (4, 4), "classes": ((1,), (2, 4))}
    first = prepare_case(case, tmp_path / "p", **options)
    assert is_current(case, tmp_path / "p", **options)
    monkeypatch.setattr(decoding, "read_scan", lambda *_, **__: pytest.fail("decoded again"))
    assert prepare_case(case, tmp_path / "p", **options) == first


def test_a_case_is_decoded_again_when_files_options_or_arrays_change(tmp_path):
    case, _, _ = write_case(tmp_path)
    folder, options = tmp_path / "p", {"spatial_dims": 3, "tumor_labels": (1,)}

    def prepare() -> None:
        entry = prepare_case(case, folder, **options)
        assert is_current(case, folder, **options)
        return entry

    entry = prepare()
    assert not is_current(case, folder, spatial_dims=3, tumor_labels=(1, 4))
    assert not is_current(replace(case, patient="other"), folder, **options)
    status = os.stat(case.label)
    os.utime(case.label, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    assert not is_current(case, folder, **options)
    entry = prepare()
    array = folder / entry.arrays["label"]
    array.write_bytes(array.read_bytes()[:-5])
    assert not is_current(case, folder, **options)
    prepare()
    array.unlink()
    assert not is_current(case, folder, **options)


def test_a_run_cut_off_between_the_arrays_leaves_nothing_current(tmp_path, monkeypatch):
    case, _, _ = write_case(tmp_path)
    prepare_case(case, tmp_path / "p", spatial_dims=3)

    def cut_off(folder, name, array):
        if name.endswith("label"):
            raise KeyboardInterrupt
        return store_array(folder, name, array)

    monkeypatch.setattr(cache, "store_array", cut_off)
    with pytest.raises(KeyboardInterrupt):
        prepare_case(case, tmp_path / "p", spatial_dims=3, grid_size=(4, 3))
    monkeypatch.undo()
    for grid in (None, (4, 3)):
        assert not is_current(case, tmp_path / "p", spatial_dims=3, grid_size=grid)


def test_all_cases_keep_their_order_and_progress_is_told(tmp_path):
    cases, calls = write_pictures(tmp_path, 7), []
    prepared, unreadable = prepare_cases(
        cases, tmp_path / "p", workers=3, progress=lambda *done: calls.append(done), spatial_dims=2
    )
    assert [entry.case for entry in prepared] == [case.case for case in cases] and unreadable == []
    assert calls == [(n, 7) for n in range(1, 8)]
    alone, _ = prepare_cases(cases, tmp_path / "q", workers=1, spatial_dims=2)
    assert alone == prepared


def test_the_first_unreadable_case_stops_or_all_are_reported(tmp_path):
    cases = write_pictures(tmp_path, 6, damaged=(2, 4))
    with pytest.raises(DataError, match=r"s_2\.tif"):
        prepare_cases(cases, tmp_path / "p", spatial_dims=2)
    prepared, unreadable = prepare_cases(cases, tmp_path / "p", skip_unreadable=True, spatial_dims=2)
    assert [entry.case for entry in prepared] == ["s_0", "s_1", "s_3", "s_5"]
    assert [item.path for item in unreadable] == [cases[2].image, cases[4].image]
    assert "found a damaged" in unreadable[0].reason
    with pytest.raises(DataError, match="none of the 2 cases"):
        prepare_cases([cases[2], cases[4]], tmp_path / "p", skip_unreadable=True, spatial_dims=2)


def test_an_unreadable_label_is_the_file_at_fault(tmp_path):
    cases = write_pictures(tmp_path, 2)
    Path(cases[0].label).write_bytes(b"")
    _, unreadable = prepare_cases(cases, tmp_path / "p", skip_unreadable=True, spatial_dims=2)
    assert [item.path for item in unreadable] == [cases[0].label]


@pytest.mark.parametrize(
    ("wanted_mm", "shape", "spacing_mm"),
    [
        ((2.0, 2.0), [4, 3, 4], [2.0, 2.0, 2.5]),
        ((0.5, 0.5), [16, 12, 4], [0.5, 0.5, 2.5]),
        ((2.0, 1.5, 5.0), [4, 4, 2], [2.0, 1.5, 5.0]),
        ((3.0, 3.0), [3, 2, 4], [8 / 3, 3.0, 2.5]),
        ((50.0, 50.0), [1, 1, 4], [8.0, 6.0, 2.5]),
    ],
)
def test_a_working_voxel_size_is_met_as_nearly_as_the_field_of_view_allows(tmp_path, wanted_mm, shape, spacing_mm):
    case, _, _ = write_case(tmp_path)
    entry = prepare_case(case, tmp_path / "p", spatial_dims=2, resample_mm=wanted_mm)
    assert entry.shape == tuple(shape) and entry.resampled_from_mm == (1.0, 1.0, 2.5)
    np.testing.assert_allclose(entry.spacing_mm, spacing_mm)
    by_size = prepare_case(case, tmp_path / "q", spatial_dims=2, grid_size=tuple(shape[: len(wanted_mm)]))
    for kind in ("image", "label"):
        arrays = [open_array(tmp_path / f, e.arrays[kind]) for f, e in (("p", entry), ("q", by_size))]
        np.testing.assert_array_equal(*arrays)
    assert entry.affine == by_size.affine


def test_an_image_of_the_wanted_voxel_size_is_left_alone(tmp_path):
    case, image, _ = write_case(tmp_path)
    entry = prepare_case(case, tmp_path / "p", spatial_dims=2, resample_mm=(1.0, 1.0, 2.5))
    np.testing.assert_array_equal(open_array(tmp_path / "p", entry.arrays["image"])[0], image)
    assert entry.resampled_from_mm is None


def test_a_voxel_size_is_refused_where_it_means_nothing(tmp_path):
    case, _, _ = write_case(tmp_path)
    (picture,) = write_pictures(tmp_path, 1)
    with pytest.raises(ConfigError, match="both say which grid"):
        prepare_case(case, tmp_path / "p", spatial_dims=2, resample_mm=(1.0, 1.0), grid_size=(4, 4))
    pixels = prepare_case(picture, tmp_path / "p", spatial_dims=2, resample_mm=(2.0, 2.0))
    assert pixels.length_unit == "px" and pixels.spacing_mm == (2.0, 2.0)
    with pytest.raises(ConfigError, match="resample_mm has 3 sizes.*picture"):
        prepare_case(picture, tmp_path / "p", spatial_dims=2, resample_mm=(1.0, 1.0, 1.0), spacing_mm=(1.0, 1.0))
    entry = prepare_case(picture, tmp_path / "p", spatial_dims=2, resample_mm=(1.0, 1.0), spacing_mm=(0.5, 0.5))
    assert entry.shape == (4, 3) and entry.spacing_mm == (1.0, 1.0) and entry.length_unit == "mm"


def test_case_names_that_are_no_file_names_stay_apart(tmp_path):
    case, _, _ = write_case(tmp_path)
    names = ["site/a", "site:a", "../a"]
    entries = [prepare_case(replace(case, case=name), tmp_path / "p", spatial_dims=3) for name in names]
    paths = {entry.arrays["image"] for entry in entries}
    assert len(paths) == 3 and all((tmp_path / "p" / path).is_file() and "/" not in path for path in paths)


@pytest.mark.parametrize(
    "name", ["-rf", "--", "...", "-", "../x", "a\0b", "\ud800", "\udc80", "x" * 300, "名" * 99, ""]
)
def test_a_name_that_is_written_is_an_ordinary_one(tmp_path, name):
    written = file_name(name)
    (tmp_path / f"{written}.image.source.json").touch()
    assert not written.startswith(("-", ".")) and written.isprintable() and "/" not in written
    assert written != file_name(name + "-")


def test_a_missing_or_damaged_array_is_a_data_error(tmp_path):
    relative = store_array(tmp_path, "organ", np.ones((3, 3), bool))
    assert open_array(tmp_path, relative).all()
    (tmp_path / "bad.npy").write_bytes(b"no array")
    for name in ("bad.npy", "missing.npy"):
        with pytest.raises(DataError, match=name):
            open_array(tmp_path, name)


def test_the_real_lgg_folder_reports_its_unreadable_files(tmp_path):
    root = Path(os.environ.get("MEDAUG_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")) / "lgg"
    if not root.is_dir():
        pytest.skip(f"no real images at {root}")
    cases = find_cases(root, sequence="flair")
    prepared, unreadable = prepare_cases(cases, tmp_path, skip_unreadable=True, spatial_dims=2, grid_size=(32, 32))
    refused = {path for case in cases for path in (case.image, case.label) if not pillow_reads(path)}
    assert refused and {item.path for item in unreadable} == refused
    assert len(prepared) + len(unreadable) == len(cases)


def pillow_reads(path: str) -> bool:
    try:
        with Image.open(path) as picture:
            picture.load()
    except OSError:
        return False
    return True
