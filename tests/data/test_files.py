"""One scan in, one scan out, in every format, and what is refused."""

import gzip
import os
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image, TiffImagePlugin

from medaug.data.files import StoredScan, read_label, read_scan, write_channels, write_scan
from medaug.errors import DataError, RunError

BRATS = Path(os.environ.get("MEDAUG_DATA", Path(__file__).parents[3] / "shared" / "data")) / "brats"

AFFINE = np.array([[-1.2, 1.2, 0, 12.0], [-0.9, -1.6, 0, -7.5], [0, 0, 3.0, 4.25], [0, 0, 0, 1.0]])
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS to LPS and back


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.RandomState(0).randint(-1000, 3000, size=(7, 6, 5)).astype(np.int16)


def write_nrrd(path, volume, affine, space="left-posterior-superior"):
    lps = FLIP @ affine if space.startswith("left-post") else affine
    header = {"space": space, "space directions": lps[:3, :3].T, "space origin": lps[:3, 3]}
    nrrd.write(str(path), volume, header)


def write_mha(path, volume, affine, cut=0):
    lps = FLIP @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = (lps[:3, :3] / spacing).T.reshape(-1)  # the file lists it axis by axis
    header = {
        "ObjectType": "Image", "NDims": 3, "BinaryData": True, "BinaryDataByteOrderMSB": False, "CompressedData": False,
        "TransformMatrix": " ".join(map(repr, direction.tolist())), "Offset": " ".join(map(str, lps[:3, 3])),
        "ElementSpacing": " ".join(map(repr, spacing.tolist())), "DimSize": " ".join(map(str, volume.shape)),
        "ElementType": "MET_SHORT", "ElementDataFile": "LOCAL",
    }  # fmt: skip
    text = "".join(f"{key} = {value}\n" for key, value in header.items())
    data = volume.tobytes(order="F")
    path.write_bytes(text.encode() + data[: len(data) - cut])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ"])
def test_nifti_round_trip_keeps_values_affine_and_type(tmp_path, volume, name):
    write_scan(tmp_path / name, volume[None], AFFINE)
    scan = read_scan(tmp_path / name)
    assert isinstance(scan, MetaTensor) and scan.dtype == torch.float32 and scan.shape == (1, 7, 6, 5)
    np.testing.assert_array_equal(scan.as_tensor()[0].numpy(), volume)
    np.testing.assert_allclose(scan.affine.numpy(), AFFINE, atol=1e-6)
    assert scan.meta["dtype"] == "int16" and scan.meta["spacing_known"] and scan.meta["path"] == str(tmp_path / name)


@pytest.mark.parametrize("writer", ["lps.nrrd", "ras.nrrd", "a.mha"])
def test_nrrd_and_metaimage_agree_with_nifti(tmp_path, volume, writer):
    affine = AFFINE.copy()
    affine[:2, :2] = np.diag([-1.5, -2.0])
    write_scan(tmp_path / "a.nii.gz", volume[None], affine)
    path = tmp_path / writer
    if writer == "a.mha":
        write_mha(path, volume, affine)
    else:
        write_nrrd(path, volume, affine, "right-anterior-superior" if writer[0] == "r" else "left-posterior-superior")
    expected, scan = read_scan(tmp_path / "a.nii.gz"), read_scan(path)
    assert torch.equal(scan.as_tensor(), expected.as_tensor())
    np.testing.assert_allclose(scan.affine.numpy(), expected.affine.numpy(), atol=1e-5)
    assert scan.meta["dtype"] == "int16"


def test_an_oblique_nrrd_keeps_its_affine(tmp_path, volume):
    write_nrrd(tmp_path / "a.nrrd", volume, AFFINE)
    np.testing.assert_allclose(read_scan(tmp_path / "a.nrrd").affine.numpy(), AFFINE, atol=1e-9)


def test_a_nrrd_without_geometry_has_no_known_spacing(tmp_path, volume):
    nrrd.write(str(tmp_path / "a.nrrd"), volume)
    assert read_scan(tmp_path / "a.nrrd").meta["spacing_known"] is False


def test_scaled_nifti_values_are_in_the_scans_unit(tmp_path, volume):
    image = nibabel.Nifti1Image(volume, np.eye(4))
    image.header.set_slope_inter(2.0, -1024.0)
    nibabel.save(image, tmp_path / "a.nii.gz")
    stored = nibabel.load(tmp_path / "a.nii.gz").get_fdata()
    np.testing.assert_allclose(read_scan(tmp_path / "a.nii.gz").as_tensor()[0].numpy(), stored)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_nifti_header_with_a_history_of_any_length_is_read(tmp_path, volume, kind, ending):
    """As AFNI writes it, into the scans of BraTS for example."""
    image = kind(volume, np.diag([1.0, 2.0, 3.0, 1.0]))
    for length in (3, 5000):
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("afni", b"h" * length))
    image.to_filename(tmp_path / f"scan{ending}")
    scan = read_scan(tmp_path / f"scan{ending}")
    np.testing.assert_array_equal(scan[0].numpy(), volume)
    np.testing.assert_array_equal(scan.affine.numpy(), image.affine)


@pytest.mark.parametrize("keep", [0.5, 0.98])
def test_a_truncated_gzip_names_the_file(tmp_path, volume, keep):
    write_scan(tmp_path / "a.nii.gz", volume[None])
    data = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(data[: int(keep * len(data))])
    with pytest.raises(DataError, match=r"a\.nii\.gz: found a damaged"):
        read_scan(tmp_path / "a.nii.gz")


def test_other_damaged_nifti_files_are_data_errors(tmp_path, volume):
    write_scan(tmp_path / "whole.nii", volume[None])
    data = (tmp_path / "whole.nii").read_bytes()
    for name, content in {
        "short.nii": data[:-10], "header.nii": data[:100], "text.nii.gz": b"not an image" * 50, "gzip.nii.gz":
        gzip.compress(b"not an image" * 50), "empty.nii.gz": b"",
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            read_scan(tmp_path / name)


def test_a_file_of_several_volumes_needs_a_channel(tmp_path, volume):
    write_channels(tmp_path / "a.nii.gz", np.stack([volume, volume + 1, volume + 2]), AFFINE)
    with pytest.raises(DataError, match=r"3 different channels.*--sequence"):
        read_scan(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_scan(tmp_path / "a.nii.gz", channel=2).as_tensor()[0].numpy(), volume + 2)
    with pytest.raises(DataError, match="Choose one of 0, 1, 2"):
        read_scan(tmp_path / "a.nii.gz", channel=3)


@pytest.mark.parametrize("shape", [(7, 6, 1), (7, 6, 1, 1), (7, 6)])
def test_trailing_axes_of_length_one_are_dropped(tmp_path, shape):
    nibabel.save(nibabel.Nifti1Image(np.arange(42, dtype=np.int16).reshape(shape), AFFINE), tmp_path / "a.nii")
    scan = read_scan(tmp_path / "a.nii")
    assert scan.shape == (1, 7, 6)
    np.testing.assert_allclose(scan.affine.numpy(), AFFINE, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(tmp_path, bad):
    array = np.zeros((4, 4, 4), dtype=np.float32)
    array[1, 2, 3] = bad
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match=r"a\.nii\.gz: found 1 voxels that are NaN"):
        read_scan(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("padding", [-32768, -3.4028234663852886e38, -1.7976931348623157e308, 1e300, -1e300, 65535])
def test_padding_is_background_and_said(tmp_path, padding, caplog):
    image = np.random.RandomState(0).rand(8, 8, 8) * 1000 + 3
    expected = image.copy()
    expected[0] = image[1:].min()
    image[0] = padding
    nibabel.save(nibabel.Nifti1Image(image, AFFINE), tmp_path / "a.nii")
    scan = read_scan(tmp_path / "a.nii")
    np.testing.assert_array_equal(scan[0].numpy(), expected.astype(np.float32))
    assert "a.nii: 64 voxels of padding" in caplog.text
    image[:] = padding
    nibabel.save(nibabel.Nifti1Image(image, AFFINE), tmp_path / "b.nii")
    if abs(padding) > 1e30:
        with pytest.raises(DataError, match="nothing but padding"):
            read_scan(tmp_path / "b.nii")


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pictures_are_column_by_row_and_have_no_spacing(tmp_path, name, dtype):
    rows = np.arange(12).reshape(3, 4).astype(dtype)  # 3 rows, 4 columns
    Image.fromarray(rows).save(tmp_path / name)
    scan = read_scan(tmp_path / name)
    np.testing.assert_array_equal(scan.as_tensor()[0].numpy(), rows.T)
    assert scan.meta["dtype"] == dtype and scan.meta["spacing_known"] is False
    write_scan(tmp_path / f"again-{name}", scan, dtype=dtype)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"again-{name}")), rows)


def test_a_colour_picture_needs_a_channel_unless_it_is_grey(tmp_path):
    grey = np.random.RandomState(0).randint(0, 255, (5, 4)).astype(np.uint8)
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([grey, grey + 1, grey], -1)).save(tmp_path / "colour.tif", compression="tiff_lzw")
    Image.fromarray(np.stack([grey] * 3 + [np.full_like(grey, 255)], -1)).save(tmp_path / "alpha.png")
    for name in ("grey.png", "alpha.png"):
        np.testing.assert_array_equal(read_scan(tmp_path / name).as_tensor()[0].numpy(), grey.T)
    with pytest.raises(DataError, match=r"channels \(0, 1, 2.*--sequence"):
        read_scan(tmp_path / "colour.tif")
    np.testing.assert_array_equal(read_scan(tmp_path / "colour.tif", channel=1).as_tensor()[0].numpy(), (grey + 1).T)


def test_an_unreadable_tiff_names_the_file_and_keeps_stderr_quiet(tmp_path, capfd):
    noise = np.random.RandomState(0).randint(0, 255, (64, 64)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.tif", compression="tiff_lzw")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    offset = Image.open(tmp_path / "a.tif").tag_v2[273][0]
    data[offset + 200 : offset + 600] = b"\xff" * 400
    (tmp_path / "a.tif").write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"a\.tif: found a damaged"):
        read_scan(tmp_path / "a.tif")
    assert capfd.readouterr().err == ""


def test_an_error_the_decoder_only_prints_still_refuses_the_file(tmp_path, monkeypatch, capfd):
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / "a.tif")
    load = TiffImagePlugin.TiffImageFile.load
    printed = [b"TIFFReadDirectory: Warning, unknown field.\n", b"a line of another thread\n"]

    def load_and_print(picture):
        while printed:  # Pillow calls load again later
            os.write(2, printed.pop())
        return load(picture)

    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "load", load_and_print)
    read_scan(tmp_path / "a.tif")
    assert capfd.readouterr().err == "a line of another thread\n"
    printed.append(b"LZWDecode: Strip 0 not terminated with EOI code.\n")
    with pytest.raises(DataError, match="not terminated"):
        read_scan(tmp_path / "a.tif")


def test_a_stack_of_pages_is_refused(tmp_path):
    pages = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (1, 2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match="stack of 2 pages"):
        read_scan(tmp_path / "a.tif")


def test_unknown_endings_list_the_known_ones_and_missing_files_are_named(tmp_path):
    (tmp_path / "a.bmp").write_bytes(b"BM")
    with pytest.raises(DataError, match=r"'\.bmp'.*\.nii\.gz.*\.tif"):
        read_scan(tmp_path / "a.bmp")
    with pytest.raises(DataError, match="no such file"):
        read_scan(tmp_path / "b.nii.gz")
    with pytest.raises(DataError, match="a folder"):
        read_scan(tmp_path)


def test_labels_keep_their_stored_values(tmp_path, volume):
    mask = (np.arange(12).reshape(3, 4) > 5).astype(np.uint8) * 255
    Image.fromarray(mask).save(tmp_path / "mask.tif")
    label = read_label(tmp_path / "mask.tif")
    assert label.dtype == torch.uint8
    np.testing.assert_array_equal(label.as_tensor()[0].numpy(), mask.T)
    write_scan(tmp_path / "seg.nii.gz", (volume % 5).astype(np.float32)[None])
    assert read_label(tmp_path / "seg.nii.gz").unique().tolist() == [0, 1, 2, 3, 4]
    write_scan(tmp_path / "signed.nii.gz", volume[None])
    assert read_label(tmp_path / "signed.nii.gz").dtype == torch.int16


def test_a_palette_label_is_its_indices(tmp_path):
    picture = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode="P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "a.png")
    assert read_label(tmp_path / "a.png").as_tensor()[0].T.tolist() == [[0, 1], [2, 1]]


def test_labels_that_cannot_be_labels_are_refused(tmp_path):
    write_scan(tmp_path / "soft.nii.gz", np.linspace(0, 1, 27, dtype=np.float32).reshape(1, 3, 3, 3))
    with pytest.raises(DataError, match="not whole numbers"):
        read_label(tmp_path / "soft.nii.gz")
    write_scan(tmp_path / "large.nii.gz", np.full((1, 3, 3, 3), 40000, np.int32))
    with pytest.raises(DataError, match="16 bits"):
        read_label(tmp_path / "large.nii.gz")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="JPEG"):
        read_label(tmp_path / "a.jpg")


def test_writing_whole_numbers_rounds_and_clips(tmp_path):
    write_scan(tmp_path / "a.nii.gz", np.array([[[-3.0, 1.5001, 254.6, 300.0]]], np.float32), dtype="uint8")
    scan = read_scan(tmp_path / "a.nii.gz")
    assert scan.meta["dtype"] == "uint8"
    assert scan.flatten().tolist() == [0.0, 2.0, 255.0, 255.0]


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("mm", 1), ("micron", 1e3), ("unknown", 1)])
def test_the_unit_of_a_header_counts(tmp_path, volume, unit, factor):
    image = nibabel.Nifti1Image(volume, np.diag([factor, factor, factor, 1]) @ AFFINE)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii.gz")
    scan = read_scan(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(scan.affine.numpy(), AFFINE, atol=1e-5)
    StoredScan(scan).write_edited(tmp_path / "b.nii.gz", scan)
    written = nibabel.load(tmp_path / "b.nii.gz")
    np.testing.assert_allclose(written.affine, AFFINE, atol=1e-5)
    assert written.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(written.header.get_zooms(), np.linalg.norm(AFFINE[:3, :3], axis=0), rtol=1e-6)


def test_the_units_of_nrrd_and_metaimage_count_too(tmp_path, volume):
    finer = np.diag([1000, 1000, 1000, 1]) @ AFFINE
    lps = FLIP @ finer
    header = {"space": "left-posterior-superior", "space directions": lps[:3, :3].T, "space origin": lps[:3, 3]}
    nrrd.write(str(tmp_path / "a.nrrd"), volume, header | {"space units": ["um", "um", "um"]})
    write_mha(tmp_path / "a.mha", volume, finer)
    data = (tmp_path / "a.mha").read_bytes()
    (tmp_path / "a.mha").write_bytes(data.replace(b"NDims", b"DistanceUnits = um\nNDims", 1))
    for name in ("a.nrrd", "a.mha"):
        np.testing.assert_allclose(read_scan(tmp_path / name).affine.numpy(), AFFINE, atol=1e-9)


KINDS = [
    ("uint8", 1), ("int16", 1), ("int16", 0.37), ("int32", 1), ("uint32", 1), ("int64", 1), ("float32", 1),
    ("float64", 1),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "slope"), KINDS)
@pytest.mark.parametrize("suffix", [".nii", ".nrrd"])
def test_voxels_that_were_not_edited_keep_their_stored_values(tmp_path, dtype, slope, suffix):
    values = np.random.RandomState(0).rand(5, 4, 3) * min(np.iinfo(dtype).max if dtype[0] != "f" else 1e9, 2**52)
    stored, path = values.astype(dtype), tmp_path / f"a{suffix}"
    if suffix == ".nrrd":
        write_nrrd(path, stored, AFFINE)
    else:
        image = nibabel.Nifti1Image(stored, AFFINE, dtype=dtype)
        image.header.set_slope_inter(slope, 5 * (slope - 1))
        nibabel.save(image, path)
    scan = read_scan(path)
    edited = scan.clone()
    edited[0, 1, 2, :] = scan[0, 0, 0, 0]
    StoredScan(scan).write_edited(tmp_path / "b.nii.gz", edited)
    written = nibabel.load(tmp_path / "b.nii.gz")
    assert written.get_data_dtype() == dtype
    assert suffix == ".nrrd" or written.dataobj.slope == np.float32(slope)
    array = np.asarray(written.dataobj.get_unscaled())
    expected = stored.copy()
    np.testing.assert_allclose(array[1, 2].astype(float), float(stored[0, 0, 0]), rtol=1e-6)
    expected[1, 2] = array[1, 2]
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("codes", [(2, 1), (4, 4), (1, 0), (0, 1), (0, 0)])
@pytest.mark.parametrize("shape", [(7, 6, 5), (7, 6, 1), (7, 6), (7, 6, 5, 1)])
def test_what_is_made_of_a_scan_has_its_forms_codes_and_axes(tmp_path, codes, shape):
    image = nibabel.Nifti1Image(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), AFFINE)
    moved = AFFINE.copy()
    moved[0, 3] += 5
    image.set_sform(AFFINE, codes[0])
    image.set_qform(moved, codes[1])
    image.header["descrip"] = "Doe^Jane"
    nibabel.save(image, tmp_path / "a.nii.gz")
    scan = read_scan(tmp_path / "a.nii.gz")
    stored = StoredScan(scan)
    stored.write_edited(tmp_path / "image.nii.gz", scan + 1)
    stored.write(tmp_path / "label.nii", (scan > 9).to(torch.uint8), "uint8")
    for name in ("image.nii.gz", "label.nii"):
        written = nibabel.load(tmp_path / name)
        assert written.shape == shape[:3] and written.header["descrip"] == b""
        for form in ("sform", "qform"):
            assert written.header[f"{form}_code"] == image.header[f"{form}_code"]
            np.testing.assert_array_equal(getattr(written, f"get_{form}")(), getattr(image, f"get_{form}")())
        np.testing.assert_allclose(read_scan(tmp_path / name).affine, scan.affine)


def test_a_slice_is_written_as_a_volume_which_keeps_its_place(tmp_path, volume):
    write_scan(tmp_path / "a.nii", volume[None, ..., 0], AFFINE)
    assert nibabel.load(tmp_path / "a.nii").shape == (7, 6, 1)


@pytest.mark.parametrize("depth", [1, 5])
def test_a_shear_is_refused(tmp_path, volume, depth):
    sheared = AFFINE.copy()
    sheared[:3, 2] += 0.1 * AFFINE[:3, 0]
    image = nibabel.Nifti1Image(volume[..., :depth], sheared)
    nibabel.save(image, tmp_path / "a.nii")
    if depth == 1:  # nothing lies along the third axis
        read_scan(tmp_path / "a.nii")
        return
    with pytest.raises(DataError, match=r"a\.nii: found axes that stand 87\.1 degrees.*a shear"):
        read_scan(tmp_path / "a.nii")


def test_equal_scans_are_equal_files(tmp_path, volume):
    for name in ("a", "b"):
        write_scan(tmp_path / f"{name}.nii.gz", volume[None], AFFINE)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_metatensor_is_written_with_its_own_affine(tmp_path, volume):
    image = MetaTensor(torch.from_numpy(volume)[None], affine=torch.from_numpy(AFFINE))
    write_scan(tmp_path / "a.nii.gz", image)
    np.testing.assert_allclose(read_scan(tmp_path / "a.nii.gz").affine.numpy(), AFFINE, atol=1e-6)


def test_what_cannot_be_written_is_refused_before_anything_is_touched(tmp_path, volume):
    for name, image, dtype in (
        ("a.jpg", volume[:, :, 0][None], "uint8"), ("a.png", volume[None], "uint8"),
        ("a.png", np.zeros((1, 4, 4, 3), np.uint8), None), ("a.png", np.zeros((1, 4, 4), np.float32), None),
        ("a.nii", volume, None), ("a.nii", np.full((1, 4, 4), np.nan), "uint8"),
        ("a.nii", np.full((1, 4, 4), 2**40), None),
    ):  # fmt: skip
        with pytest.raises(DataError, match=name):
            write_scan(tmp_path / name, image, dtype=dtype)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_earlier_scan(tmp_path, volume, monkeypatch):
    write_scan(tmp_path / "a.nii.gz", volume[None])
    before = (tmp_path / "a.nii.gz").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(RunError, match="Free some space"):
        write_scan(tmp_path / "a.nii.gz", volume[None] + 1)
    assert (tmp_path / "a.nii.gz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii.gz"]


def test_real_scans_are_read_as_nibabel_reads_them():
    scans = sorted(BRATS.glob("*_20_1/*.nii.gz"))
    if not scans:
        pytest.skip("no BraTS scans; set MEDAUG_DATA to a folder with brats/")
    for path in scans:
        scan, expected = read_scan(path), nibabel.load(path)
        np.testing.assert_array_equal(scan[0].numpy(), expected.get_fdata(dtype=np.float32))
        np.testing.assert_array_equal(scan.affine.numpy(), expected.affine)
