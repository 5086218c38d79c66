"""A data set of nnU-Net's by its files: folds, settings, and what is refused of them."""

import importlib.metadata
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from medaug.cli import app
from medaug.config.files import load_config
from medaug.errors import ConfigError, DataError
from medaug.nnunet.datasets import find_dataset, settings_for, tumors_in
from medaug.nnunet.library import check_installed

from .conftest import NAME

OUT = Path("out")


def run(*arguments):
    return CliRunner(env={"COLUMNS": "400"}).invoke(app, list(map(str, arguments)))


@pytest.fixture
def copied(folders, tmp_path, monkeypatch):
    """A copy of the raw and preprocessed data set, to be changed."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        shutil.copytree(folders / name, tmp_path / name)
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "nnUNet_results"))
    return tmp_path


def test_a_fold_is_the_one_that_nnunet_is_going_to_draw(copied):
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    dataset = find_dataset("501")
    drawn = generate_crossval_split(list(np.sort([f"phantom-00{n}" for n in range(6)])), seed=12345, n_splits=5)
    for number, fold in enumerate(drawn):
        found = dataset.fold(str(number))
        assert (found.train, found.val) == (tuple(sorted(fold["train"])), tuple(sorted(fold["val"])))


def test_who_is_in_no_part_of_a_fold_is_unused(copied):
    folds = [{"train": ["phantom-005", "phantom-001"], "val": ["phantom-003"]}]
    (copied / "nnUNet_preprocessed" / NAME / "splits_final.json").write_text(json.dumps(folds))
    found = find_dataset(NAME).fold("0")
    assert found.train == ("phantom-001", "phantom-005") and found.val == ("phantom-003",)
    assert found.unused == ("phantom-000", "phantom-002", "phantom-004")


def test_settings_follow_from_the_data_set_and_its_plans(folders):
    found = settings_for(find_dataset("501"), "1", load_config(None, ["data.spatial_dims=3"]), OUT)
    assert found["data.sequences"] == ("flair", "t1") and found["data.resample_mm"] == [6.0, 6.0, 10.0]
    assert found["data.tumor"] == {"edema": [1], "core": [2]} and found["split.nnunet"] == f"{NAME}/fold_1"


def test_settings_of_the_user_count(folders):
    given = load_config(None, ["data.tumor_labels=[2]", "data.grid_size=[16,16]"])
    assert {"data.tumor", "data.tumor_labels", "data.resample_mm"}.isdisjoint(
        settings_for(find_dataset("501"), "0", given, OUT)
    )


@pytest.mark.parametrize(
    ("labels", "values", "parts"),
    [
        ({"background": 0, "tumor": 1}, None, {}),
        ({"background": 0, "liver": 1, "cancer": 2, "ignore": 3}, (2,), {}),
        (
            {"background": 0, "whole_tumor": [1, 2, 3], "core": [2, 3], "enhancing": 3},
            None,
            {"whole_tumor", "core", "enhancing"},
        ),
    ],
)
def test_tumors_are_known_by_the_names_of_labels_and_regions(labels, values, parts):
    found = tumors_in({"labels": labels})
    assert (found.values, set(found.parts)) == (values, set(parts)) and not found.undecided


def test_a_ct_is_seen_in_the_interval_that_nnunet_clips_it_to(copied):
    plans = copied / "nnUNet_preprocessed" / NAME / "nnUNetPlans.json"
    content = json.loads(plans.read_text())
    figures = {"percentile_00_5": -58.5, "percentile_99_5": 201.0, "mean": 80.0, "std": 30.0}
    content["foreground_intensity_properties_per_channel"]["0"] = figures
    plans.write_text(json.dumps(content))
    about = copied / "nnUNet_raw" / NAME / "dataset.json"
    about.write_text(about.read_text().replace('"flair"', '"CT"'))
    found = settings_for(find_dataset("501"), "0", load_config(None, []), OUT)
    assert found["data.window_hu"] == [-58.5, 201.0] and found["data.modality"] == {"CT": "CT"}
    plans.unlink()
    with pytest.raises(ConfigError, match="nnUNetv2_plan_and_preprocess -d 501"):
        settings_for(find_dataset("501"), "0", load_config(None, []), OUT)


@pytest.mark.parametrize("variable", ["nnUNet_raw", "nnUNet_results"])
def test_a_variable_that_is_not_set_is_named(copied, monkeypatch, variable):
    monkeypatch.delenv(variable)
    result = run("train-cycle", "--nnunet", "501")
    assert result.exit_code == 2 and f"export {variable}=" in result.output


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--nnunet", "777"), 3, "no data set 777; there is Dataset501_Heads"),
        (("--nnunet", "501", "--fold", "5"), 2, "no fold 5; expected one from 0 to 4"),
        (("--nnunet", "501", "--fold", "first"), 2, "no fold first"),
        (("--nnunet", "501", "--data", "x"), 2, "--data"),
        (("--fold", "1"), 2, "without --nnunet"),
        (("--nnunet", "501", "--set", "data.tumor={core: 7}"), 3, "expected only 0 and [7]"),
    ],
)
def test_bad_input_is_one_clear_line(copied, options, code, words):
    result = run("train-cycle", *options)
    assert result.exit_code == code and words in result.output and result.output.count("\n") <= 3


def test_labels_without_a_tumor_s_name_are_asked_about(copied):
    about = copied / "nnUNet_raw" / NAME / "dataset.json"
    about.write_text(about.read_text().replace("edema", "Anterior").replace("core", "Posterior"))
    result = run("train-cycle", "--nnunet", "501")
    assert result.exit_code == 2 and "--set data.tumor_labels" in result.output


def test_a_case_that_is_not_there_is_named(copied):
    folds = [{"train": ["phantom-000", "phantom-009"], "val": ["phantom-003"]}]
    (copied / "nnUNet_preprocessed" / NAME / "splits_final.json").write_text(json.dumps(folds))
    with pytest.raises(DataError, match="1 case.s. that are not in .*: phantom-009"):
        find_dataset("501").fold("0")


def test_a_results_folder_that_cannot_be_written_is_named(copied, monkeypatch):
    (copied / "file").write_text("")
    monkeypatch.setenv("nnUNet_results", str(copied / "file"))
    result = run("train-cycle", "--nnunet", "501")
    assert result.exit_code == 6 and str(copied / "file") in result.output


def test_a_split_that_changed_since_the_gan_trained_is_refused_by_its_run(copied, small):
    options = ["train-cycle", "--nnunet", "501", "--max-steps", "1", *(x for s in small for x in ("--set", s))]
    assert run(*options).exit_code == 0
    folds = [{"train": ["phantom-000", "phantom-001", "phantom-003"], "val": ["phantom-002"]}]
    (copied / "nnUNet_preprocessed" / NAME / "splits_final.json").write_text(json.dumps(folds))
    result = run(*options)
    assert result.exit_code == 4 and "phantom-002" in result.output and "phantom-003" in result.output


def test_without_nnunet_the_extra_is_named(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(ConfigError, match=r'pip install "medaug\[nnunet\]"'):
        check_installed()
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.5.1")
    with pytest.raises(ConfigError, match="nnunetv2 2.5.1; expected 2.8"):
        check_installed()
