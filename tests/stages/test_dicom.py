"""DICOM goes wherever other images go: into the prepared data of a run, and through a command on one scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from medaug.cli import app
from medaug.config.files import load_config
from medaug.data.atomic import read_json
from medaug.data.dicom.reading import read_series
from medaug.data.files import read_scan, write_scan
from medaug.errors import ConfigError
from medaug.phantoms import phantoms
from medaug.runs.folder import RunDir
from medaug.stages.prepare import prepare


@pytest.fixture(scope="module")
def abdomens(tmp_path_factory, dicom_series) -> Path:
    """Contrast CT of three abdomens with voxels of different sizes, and the labels of their tumors."""
    root = tmp_path_factory.mktemp("abdomens")
    for index, drawn in enumerate(phantoms("abdomen", 3, seed=1, shape=(32, 32, 6), spacing_mm=(12.0, 12.0, 24.0))):
        values = np.rint(drawn.images["contrast"]).astype(int)
        size = 10.0 + 2 * index
        dicom_series(root / f"scan{index}", values, spacing_mm=(size, size, 24.0), patient=f"P{index}")
        affine = read_series(root / f"scan{index}").affine
        write_scan(root / "labels" / f"scan{index}.nii.gz", (drawn.label > 0).astype(np.uint8)[None], affine)
    return root


def test_a_tree_of_ct_series_is_prepared_in_hu_on_one_voxel_size(abdomens, tmp_path):
    config = load_config(
        None,
        [
            f"data.root={abdomens}",
            "data.modality=CT",
            "data.resample_mm=[12,12]",
            "split.train=1",
            "split.validation=1",
        ],
    )
    run = RunDir(tmp_path / "run")
    prepare(config, run)
    entries = read_json(run.datalist)["cases"]
    assert [entry["shape"] for entry in entries] == [[27, 27, 6], [32, 32, 6], [37, 37, 6]]
    assert all(entry["spacing_mm"][:2] == pytest.approx([12, 12], rel=0.03) for entry in entries)
    assert ["resampled_from_mm" in entry for entry in entries] == [True, False, True]
    assert all(entry["windows"] == [{"low": -160.0, "high": 240.0, "unit": "HU"}] for entry in entries)
    assert {entry["patient"] for entry in entries} == {"P0", "P1", "P2"}


@pytest.mark.parametrize("value", ["MR", "CT"])
def test_a_series_of_another_modality_is_refused(tmp_path, dicom_series, value):
    said = {"MR": "CT", "CT": "MR"}[value]
    for index in range(3):
        values = np.random.RandomState(index).randint(0, 1000, size=(32, 32, 4))
        dicom_series(tmp_path / "d" / f"scan{index}", values, modality=said, intercept=0, patient=f"P{index}")
    settings = [f"data.root={tmp_path / 'd'}", f"data.modality={value}", "split.train=1", "split.validation=1"]
    config = load_config(None, [*settings, "domain=ct", "target.sequence=phantom"])
    with pytest.raises(ConfigError, match=f"scan0: found the DICOM Modality {said}; data.modality is {value}"):
        prepare(config, RunDir(tmp_path / "run"))


def test_a_command_refuses_a_series_of_another_modality(tmp_path, dicom_series, weights_folder):
    values = np.random.RandomState(0).randint(0, 1000, size=(32, 32, 4))
    dicom_series(tmp_path / "ct", values, intercept=0)
    runner = CliRunner(env={"COLUMNS": "400", "NO_COLOR": "1", "TERM": "dumb"})
    result = runner.invoke(
        app, ["insert", str(tmp_path / "ct"), "-w", str(weights_folder), "-o", str(tmp_path / "out")]
    )
    assert result.exit_code == 3 and "found the DICOM Modality CT; expected MR" in result.output


def test_a_grid_and_a_voxel_size_are_refused_together():
    with pytest.raises(ConfigError, match="both say which grid"):
        load_config(None, ["data.resample_mm=[1,1]", "data.grid_size=[64,64]"])
    with pytest.raises(ConfigError, match="resample_mm"):
        load_config(None, ["data.resample_mm=[0,1]"])


@pytest.mark.parametrize("slices", [6, 1])
def test_a_series_is_edited_as_the_same_scan_in_nifti_is(tmp_path, dicom_series, weights_folder, slices):
    head = phantoms("head", 1, seed=9, shape=(32, 32, 8), spacing_mm=(6.0, 6.0, 10.0))
    values = np.rint(next(iter(head)).images["flair"]).astype(int)[..., 1 : 1 + slices]
    folder = tmp_path / "mr"
    paths = dicom_series(folder, values, modality="MR", intercept=0, spacing_mm=(6.0, 6.0, 10.0), names=None)
    source = folder if slices > 1 else paths[0]
    scan = read_scan(source)
    write_scan(tmp_path / "mr.nii.gz", scan, dtype="int16")
    runner, made = CliRunner(), []
    for image in (source, tmp_path / "mr.nii.gz"):
        result = runner.invoke(
            app, ["insert", str(image), "-w", str(weights_folder), "-o", str(tmp_path / image.suffix), "--seed", "2"]
        )
        assert result.exit_code == 0, result.output
        made.append(read_scan(result.stdout.split()[0]))
    np.testing.assert_array_equal(made[0].as_tensor(), made[1].as_tensor())
    np.testing.assert_allclose(made[0].affine, scan.affine, atol=1e-4)
    assert (made[0] != scan).any()
