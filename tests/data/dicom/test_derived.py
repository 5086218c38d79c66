"""Derived series: what medaug writes is valid, and every reader finds the same voxels, geometry and HU in it."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import EnhancedCTImageStorage

import medaug
from medaug.data.dicom.derived import write_derived_series
from medaug.data.dicom.reading import read_series
from medaug.errors import ConfigError, DataError, RunError

from .validation import errors_of, real_series

WORDS = {"series_description": "CT from MR", "derivation": "by medaug, weights SHA-256 0123abcd"}


@pytest.fixture
def values():
    """(X, Y, Z) HU, each voxel its own, with air and bone."""
    shape = (7, 5, 4)
    return (np.arange(np.prod(shape)) * 23 - 1024).astype(np.int16).reshape(shape)


@pytest.fixture
def source(dicom_series, tmp_path, values):
    """A CT series with tags that are not true of a derived one."""
    stale = {"WindowCenter": 40, "WindowWidth": 400, "ContrastBolusAgent": "iodine", "ExposureTime": 500, "KVP": 120}
    folder = tmp_path / "source"
    for file in dicom_series(folder, values, tags=stale):
        header = pydicom.dcmread(file)
        header.private_block(0x0011, "SCANNER", create=True).add_new(1, "LO", "private")
        header.save_as(file)
    return read_series(folder)


@pytest.fixture
def mr(dicom_series, tmp_path, values):
    dicom_series(tmp_path / "mr", values, modality="MR", intercept=0.0)
    return read_series(tmp_path / "mr")


def itk_volume(files):
    """Voxels (X, Y, Z) and affine (RAS) as ITK reads a series."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in files])
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def test_medaug_and_itk_read_back_the_voxels_and_the_geometry(source, tmp_path):
    made = source.array[::-1] + np.int16(5)
    files = write_derived_series(made, source, tmp_path / "out", modality="CT", **WORDS)
    again = read_series(tmp_path / "out")
    assert again.array.dtype == np.int16 and again.modality == "CT"
    np.testing.assert_array_equal(again.array, made)
    np.testing.assert_allclose(again.affine, source.affine, atol=1e-9)
    voxels, affine = itk_volume(files)
    np.testing.assert_array_equal(voxels, made)
    np.testing.assert_allclose(affine, source.affine, atol=1e-6)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3), spacing_mm=st.tuples(*[st.floats(0.2, 9.0)] * 3),
    origin_mm=st.tuples(*[st.floats(-900, 900)] * 3), seed=st.integers(0, 2**16), depth=st.integers(1, 3),
)  # fmt: skip
def test_any_orientation_spacing_and_values_come_back(
    dicom_series, tmp_path_factory, angles, spacing_mm, origin_mm, seed, depth
):
    turned = rotation(angles)
    folder = tmp_path_factory.mktemp("any")
    drawn = np.random.RandomState(seed).randint(-32768, 32768, (4, 3, depth)).astype(np.int16)
    dicom_series(folder / "source", np.zeros(drawn.shape), orientation=turned[:, :2].T, spacing_mm=spacing_mm,
                 origin_mm=origin_mm, modality="MR", intercept=0.0)  # fmt: skip
    source = read_series(folder / "source")
    made = drawn if depth > 1 else drawn[..., 0]
    files = write_derived_series(made, source, folder / "out", modality="MR", **WORDS)
    again = read_series(folder / "out")
    np.testing.assert_array_equal(again.array, made)
    np.testing.assert_allclose(again.affine, source.affine, atol=1e-6)
    voxels, affine = itk_volume(files)
    np.testing.assert_array_equal(voxels, drawn)
    np.testing.assert_allclose(affine[:, [0, 1, 3]], source.affine[:, [0, 1, 3]], atol=1e-5)


def rotation(angles):
    """(3, 3), by three Euler angles in radians."""
    turned = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [k for k in range(3) if k != axis]
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        turned = turned @ step
    return turned


def test_patient_study_and_frame_of_reference_stay_and_the_instances_are_new(source, tmp_path):
    files = write_derived_series(source.array, source, tmp_path / "out", modality="CT", **WORDS)
    made, before = [pydicom.dcmread(file) for file in files], source.headers
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert {header[keyword].value for header in made} == {before[0][keyword].value}
    assert {header.SeriesInstanceUID for header in made} != {before[0].SeriesInstanceUID}
    uids = {header.SOPInstanceUID for header in made}
    assert len(uids) == len(files) and not uids & {header.SOPInstanceUID for header in before}
    assert [header.InstanceNumber for header in made] == [1, 2, 3, 4]


def test_a_series_says_that_it_is_derived_and_from_what(source, tmp_path):
    files = write_derived_series(source.array, source, tmp_path / "out", modality="CT", **WORDS)
    for file, before in zip(files, source.headers, strict=True):
        header = pydicom.dcmread(file)
        assert list(header.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"] and header.BurnedInAnnotation == "NO"
        assert header.SeriesDescription == "CT from MR, synthetic, not for diagnosis"
        assert header.DerivationDescription == WORDS["derivation"]
        (reference,) = header.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == before.SOPInstanceUID
        assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        equipment = header.ContributingEquipmentSequence[0]
        assert (equipment.Manufacturer, equipment.SoftwareVersions) == ("medaug", medaug.__version__)
        assert (header.RescaleSlope, header.RescaleIntercept, header.RescaleType) == (1, 0, "HU")


def test_nothing_that_was_said_of_the_scanners_pixels_is_copied(source, tmp_path):
    files = write_derived_series(source.array, source, tmp_path / "out", modality="CT", **WORDS)
    header = pydicom.dcmread(files[0])
    assert not [keyword for keyword in ("WindowCenter", "ContrastBolusAgent", "ExposureTime") if keyword in header]
    assert header.KVP is None and not [element for element in header.iterall() if element.tag.is_private]


@pytest.mark.parametrize("deidentify", [False, True])
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(("before", "after"), [("source", "CT"), ("mr", "CT"), ("mr", "MR")])
def test_dciodvfy_finds_no_error(request, tmp_path, before, after, single, deidentify):
    source = request.getfixturevalue(before)
    if single:
        source = replace(source, array=source.array[..., 0], headers=source.headers[:1])
    files = write_derived_series(
        source.array, source, tmp_path / "out", modality=after, deidentify=deidentify, **WORDS
    )  # fmt: skip
    assert len(files) == (1 if single else 4)
    assert errors_of(files[0]) == errors_of(files[-1]) == []


@pytest.mark.parametrize("name", ["ct_abdomen_j2k", "odd/ge_anatomical/001", "ct_contrast"])
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_series_derived_from_real_ones_are_valid(tmp_path, name, modality):
    source = read_series(real_series(name))
    files = write_derived_series(source.array, source, tmp_path / "out", modality=modality, **WORDS)
    assert errors_of(files[-1]) == []
    again = read_series(tmp_path / "out")
    np.testing.assert_array_equal(again.array, source.array)
    np.testing.assert_allclose(again.affine, source.affine, atol=1e-4)


def test_a_multi_frame_source_gets_single_files_that_name_their_frame(multi_frame, tmp_path):
    source, frames = multi_frame
    files = write_derived_series(source.array, source, tmp_path / "out", modality="CT", **WORDS)
    assert [pydicom.dcmread(file).SourceImageSequence[0].ReferencedFrameNumber for file in files] == frames
    assert errors_of(files[0]) == []
    np.testing.assert_allclose(read_series(tmp_path / "out").affine, source.affine, atol=1e-9)


@pytest.fixture
def multi_frame(source):
    """The series as one multi-frame file holds it, its frames in an order of their own: (volume, frame by slice)."""
    header, order = source.headers[0], [2, 0, 3, 1]
    header.SOPClassUID = EnhancedCTImageStorage
    header.PerFrameFunctionalGroupsSequence = []
    for index in order:
        position, group = pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient = source.headers[index].ImagePositionPatient
        group.PlanePositionSequence = [position]
        header.PerFrameFunctionalGroupsSequence.append(group)
    return replace(source, headers=[header]), [order.index(index) + 1 for index in range(4)]


def test_missing_tags_become_empty_and_values_that_dicom_forbids_are_reported(dicom_series, tmp_path, caplog, values):
    missing = dict.fromkeys(("PatientName", "StudyDate", "AccessionNumber", "FrameOfReferenceUID"))
    forbidden = {"PatientAge": "60 years, Jane", "PatientSex": "W"}
    dicom_series(tmp_path / "source", values, tags=missing | forbidden)
    source = read_series(tmp_path / "source")
    caplog.clear()
    files = write_derived_series(source.array, source, tmp_path / "out", modality="CT", **WORDS)
    header = pydicom.dcmread(files[0])
    assert errors_of(files[0]) == [] and header.PatientName == header.PatientSex == "" and "PatientAge" not in header
    assert all(keyword in caplog.text for keyword in ("PatientAge", "PatientSex", "FrameOfReferenceUID"))
    assert "Jane" not in caplog.text


@pytest.mark.parametrize(("charset", "name"), [("ISO_IR 100", "Müller^Jörg"), ("ISO_IR 192", "Yamada^Tarou=山田^太郎")])
def test_names_in_any_character_set_stay_readable(dicom_series, tmp_path, values, charset, name):
    dicom_series(tmp_path / "source", values, tags={"SpecificCharacterSet": charset, "PatientName": name})
    source = read_series(tmp_path / "source")
    files = write_derived_series(source.array, source, tmp_path / "out", modality="CT", **WORDS)
    assert str(pydicom.dcmread(files[0]).PatientName) == name and errors_of(files[0]) == []


def test_a_source_that_was_de_identified_before_says_so_still(dicom_series, tmp_path, values):
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "113100", "DCM", "Basic Profile"
    item.add_new(0x00080000, "UL", 76)
    tags = {"PatientIdentityRemoved": "YES", "DeidentificationMethodCodeSequence": [item]}
    dicom_series(tmp_path / "source", values, tags=tags)
    source = read_series(tmp_path / "source")
    files = write_derived_series(source.array, source, tmp_path / "out", modality="CT", **WORDS)
    header = pydicom.dcmread(files[0])
    assert header.PatientIdentityRemoved == "YES" and errors_of(files[0]) == []
    assert header.DeidentificationMethodCodeSequence[0].CodeValue == "113100"


@pytest.mark.parametrize(
    "tags",
    [
        {"PatientIdentityRemoved": "YES"}, {"Laterality": "L", "BodyPartExamined": "CHEST"}, {"SliceThickness": None},
        {"Laterality": "L", "BodyPartExamined": "KNEE"}, {"PatientPosition": "XYZ"}, {"LossyImageCompression": "01"},
    ],
)  # fmt: skip
def test_sources_that_contradict_the_standard_give_valid_series(dicom_series, tmp_path, values, tags):
    dicom_series(tmp_path / "source", values, tags=tags)
    source = read_series(tmp_path / "source")
    assert errors_of(write_derived_series(source.array, source, tmp_path / "out", modality="CT", **WORDS)[0]) == []


def test_floats_are_rounded_to_the_nearest_number(source, tmp_path):
    made = source.array + np.float32(0.4)
    write_derived_series(made, source, tmp_path / "out", modality="CT", **WORDS)
    np.testing.assert_array_equal(read_series(tmp_path / "out").array, source.array)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: np.where(a == a.max(), np.nan, a), "NaN or infinite"),
        (lambda a: a.astype(np.int32) * 100, "values that fit 16 bits"),
        (lambda a: a[1:], "the source's shape"),
    ],
)
def test_what_16_bits_or_the_grid_cannot_hold_is_refused_and_nothing_is_written(source, tmp_path, change, words):
    with pytest.raises(DataError, match=words):
        write_derived_series(change(source.array), source, tmp_path / "out", modality="CT", **WORDS)
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_refused_and_left_as_it_was(source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="exists already"):
        write_derived_series(source.array, source, tmp_path / "out", modality="CT", **WORDS)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_a_write_that_fails_leaves_no_folder(source, tmp_path, monkeypatch):
    written = []

    def fails(self, path, **options):
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        path.write_bytes(b"")

    monkeypatch.setattr(pydicom.Dataset, "save_as", fails)
    with pytest.raises(RunError, match="Free some space"):
        write_derived_series(source.array, source, tmp_path / "out", modality="CT", **WORDS)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


@pytest.mark.parametrize(("modality", "description"), [("PT", "x"), ("CT", "x" * 40)])
def test_other_modalities_and_long_descriptions_are_refused(source, tmp_path, modality, description):
    with pytest.raises(ConfigError, match="expected"):
        write_derived_series(source.array, source, tmp_path / "out", modality=modality, series_description=description,
                             derivation="x")  # fmt: skip


def test_a_sheared_grid_is_refused(source, tmp_path):
    affine = source.affine.copy()
    affine[:3, 2] += 0.5 * affine[:3, 1]
    with pytest.raises(DataError, match="right angles"):
        write_derived_series(source.array, replace(source, affine=affine), tmp_path / "out", modality="CT", **WORDS)
