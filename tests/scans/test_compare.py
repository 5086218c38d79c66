"""`medaug compare`: the unit follows from the real image, and grids, units and masks are checked."""

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from medaug.audits.measures.similarity import HOUNSFIELD, ImagePair, similarity
from medaug.cli import app
from medaug.data.files import write_scan
from medaug.errors import DataError
from medaug.lesions.anatomy import body_of
from medaug.phantoms import abdomen_phantom
from medaug.volumes import Window

SHAPE, SPACING_MM = (48, 48, 8), (8.0, 8.0, 16.0)


@pytest.fixture(scope="module")
def cli():
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    return lambda *arguments: runner.invoke(app, ["compare", *map(str, arguments)])


@pytest.fixture(scope="module")
def ct() -> np.ndarray:
    return abdomen_phantom(2, shape=SHAPE, spacing_mm=SPACING_MM).images["contrast"].astype(np.float32)


@pytest.fixture
def write(tmp_path):
    """`write("a.nii.gz", array, "int16")`: the path."""

    def write(name: str, array: np.ndarray, dtype: str, shift_mm: float = 0.0) -> Path:
        affine = torch.diag(torch.tensor([*SPACING_MM, 1.0], dtype=torch.float64))
        affine[0, 3] = shift_mm
        tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))[None]
        write_scan(tmp_path / name, MetaTensor(tensor, affine=affine), dtype=dtype)
        return tmp_path / name

    return write


def test_a_ct_is_compared_in_hu_inside_its_body_with_tissues_and_pictures(cli, write, ct, tmp_path):
    real, synthetic = write("real.nii.gz", ct, "int16"), write("sct.nii.gz", ct + 20, "int16")
    result = cli(real, synthetic, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    for words in ("HU (-1024 to 3000)", "Mean absolute error", "MS-SSIM", "the body, found", "bone", "+20"):
        assert words in result.stdout
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    body = body_of(ct, Window(-1024, 3000, "HU"), SPACING_MM)
    assert found["voxels"] == body.sum() and found["unit"] == "HU" and found["bias"] == pytest.approx(20)
    expected = similarity([ImagePair(ct, ct + 20, body)], HOUNSFIELD)
    assert {key: found["scores"][key] for key in expected} == pytest.approx(expected)
    assert all(row["bias_hu"] == pytest.approx(20) for row in found["tissues"].values())
    for name in ("histogram", "bland_altman", "panel"):
        assert (tmp_path / "out" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert 'class="viewer"' in (tmp_path / "out" / "view.html").read_text()


def test_a_mask_says_where_and_json_is_printed_on_request(cli, write, ct, tmp_path):
    marked = np.zeros(SHAPE)
    marked[20:30, 20:30] = 1
    changed = np.where(marked, ct + 5, ct + 500)
    paths = write("r.nii.gz", ct, "int16"), write("s.nii.gz", changed, "int16")
    result = cli(*paths, "--mask", write("m.nii.gz", marked, "uint8"), "--json")
    found = json.loads(result.stdout)
    assert found["scores"]["mae"] == pytest.approx(5) and found["voxels"] == 800
    assert found["mask"] == str(tmp_path / "m.nii.gz")


def test_equal_images_have_an_infinite_psnr_and_valid_json(cli, write, ct):
    path = write("r.nii.gz", ct, "int16")
    assert "∞" in cli(path, path).stdout
    assert json.loads(cli(path, path, "--json").stdout)["scores"]["psnr"] is None


def test_eight_bit_pictures_are_grey_levels_and_never_hu(cli, write, ct):
    grey = 255 * (ct[..., 4].clip(-160, 240) + 160) / 400
    result = cli(write("r.png", grey, "uint8"), write("s.png", grey * 0.9, "uint8"))
    assert result.exit_code == 0, result.output
    assert "grey levels (0 to 255)" in result.stdout
    assert "HU" not in result.stdout and "bone" not in result.stdout and "tissue" not in result.stdout


def test_a_dicom_ct_is_in_hu_even_where_it_shows_no_air(cli, tmp_path):
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    tissue = dataset.pixel_array.clip(min=724)  # -300 HU
    dataset.PixelData = tissue.tobytes()
    dataset.save_as(tmp_path / "ct.dcm")
    assert dataset.RescaleIntercept == -1024 and dataset.RescaleSlope == 1
    found = json.loads(cli(tmp_path / "ct.dcm", tmp_path / "ct.dcm", "--json").stdout)
    assert found["unit"] == "HU" and "soft" in found["tissues"]


def test_other_images_have_arbitrary_units_and_the_range_of_the_real_one(cli, write, ct):
    mr = (ct - ct.min()) * 3
    found = json.loads(cli(write("r.nii.gz", mr, "float32"), write("s.nii.gz", mr * 1.1, "float32"), "--json").stdout)
    assert found["unit"] == "au" and "tissues" not in found and found["scale"][1] <= mr.max()


def test_images_that_cannot_be_compared_are_refused(cli, write, ct):
    real = write("r.nii.gz", ct, "int16")
    grey = write("g.nii.gz", ct - ct.min(), "float32")
    for arguments, words in (
        ((real, write("small.nii.gz", ct[:-2], "int16")), "found shape (46, 48, 8)"),
        ((real, write("moved.nii.gz", ct, "int16", shift_mm=3.0)), "voxels up to 3 mm away"),
        ((real, grey), "g.nii.gz: found intensities from 0 to"),
        ((grey, real), "r.nii.gz: found intensities down to"),
        ((real, real, "--mask", write("empty.nii.gz", ct * 0, "uint8")), "no voxel marked"),
        ((real, "missing.nii.gz"), "missing.nii.gz: found no such file"),
    ):
        result = cli(*arguments)
        assert result.exit_code == DataError.exit_code, result.output
        assert words in result.stderr
