"""`medaug synth-ct`: from NIfTI to NIfTI, from a DICOM series to a DICOM series, with what is refused."""

import shutil
import subprocess
import sys
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from medaug.cli import app
from medaug.config.files import load_config
from medaug.data.atomic import read_json
from medaug.data.dicom.reading import read_series
from medaug.data.files import read_scan
from medaug.errors import ConfigError, DataError, RunError, WeightsError
from medaug.models.methods import build_translator
from medaug.models.weights import load_weights, save_translator
from medaug.phantoms import phantoms
from medaug.stages.pipeline import run_pipeline
from medaug.transforms import TranslateDomain
from medaug.volumes import Domain, Window

SPACING_MM = (12.0, 12.0, 24.0)
TINY = (
    "data.phantoms.patients=4",
    "data.phantoms.shape=[32,32,6]",
    f"data.phantoms.spacing_mm={list(SPACING_MM)}",
    "split.train=2",
    "split.validation=1",
    "training.steps=1",
    "training.batch_size=2",
    "training.workers=0",
    "translator.type=pix2pix",
    "translator.width=4",
    "translator.depth=2",
    "translator.discriminator_width=4",
    "translator.discriminator_layers=1",
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """MR-like abdomen to CT, one step."""
    config = load_config(None, list(TINY), {"domain": "ct"})
    return run_pipeline(config, tmp_path_factory.mktemp("synth-ct") / "run", until="train").weights


@pytest.fixture(scope="module")
def ct_weights(tmp_path_factory):
    """Contrast CT to non-contrast CT."""
    settings = [*TINY, "data.sequence=contrast", "target.sequence=noncontrast", "data.modality=CT"]
    config = load_config(None, settings, {"domain": "ct"})
    return run_pipeline(config, tmp_path_factory.mktemp("synth-ct") / "ct", until="train").weights


@pytest.fixture(scope="module")
def phantom():
    return next(iter(phantoms("abdomen", 1, seed=9, shape=(32, 32, 6), spacing_mm=SPACING_MM)))


@pytest.fixture(scope="module")
def mr_series(dicom_series, tmp_path_factory, phantom):
    """The phantom's MR as a DICOM series of Jane Doe."""
    folder = tmp_path_factory.mktemp("mr") / "doe_jane"
    mr = phantom.images["mr"].round()
    dicom_series(folder, mr, modality="MR", intercept=0.0, spacing_mm=SPACING_MM, patient="patient-4711")
    return folder


@pytest.fixture(scope="module")
def ct_series(dicom_series, tmp_path_factory, phantom):
    folder = tmp_path_factory.mktemp("ct") / "ct"
    dicom_series(folder, phantom.images["contrast"].round(), spacing_mm=SPACING_MM)
    return folder


@pytest.fixture(scope="module")
def mr_nifti(tmp_path_factory, phantom):
    path = tmp_path_factory.mktemp("nifti") / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(phantom.images["mr"].astype(np.float32), phantom.affine), path)
    return path


@pytest.fixture(scope="module")
def cli():
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    return lambda *arguments: runner.invoke(app, ["synth-ct", *map(str, arguments)])


def succeeded(result):
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_a_nifti_becomes_a_ct_in_hu_on_the_same_grid(cli, mr_nifti, weights, tmp_path):
    paths = succeeded(cli(mr_nifti, "--weights", weights, "--out", tmp_path / "out"))
    endings = ("nii.gz", "png", "json", "html")
    assert [path.rpartition("/")[2] for path in paths] == [f"scan_synthetic.{ending}" for ending in endings]
    made, before = nibabel.load(paths[0]), nibabel.load(mr_nifti)
    assert made.get_data_dtype() == np.int16 and np.asarray(made.dataobj).min() == -1024
    np.testing.assert_allclose(made.affine, before.affine)
    facts = read_json(paths[2])
    assert (facts["direction"], facts["to"], facts["unit"], facts["scan"]) == ("a2b", "contrast", "HU", "scan.nii.gz")
    assert facts["weights"] == load_weights(weights).facts.sha256


def test_a_dicom_series_becomes_a_dicom_series_in_the_same_study(cli, mr_series, weights, tmp_path):
    folder, picture, manifest, page = succeeded(cli(mr_series, "--weights", weights, "--out", tmp_path / "out"))
    made, before = read_series(folder), read_series(mr_series)
    assert (made.modality, made.array.dtype, made.array.shape) == ("CT", np.int16, before.array.shape)
    np.testing.assert_allclose(made.affine, before.affine, atol=1e-9)
    header = made.headers[0]
    assert header.StudyInstanceUID == before.headers[0].StudyInstanceUID and header.PatientID == "patient-4711"
    assert header.SeriesDescription == "CT from MR, synthetic, not for diagnosis"
    assert read_json(manifest)["weights"] in header.DerivationDescription
    assert Path(picture).read_bytes().startswith(b"\x89PNG")
    assert "patient-4711" not in Path(page).read_text()


def test_dicom_and_nifti_hold_the_same_voxels(cli, mr_series, weights, tmp_path):
    dicom, *_ = succeeded(cli(mr_series, "--weights", weights, "--out", tmp_path / "a"))
    nifti, *_ = succeeded(cli(mr_series, "--weights", weights, "--out", tmp_path / "b", "--format", "nifti"))
    volume, image = read_series(dicom), read_scan(nifti)
    np.testing.assert_array_equal(volume.array, image.numpy()[0])
    np.testing.assert_allclose(volume.affine, image.affine.numpy(), atol=1e-5)


def test_a_single_dicom_file_becomes_a_series_of_one(cli, mr_series, weights, tmp_path):
    folder, *_ = succeeded(cli(mr_series / "slice_3.dcm", "--weights", weights, "--out", tmp_path / "out"))
    made = read_series(folder)
    assert made.array.shape == (32, 32) and folder.endswith("slice_3_synthetic")
    np.testing.assert_allclose(made.affine, read_series(mr_series / "slice_3.dcm").affine, atol=1e-9)


def test_ct_to_ct_keeps_what_lies_outside_the_body(cli, ct_series, ct_weights, phantom, tmp_path):
    body = tmp_path / "body.nii.gz"
    mask = np.zeros(phantom.images["contrast"].shape, np.uint8)
    mask[8:24, 8:24] = 1
    before = read_series(ct_series)
    nibabel.save(nibabel.Nifti1Image(mask, before.affine), body)
    options = ("--mask", body, "--direction", "a2b")
    folder, *_ = succeeded(cli(ct_series, "--weights", ct_weights, "--out", tmp_path / "out", *options))
    made = read_series(folder)
    np.testing.assert_array_equal(made.array[mask == 0], before.array[mask == 0])
    assert (made.array[mask == 1] != before.array[mask == 1]).any()


def test_mr_from_ct_is_stored_by_a_scale_that_the_manifest_tells(cli, ct_series, weights, tmp_path):
    back = ("--out", tmp_path / "out", "--direction", "b2a")
    folder, _, manifest, _ = succeeded(cli(ct_series, "--weights", weights, *back))
    made, scale = read_series(folder), read_json(manifest)["stored_scale"]
    assert made.modality == "MR" and (made.array.min(), made.array.max()) == (0, scale["stored_high"])
    assert 0 <= scale["low"] < scale["high"] <= 1


@pytest.mark.parametrize("turned", [False, True])
def test_a_label_comes_along_as_dicom_seg(cli, mr_series, weights, tmp_path, turned):
    """A label of which rows run the other way, as dcm2niix writes them, lies on the same voxels."""
    before = read_series(mr_series)
    label = np.random.RandomState(1).choice([0, 1, 4], before.array.shape).astype(np.uint8)
    image = nibabel.Nifti1Image(label, before.affine)
    if turned:
        back = np.array([[1, 0, 0, 0], [0, -1, 0, label.shape[1] - 1], [0, 0, 1, 0], [0, 0, 0, 1]])
        image = nibabel.Nifti1Image(label[:, ::-1], before.affine @ back)
    nibabel.save(image, tmp_path / "label.nii.gz")
    named = ("--segmentation", tmp_path / "label.nii.gz", "--name", "1=liver", "--name", "4=tumor")
    folder, file, *_ = succeeded(cli(mr_series, "--weights", weights, "--out", tmp_path / "out", *named))
    seg, made = highdicom.seg.segread(file), read_series(folder)
    pixels = seg.get_pixels_by_source_instance([h.SOPInstanceUID for h in made.headers], combine_segments=True)
    np.testing.assert_array_equal(np.array([0, 1, 4])[pixels].transpose(2, 1, 0), label)
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["liver", "tumor"]


def test_de_identified_output_tells_the_patient_nowhere(cli, mr_series, weights, tmp_path):
    before = read_series(mr_series)
    nibabel.save(nibabel.Nifti1Image((before.array > 50).astype(np.uint8), before.affine), tmp_path / "label.nii.gz")
    options = ("--deidentify", "--segmentation", tmp_path / "label.nii.gz")
    succeeded(cli(mr_series, "--weights", weights, "--out", tmp_path / "out", *options))
    header = before.headers[0]
    secrets = ("Doe^Jane", "doe_jane", "patient-4711", "19700101", header.StudyInstanceUID, header.SeriesInstanceUID)
    for path in (tmp_path / "out").rglob("*"):
        assert not [secret for secret in secrets if secret in path.name]
        assert path.is_dir() or not [secret for secret in secrets if secret.encode() in path.read_bytes()]
    assert pydicom.dcmread(tmp_path / "out" / "synthetic_seg.dcm").PatientIdentityRemoved == "YES"


def test_the_same_seed_gives_the_same_voxels(cli, mr_series, weights, tmp_path):
    folders = [succeeded(cli(mr_series, "--weights", weights, "--out", tmp_path / n, "--seed", 5))[0] for n in "ab"]
    first, second = map(read_series, folders)
    np.testing.assert_array_equal(first.array, second.array)
    assert first.headers[0].SeriesInstanceUID != second.headers[0].SeriesInstanceUID


def test_a_real_process_writes_a_series(mr_series, weights, tmp_path):
    command = [sys.executable, "-c", "from medaug.cli import main; main()", "synth-ct", mr_series, "--weights", weights]
    done = subprocess.run(
        [*map(str, command), "--out", str(tmp_path / "out")], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out" / "doe_jane_synthetic").iterdir())) == 6 and "Traceback" not in done.stderr


def test_several_series_are_listed_until_one_is_chosen(cli, mr_series, ct_series, weights, tmp_path):
    shutil.copytree(mr_series, tmp_path / "study" / "mr")
    shutil.copytree(ct_series, tmp_path / "study" / "ct")
    uid = read_series(mr_series).headers[0].SeriesInstanceUID
    result = cli(tmp_path / "study", "--weights", weights, "--out", tmp_path / "out")
    assert result.exit_code == DataError.exit_code and "2 series" in result.stderr and uid in result.stderr
    succeeded(cli(tmp_path / "study", "--weights", weights, "--out", tmp_path / "out", "--series", uid))


def test_a_series_of_another_modality_is_refused(cli, ct_series, weights, tmp_path):
    result = cli(ct_series, "--weights", weights, "--out", tmp_path / "out")
    assert result.exit_code == DataError.exit_code and not (tmp_path / "out").exists()
    assert "found the DICOM Modality CT; expected MR" in result.stderr


def test_a_ct_in_hu_is_refused_where_an_mr_is_expected(cli, phantom, weights, tmp_path):
    nibabel.save(nibabel.Nifti1Image(phantom.images["contrast"], phantom.affine), tmp_path / "ct.nii.gz")
    result = cli(tmp_path / "ct.nii.gz", "--weights", weights, "--out", tmp_path / "out")
    assert result.exit_code == DataError.exit_code and "look like a CT in HU" in result.stderr


def test_a_series_folder_in_use_is_refused_before_anything_is_done(cli, mr_series, weights, tmp_path):
    (tmp_path / "doe_jane_synthetic").mkdir()
    (tmp_path / "doe_jane_synthetic" / "old.dcm").write_text("")
    result = cli(mr_series, "--weights", weights, "--out", tmp_path)
    assert result.exit_code == RunError.exit_code and "exists already" in result.stderr


def test_weights_that_insert_tumors_are_refused(cli, mr_series, weights_folder, tmp_path):
    result = cli(mr_series, "--weights", weights_folder, "--out", tmp_path / "out")
    assert result.exit_code == WeightsError.exit_code


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--format", "dicom"], "belongs to its source's patient, study and frame of reference"),
        (["--format", "png"], "expected one of nifti, dicom"),
        (["--series", "1.2"], "is no DICOM; leave it out"),
        (["--segmentation", "x.nii.gz"], "it needs --format dicom"),
        (["--name", "1=liver"], "give that as well"),
        (["--direction", "back"], "expected one of a2b, b2a"),
    ],
)
def test_options_that_do_not_fit_are_refused(cli, mr_nifti, weights, tmp_path, options, words):
    result = cli(mr_nifti, "--weights", weights, "--out", tmp_path / "out", *options)
    assert result.exit_code == ConfigError.exit_code and words in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_name_without_a_value_is_refused(cli, mr_series, weights, tmp_path):
    result = cli(mr_series, "--weights", weights, "--out", tmp_path, "--segmentation", "x.nii.gz", "--name", "liver")
    assert result.exit_code == ConfigError.exit_code and "for example 1=liver" in result.stderr


@pytest.fixture(scope="module")
def labelled_weights(tmp_path_factory):
    """Untrained weights from MR to CT that read one class."""
    small = {"generator": "unet", "width": 2, "depth": 2, "discriminator_width": 2, "discriminator_layers": 1}
    domains = Domain("mr", "MR"), Domain("ct", "CT", Window(-160, 240, "HU"))
    folder = tmp_path_factory.mktemp("labelled") / "weights"
    facts = {"domain": "ct", "spacing_mm": list(SPACING_MM[:2]), "patch_size": None, "slices": 1}
    save_translator(folder, build_translator("cyclegan", small | {"label_input": 1}, *domains, 2), None, facts)
    return folder


def test_weights_that_read_labels_ask_for_one_before_anything_is_read(
    cli, labelled_weights, mr_nifti, phantom, tmp_path
):
    result = cli(mr_nifti, "--weights", labelled_weights, "--out", tmp_path / "out")
    assert result.exit_code == ConfigError.exit_code
    assert "read labels of 1 class(es)" in result.stderr and "expected --label" in result.stderr
    assert not (tmp_path / "out").exists()
    label = np.zeros(phantom.label.shape, np.uint8)
    label[12:20, 12:20] = 1
    nibabel.save(nibabel.Nifti1Image(label, phantom.affine), tmp_path / "label.nii.gz")
    given = ("--label", tmp_path / "label.nii.gz", "--out", tmp_path / "out")
    image = succeeded(cli(mr_nifti, "--weights", labelled_weights, *given))[0]
    assert nibabel.load(image).shape == phantom.label.shape
    result = cli(mr_nifti, "--weights", labelled_weights, "--direction", "b2a", *given[:-1], tmp_path / "b2a")
    assert result.exit_code == ConfigError.exit_code and "read no labels in this direction" in result.stderr


def test_that_identity_cannot_be_removed_is_said_before_the_translation(cli, mr_series, weights, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dicomanonymizer", None)
    monkeypatch.setattr(TranslateDomain, "__call__", lambda *_, **__: pytest.fail("translated"))
    result = cli(mr_series, "--weights", weights, "--out", tmp_path / "out", "--deidentify")
    assert result.exit_code == ConfigError.exit_code and 'pip install "medaug[deid]"' in result.stderr
