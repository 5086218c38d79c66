"""Damaged and hostile image files: read, or refused by name; never another exception, never more memory than theirs."""

import bz2
import gzip
import io
import os
import struct
import time
import zlib

import nibabel
import nrrd
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import igzip
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless

from medaug.data.cache import open_array
from medaug.data.dicom.reading import read_series
from medaug.data.files import read_label, read_scan
from medaug.errors import ConfigError, DataError

from .fuzzing import damaged, fuzzed, refused, written

VALUES = np.random.RandomState(0).randint(0, 200, size=(6, 5, 4)).astype(np.int16)


def nifti(kind=nibabel.Nifti1Image):
    return kind(VALUES, np.diag([1.0, 2.0, 3.0, 1.0])).to_bytes()


def nrrd_of(**options):
    stream = io.BytesIO()
    header = {"space": "left-posterior-superior", "space directions": np.eye(3), "space origin": np.zeros(3)}
    nrrd.write(stream, VALUES, header | options)
    return stream.getvalue()


def meta_image(data=None, **changed):
    header = {
        "ObjectType": "Image", "NDims": 3, "BinaryData": True, "BinaryDataByteOrderMSB": False, "CompressedData": False,
        "Offset": "0 0 0", "ElementSpacing": "1 1 1", "DimSize": "6 5 4", "ElementType": "MET_SHORT",
    }  # fmt: skip
    header |= {"ElementDataFile": "LOCAL"} | changed
    header["ElementDataFile"] = header.pop("ElementDataFile")  # the last field
    text = "".join(f"{key} = {value}\n" for key, value in header.items())
    return text.encode() + (VALUES.tobytes(order="F") if data is None else data)


def picture(format_name, **options):
    stream = io.BytesIO()
    Image.fromarray(VALUES[..., 0].astype(np.uint8)).save(stream, format_name, **options)
    return stream.getvalue()


FILES = {
    "a.nii": (nifti(), 360),
    "b.nii": (nifti(nibabel.Nifti2Image), 550),
    "a.nii.gz": (gzip.compress(nifti()), 400),
    "raw.nrrd": (nrrd_of(encoding="raw"), 400),
    "text.nrrd": (nrrd_of(encoding="ascii"), 400),
    "gzip.nrrd": (nrrd_of(encoding="gzip"), 500),
    "bzip2.nrrd": (nrrd_of(encoding="bzip2"), 500),
    "a.mha": (meta_image(), 260),
    "zlib.mha": (meta_image(zlib.compress(VALUES.tobytes(order="F")), CompressedData=True), 260),
    "a.png": (picture("PNG"), 60),
    "a.jpg": (picture("JPEG"), 700),
    "a.tif": (picture("TIFF"), 400),
    "lzw.tif": (picture("TIFF", compression="tiff_lzw"), 400),
}


@pytest.mark.parametrize("name", FILES)
@fuzzed
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_by_name(tmp_path, name, data):
    path = written(tmp_path / name, data.draw(damaged(*FILES[name])))
    refused(lambda: read_scan(path), name)
    refused(lambda: read_label(path), name)


@fuzzed
@given(data=st.data())
def test_a_header_that_is_damaged_before_it_is_packed_is_read_or_refused(tmp_path, data):
    path = written(tmp_path / "a.nii.gz", igzip.compress(data.draw(damaged(nifti(), 360)), 1))
    refused(lambda: read_scan(path), "a.nii.gz")


@fuzzed
@given(data=st.data())
def test_a_damaged_series_is_read_or_refused(dicom, tmp_path, data):
    whole = dicom.read_bytes()
    path = written(tmp_path / "one.dcm", data.draw(damaged(whole, len(whole) - 40)))
    refused(lambda: read_scan(path), "one.dcm")
    written(tmp_path / "series" / "1.dcm", whole)
    written(tmp_path / "series" / "2.dcm", path.read_bytes())
    refused(lambda: read_series(tmp_path / "series"), "series", "2.dcm")


@fuzzed
@given(data=st.data())
def test_a_damaged_prepared_array_is_mapped_or_refused(tmp_path, data):
    stream = io.BytesIO()
    np.save(stream, np.asfortranarray(VALUES))
    written(tmp_path / "a.npy", data.draw(damaged(stream.getvalue(), 128)))
    refused(lambda: open_array(tmp_path, "a.npy").sum(), "a.npy")


@pytest.fixture(scope="module")
def dicom(dicom_series, tmp_path_factory):
    return dicom_series(tmp_path_factory.mktemp("dicom") / "s", VALUES[..., :1].astype(int))[0]


def huge_nifti(packed):
    header = bytearray(nifti())
    struct.pack_into("<8h", header, 40, 3, 10000, 10000, 10000, 1, 1, 1, 1)
    return gzip.compress(bytes(header)) if packed else bytes(header)


def bomb(declared, unpacked):
    """A .nii.gz that declares so many bytes of voxels and unpacks to so many."""
    header = bytearray(nifti()[:352])
    struct.pack_into("<8h", header, 40, 2, declared // 1000, 1000, 1, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 2, 8)
    return gzip.compress(bytes(header) + bytes(unpacked))


def huge_nrrd(encoding, data):
    sizes = b"10000 10000 10000"
    return b"NRRD0005\ntype: uint8\ndimension: 3\nsizes: " + sizes + b"\nencoding: " + encoding + b"\n\n" + data


def huge_png():
    """A kilobyte that declares 60,000 × 60,000."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    sizes = struct.pack(">IIBBBBB", 60000, 60000, 16, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", sizes) + chunk(b"IDAT", zlib.compress(bytes(900))) + chunk(b"IEND", b"")
    )


def deflated_dicom(whole):
    """A DICOM file of a deflated data set that unpacks to 200 MB."""
    plain, deflated = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"
    (length,) = struct.unpack("<L", whole[140:144])
    meta = whole[144 : 144 + length].replace(struct.pack("<H", len(plain)) + plain, struct.pack("<H", 22) + deflated)
    packer = zlib.compressobj(wbits=-15)
    return whole[:140] + struct.pack("<L", len(meta)) + meta + packer.compress(bytes(200 * 2**20)) + packer.flush()


def huge_dicom(syntax=RLELossless, **declared):
    """A compressed frame of a few bytes that declares more; a codec would allocate it first."""

    def made(whole):
        data = pydicom.dcmread(io.BytesIO(whole))
        if "NumberOfFrames" in declared:
            data.PerFrameFunctionalGroupsSequence = [pydicom.Dataset() for _ in range(declared["NumberOfFrames"])]
        sizes = [declared.get("Rows", data.Rows), declared.get("Columns", data.Columns)]
        stream = b"\xff\x4f\xff\x51" + struct.pack(">HHIIII", 41, 0, *sizes[::-1], 0, 0) + bytes(80)
        data.PixelData = encapsulate([stream])
        data["PixelData"].is_undefined_length = True
        data.file_meta.TransferSyntaxUID = syntax
        for keyword, value in declared.items():
            setattr(data, keyword, value)
        file = io.BytesIO()
        data.save_as(file)
        return file.getvalue()

    return made


BOMBS = {
    "plain.nii": lambda: huge_nifti(packed=False),
    "packed.nii.gz": lambda: huge_nifti(packed=True),
    "longer.nii.gz": lambda: bomb(declared=10**6, unpacked=200 * 2**20),
    "huge-raw.nrrd": lambda: huge_nrrd(b"raw", b"x" * 500),
    "huge-gzip.nrrd": lambda: huge_nrrd(b"gzip", gzip.compress(bytes(10**5))),
    "longer-bzip2.nrrd": lambda: huge_nrrd(b"bzip2", bz2.compress(bytes(200 * 2**20))).replace(b"10000", b"50"),
    "skipping.nrrd": lambda: huge_nrrd(b"raw", b"x" * 500).replace(b"\n\n", b"\nline skip: 999999999999\n\n"),
    "huge.mha": lambda: meta_image(DimSize="100000 100000 100"),
    "packed.mha": lambda: meta_image(DimSize="100000 100000 100", CompressedData=True),
    "twice.mha": lambda: meta_image(DimSize="6 5 4\nDimSize = 100000 100000 100"),
    "zeros.mha": lambda: meta_image(zlib.compress(bytes(200 * 2**20)), CompressedData=True),
    "channels.mha": lambda: meta_image(ElementNumberOfChannels=10**10),
    "huge.png": huge_png,
    "doubles.nrrd": lambda: (
        huge_nrrd(b"gzip", gzip.compress(os.urandom(2000)))
        .replace(b"10000 10000 10000", b"600 600 5")
        .replace(b"uint8", b"double\nendian: little")
    ),
    "deflated.dcm": lambda: deflated_dicom,
    "frames.dcm": lambda: huge_dicom(NumberOfFrames=5_000),
    "rle.dcm": lambda: huge_dicom(Rows=30_000, Columns=30_000),
    "j2k.dcm": lambda: huge_dicom(JPEG2000Lossless, Rows=30_000, Columns=30_000),
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="measures a forked process")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_little_time_and_memory(tmp_path, dicom, name):
    data = BOMBS[name]()
    path = written(tmp_path / name, data(dicom.read_bytes()) if callable(data) else data)
    assert path.stat().st_size < 2**20
    message, megabytes, seconds = measured(lambda: read_scan(path))
    assert name in message
    assert megabytes < 100 and seconds < 5, (megabytes, seconds)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="measures a forked process")
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.png", "a.tif", "slices"])
def test_an_image_beyond_the_limit_is_refused_before_it_takes_memory(tmp_path, dicom, monkeypatch, name):
    """Each holds the 64 MB that it declares; the limit is a setting, and without one the same files are read."""
    values, stream = np.zeros((4000, 4000), np.int32), io.BytesIO()
    if name == "a.nii.gz":
        stream.write(igzip.compress(nibabel.Nifti1Image(values, np.eye(4)).to_bytes(), 1))
    elif name == "a.nrrd":
        stream.write(huge_nrrd(b"gzip", igzip.compress(values, 1)).replace(b"10000 10000 10000", b"4000 4000 4"))
    else:
        Image.fromarray(values.astype(np.uint8)).save(stream, "PNG" if name == "a.png" else "TIFF")
    path = written(tmp_path / name, stream.getvalue())
    if name == "slices":
        path.unlink()
        written(path / "1.dcm", dicom.read_bytes())
    monkeypatch.setenv("MEDAUG_MAX_IMAGE_BYTES", "59" if name == "slices" else "10000000")
    message, megabytes, _ = measured(lambda: read_scan(path))
    assert name in message and "set the environment variable MEDAUG_MAX_IMAGE_BYTES" in message, message
    assert megabytes < 20
    monkeypatch.setenv("MEDAUG_MAX_IMAGE_BYTES", "4 GB")
    with pytest.raises(ConfigError, match=r"MEDAUG_MAX_IMAGE_BYTES: found 4 GB; expected a number of bytes"):
        read_scan(path)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
@pytest.mark.parametrize("name", ["a.nii", "b.nrrd", "c.mha", "d.png", "e.dcm", "no-ending", "labels/a.nii"])
def test_pipes_sockets_and_devices_are_refused_at_once(special, tmp_path, kind, name):
    path = special(kind, tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: found a .*{kind}; expected a file on the disk"):
        (read_label if "label" in name else read_scan)(path)


def measured(work):
    """(the DataError's message, by how many MB the peak memory grew, seconds), in a process of its own."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        before, started = peak_mb(), time.monotonic()
        try:
            work()
            message = "read"
        except DataError as error:
            message = str(error)
        except BaseException as error:
            message = f"traceback: {error!r}"
        os.write(writing, f"{peak_mb() - before:.0f} {time.monotonic() - started:.2f} {message}".encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        megabytes, seconds, message = stream.read().decode().split(" ", 2)
    os.waitpid(child, 0)
    return message, float(megabytes), float(seconds)


def peak_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def test_a_nrrd_header_cannot_read_another_file(tmp_path):
    secret = written(tmp_path / "secret.raw", bytes(range(120)))
    for field in (b"data file: ", b"datafile: "):
        header = b"NRRD0005\ntype: uint8\ndimension: 3\nsizes: 6 5 4\nencoding: raw\n" + field + str(secret).encode()
        with pytest.raises(DataError, match=r"a\.nrrd.*in another file"):
            read_scan(written(tmp_path / "a.nrrd", header + b"\n\n"))


@pytest.mark.parametrize(
    "name", ["{folder}/secret.raw", "../scans/secret.raw", "secret%d.raw 1 4 1", "LIST", "LIST 2D"]
)
def test_a_meta_image_header_cannot_read_another_file(tmp_path, name):
    written(tmp_path / "scans" / "secret.raw", VALUES.tobytes())
    header = meta_image(b"secret.raw\n" * 4, ElementDataFile=name.format(folder=tmp_path / "scans"))
    with pytest.raises(DataError, match=r"a\.mhd.*expected LOCAL, or one file beside it"):
        read_scan(written(tmp_path / "scans" / "a.mhd", header))


def test_a_meta_image_header_reads_the_file_beside_it(tmp_path):
    written(tmp_path / "a.raw", VALUES.tobytes(order="F"))
    scan = read_scan(written(tmp_path / "a.mhd", meta_image(b"", ElementDataFile="a.raw")))
    np.testing.assert_array_equal(scan.as_tensor()[0].numpy(), VALUES)


def test_a_packed_meta_image_of_any_type_byte_order_and_channels_is_read(tmp_path):
    for kind, name, packing in (
        ("<i2", "SHORT", zlib.compress),
        (">u4", "ULONG", gzip.compress),
        (">f8", "DOUBLE", bytes),
    ):
        data = np.stack([VALUES, VALUES + 1]).astype(kind).tobytes(order="F")
        header = {"ElementType": f"MET_{name}", "ElementNumberOfChannels": 2, "BinaryDataByteOrderMSB": kind[0] == ">"}
        packed = packing is not bytes
        scan = read_scan(
            written(tmp_path / "a.mha", meta_image(packing(data), CompressedData=packed, **header)), channel=1
        )
        np.testing.assert_array_equal(scan.as_tensor()[0].numpy(), VALUES + 1)


RAW = VALUES.tobytes(order="F")
PACKED = zlib.compress(np.random.RandomState(1).bytes(len(RAW)))
BROKEN_META_IMAGES = {
    "no dimensions": (RAW, {"NDims": -1}),
    "99 dimensions": (RAW, {"NDims": 99}),
    "more than there is memory for": (RAW, {"NDims": 10**9}),
    "more dimensions than sizes": (RAW, {"DimSize": "6 20"}),
    "a size below one": (RAW, {"DimSize": "6 -5 -4"}),
    "an unknown type": (RAW, {"ElementType": "MET_SHORT_ARRAY"}),
    "no channels": (RAW, {"ElementNumberOfChannels": 0}),
    "an axis of two numbers": (RAW, {"TransformMatrix": "1 0 0 1"}),
    "no voxel size": (RAW, {"ElementSpacing": "1 0 1"}),
    "text": (RAW, {"BinaryData": False}),
    "a longer type": (RAW, {"ElementType": "MET_INT"}),
    "raw data cut off": (RAW[:-1], {}),
    "packed data cut off": (PACKED[:-8], {"CompressedData": True}),
    "packed data without a checksum": (PACKED[:-4], {"CompressedData": True}),
    "damaged packed data": (PACKED[:60] + b"\0\xff" + PACKED[62:], {"CompressedData": True}),
    "a packed size that cuts": (PACKED, {"CompressedData": True, "CompressedDataSize": len(PACKED) - 9}),
    "packed data of a smaller image": (PACKED, {"CompressedData": True, "DimSize": "6 5 5"}),
    "packed data of a larger image": (PACKED, {"CompressedData": True, "DimSize": "6 5 3"}),
}


@pytest.mark.parametrize("broken", BROKEN_META_IMAGES)
def test_a_meta_image_is_never_filled_in_part(tmp_path, broken):
    data, changed = BROKEN_META_IMAGES[broken]
    with pytest.raises(DataError, match=r"a\.mha: found a damaged or foreign file"):
        read_scan(written(tmp_path / "a.mha", meta_image(data, **changed)))


@pytest.mark.parametrize("encoding", ["raw", "ascii", "gzip", "bzip2"])
def test_every_encoding_of_nrrd_gives_the_same_values(tmp_path, encoding):
    scan = read_scan(written(tmp_path / "a.nrrd", nrrd_of(encoding=encoding)))
    np.testing.assert_array_equal(scan.as_tensor()[0].numpy(), VALUES)


def test_a_gzip_of_several_members_and_a_padded_one_are_read(tmp_path):
    whole = nifti()
    for data in (gzip.compress(whole[:300]) + gzip.compress(whole[300:]), gzip.compress(whole + bytes(512))):
        scan = read_scan(written(tmp_path / "a.nii.gz", data))
        np.testing.assert_array_equal(scan.as_tensor()[0].numpy(), VALUES)


def test_an_array_of_another_folder_is_not_opened(tmp_path):
    np.save(tmp_path / "secret.npy", VALUES)
    (tmp_path / "prepared").mkdir()
    for relative in ("../secret.npy", str(tmp_path / "secret.npy")):
        with pytest.raises(DataError, match="another folder"):
            open_array(tmp_path / "prepared", relative)
