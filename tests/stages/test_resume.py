"""A pipeline killed at any moment goes on where it was, and ends as if it had never stopped."""

import shutil
import sys
from pathlib import Path

import pytest

from medaug.errors import RunError
from medaug.models.weights import load_weights
from medaug.runs.folder import RunDir
from medaug.stages.pipeline import run_pipeline
from medaug.training.monitors import METRICS, read_metrics

MEDAUG = Path(sys.executable).with_name("medaug")


@pytest.mark.parametrize("moment", [6, 30, 60])
def test_killed_while_reading_or_training_it_ends_with_the_same_cases(
    tmp_path, tiny_config, tiny_run, killed_at, contents, moment
):
    config, root = tiny_config(), tmp_path / "run"
    killed_at(moment, lambda: run_pipeline(config, root, until="synthesize"))
    run = run_pipeline(config, root, until="synthesize")
    assert contents(run.weights) == contents(tiny_run.weights)
    assert contents(run.synthetic) == contents(tiny_run.synthetic)


@pytest.mark.parametrize("moment", [1, 4, 17, 25])
def test_killed_while_synthesizing_it_ends_with_the_same_cases(
    copy_of_run, tiny_config, tiny_run, forget, killed_at, contents, moment
):
    config = tiny_config()
    forget(copy_of_run, "synthesize")
    killed_at(moment + 2, lambda: run_pipeline(config, copy_of_run.root, until="synthesize"))  # config, environment
    there = {p: p.stat().st_mtime_ns for p in (copy_of_run.synthetic / "records").glob("[!.]*.json")}
    run_pipeline(config, copy_of_run.root, until="synthesize")
    assert contents(copy_of_run.synthetic) == contents(tiny_run.synthetic)
    assert not list(copy_of_run.synthetic.rglob(".tmp-*")), "what was half-written is cleared away"
    assert all(path.stat().st_mtime_ns == when for path, when in there.items()), "a finished case was made again"


@pytest.mark.parametrize("moment", [3, 12, 17])
def test_killed_while_evaluating_it_ends_with_the_same_scores(
    copy_of_run, tiny_config, tiny_run, forget, killed_at, contents, moment
):
    config = tiny_config()
    forget(copy_of_run, "evaluate")
    killed_at(moment + 2, lambda: run_pipeline(config, copy_of_run.root, until="evaluate"))
    there = {p: p.stat().st_mtime_ns for p in (copy_of_run.evaluation / "cells").glob("[!.]*.json")}
    run_pipeline(config, copy_of_run.root, until="evaluate")
    assert all(path.stat().st_mtime_ns == when for path, when in there.items()), "a finished cell was made again"
    for name in ("summary.json", "scores.csv"):
        assert (copy_of_run.evaluation / name).read_bytes() == (tiny_run.evaluation / name).read_bytes()
    assert contents(copy_of_run.evaluation / "cells") == contents(tiny_run.evaluation / "cells")


def test_a_stage_killed_while_it_cleared_old_outputs_does_not_count_as_done(copy_of_run, tiny_config, monkeypatch):
    import shutil

    class KilledError(BaseException):
        pass

    def half(path, **options):
        (path / "datalist.json").unlink()
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(shutil, "rmtree", half)
        run_pipeline(tiny_config("synthesis.seed=5"), copy_of_run.root, until="synthesize")
    run_pipeline(tiny_config(), copy_of_run.root, until="synthesize")
    assert (RunDir(copy_of_run.root).synthetic / "datalist.json").exists()


def test_more_seeds_train_the_new_cells_only(copy_of_run, tiny_config):
    cells = copy_of_run.evaluation / "cells"
    before = {path: path.stat().st_mtime_ns for path in cells.iterdir()}
    run_pipeline(tiny_config("evaluation.seeds=[0,7]"), copy_of_run.root, until="evaluate")
    assert {path.stem for path in cells.iterdir()} >= {"standard-seed7", "standard+gan-seed7"}
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    run_pipeline(tiny_config("evaluation.updates=2"), copy_of_run.root, until="evaluate")
    assert {path.stem for path in cells.iterdir()} == {"standard-seed0", "standard+gan-seed0"}, "of other settings"


def test_an_extended_training_goes_on_and_what_follows_is_made_of_the_new_weights(copy_of_run, tiny_config, contents):
    run, ran = copy_of_run, []
    steps, before = tiny_config().training.steps, contents(copy_of_run.weights)
    more = tiny_config("training.extend=2")
    run_pipeline(more, run.root, until="synthesize", on_stage=lambda stage: ran.append((stage.name, stage.ran)))
    assert ran == [("prepare", False), ("train", True), ("synthesize", True)]
    assert load_weights(run.weights).facts.steps == steps + 2 and contents(run.weights) != before
    assert [row["step"] for row in read_metrics(run.train / METRICS)] == [*range(1, steps + 3)]
    with pytest.raises(RunError, match=rf"found a training of {steps + 2} steps; .*Set training.extend=2"):
        run_pipeline(tiny_config(), run.root, until="train")
    shutil.rmtree(run.train / "checkpoints")
    with pytest.raises(RunError, match="steps without a checkpoint"):
        run_pipeline(tiny_config("training.extend=3"), run.root, until="train")
