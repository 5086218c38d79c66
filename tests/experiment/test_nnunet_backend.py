"""The backend `nnunet`: nnU-Net itself as the downstream network, with the arms, records and truth of the other one."""

import os
import shutil
from typing import ClassVar

import numpy as np
import pytest
import torch
from monai.transforms import MapTransform

pytest.importorskip("nnunetv2")

from medaug.data.atomic import read_json
from medaug.data.files import read_scan
from medaug.data.prepared import Prepared, View
from medaug.errors import ConfigError, LeakageError, RunError
from medaug.experiment.backends import downstream_kind
from medaug.experiment.records import Evaluation
from medaug.runs.folder import RunDir, open_run
from medaug.stages.evaluate import evaluate
from medaug.stages.prepare import prepare
from medaug.stages.tasks import task_of
from medaug.stages.tasks.insertion import downstream_of
from medaug.volumes import spacing_of

NNUNET = ("evaluation.backend=nnunet", "evaluation.workers=0")
ARMS = "evaluation.arms=[standard, copy-paste, standard+gan]"
MULTI = ("data.sequences=[flair,t1]", "data.tumor={core: 1, rim: 2}")
REGIONS = "evaluation.regions={whole: [rim, core], core: [core]}"


@pytest.fixture(scope="module")
def evaluated(tiny_run, tiny_config, tmp_path_factory):
    """A run whose cells nnU-Net trained, not to be changed."""
    root = tmp_path_factory.mktemp("nnunet") / "run"
    shutil.copytree(tiny_run.root, root)
    evaluate(tiny_config(*NNUNET, ARMS), RunDir(root))
    return RunDir(root)


def cells_of(run):
    return {path.stem: read_json(path) for path in sorted((run.evaluation / "cells").glob("*.json"))}


def data_of(run):
    (folder,) = (run.root / "nnunet").iterdir()
    return folder


def batches(task, arm, seed=0):
    return task.training(arm, seed)[1]


def test_cells_have_the_records_and_the_truth_of_the_other_backend(evaluated, tiny_run):
    cells, others = cells_of(evaluated), cells_of(tiny_run)
    assert set(cells) == {"standard-seed0", "copy-paste-seed0", "standard+gan-seed0"}
    for name in ("standard-seed0", "standard+gan-seed0"):
        cell, other = cells[name], others[name]
        assert cell.keys() - {"losses"} == other.keys() - {"losses"}
        for patient, scores in other["scores"].items():
            assert cell["scores"][patient].keys() == scores.keys()
            for kind, counts in other["detection"][patient].items():
                truth = [diameter for diameter, _ in counts["lesions"]]
                assert [d for d, _ in cell["detection"][patient][kind]["lesions"]] == truth
    assert cells["standard+gan-seed0"]["without_room"] is not None
    assert list(Evaluation.of_run(evaluated).tests[""].arms) == ["standard", "copy-paste", "standard+gan"]


def test_the_data_set_is_written_once_for_all_arms_and_holds_training_patients_alone(evaluated, tiny_config):
    folder = data_of(evaluated)
    described = read_json(folder / "raw" / "Dataset501_Medaug" / "dataset.json")
    prepared = Prepared(evaluated.datalist)
    training = {case.case for case in prepared.of(evaluated.read_split().train)}
    assert set(described["cases"].values()) == training and described["numTraining"] == len(training)
    stored = {path.name.split(".")[0].split("_seg")[0] for path in folder.rglob("*.b2nd")}
    assert stored == set(described["cases"])
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    arms = "evaluation.arms=[none, standard]"
    assert downstream_of(tiny_config(*NNUNET, arms), evaluated, with_synthetic=False).data.folder == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")} == before


def test_other_training_data_make_another_data_set(evaluated, tiny_config):
    task = downstream_of(tiny_config(*NNUNET), evaluated, with_synthetic=False)
    fewer = type(task)(task.config, type(task.real)(task.real.views[:5], task.folder), *list(vars(task).values())[2:6])
    assert fewer.data.folder != task.data.folder and fewer.data.folder.parent == task.data.folder.parent
    shutil.rmtree(fewer.data.folder)


def test_the_healthy_pool_lends_slices_without_a_tumor_alone(tiny_config, tmp_path):
    config = tiny_config(*NNUNET, "split.train=2", "split.healthy=3")
    run = open_run(tmp_path / "run", config)
    prepare(config, run)
    data = downstream_of(config, run, with_synthetic=False).data
    labels = {case.views[0].patient: read_scan(data.raw / "labelsTr" / f"{case.name}.nii.gz") for case in data.cases}
    split = run.read_split()
    assert set(labels) == {*split.train, *split.healthy}
    assert not any(labels[patient].any() for patient in split.healthy)
    assert any(labels[patient].shape[3] < 8 for patient in split.healthy)
    assert all(labels[patient].any() and labels[patient].shape[3] == 8 for patient in split.train)


def test_a_data_set_that_was_stopped_half_way_is_completed(evaluated, tiny_config, tmp_path):
    shutil.copytree(evaluated.root, tmp_path / "run")
    run = RunDir(tmp_path / "run")
    folder = data_of(run)
    (folder / "complete.json").unlink()
    (array,) = folder.rglob("case_00001.pkl")
    array.unlink()
    kept = next(folder.rglob("case_00002.pkl")).stat().st_mtime_ns
    assert downstream_of(tiny_config(*NNUNET), run, with_synthetic=False).data.folder == folder
    assert array.exists() and (folder / "complete.json").exists()
    assert next(folder.rglob("case_00002.pkl")).stat().st_mtime_ns == kept


def test_arms_of_a_seed_see_the_same_places_and_differ_in_their_edits_alone(evaluated, tiny_config):
    config = tiny_config(*NNUNET, "evaluation.synthetic_ratio=1", "evaluation.batch_size=4")
    task = downstream_of(config, evaluated, with_synthetic=True)
    plain, pasted, inserted = (batches(task, arm)[1] for arm in ("none", "copy-paste", "gan"))
    again = batches(task, "gan")
    again[0]  # the other batches decide nothing
    assert torch.equal(again[1]["data"], inserted["data"])
    assert not torch.equal(batches(task, "none", seed=1)[1]["data"], plain["data"])
    changed = (inserted["data"] != plain["data"])[:, 0]
    new = (inserted["target"][0] > 0) & ~(plain["target"][0] > 0)
    assert new.any() and 0 < changed.float().mean() < 0.3
    assert (inserted["target"][0] > 0)[plain["target"][0] > 0].all()
    assert changed[new[:, 0]].float().mean() > 0.5, "what is labelled anew looks otherwise, but for soft edges"
    standard = batches(task, "standard")[1]
    assert pasted["data"].shape == standard["data"].shape
    assert ((pasted["target"][0] > 0) >= (standard["target"][0] > 0)).float().mean() > 0.99


class Recorded(MapTransform):
    """An own arm that keeps what it is given."""

    samples: ClassVar[list[dict]] = []

    def __call__(self, data):
        self.samples.append(dict(data))
        return data


def test_an_own_arm_gets_the_patches_as_they_lie_in_the_scan(evaluated, tiny_config):
    own = f"evaluation.own_arms={{own: {{transform: {__name__}.Recorded, args: {{keys: image}}, standard: false}}}}"
    task = downstream_of(tiny_config(*NNUNET, own), evaluated, with_synthetic=False)
    Recorded.samples.clear()
    first = batches(task, "own")[0]
    scans = [View(case, None, 0).normalized(task.folder)[0] for case in Prepared(evaluated.datalist).cases]
    slices = [np.pad(scan[..., level], 40) for scan in scans for level in range(scan.shape[2])]
    assert len(Recorded.samples) == len(first["data"])
    for sample in Recorded.samples:
        image = sample["image"].numpy()[0]
        assert spacing_of(sample["image"].affine, 2) == (6, 6)
        assert sample["label"].shape == sample["organ"].shape == sample["image"].shape
        within = np.abs(image) < 1
        x, y = (int(place) for place in np.argwhere(within)[within.sum() // 2])
        at = [(s, *place) for s in slices for place in np.argwhere(np.abs(s - image[x, y]) < 1e-4)]
        parts = [s[i - x : i - x + image.shape[0], j - y : j - y + image.shape[1]] for s, i, j in at]
        apart = [np.abs(part - image)[within].max() for part in parts if part.shape == image.shape]
        assert min(apart) < 1e-3, "a part of a slice"


def test_a_cell_is_the_same_when_it_is_trained_again_whatever_the_number_of_workers(evaluated, tiny_config):
    config = tiny_config("evaluation.backend=nnunet", "evaluation.workers=1")
    task = downstream_of(config, evaluated, with_synthetic=True)
    state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    network, losses = task.fitted("standard+gan", 0)
    assert torch.equal(torch.random.get_rng_state(), state[0]) and np.array_equal(np.random.get_state()[1], state[1])
    assert losses == [] and task.results(network).scores == dict(cells_of(evaluated)["standard+gan-seed0"]["scores"])


def test_volumes_and_their_regions_are_trained_and_predicted(multi_run, tiny_config, tmp_path):
    shutil.copytree(multi_run.root, tmp_path / "run")
    run = RunDir(tmp_path / "run")
    config = tiny_config(*MULTI, *NNUNET, REGIONS, "evaluation.arms=[gan+carvemix]", "evaluation.updates=1")
    evaluate(config, run)
    (cell,) = cells_of(run).values()
    assert {"dice: whole", "dice: core"} <= next(iter(cell["scores"].values())).keys()
    described = read_json(data_of(run) / "raw" / "Dataset501_Medaug" / "dataset.json")
    assert described["labels"] == {"background": 0, "whole": [2, 1], "core": [1]}
    assert described["channel_names"] == {"0": "flair", "1": "t1"}


def test_three_dimensions(volume_run, tiny_config, tmp_path):
    shutil.copytree(volume_run.root, tmp_path / "run")
    settings = ("data.spatial_dims=3", "crop.size=[16,16,12]", "evaluation.patch_size=[16,16,8]")
    config = tiny_config(*settings, *NNUNET, "evaluation.updates=1", "evaluation.arms=[standard+gan]")
    task = downstream_of(config, RunDir(tmp_path / "run"), with_synthetic=True)
    cell = task.cell("standard+gan", 0)
    assert len(cell.scores) == 3 and task.data.configuration == "3d_fullres"
    network, _ = task.fitted("standard+gan", 0)
    entry = task.entries[0]
    prediction, truth = task.segmented(network, entry)
    assert prediction.shape == truth.shape == entry.shape and np.isin(prediction, (0, 1)).all()


def test_weights_that_know_a_held_out_patient_stop_the_evaluation(evaluated, tiny_config, edit_json, tmp_path):
    shutil.copytree(evaluated.root, tmp_path / "run")
    run = RunDir(tmp_path / "run")
    leaked = run.read_split().test[0]
    edit_json(run.weights / "model.json", lambda facts: facts["training_patients"].append(leaked))
    with pytest.raises(LeakageError, match=leaked):
        evaluate(tiny_config(*NNUNET, "evaluation.arms=[gan]"), run)


@pytest.mark.skipif(os.name == "nt", reason="folders have no permissions there")
def test_a_folder_that_cannot_be_written_is_named(evaluated, tiny_config, tmp_path):
    shutil.copytree(evaluated.prepared, tmp_path / "prepared")
    (tmp_path / "nnunet").write_text("a file where the folder would be")
    task = downstream_of(tiny_config(*NNUNET), evaluated, with_synthetic=False)
    moved = type(task)(
        task.config,
        type(task.real)(task.real.views, tmp_path / "prepared"),
        None,
        task.counterparts,
        task.entries,
        tmp_path / "prepared",
    )
    with pytest.raises(RunError, match=r"nnunet.* cannot be written"):
        moved.fitted("standard", 0)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("evaluation.learning_rate=0.5", "evaluation.learning_rate: found 0.5 .*Leave it out"),
        ("evaluation.task=classification", "evaluation.task classification; expected segmentation"),
        ("evaluation.arms=[standard, removal, standard+gan-offline]", "found removal, standard[+]gan-offline"),
    ],
)
def test_what_nnunet_cannot_do_is_refused_by_name_before_anything_is_trained(tiny_config, setting, said):
    with pytest.raises(ConfigError, match=said):
        task_of(tiny_config(*NNUNET, setting)).check_settings()


def test_translation_stays_with_the_other_backend(tiny_config):
    with pytest.raises(ConfigError, match="evaluation.backend: found nnunet"):
        tiny_config("domain=ct", "evaluation.backend=nnunet")


def test_the_plan_is_told_and_kept_before_anything_is_trained(evaluated, tiny_config, capsys, tmp_path):
    shutil.copytree(evaluated.root, tmp_path / "run")
    run = RunDir(tmp_path / "run")
    task_of(tiny_config(*NNUNET)).check_prepared(run)
    assert read_json(run.plan)["patch_size"] == [32, 32]
    assert "3 updates of 2 patches of 32 × 32 voxels, 2d" in capsys.readouterr().err
    for settings, said in (
        (("evaluation.patch_size=[30,30]",), "evaluation.patch_size: found .*such as .32, 32."),
        (("evaluation.batch_size=65536", "evaluation.channels=[64,128,256]"), "Lower evaluation.batch_size"),
    ):
        with pytest.raises(ConfigError, match=said):
            task_of(tiny_config(*NNUNET, *settings)).check_prepared(run)


def test_the_backend_is_chosen_by_the_settings(tiny_config):
    kinds = {
        name: downstream_kind(tiny_config(f"evaluation.backend={name}").evaluation) for name in ("monai", "nnunet")
    }
    assert kinds["monai"] is not kinds["nnunet"] and issubclass(kinds["nnunet"], kinds["monai"])
