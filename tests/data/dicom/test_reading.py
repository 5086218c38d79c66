"""A series comes back with its values and its geometry, whatever its orientation, order, storage and compression."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid as uids
from pydicom.uid import generate_uid

from medaug.data.dicom import pixels
from medaug.data.dicom.reading import read_series
from medaug.data.files import read_label, read_scan
from medaug.errors import DataError

from ...dicom_series import AXIAL, write_dicom_series

SAGITTAL = ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0))


def ct(shape=(7, 5, 4), seed=0, low=-1024, high=2000) -> np.ndarray:
    return np.random.RandomState(seed).randint(low, high, size=shape)


def itk_reading(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The array (X, Y, Z) and the RAS affine that ITK finds."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).T, np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


@st.composite
def orientations(draw) -> np.ndarray:
    """(2, 3): any rotation, by a unit quaternion."""
    parts = st.floats(-1, 1, allow_nan=False).filter(lambda x: abs(x) > 1e-3)
    w, x, y, z = np.array([draw(parts) for _ in range(4)])
    w, x, y, z = np.array([w, x, y, z]) / np.sqrt(w * w + x * x + y * y + z * z)
    row = (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y))
    column = (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x))
    return np.array([row, column])


@settings(max_examples=30, deadline=None)
@given(
    orientation=orientations(),
    spacing_mm=st.tuples(*[st.floats(0.3, 6.0)] * 3),
    origin_mm=st.tuples(*[st.floats(-500, 500)] * 3),
    order=st.permutations(range(4)),
)
def test_any_orientation_spacing_origin_and_file_order_reads_as_itk_reads_it(orientation, spacing_mm, origin_mm, order):
    values = ct()
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{order[index]}.dcm" for index in range(4)]
        write_dicom_series(
            Path(folder), values, orientation=orientation, spacing_mm=spacing_mm, origin_mm=origin_mm, names=names
        )
        volume = read_series(folder)
        array, affine = itk_reading(Path(folder))
    np.testing.assert_array_equal(volume.array, values)
    np.testing.assert_array_equal(array, values)
    np.testing.assert_allclose(volume.affine, affine, atol=2e-4)
    expected = np.eye(4)
    across = np.cross(*orientation)
    expected[:3, :3] = np.diag([-1, -1, 1]) @ np.column_stack([*orientation, across]) @ np.diag(spacing_mm)
    expected[:3, 3] = np.diag([-1, -1, 1]) @ np.array(origin_mm)
    np.testing.assert_allclose(volume.affine, expected, atol=2e-4)
    assert volume.array.dtype == np.int16 and volume.modality == "CT" and volume.padding is None
    assert [header.InstanceNumber for header in volume.headers] == [1, 2, 3, 4]
    assert not any("PixelData" in header for header in volume.headers)


@pytest.mark.parametrize("stored_type", ["int16", "uint16", "uint8", "int32"])
def test_signed_and_unsigned_pixels_of_any_depth_give_the_same_values(tmp_path, dicom_series, stored_type):
    values = ct(high=-800, low=-1000)
    dicom_series(tmp_path, values, stored_type=stored_type)
    array = read_series(tmp_path).array
    np.testing.assert_array_equal(array, values)
    assert array.dtype == np.int16


def test_each_slice_has_its_own_rescale(tmp_path, dicom_series):
    stored = np.arange(24).reshape(3, 4, 2)
    rescales = [{"RescaleSlope": 2, "RescaleIntercept": -1000}, {"RescaleSlope": 0.125, "RescaleIntercept": -900.5}]
    dicom_series(tmp_path, stored, slope=1, intercept=0, by_slice=rescales)
    array = read_series(tmp_path).array
    np.testing.assert_array_equal(array[..., 0], stored[..., 0] * 2 - 1000)
    np.testing.assert_array_equal(array[..., 1], stored[..., 1] * 0.125 - 900.5)
    assert array.dtype == np.float32


def test_values_beyond_16_bits_signed_are_kept(tmp_path, dicom_series):
    values = np.array([0, 65535, 40000, 12]).reshape(2, 2, 1)
    dicom_series(tmp_path, values, modality="MR", intercept=0, stored_type="uint16")
    np.testing.assert_array_equal(read_series(tmp_path).array, values[..., 0])


def test_one_slice_is_two_dimensional_with_its_thickness_across(tmp_path, dicom_series):
    values = ct((7, 5, 1))
    (path,) = dicom_series(tmp_path, values, orientation=SAGITTAL, spacing_mm=(0.5, 0.75, 3.0), origin_mm=(1, 2, 3))
    for source in (path, tmp_path):
        volume = read_series(source)
        np.testing.assert_array_equal(volume.array, values[..., 0])
        expected = [[0, 0, 3, -1], [-0.5, 0, 0, -2], [0, -0.75, 0, 3], [0, 0, 0, 1]]
        np.testing.assert_allclose(volume.affine, expected, atol=1e-6)
        assert len(volume.headers) == 1


@pytest.mark.parametrize("tag", [-2000, 63536])
def test_padding_keeps_its_value_and_is_told_apart(tmp_path, dicom_series, tag):
    """GE stores -2000, which is -3024 HU; some files write the tag in the sign that the pixels do not have."""
    values = ct()
    values[0, 0, :] = -3024
    paths = dicom_series(tmp_path, values)
    for path in paths:
        header = pydicom.dcmread(path)
        header.add_new("PixelPaddingValue", "US" if tag > 0 else "SS", tag)
        header.save_as(path)
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.array, values)
    np.testing.assert_array_equal(volume.padding, values == -3024)


def test_a_range_of_padding_values_is_padding(tmp_path, dicom_series):
    values = ct()
    dicom_series(tmp_path, values, tags={"PixelPaddingValue": -24, "PixelPaddingRangeLimit": 176})
    np.testing.assert_array_equal(read_series(tmp_path).padding, (values >= -1048) & (values <= -848))


def test_without_the_tag_only_the_corners_below_air_are_padding(tmp_path, dicom_series):
    values = ct((9, 9, 2))
    values[0, 0], values[4, 4] = -1100, -1100
    dicom_series(tmp_path, values)
    padding = read_series(tmp_path).padding
    assert padding[0, 0].all() and padding.sum() == 2, "noise below air inside the circle is a measurement"


def test_a_read_scan_is_the_same_volume_as_a_tensor(tmp_path, dicom_series):
    values = ct()
    dicom_series(tmp_path / "series", values, names=["IM1", "IM2", "IM3", "IM4"], spacing_mm=(0.5, 0.5, 2))
    scan = read_scan(tmp_path / "series")
    np.testing.assert_array_equal(scan.as_tensor()[0].numpy(), values)
    np.testing.assert_allclose(scan.affine.numpy(), read_series(tmp_path / "series").affine)
    assert scan.meta["dtype"] == "int16" and scan.meta["spacing_known"]
    one = read_scan(tmp_path / "series" / "IM2")
    assert one.shape == (1, 7, 5) and (one.as_tensor()[0].numpy() == values[..., 1]).all()


def test_a_label_may_be_a_series(tmp_path, dicom_series):
    label = ct(low=0, high=4)
    dicom_series(tmp_path, label, modality="MR", intercept=0, stored_type="uint8")
    np.testing.assert_array_equal(read_label(tmp_path).as_tensor()[0].numpy(), label)


LOSSLESS = {"RLE": uids.RLELossless, "JPEG 2000": uids.JPEG2000Lossless, "JPEG-LS": uids.JPEGLSLossless}


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_compression_changes_nothing(tmp_path, dicom_series, name):
    values = ct((64, 48, 2))
    compress(dicom_series(tmp_path, values), LOSSLESS[name])
    np.testing.assert_array_equal(read_series(tmp_path).array, values)


def compress(paths: list[Path], syntax: str) -> None:
    for path in paths:
        header = pydicom.dcmread(path)
        header.compress(syntax, generate_instance_uid=False)
        header.save_as(path)


@pytest.mark.parametrize(
    ("name", "before", "size", "larger"),
    [
        ("JPEG 2000", b"\xff\x51", struct.pack(">II", 64, 48), struct.pack(">II", 60_000, 60_000)),
        ("JPEG-LS", b"\xff\xf7", struct.pack(">HH", 48, 64), struct.pack(">HH", 60_000, 60_000)),
    ],
)
def test_a_stream_that_declares_another_size_is_never_decoded(
    tmp_path, dicom_series, monkeypatch, name, before, size, larger
):
    (path,) = dicom_series(tmp_path, ct((64, 48, 1)))
    compress([path], LOSSLESS[name])
    data = path.read_bytes()
    place = data.index(size, data.index(before))
    path.write_bytes(data[:place] + larger + data[place + len(larger) :])
    monkeypatch.setattr(pixels, "pixel_array", lambda header: pytest.fail("decoded"))
    with pytest.raises(DataError, match=r"compressed pixel data of \(60000, 60000\) pixels; expected \(48, 64\)"):
        read_series(tmp_path)


@pytest.mark.parametrize(
    ("syntax", "implicit", "little"),
    [(uids.ImplicitVRLittleEndian, True, True), (uids.DeflatedExplicitVRLittleEndian, False, True)],
)
def test_implicit_and_deflated_files_are_read(tmp_path, dicom_series, syntax, implicit, little):
    values = ct()
    for path in dicom_series(tmp_path, values):
        header = pydicom.dcmread(path)
        header.file_meta.TransferSyntaxUID = syntax
        header.save_as(path, implicit_vr=implicit, little_endian=little)
    np.testing.assert_array_equal(read_series(tmp_path).array, values)


def test_a_missing_codec_is_named_with_the_extra_that_has_it(tmp_path, dicom_series, monkeypatch):
    compress(dicom_series(tmp_path, ct((64, 48, 2))), uids.JPEG2000Lossless)
    decoder = pydicom.pixels.get_decoder(uids.JPEG2000Lossless)
    monkeypatch.setattr(decoder, "_available", {})
    with pytest.raises(DataError, match=r'JPEG 2000.*Lossless.*pip install "medaug\[codecs\]"'):
        read_series(tmp_path)


def enhanced(paths: list[Path], out: Path, shuffle: bool = True) -> Path:
    """The slices as one legacy-converted enhanced CT, frames in another order."""
    from highdicom.legacy import LegacyConvertedEnhancedCTImage

    slices = [pydicom.dcmread(path) for path in (paths[::2] + paths[1::2] if shuffle else paths)]
    multi = LegacyConvertedEnhancedCTImage(
        slices, series_instance_uid=generate_uid(), series_number=2, sop_instance_uid=generate_uid(), instance_number=1
    )
    multi.save_as(out)
    return out


def test_a_multi_frame_file_is_the_same_volume_as_its_slices(tmp_path, dicom_series):
    orientation = np.array([[0.8, 0.6, 0.0], [-0.6, 0.8, 0.0]])
    values = ct((7, 5, 5))
    values[0, 0] = -3024
    paths = dicom_series(
        tmp_path / "slices",
        values,
        orientation=orientation,
        spacing_mm=(0.5, 0.75, 3),
        tags={"PixelPaddingValue": -2000},
    )
    single, multi = read_series(tmp_path / "slices"), read_series(enhanced(paths, tmp_path / "multi.dcm"))
    np.testing.assert_array_equal(multi.array, values)
    np.testing.assert_array_equal(multi.padding, single.padding)
    np.testing.assert_allclose(multi.affine, single.affine, atol=1e-6)
    assert multi.modality == "CT" and len(multi.headers) == 1 and multi.array.dtype == np.int16


def test_an_enhanced_file_without_a_frame_has_a_gap(tmp_path, dicom_series):
    paths = dicom_series(tmp_path / "slices", ct((7, 5, 6)))
    with pytest.raises(DataError, match="1 missing slice.*frame"):
        read_series(enhanced([*paths[:2], *paths[3:]], tmp_path / "multi.dcm"))


def test_axes_are_columns_then_rows(tmp_path, dicom_series):
    """`array[i, j]` is column i of row j, so that X runs along a row."""
    values = np.zeros((6, 3, 1), int)
    values[5, 0] = 100
    (path,) = dicom_series(tmp_path, values, orientation=AXIAL, modality="MR", intercept=0)
    assert pydicom.dcmread(path).pixel_array[0, 5] == 100 and read_series(path).array[5, 0] == 100


def test_a_plain_series_is_what_highdicom_makes_of_it(tmp_path, dicom_series):
    from highdicom.image import get_volume_from_series

    paths = dicom_series(tmp_path, ct(), orientation=SAGITTAL, spacing_mm=(0.5, 0.75, 3.0), origin_mm=(1, 2, 3))
    ours = read_series(tmp_path)
    theirs = get_volume_from_series([pydicom.dcmread(path) for path in reversed(paths)])  # (slice, row, column), LPS
    theirs = theirs.flip_spatial(0).permute_spatial_axes([2, 1, 0])
    np.testing.assert_array_equal(ours.array, theirs.array)
    np.testing.assert_allclose(ours.affine, np.diag([-1.0, -1.0, 1.0, 1.0]) @ theirs.affine, atol=1e-9)
