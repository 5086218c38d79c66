"""The stages together: what runs again when something changes, and every kind of run to its end."""

import shutil

import numpy as np
import pytest

from medaug.data.atomic import read_json, write_json
from medaug.data.cache import store_array, with_array
from medaug.data.prepared import views_of
from medaug.data.records import PreparedCase, prepared_cases
from medaug.errors import ConfigError, DataError, RunError
from medaug.lesions.prior import LesionPrior
from medaug.models.weights import load_weights
from medaug.runs.folder import RunDir
from medaug.runs.markers import seconds_by_stage
from medaug.stages.evaluate import evaluate
from medaug.stages.pipeline import STAGES, run_pipeline
from medaug.stages.tasks import insertion
from medaug.training.monitors import read_metrics


def ran(config, run, until="report"):
    """The stages that had something to do."""
    results = []
    run_pipeline(config, run.root, until=until, on_stage=results.append)
    assert [result.name for result in results] == [name for name in STAGES if name != "train_gan"][: len(results)]
    return [result.name for result in results if result.ran]


def times(run):
    return {p: p.stat().st_mtime_ns for p in run.root.rglob("*") if p.is_file()}


def test_a_finished_run_has_everything_it_promises(tiny_run):
    for path in (tiny_run.config, tiny_run.environment, tiny_run.split, tiny_run.datalist, tiny_run.report):
        assert path.stat().st_size > 0
    assert (tiny_run.weights / "model.safetensors").exists()
    kinds = [record["kind"] for record in read_json(tiny_run.synthetic / "datalist.json")["training"]]
    assert kinds.count("inserted") == 4 and kinds.count("removed") == 2
    assert {p.stem for p in (tiny_run.evaluation / "cells").iterdir()} == {"standard-seed0", "standard+gan-seed0"}
    assert set(seconds_by_stage(tiny_run)) == {"prepare", "train", "synthesize", "audit", "evaluate"}
    assert not list(tiny_run.root.rglob(".tmp-*")) and not list(tiny_run.root.rglob("*.begun.json"))


def test_the_same_command_runs_nothing_again(copy_of_run, tiny_config):
    before = times(copy_of_run)
    assert ran(tiny_config(), copy_of_run) == ["report"]
    rewritten = {path.name for path, time in times(copy_of_run).items() if before.get(path) != time}
    assert rewritten == {"report.html", "config.yaml", "environment.json"}


def test_what_changes_no_result_runs_nothing_again(copy_of_run, tiny_config):
    config = tiny_config(
        "training.log_every=7", "training.workers=1", "synthesis.workers=0", "training.preview_every=9"
    )
    assert ran(config, copy_of_run, until="evaluate") == []


def test_other_evaluation_settings_run_only_the_evaluation_again(copy_of_run, tiny_config, tiny_run):
    config = tiny_config("evaluation.updates=2", "evaluation.arms=[standard]")
    assert ran(config, copy_of_run) == ["evaluate", "report"]
    assert [p.stem for p in (copy_of_run.evaluation / "cells").iterdir()] == ["standard-seed0"]
    assert "updates: 2" in copy_of_run.config.read_text()


def test_other_synthesis_settings_leave_the_training_alone(copy_of_run, tiny_config):
    config = tiny_config("synthesis.insertions=2", "synthesis.removals=0", "synthesis.size_mm=[14,20]")
    assert ran(config, copy_of_run, until="synthesize") == ["synthesize"]
    records = read_json(copy_of_run.synthetic / "datalist.json")["training"]
    assert len(records) == 2
    assert all(12 <= record["lesions"][0]["diameter_mm"] <= 22 for record in records)
    assert len(list((copy_of_run.synthetic / "images").iterdir())) == 2


def test_outputs_that_somebody_removed_are_made_again(copy_of_run, tiny_config, contents):
    before = contents(copy_of_run.synthetic)
    shutil.rmtree(copy_of_run.synthetic)
    assert ran(tiny_config(), copy_of_run, until="evaluate") == ["synthesize"]
    assert contents(copy_of_run.synthetic) == before
    split = copy_of_run.split.read_bytes()
    copy_of_run.split.unlink()
    assert ran(tiny_config(), copy_of_run, until="prepare") == ["prepare"]
    assert copy_of_run.split.read_bytes() == split


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("training.steps=4", "training.steps is 3 there and 4 here"),
        ("data.phantoms.seed=1", "data.phantoms.seed"),
        ("split.seed=1", "split.seed"),
        ("translator.content=free", "translator.content"),
    ],
)
def test_a_folder_with_a_different_run_is_refused_naming_the_setting(copy_of_run, tiny_config, contents, change, key):
    before = contents(copy_of_run.root)
    with pytest.raises(RunError, match=f"holds a different run .*{key}"):
        run_pipeline(tiny_config(change), copy_of_run.root)
    assert contents(copy_of_run.root) == before


def test_settings_may_be_corrected_as_long_as_nothing_was_trained(tmp_path, tiny_config):
    with pytest.raises(DataError, match="no usable lesion.*crop.min_diameter_mm"):
        run_pipeline(tiny_config("crop.min_diameter_mm=500"), tmp_path / "run", until="train")
    config = tiny_config("data.phantoms.patients=4", "split.train=2", "split.validation=0")
    run = run_pipeline(config, tmp_path / "run", until="prepare")
    assert len(read_json(run.datalist)["cases"]) == 4
    assert len(list(run.prepared.glob("*.image.npy"))) == 4


def test_too_few_patients_to_score_are_told_before_the_training(tmp_path, tiny_config):
    with pytest.raises(DataError, match=r"1 test patient\(s\); expected at least 2"):
        run_pipeline(tiny_config("split.train=6", "split.validation=1"), tmp_path / "run")
    assert not RunDir(tmp_path / "run").train.exists()


def test_a_patient_with_volumes_and_single_slices_is_scored_on_both(copy_of_run, tiny_config):
    content, tested = read_json(copy_of_run.datalist), read_json(copy_of_run.split)["test"][0]
    volume = next(entry for entry in content["cases"] if entry["patient"] == tested)
    kinds = ("image", "label", "organ")
    arrays = {kind: np.load(copy_of_run.prepared / volume["arrays"][kind])[..., 4] for kind in kinds}
    image = store_array(copy_of_run.prepared, "one.image", arrays["image"])
    changed = {"case": "one", "scan": "one", "arrays": {"image": image}, "shape": [32, 32], "spacing_mm": [6.0, 6.0]}
    case = PreparedCase.from_json(volume | changed)
    for kind in ("organ", "label"):
        case = with_array(case, copy_of_run.prepared, kind, arrays[kind])
    one = case.to_json()
    for cases in ([one, *content["cases"]], [*content["cases"], one]):
        write_json(copy_of_run.datalist, content | {"cases": cases})
        evaluate(tiny_config("evaluation.arms=[standard]"), copy_of_run)
        (cell,) = (copy_of_run.evaluation / "cells").glob("standard-*.json")
        assert np.isfinite(list(read_json(cell)["scores"][tested].values())).all()


def test_an_unknown_arm_is_told_before_anything_is_written(tmp_path, tiny_config):
    with pytest.raises(ConfigError, match="found copypaste; expected some of: none, standard"):
        run_pipeline(tiny_config("evaluation.arms=[standard, copypaste]"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_whole_pipeline_runs_in_3d(volume_run):
    weights = load_weights(volume_run.weights)
    assert weights.translator.spatial_dims == 3 and weights.prior.crop_size == (16, 16, 12)
    record = read_json(volume_run.synthetic / "datalist.json")["training"][0]
    assert record["parent"]["level"] is None
    assert np.isfinite(read_json(volume_run.evaluation / "summary.json")["arms"]["standard"]["dice"]["mean"])
    assert volume_run.report.exists()


def test_free_content_needs_no_reference(tmp_path, tiny_config):
    run = run_pipeline(tiny_config("translator.content=free"), tmp_path / "run", until="synthesize")
    assert not load_weights(run.weights).uses_references
    assert len(read_json(run.synthetic / "datalist.json")["training"]) == 6


def test_mask_guided_pix2pix_paints_tumors_without_a_reference(tmp_path, tiny_config):
    config = tiny_config("translator.type=pix2pix", "synthesis.insertions=2", "synthesis.removals=1")
    run = run_pipeline(config, tmp_path / "run", until="synthesize")
    assert load_weights(run.weights).translator.name == "mask-guided-pix2pix"
    assert len(read_json(run.synthetic / "datalist.json")["training"]) == 3


def test_methods_with_a_latent_space_run_like_the_others(tmp_path, tiny_config):
    config = tiny_config("translator.type=munit")
    run = run_pipeline(config, tmp_path / "run", until="synthesize")
    assert load_weights(run.weights).translator.name == config.translator.method
    assert all(row["diversity_b"] > 0 for row in read_metrics(run.train / "metrics.jsonl"))
    assert len(read_json(run.synthetic / "datalist.json")["training"]) == 6


def test_tumor_free_healthy_crops_come_from_levels_of_tumors(tmp_path, tiny_config, monkeypatch):
    seen = []

    class Spy(insertion.TumorCropSamples):
        def __init__(self, healthy, *rest, **options):
            seen.extend(healthy)
            super().__init__(healthy, *rest, **options)

    monkeypatch.setattr(insertion, "TumorCropSamples", Spy)
    config = tiny_config("crop.healthy=tumor-free", "crop.level_tolerance=0.15")
    run = run_pipeline(config, tmp_path / "run", until="train")
    patients = read_json(run.split)["train"]
    entries = [e for e in prepared_cases(run.datalist) if e.patient in patients]
    levels = [view.relative_level for view in views_of(entries, 2) if view.tumor_voxels]
    assert seen and all(view.tumor_voxels == 0 and view.patient in patients for view in seen)
    assert all(min(abs(level - view.relative_level) for level in levels) <= 0.15 for view in seen)


def test_the_prior_of_a_run_is_that_of_its_weights(tiny_run, weights):
    assert isinstance(weights.prior, LesionPrior)
    assert read_json(tiny_run.train / "prior.json")["references"] == len(weights.prior.references) > 0
