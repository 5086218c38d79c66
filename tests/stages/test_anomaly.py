"""`medaug anomaly`: of a run folder the held-out slices, of a scan a map; and what it refuses."""

import csv
import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from medaug.audits.anomaly_scores import SCORES
from medaug.cli import app
from medaug.data.atomic import read_json
from medaug.data.files import read_scan, write_scan
from medaug.errors import DataError, LeakageError, WeightsError
from medaug.models.methods import build_translator
from medaug.models.weights import save_translator
from medaug.runs.folder import RunDir
from medaug.stages.anomaly import anomaly
from medaug.stages.pipeline import run_pipeline
from medaug.volumes import Domain

from ..stored import array_of, relabel

TILE = "anomaly.tile_mm=48"
"""Large tiles are few."""


@pytest.fixture(scope="module")
def cli():
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def scored(tmp_path_factory, tiny_run, cli):
    """A run whose held-out slices were scored by the command, and what it printed."""
    root = tmp_path_factory.mktemp("scored") / "run"
    shutil.copytree(tiny_run.root, root)
    result = cli("anomaly", root, "--set", TILE)
    assert result.exit_code == 0, result.output
    return RunDir(root), result.stdout


def test_the_held_out_slices_of_a_run_are_scored_with_an_interval_beside_brightness(scored, tiny_run):
    run, printed = scored
    summary = read_json(run.anomaly / "summary.json")
    assert printed.splitlines() == [summary["sentence"], str(run.anomaly / "summary.json")]
    assert list(summary["patients"]) == read_json(tiny_run.split)["test"]
    assert set(summary["auc"]) == set(SCORES) and len(summary["differences"]) == len(SCORES) - 1
    for interval in summary["auc"].values():
        assert 0 <= interval["low"] <= interval["mean"] <= interval["high"] <= 1
    assert summary["tumor_slices"] > 0 < summary["tumor_free_slices"]
    assert "3 held-out patients" in summary["sentence"] and " alone reaches " in summary["sentence"]
    rows = list(csv.DictReader((run.anomaly / "scores.csv").open()))
    assert len(rows) == summary["tumor_slices"] + summary["tumor_free_slices"]
    pairs = [(float(a["mean"]) > float(b["mean"])) + 0.5 * (a["mean"] == b["mean"])
             for a in rows if a["tumor"] == "1" for b in rows if b["tumor"] == "0"]  # fmt: skip
    assert summary["auc"]["mean"]["mean"] == pytest.approx(np.mean(pairs))
    for name in ("pictures.png", "roc.png"):
        assert (run.anomaly / name).read_bytes()[:4] == b"\x89PNG"


def test_the_report_shows_the_anomaly_section_once_it_was_asked_for(scored, tiny_run):
    run, _ = scored
    assert "AUC of tumor against tumor-free slices" in run.report.read_text()
    assert "AUC of tumor against tumor-free slices" not in tiny_run.report.read_text()


def test_the_same_question_is_not_worked_out_again_but_another_one_is(scored, tiny_config, tmp_path):
    run = RunDir(tmp_path / "run")
    shutil.copytree(scored[0].root, run.root)
    assert not anomaly(tiny_config(TILE), run)
    assert anomaly(tiny_config(TILE, "anomaly.passes=1"), run)
    assert read_json(run.anomaly / "summary.json")["settings"]["passes"] == 1


def test_killed_scoring_goes_on_with_the_next_patient(copy_of_run, scored, tiny_config, killed_at, contents):
    killed_at(4, lambda: anomaly(tiny_config(TILE), copy_of_run))
    there = {p: p.stat().st_mtime_ns for p in (copy_of_run.anomaly / "patients").glob("[!.]*.json")}
    assert 0 < len(there) < 3
    assert anomaly(tiny_config(TILE), copy_of_run)
    assert all(path.stat().st_mtime_ns == when for path, when in there.items())
    assert contents(copy_of_run.anomaly) == contents(scored[0].anomaly)


def test_weights_trained_on_a_held_out_patient_are_refused(cli, copy_of_run, tiny_config, edit_json, weights_folder):
    leaked = read_json(copy_of_run.split)["test"][0]
    edit_json(copy_of_run.weights / "model.json", lambda facts: facts["training_patients"].append(leaked))
    with pytest.raises(LeakageError, match=leaked):
        anomaly(tiny_config(TILE), copy_of_run)
    result = cli("anomaly", copy_of_run.root)
    assert result.exit_code == LeakageError.exit_code and leaked in result.stderr
    assert not copy_of_run.anomaly.exists()
    assert anomaly(tiny_config(TILE), copy_of_run, weights_folder)


def test_scans_without_a_tumor_free_slice_are_refused(copy_of_run, tiny_config):
    def tumor_throughout(label):
        label[16, 16] = 1
        return label

    relabel(copy_of_run.datalist, read_json(copy_of_run.split)["test"], tumor_throughout)
    with pytest.raises(DataError, match="3 who have slices with, and 0 who have slices without"):
        anomaly(tiny_config(TILE), copy_of_run)


def test_a_volume_is_scored_slice_by_slice_by_solid_weights(volume_run, tiny_config, tmp_path):
    run = RunDir(tmp_path / "run")
    shutil.copytree(volume_run.root, run.root)
    settings = ("data.spatial_dims=3", "crop.size=[16,16,12]", "evaluation.patch_size=[16,16,8]", "anomaly.tile_mm=40")
    assert anomaly(tiny_config(*settings), run)
    levels = [int(row["level"]) for row in csv.DictReader((run.anomaly / "scores.csv").open())]
    assert set(levels) > {2, 3, 4, 5} and max(levels) <= 7


@pytest.mark.parametrize("name", ["head.nii.gz", "head.png"])
def test_a_scan_gets_a_map_a_pseudo_healthy_version_a_picture_and_scores(cli, tiny_run, tmp_path, name):
    entry = read_json(tiny_run.datalist)["cases"][0]
    image = array_of(tiny_run.prepared, entry, "image")
    if name.endswith(".png"):
        image = np.kron(image[..., 4], np.ones((4, 4)))
    scan = tmp_path / name
    write_scan(scan, np.rint(200 * image / image.max())[None], np.asarray(entry["affine"]), "uint8")
    out, options = tmp_path / "out", ("--set", TILE)
    result = cli("anomaly", scan, "--weights", tiny_run.weights, "--out", out, *options)
    assert result.exit_code == 0, result.output
    residual, healthy, picture, manifest = result.stdout.split()
    assert read_scan(residual).shape == read_scan(healthy).shape == (1, *image.shape)
    facts = json.loads((out / "head_anomaly.json").read_text())
    assert manifest == str(out / "head_anomaly.json") and (out / "head_anomaly.png").exists()
    assert facts["score"] == pytest.approx(float(read_scan(residual).max()), rel=1e-5) and facts["score"] > 0
    assert len(facts["slices"]) == (1 if image.ndim == 2 else image.shape[2])


def test_arguments_that_do_not_apply_are_refused(cli, tiny_run, copy_of_run, tmp_path, weights_folder):
    assert "--out" in cli("anomaly", tmp_path / "scan.nii.gz", "--weights", weights_folder).stderr
    result = cli("anomaly", tiny_run.root, "--out", tmp_path)
    assert result.exit_code == 2 and "run folder" in result.stderr
    result = cli("anomaly", tmp_path / "copy" / "train")
    assert result.exit_code == 6 and "medaug train-cycle" in result.stderr
    result = cli("anomaly", copy_of_run.root, "--set", "anomaly.tile_mm=500")
    assert result.exit_code == 2 and "expected at most" in result.stderr


def test_weights_of_a_gan_from_noise_score_by_latent_search(cli, copy_of_run, tiny_config, tmp_path):
    run_pipeline(tiny_config(), copy_of_run.root, until="train_gan")
    settings = ("--weights", copy_of_run.gan_weights, "--set", "anomaly.search_steps=1", "--set", "anomaly.tile_mm=48")
    result = cli("anomaly", copy_of_run.root, *settings)
    assert result.exit_code == 0, result.output
    summary = read_json(copy_of_run.anomaly / "summary.json")
    assert summary["method"] == "Latent search" and result.stdout.startswith("Latent search tells slices")
    scan = next(copy_of_run.phantoms.rglob("imagesTr/*.nii.gz"))
    result = cli("anomaly", scan, *settings, "--out", tmp_path / "scored")
    assert result.exit_code == 0, result.output
    found, picture, facts = result.stdout.split()
    assert read_scan(found).shape == read_scan(scan).shape and (read_scan(found) > 0).any()
    assert read_json(facts)["method"] == "Latent search" and picture.endswith(".png")


@pytest.mark.parametrize("domain", ["ct", "tumor"])
def test_weights_that_translate_whole_images_do_not_score(cli, copy_of_run, domain):
    """Those of `tumor` are from medaug 0.1, which could put tumors into whole images."""
    facts = read_json(copy_of_run.weights / "model.json")
    plain = build_translator("cyclegan", {"width": 2, "depth": 1}, Domain("healthy", "MR"), Domain("tumor", "MR"), 2)
    known = {key: facts[key] for key in ("spacing_mm", "split_hash", "training_patients", "training_content")}
    save_translator(copy_of_run.weights, plain, None, known | {"domain": domain})
    result = cli("anomaly", copy_of_run.root)
    assert result.exit_code == WeightsError.exit_code and "expected weights that insert and remove" in result.stderr
