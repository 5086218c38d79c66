"""Files from scanners and other software: those that ship with pydicom, and the shared test data where it is there."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from medaug.data.cache import open_array, prepare_cases
from medaug.data.dicom.reading import read_series
from medaug.data.layouts import find_cases, recognise
from medaug.errors import DataError

BUNDLED = sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))
DATA = Path(os.environ.get("MEDAUG_DATA", Path(__file__).parents[4] / "shared" / "data"))

needs_data = pytest.mark.skipif(not (DATA / "dicom").is_dir(), reason=f"no DICOM series at {DATA / 'dicom'}")
needs_slices = pytest.mark.skipif(not (DATA / "ct_contrast").is_dir(), reason=f"no CT slices at {DATA}")


def read_quietly(path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_series(path)


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.stem)
def test_every_bundled_file_is_read_whole_or_refused_with_a_reason(path):
    try:
        volume = read_quietly(path)
    except DataError as error:
        assert str(error).startswith(str(path)) and "; expected " in str(error)
    else:
        assert volume.array.ndim in (2, 3) and np.isfinite(volume.array).all()
        assert abs(np.linalg.det(volume.affine)) > 0 and volume.modality in ("CT", "MR")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MR_truncated.dcm", "pixel data that cannot be decoded"),
        ("no_meta.dcm", "no DICOM file"),
        ("rtdose.dcm", "no scan, only DICOM objects of the kind RT Dose Storage"),
        ("liver_1frame.dcm", "no scan, only DICOM objects of the kind Segmentation Storage"),
        ("examples_rgb_color.dcm", "a projection|a colour image"),
        ("examples_palette.dcm", "a projection|a colour image"),
        ("JPEG-lossy.dcm", "a"),
    ],
)
def test_bundled_files_that_are_no_cross_sections_are_refused(name, words):
    with pytest.raises(DataError, match=words):
        read_quietly(Path(get_testdata_file(name, download=False)))


def test_the_bundled_ct_is_in_hu():
    volume = read_quietly(Path(get_testdata_file("CT_small.dcm", download=False)))
    header = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    np.testing.assert_array_equal(volume.array.T, header.pixel_array.astype(int) - 1024)
    assert volume.array.dtype == np.int16 and volume.modality == "CT"


@pytest.mark.parametrize("variant", ["RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian", "implicit", "expb"])
def test_bundled_variants_of_one_mr_slice_are_equal(variant):
    plain = read_quietly(Path(get_testdata_file("MR_small.dcm", download=False)))
    other = read_quietly(Path(get_testdata_file(f"MR_small_{variant}.dcm", download=False)))
    np.testing.assert_array_equal(other.array, plain.array)
    np.testing.assert_allclose(other.affine, plain.affine)


CLEAN = [
    "generic/anatomical/001", "generic/anatomical/001_implicit", "generic/anatomical/002_non_isotropic",
    "generic/compressed/001", "generic/compressed_j2k/001", "generic/compressed_jpeg/001",
    "generic/compressed_jpegls/001", "generic/compressed_rle/001", "ge_anatomical/001", "ge_anatomical/001_implicit",
    "ge_anatomical/001_single_slice",
]  # fmt: skip


@needs_data
@pytest.mark.parametrize("name", CLEAN)
def test_clean_series_equal_their_ground_truth_as_nifti(name):
    """Voxel by voxel at equal places in mm: the two may differ by the order and direction of their axes."""
    volume = read_quietly(DATA / "dicom" / "odd" / name)
    truth = nibabel.load(DATA / "dicom" / "odd" / f"{name}_ground_truth.nii.gz")
    array = volume.array if volume.array.ndim == 3 else volume.array[..., None]
    ours = nibabel.as_closest_canonical(nibabel.Nifti1Image(array.astype(np.float64), volume.affine))
    theirs = nibabel.as_closest_canonical(truth)
    np.testing.assert_allclose(ours.get_fdata(), theirs.get_fdata(), rtol=1e-6, atol=1e-4)
    axes = slice(0, 4) if volume.array.ndim == 3 else [0, 1, 3]
    if volume.array.ndim == 3:
        np.testing.assert_allclose(ours.affine[:, axes], theirs.affine[:, axes], atol=2e-3)


@needs_data
def test_lossless_variants_of_one_series_are_equal():
    plain = read_quietly(DATA / "dicom" / "odd" / "generic" / "compressed" / "001")
    for name in ("_j2k", "_jpeg", "_jpegls", "_rle"):
        other = read_quietly(DATA / "dicom" / "odd" / "generic" / f"compressed{name}" / "001")
        np.testing.assert_array_equal(other.array, plain.array)
        np.testing.assert_allclose(other.affine, plain.affine)


@needs_data
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("failing/gantrytilting/001", "14.0 degrees: a gantry tilt"),
        ("failing/notavolume/001", r"4 slices at one position, which is not a volume.*AcquisitionNumber \(12, 13, 14"),
        ("failing/slicecount/001", "two slices 1 mm apart.*none is missing between them"),
        ("failing/sliceincrement/001", r"slice increments from 5 to 10 mm: 1 missing slice\(s\)"),
        ("failing/sliceorientation/001", "slices of 2 orientations"),
        ("generic/rgb/001", r"a colour image \(PhotometricInterpretation RGB\)"),
    ],
)
def test_each_failing_series_is_refused_for_its_own_reason(name, words):
    with pytest.raises(DataError, match=words):
        read_quietly(DATA / "dicom" / "odd" / name)


@needs_data
def test_the_abdomen_is_in_hu_on_a_2_mm_grid():
    volume = read_quietly(DATA / "dicom" / "ct_abdomen_j2k")
    assert volume.array.shape == (512, 512, 20) and volume.array.dtype == np.int16
    np.testing.assert_allclose(np.linalg.norm(volume.affine[:3, :3], axis=0), [0.9765625, 0.9765625, 2.0])
    assert volume.array.min() == -1024 and 1000 < volume.array.max() < 3072
    np.testing.assert_array_equal(volume.array[..., 0].T + 1024, pydicom.dcmread(volume_file(-804.5)).pixel_array)


def volume_file(level_mm: float) -> Path:
    files = (DATA / "dicom" / "ct_abdomen_j2k").iterdir()
    return next(f for f in files if pydicom.dcmread(f, stop_before_pixels=True).ImagePositionPatient[2] == level_mm)


@needs_slices
def test_single_slices_are_a_data_set_of_2d_cases_by_patient(tmp_path):
    root = DATA / "ct_contrast" / "contrast"
    assert recognise(root) == "dicom"
    cases = find_cases(root)
    assert len(cases) == 20 and len({case.patient for case in cases}) == 12, "2 of the 22 files are copies"
    assert all(case.case.startswith(case.patient) and case.label is None for case in cases)
    chosen = [case for case in cases if case.patient in ("TCGA-17-Z031", "TCGA-60-2715", "TCGA-92-8065")]
    entries, unreadable = prepare_cases(chosen, tmp_path, spatial_dims=2, resample_mm=(2.0, 2.0))
    assert not unreadable and len(entries) == len(chosen)
    for entry in entries:
        assert entry.spacing_mm == pytest.approx([2.0, 2.0], rel=0.01) and entry.resampled_from_mm[0] < 1
        assert open_array(tmp_path, entry.arrays["image"])[0].shape == tuple(entry.shape)


@needs_slices
def test_padding_of_minus_3024_is_found_and_kept():
    volume = read_quietly(DATA / "ct_contrast" / "contrast" / "TCGA-60-2715_ID_0008.dcm")
    assert (volume.array == -3024).sum() > 1000
    np.testing.assert_array_equal(volume.padding, volume.array == -3024)
