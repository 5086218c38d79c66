"""Settings, arguments and headers with numbers that nothing can work with: one line, and no memory."""

import copy
import json
import shutil

import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from medaug.cli import app
from medaug.config.files import load_config
from medaug.data.files import read_scan, write_scan
from medaug.errors import ConfigError, DataError, WeightsError

SETTINGS = [
    "split.train=.nan",
    "split.train=-1",
    "split.train=1e400",
    "split.train=1.5",
    "split.validation=-1",
    "split.seed=99999999999",
    "split.folds=1000000000000",
    "data.grid_size=[0,0]",
    "data.grid_size=[-4,4]",
    "data.grid_size=[1000000,1000000]",
    "data.resample_mm=[1e-9,1]",
    "data.resample_mm=[.inf,1]",
    "data.spacing_mm=[0,0]",
    "data.spacing_mm=[]",
    "data.spacing_mm=[.nan,1]",
    "data.organ_margin_mm=.inf",
    "data.window=[-.inf,.inf]",
    "data.window=[0,1e-320]",
    "data.window_hu=[0,1e400]",
    "data.tumor_labels=[]",
    "data.tumor_labels=[99999999999999999999]",
    "data.phantoms.patients=100000000",
    "data.phantoms.shape=[0,0,0]",
    "data.phantoms.shape=[100000,100000,1000]",
    "data.phantoms.spacing_mm=[0,1,1]",
    "data.phantoms.seed=-1",
    "crop.size=[0,0]",
    "crop.size=[-16,16]",
    "crop.size=[1000000,1000000]",
    "crop.level_tolerance=.nan",
    "crop.min_diameter_mm=1e300",
    "translator.width=100000",
    "translator.depth=1000000",
    "translator.identity_weight=1e400",
    "translator.cycle_weight=.nan",
    "training.steps=99999999999999999999999",
    "training.batch_size=100000000",
    "training.learning_rate=1e400",
    "training.seed=-1",
    "training.seed=99999999999",
    "training.workers=100000",
    "training.devices=100000",
    "synthesis.insertions=99999999999999",
    "synthesis.size_mm=[50,5]",
    "synthesis.size_mm=[.nan,5]",
    "synthesis.size_mm=[-1,5]",
    "synthesis.lesions=[3,1]",
    "synthesis.lesions=[0,0]",
    "synthesis.lesions=[1,100000000]",
    "synthesis.seed=-1",
    "evaluation.seeds=[]",
    "evaluation.seeds=[-1]",
    "evaluation.seeds=[0,0]",
    "evaluation.channels=[]",
    "evaluation.channels=[0]",
    "evaluation.channels=[1000000,1000000]",
    "evaluation.patch_size=[0,0]",
    "evaluation.size_limits_mm=[.nan]",
    "evaluation.updates=99999999999999999",
    "evaluation.classifier_width=400000",
    "audit.lesions=99999999999",
    "audit.seed=-1",
    "segmenter.channels=[]",
    "gan.width=1000000",
    "gan.levels=100",
    "gan.latent_dim=1000000000",
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_that_no_run_can_have_is_refused_by_name(setting):
    with pytest.raises(ConfigError, match=setting.partition("=")[0].rpartition(".")[2]):
        load_config(None, [setting])


@pytest.mark.parametrize("setting", ["split.train=3", "split.train=0.5", "split.validation=0", "crop.size=[64,48]"])
def test_an_ordinary_setting_is_taken(setting):
    load_config(None, [setting])


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "scan.nii.gz"
    write_scan(path, np.random.RandomState(0).randint(0, 200, (1, 32, 32, 8)).astype(np.int16), np.diag([6, 6, 10, 1]))
    return path


def one_line(error, *arguments, words):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == error.exit_code, (result.output, result.exception)
    last = result.stderr.splitlines()[-1]
    for word in words:
        assert word in last, last


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("insert --seed 4294967296", ["seed: found 4294967296", "0 to 4294967295"]),
        ("insert --seed -1", ["seed: found -1"]),
        ("insert --size-mm 50 5", ["size_mm: found (50.0, 5.0)"]),
        ("grow --seed 1000000000000000000000", ["seed: found"]),
        ("grow --steps 100000", ["found 100000 steps", "fewer steps"]),
        ("grow --doubling-days 1e-9", ["doubling_days", "longer doubling time"]),
        ("grow --start-mm 1e300", ["below 1000 mm"]),
        ("grow --interval-days 1e300", ["interval_days"]),
    ],
)
def test_an_argument_that_no_scan_can_have_is_refused(scan, weights_folder, tmp_path, options, words):
    command, *rest = options.split()
    one_line(ConfigError, command, scan, "-w", weights_folder, "-o", tmp_path / "o", *rest, words=words)


def test_a_network_that_no_machine_holds_is_refused_before_anything_is_read(tmp_path):
    wide = ["--set", "translator.width=1024", "--set", "translator.depth=500", "--set", "data.spatial_dims=3"]
    out = tmp_path / "out"
    one_line(ConfigError, "train-cycle", "--out", out, *wide, words=["translator: found settings of a network of more"])
    assert not out.exists()


def test_a_grid_beyond_the_limit_is_refused_before_it_takes_memory(scan, tmp_path):
    write_scan(tmp_path / "label.nii.gz", np.ones((1, 32, 32, 8), np.uint8), np.diag([6, 6, 10, 1]))
    (tmp_path / "data.json").write_text(json.dumps([{"image": "scan.nii.gz", "label": "label.nii.gz"}]))
    arguments = ["train-cycle", "--data", tmp_path / "data.json", "--out", tmp_path / "o"]
    one_line(
        ConfigError, *arguments, "--set", "data.grid_size=[8192,8192,8192]", "--set", "data.spatial_dims=3",
        "--set", "split.train=1", "--set", "split.validation=0", words=["grid_size", "MEDAUG_MAX_IMAGE_BYTES"],
    )  # fmt: skip


@pytest.mark.parametrize(
    "place",
    [
        ("prior",), ("prior", "spacing_mm"), ("prior", "spacing_mm", 0), ("domain_a", "window"), ("spacing_mm",),
        ("domain_a", "window", "upper"), ("prior", "references", 0, "diameter_mm"), ("prior", "crop_size", 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("odd", [None, "x", -1, float("nan"), 1e300, [], [None]])
def test_a_fact_of_the_weights_that_makes_no_sense_is_refused(scan, weights_folder, tmp_path, place, odd):
    shutil.copytree(weights_folder, tmp_path / "w")
    facts = json.loads((tmp_path / "w" / "model.json").read_text())
    holder = changed = copy.deepcopy(facts)
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = odd
    (tmp_path / "w" / "model.json").write_text(json.dumps(changed))
    one_line(WeightsError, "insert", scan, "-w", tmp_path / "w", "-o", tmp_path / "o", words=[str(tmp_path / "w")])


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "PixelSpacing", "SliceThickness"])
def test_a_place_beyond_the_room_is_refused(dicom_series, tmp_path, keyword):
    for path in dicom_series(tmp_path / "s", np.zeros((4, 4, 2), int)):
        header = pydicom.dcmread(path)
        header[keyword].value = [1e300] * header[keyword].VM if header[keyword].VM > 1 else 1e300
        header.save_as(path)
    with pytest.raises(DataError, match=rf"\.dcm: found a {keyword} that is not|s: found"):
        read_scan(tmp_path / "s")


def test_an_affine_beyond_the_room_is_refused(tmp_path):
    import nibabel

    affine = np.diag([1.0, 1, 1, 1])
    affine[0, 3] = 1e30
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), affine), tmp_path / "a.nii")
    with pytest.raises(DataError, match=r"a\.nii"):
        read_scan(tmp_path / "a.nii")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "\udc80", "x" * 5000])
@pytest.mark.parametrize(
    "command",
    [
        "insert NAME -w w -o o", "doctor NAME", "train-cycle --data NAME --out o", "run NAME", "report NAME",
        "audit NAME", "sample NAME -o o", "export NAME o", "compare NAME NAME", "compare-runs NAME NAME",
    ],
)  # fmt: skip
def test_a_name_that_no_disk_takes_is_told_in_one_line(tmp_path, monkeypatch, name, command):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [name if word == "NAME" else word for word in command.split()])
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in (2, 3, 5, 6) and result.stderr.splitlines()[-1].isprintable()
