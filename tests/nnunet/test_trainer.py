"""nnU-Net's own training with patches edited; and what it refuses before it begins."""

import json
import shutil
import threading
from multiprocessing import current_process, get_context
from multiprocessing.connection import Listener
from pathlib import Path

import numpy as np
import pytest
import torch

import medaug
from medaug.errors import ConfigError, LeakageError, WeightsError
from medaug.models.served import attach, serve
from medaug.models.weights import load_weights
from medaug.nnunet.edits import GanEdit
from medaug.nnunet.leaks import check_fold
from medaug.splits import pseudonym
from medaug.volumes import Window

from .conftest import environment, make_trainer

TRAINERS = ["nnUNetTrainerMedaug", "nnUNetTrainerMedaug_copypaste", "nnUNetTrainerMedaug_carvemix"]


def edited_patches(made, count=8):
    """(before, after) of as many training patches, each before nnU-Net's own transforms."""
    made.edit_probability, made.batch_size, made.dataset_class = 1.0, 2, None
    pairs = []

    def copied(sample):  # nnU-Net's transforms write into what they get
        return {key: value.clone() for key, value in sample.items()}

    loader, _ = made.get_dataloaders()
    first, *_ = transforms = loader.data_loader.transforms.transforms

    def watched(**sample):
        before = copied(sample)
        after = first(**sample)
        pairs.append((before, copied(after)))
        return after

    transforms[0] = watched
    while len(pairs) < count:
        next(loader)
    return pairs


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
@pytest.mark.parametrize("name", TRAINERS)
def test_patches_get_tumors_whose_label_comes_along(trainer, name, configuration):
    changed = 0
    for before, after in edited_patches(trainer(name, configuration)):
        new = (after["segmentation"] != before["segmentation"])[0]
        voxels = (after["image"] != before["image"]).any(0)
        changed += bool(new.any())
        assert set(np.unique(after["segmentation"][0][new])) <= {0, 1, 2}
        assert (before["segmentation"][0][new | voxels] >= 0).all()
        if "carvemix" not in name:
            assert not (voxels & ~(after["segmentation"][0] > 0)).any()  # nothing changes beside the tumor
    assert changed >= 2


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_tumors_of_a_ct_stay_in_the_organ_that_its_label_says(abdomens, small, configuration):
    with environment(abdomens):
        settings = ["data.organ=[1]", "crop.min_diameter_mm=12", *small]
        weights = load_weights(medaug.train_cycle(nnunet="501", fold="0", max_steps=2, set_=settings))
        assert weights.translator.domain_a.window == Window(-60.0, 220.0, "HU") and weights.facts.tumor_labels == (2,)
        pairs = edited_patches(make_trainer("nnUNetTrainerMedaug", configuration), 12)
    new = [(after["segmentation"] != before["segmentation"])[0] for before, after in pairs]
    assert sum(bool(mask.any()) for mask in new) >= 3
    for (before, after), mask in zip(pairs, new, strict=True):
        assert (before["segmentation"][0][mask] == 1).all() and (after["segmentation"][0][mask] == 2).all()
        assert not ((after["image"] != before["image"]).any(0) & ~(after["segmentation"][0] == 2)).any()


def test_a_cascade_is_shown_the_stage_before_with_what_is_new(trainer):
    made = trainer("nnUNetTrainerMedaug", "3d_cascade_fullres")
    made.initialize()
    before = Path(made.folder_with_segs_from_previous_stage)
    before.mkdir(parents=True, exist_ok=True)
    cases = made.dataset_class(made.preprocessed_dataset_folder, None)
    for case in cases.identifiers:
        found = np.asarray(cases.load_case(case)[1][0])
        made.dataset_class.save_seg(np.maximum(found, 0).astype(np.int8), str(before / case))
    changed = 0
    for patch, after in edited_patches(made, 4):
        new = (after["segmentation"] != patch["segmentation"])[0]
        assert torch.equal(after["segmentation"][1][new], after["segmentation"][0][new])
        assert torch.equal(after["segmentation"][1][~new], patch["segmentation"][1][~new])
        changed += bool(new.any())
    loader, _ = made.get_dataloaders()
    assert changed and next(loader)["data"].shape[1] == 2 + 2  # two channels, and two labels of the stage before


def test_one_seed_gives_the_same_tumors(trainer):
    def first():
        np.random.seed(3), torch.manual_seed(3)  # of nnU-Net's own draws
        return [after["image"] for _, after in edited_patches(trainer("nnUNetTrainerMedaug"), 2)]

    assert all(torch.equal(one, other) for one, other in zip(first(), first(), strict=True))


def test_validation_patches_are_nnunet_s_own(trainer):
    made = trainer("nnUNetTrainerMedaug")
    made.batch_size = 2
    _, loader = made.get_dataloaders()
    assert all(type(t).__module__.startswith("batchgeneratorsv2") for t in loader.data_loader.transforms.transforms)


def test_a_training_of_one_iteration_leaves_a_checkpoint_from_which_another_goes_on(trainer):
    made = trainer("nnUNetTrainerMedaug")
    made.run_training()
    assert np.isfinite(made.logger.get_value("train_losses", step=-1))
    again = trainer("nnUNetTrainerMedaug")
    again.load_checkpoint(str(Path(made.output_folder) / "checkpoint_final.pth"))
    assert again.inference_allowed_mirroring_axes == (0, 1) and again.current_epoch == 1
    again.num_epochs = 2
    again.run_training()
    assert again.current_epoch == 2 and len(again.logger.get_value("train_losses", step=None)) == 2


def test_weights_that_know_a_validation_case_are_refused_by_name(trainer):
    with pytest.raises(LeakageError, match=r"phantom-0\d\d.*--fold 1") as caught:
        made = trainer("nnUNetTrainerMedaug", fold=1)
        made.weights_folder = trainer("nnUNetTrainerMedaug")._folder()
        made.run_training()
    assert caught.value.patients


def test_weights_that_know_a_validation_case_are_refused_by_content(trainer, folders, gan, tmp_path, monkeypatch):
    """A copy of a training case passes for the validation case phantom-003."""
    shutil.copytree(folders / "nnUNet_raw", tmp_path / "raw")
    images = tmp_path / "raw" / "Dataset501_Heads" / "imagesTr"
    for channel in ("0000", "0001"):
        shutil.copy(images / f"phantom-000_{channel}.nii.gz", images / f"phantom-003_{channel}.nii.gz")
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    with pytest.raises(LeakageError, match="phantom-003 \\(the same images under another name"):
        trainer("nnUNetTrainerMedaug").run_training()


def test_names_that_were_made_pseudonyms_are_known(gan):
    facts = load_weights(gan).facts
    hidden = tuple(map(pseudonym, facts.training_patients))
    fold = facts.nnunet.model_copy(update={"training_cases": hidden})
    shared = facts.model_copy(update={"training_patients": hidden, "training_content": (), "nnunet": fold})
    with pytest.raises(LeakageError, match="phantom-004"):
        check_fold(shared, gan, "Dataset501_Heads", "3", ["phantom-000"], ["phantom-004"], print)
    told = []
    check_fold(shared, gan, "Dataset501_Heads", "0", facts.training_patients, ["phantom-003"], told.append)
    assert told == []


def test_a_changed_split_is_told(trainer, folders, tmp_path, monkeypatch, capsys):
    shutil.copytree(folders / "nnUNet_preprocessed", tmp_path / "preprocessed")
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    file = tmp_path / "preprocessed" / "Dataset501_Heads" / "splits_final.json"
    file.write_text(json.dumps([{"train": ["phantom-000", "phantom-001"], "val": ["phantom-003"]}]))
    made = trainer("nnUNetTrainerMedaug")
    made.batch_size = 2
    made.get_dataloaders()
    assert "the split of fold 0 has changed" in capsys.readouterr().out


def test_weights_of_another_fold_are_not_looked_for(trainer):
    with pytest.raises(ConfigError, match="train-cycle --domain tumor --nnunet Dataset501_Heads --fold 2"):
        trainer("nnUNetTrainerMedaug", fold=2).get_dataloaders()


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"channel_names": {"0": "flair"}}, "flair, t1; expected those of Dataset501_Heads, flair"),
        ({"channel_names": {"0": "t1", "1": "flair"}}, "expected those of Dataset501_Heads, t1, flair"),
        ({"labels": {"background": 0, "tumor": 1}}, r"label values \[2\]"),
    ],
)
def test_weights_of_other_data_are_refused(trainer, about, words):
    with pytest.raises(WeightsError, match=words):
        trainer("nnUNetTrainerMedaug", **about).get_dataloaders()


def test_carvemix_refuses_an_ignore_label(trainer):
    labels = {"background": 0, "edema": 1, "core": 2, "ignore": 3}
    made = trainer("nnUNetTrainerMedaug_carvemix", labels=labels)
    made.batch_size = 2
    with pytest.raises(ConfigError, match="copypaste"):
        made.get_dataloaders()


def test_a_share_that_is_none_is_refused(trainer, monkeypatch):
    monkeypatch.setenv("MEDAUG_PROB", "30%")
    with pytest.raises(ConfigError, match="MEDAUG_PROB: found 30%"):
        trainer("nnUNetTrainerMedaug_copypaste")


def test_a_forked_worker_asks_another_process_for_the_generator(gan):
    """The same tumors as where the worker runs the generator itself."""
    image, label = torch.full((2, 32, 32), -1.0), torch.zeros((1, 32, 32))
    image[:, 4:28, 4:28] = torch.from_numpy(np.random.RandomState(0).uniform(-0.6, 0.6, (2, 24, 24)).astype("float32"))
    alone, served = (load_weights(gan) for _ in range(2))
    made = GanEdit(alone, None).set_random_state(5)({"image": image, "label": label})
    assert made["label"].any()
    listener = Listener(authkey=current_process().authkey)
    threading.Thread(target=serve, args=(load_weights(gan), listener), daemon=True).start()
    attach(served.translator, listener.address)
    context = get_context("fork")
    answers = context.SimpleQueue()

    def work():
        torch.set_num_threads(1)
        answers.put(GanEdit(served, None).set_random_state(5)({"image": image, "label": label})["image"].numpy())

    worker = context.Process(target=work)
    worker.start()
    assert np.allclose(answers.get(), made["image"].numpy(), atol=1e-6)
    worker.join(20)
    assert worker.exitcode == 0
