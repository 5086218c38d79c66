"""A pipeline between two kinds of image: labels in one, tests in both, every patient tested once."""

import logging
import shutil

import numpy as np
import pytest

from medaug.audits.scans import translated_image
from medaug.config.files import load_config
from medaug.data.atomic import read_json
from medaug.data.cache import open_array
from medaug.data.files import read_label, read_scan
from medaug.data.prepared import without_labels
from medaug.data.records import prepared_cases
from medaug.data.synthetic import synthetic_cases
from medaug.data.writers import ScanRecord, write_layout
from medaug.errors import ConfigError, DataError, LeakageError, RunError
from medaug.experiment.arms import ARMS as ALL_ARMS
from medaug.experiment.arms import check_arms
from medaug.exports.datasets import export_dataset
from medaug.phantoms import phantoms
from medaug.runs.folder import RunDir
from medaug.stages.evaluate import evaluate
from medaug.stages.pipeline import run_pipeline
from medaug.stages.synthesize import Shard, synthesize, synthesize_shard
from medaug.stages.tasks import across_domains, task_of
from medaug.stages.train import train
from medaug.transforms import TranslateDomain

from ...stored import relabel

ARMS = ("standard", "histogram-match", "standard+gan-offline", "target-labels")
TINY = (
    "data.sequence=contrast", "data.modality=CT", "target.sequence=noncontrast",
    "data.classes={liver: [1], kidney: [2]}", "data.phantoms.label=organs", "data.phantoms.patients=6",
    "data.phantoms.shape=[32,32,4]", "data.phantoms.spacing_mm=[12,12,48]", "split.folds=2", "split.validation=1",
    "translator.generator=unet", "translator.width=4", "translator.depth=2", "translator.discriminator_width=4",
    "translator.discriminator_layers=1", "translator.label_input=2", "translator.label_discriminator=true",
    "translator.round_trip_weight=1", "training.steps=2", "training.batch_size=2", "training.workers=0",
    "segmenter.updates=2", "segmenter.batch_size=2", "segmenter.channels=[4,8,8]", f"evaluation.arms={list(ARMS)}",
    "evaluation.seeds=[0]", "evaluation.updates=3", "evaluation.batch_size=2", "evaluation.channels=[4,8,8]",
    "evaluation.workers=0",
)  # fmt: skip


def config_of(*more):
    return load_config(None, [*TINY, *more], {"domain": "ct"})


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunDir:
    """Contrast to non-contrast CT, liver and kidney, both folds. Not to be changed."""
    return run_pipeline(config_of(), tmp_path_factory.mktemp("cross") / "run")


@pytest.fixture
def fold(run, tmp_path) -> RunDir:
    """Fold 0 of a copy, to be changed."""
    shutil.copytree(run.root, tmp_path / "copy")
    return RunDir(tmp_path / "copy").fold(0)


@pytest.fixture
def of_fold():
    return config_of("split.fold=0")


def cells(run: RunDir) -> dict:
    return {path.stem: read_json(path) for path in sorted((run.evaluation / "cells").glob("*.json"))}


def test_every_patient_is_tested_once_and_never_by_networks_of_its_own_fold(run):
    splits = [read_json(run.fold(k).split) for k in range(2)]
    everyone = {entry["patient"] for entry in read_json(run.fold(0).datalist)["cases"]}
    assert sorted(patient for split in splits for patient in split["test"]) == sorted(everyone)
    for k, split in enumerate(splits):
        facts = read_json(run.fold(k).weights / "model.json")
        assert facts["training_patients"] == split["train"] and not set(split["train"]) & set(split["test"])
        made_from = {record["patient"] for record in read_json(run.fold(k).synthetic / "datalist.json")["training"]}
        assert made_from == set(split["train"])


def test_the_pooled_scores_are_those_of_the_folds(run):
    summary = read_json(run.evaluation / "summary.json")
    for name, cell in cells(run).items():
        for test in ("source", "target"):
            of_folds = [cells(run.fold(k))[name]["tests"][test]["scores"] for k in range(2)]
            assert cell["tests"][test]["scores"] == of_folds[0] | of_folds[1]
            dice = [scores["dice"] for part in of_folds for scores in part.values()]
            assert len(dice) == 6
            shown = summary["tests"][test]["arms"][cell["arm"]]["dice"]["mean"]
            assert shown == pytest.approx(np.mean(dice))


def test_the_score_of_a_patient_is_the_mean_over_its_classes(run):
    for cell in cells(run).values():
        for scores in cell["tests"]["target"]["scores"].values():
            for metric in ("dice", "hd95_mm", "nsd"):
                assert scores[metric] == pytest.approx((scores[f"{metric}: liver"] + scores[f"{metric}: kidney"]) / 2)


def test_the_page_names_the_classes_both_domains_and_the_folds(run):
    page = run.report.read_text()
    for words in (
        "Dice, liver",
        "Dice, kidney",
        "in distribution",
        "Tested on the target domain",
        "fold-1/report.html",
    ):
        assert words in page


def test_translations_keep_the_classes_of_every_voxel(run):
    fold = run.fold(0)
    entries = {entry["case"]: entry for entry in read_json(fold.datalist)["cases"]}
    records = read_json(fold.synthetic / "datalist.json")["training"]
    assert len(records) == len(read_json(fold.split)["train"])
    for record in records:
        kept = read_label(fold.synthetic / record["label"]).as_tensor()[0].numpy()
        stored = open_array(fold.prepared, entries[record["parent"]["case"]]["arrays"]["label"])
        np.testing.assert_array_equal(kept, stored)
        assert set(np.unique(kept)) == {0, 1, 2}


def test_a_stopped_translation_goes_on_where_it_was(fold, of_fold):
    """As if it had been killed before the last scan was written."""
    *kept, last = sorted((fold.synthetic / "records").glob("*.json"))
    before = (fold.synthetic / "datalist.json").read_bytes()
    written = {path: (fold.synthetic / read_json(path)["image"]).stat().st_mtime_ns for path in kept}
    last.unlink()
    (fold.synthetic / "datalist.json").unlink()
    fold.done("synthesize").rename(fold.root / "done" / "synthesize.begun.json")
    assert synthesize(of_fold, fold)
    assert (fold.synthetic / "datalist.json").read_bytes() == before
    for path, time_ns in written.items():
        assert (fold.synthetic / read_json(path)["image"]).stat().st_mtime_ns == time_ns


def test_shares_of_the_translations_are_those_of_one_process(fold, of_fold):
    before = {path: path.read_bytes() for path in fold.synthetic.rglob("*.nii.gz")}
    datalist = (fold.synthetic / "datalist.json").read_bytes()
    shutil.rmtree(fold.synthetic)
    fold.done("synthesize").unlink()
    first = synthesize_shard(of_fold, fold, Shard(2, 2))
    assert first.datalist is None and 0 < first.written < first.total
    assert synthesize_shard(of_fold, fold, Shard(1, 2)).datalist is not None
    assert (fold.synthetic / "datalist.json").read_bytes() == datalist
    assert {path: path.read_bytes() for path in fold.synthetic.rglob("*.nii.gz")} == before
    assert not synthesize(of_fold, fold)


def test_a_run_stopped_in_its_last_fold_goes_on_there_and_pools_the_same(run, tmp_path):
    """And cells of arms that are no longer asked for are not pooled."""
    shutil.copytree(run.root, tmp_path / "copy")
    copy = RunDir(tmp_path / "copy")
    copy.fold(1).done("evaluate").rename(copy.fold(1).root / "done" / "evaluate.begun.json")
    (copy.fold(1).evaluation / "cells" / "standard-seed0.json").unlink()
    (copy.evaluation / "cells" / "gone-seed7.json").write_text("{}")
    ran = []
    run_pipeline(config_of(), copy.root, on_stage=ran.append)
    assert [result.name for result in ran if result.ran] == [
        "fold 0: report", "fold 1: evaluate", "fold 1: report", "pool",
    ]  # fmt: skip
    assert cells(copy) == cells(run)
    assert (copy.evaluation / "summary.json").read_bytes() == (run.evaluation / "summary.json").read_bytes()


def test_folds_that_have_trained_are_not_mixed_with_other_settings(run, tmp_path):
    shutil.copytree(run.root, tmp_path / "copy")
    held = (tmp_path / "copy" / "config.yaml").read_bytes()
    with pytest.raises(RunError, match="training.steps is 2 there and 3 here"):
        run_pipeline(config_of("training.steps=3"), tmp_path / "copy")
    assert (tmp_path / "copy" / "config.yaml").read_bytes() == held


def test_labels_of_the_target_domain_reach_the_arm_target_labels_alone(run, fold, of_fold, forget_stage):
    """The labels of B's training patients are spoilt on the disk; weights and all other arms must not notice."""
    relabel(fold.datalist_b, read_json(fold.split)["train"], lambda label: 2 - label)
    forget_stage(fold, "train", fold.train)
    forget_stage(fold, "evaluate", fold.evaluation)
    assert train(of_fold, fold) and evaluate(of_fold, fold)
    weights = "model.safetensors"
    assert (fold.weights / weights).read_bytes() == (run.fold(0).weights / weights).read_bytes()
    before, after = cells(run.fold(0)), cells(fold)
    changed = {name for name in before for part in ("tests", "losses") if before[name][part] != after[name][part]}
    assert changed == {"target-labels-seed0"}  # what a cell was made of has changed in all of them


@pytest.fixture
def forget_stage():
    def forget(run, name, folder):
        shutil.rmtree(folder)
        run.done(name).unlink()

    return forget


def test_every_arm_has_the_seeds_network_and_only_the_ceiling_reads_the_target(run, monkeypatch):
    from medaug.experiment import downstream

    seen = {}
    monkeypatch.setattr(
        downstream, "train_network", lambda samples, config, *, seed, **more: seen.setdefault("calls", []).append(
            (samples, config, seed))
    )  # fmt: skip
    synthetic = synthetic_cases(run.fold(0).synthetic / "datalist.json")
    task = across_domains.downstream_of(config_of("split.fold=0"), run.fold(0), synthetic)["source"]
    for arm in ("none", *ARMS):
        task.fitted(arm, 5)
    calls = dict(zip(("none", *ARMS), seen["calls"], strict=True))
    assert len({config for _, config, _ in calls.values()}) == 1 and {seed for *_, seed in calls.values()} == {5}
    for arm, (samples, *_) in calls.items():
        assert (samples.real.folder == run.fold(0).prepared_b) == (arm == "target-labels")
        assert (samples.synthetic is not None) == (arm == "standard+gan-offline")
    assert not calls["none"][0].augmentation.transforms and calls["standard"][0].augmentation.transforms
    assert all("label" not in view.case.arrays for view in task.target.views)


@pytest.mark.parametrize(
    ("side", "words"),
    [("data", "data: found no label of a training patient with liver, kidney"),
     ("target", "target: found no label of a training patient with liver, kidney.*leave the arm target-labels out")],
)  # fmt: skip
def test_training_labels_that_an_arm_needs_are_asked_for_before_the_training(fold, of_fold, edit_json, side, words):
    training = read_json(fold.split)["train"]

    def strip(datalist):
        for entry in datalist["cases"]:
            if entry["patient"] in training:
                del entry["arrays"]["label"]

    edit_json(fold.datalist if side == "data" else fold.datalist_b, strip)
    with pytest.raises(DataError, match=words):
        task_of(of_fold).check_prepared(fold)
    if side == "target":
        task_of(config_of("split.fold=0", "evaluation.arms=[standard, standard+gan-offline]")).check_prepared(fold)
    else:
        with pytest.raises(DataError, match="translator.label_input reads it"):
            train(of_fold, fold)


def test_held_out_scans_without_a_label_are_named_and_too_few_are_refused(fold, of_fold, edit_json, caplog):
    tested = read_json(fold.split)["test"]

    def strip(*patients):
        return lambda datalist: [e["arrays"].pop("label", 0) for e in datalist["cases"] if e["patient"] in patients]

    edit_json(fold.datalist_b, strip(tested[0]))
    with caplog.at_level(logging.WARNING):
        task_of(of_fold).check_prepared(fold)
    assert "test set target: not scored, for want of a label" in caplog.text
    edit_json(fold.datalist_b, strip(*tested))
    with pytest.raises(DataError, match="test set target: found labels of 0 of the patients .* at least 2"):
        task_of(of_fold).check_prepared(fold)


def test_a_class_that_no_training_label_has_is_named(fold):
    wider = config_of("split.fold=0", "data.classes={liver: [1], kidney: [2], spleen: [9]}", "translator.label_input=3")
    with pytest.raises(DataError, match="no label of a training patient with spleen; .* check data.classes"):
        task_of(wider).check_prepared(fold)


def test_weights_that_read_labels_translate_no_scan_without_one(fold):
    (entry,) = without_labels(prepared_cases(fold.datalist)[:1])
    with pytest.raises(DataError, match="a scan without a label.*translator.label_input"):
        translated_image(entry, fold.prepared, TranslateDomain(fold.weights))


def test_weights_and_translations_of_held_out_patients_are_refused(fold, of_fold, edit_json):
    tested = read_json(fold.split)["test"][0]
    edit_json(fold.synthetic / "datalist.json", lambda made: made["training"][0]["parent"].update(patient=tested))
    with pytest.raises(LeakageError, match=tested):
        evaluate(of_fold, fold)
    edit_json(fold.weights / "model.json", lambda facts: facts["training_patients"].append(tested))
    with pytest.raises(LeakageError, match=tested):
        synthesize(of_fold, fold)


def test_an_edited_split_of_a_fold_is_refused(run, tmp_path, edit_json):
    shutil.copytree(run.root, tmp_path / "copy")
    copy = RunDir(tmp_path / "copy")

    def swap(split):
        split["train"][0], split["test"][0] = split["test"][0], split["train"][0]
        del split["hash"]

    edit_json(copy.fold(1).split, swap)
    with pytest.raises(LeakageError, match="edited after it was made"):
        run_pipeline(config_of(), copy.root)


@pytest.mark.parametrize(
    ("settings", "until", "words"),
    [
        ((), "train", "Set split.fold to one from 0 to 1"),
        (("evaluation.patients=validation",), "report", "expected test, the patients of whom each is in one fold"),
        (("evaluation.arms=[standard, gan+copy-paste]",), "report", r"Write gan-offline\+copy-paste in place of gan"),
        (("split.folds=9",), "report", r"found 6 patient\(s\) for 9 folds"),
    ],
)
def test_folds_that_cannot_be_pooled_are_refused(tmp_path, settings, until, words):
    with pytest.raises((ConfigError, DataError), match=words):
        run_pipeline(config_of(*settings), tmp_path / "run", until=until)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["data.classes={a: [1], b: [2, 1]}"], "found the label value 1 in a and b"),
        (["data.classes={a: [0]}"], "expected label values above 0"),
        (["data.classes={}"], "classes: found 0"),
        (["data.tumor_labels=[1]"], "classes and tumor_labels both say"),
        (["target.classes={kidney: [2], liver: [1]}"], "expected the names of data.classes, liver, kidney"),
        (["translator.label_input=1"], r"found 1; expected 2 \(classes: liver, kidney\), or 0"),
        (["translator.label_input=0"], "label_discriminator needs translator.label_input=2"),
        (["split.folds=null", "split.fold=0"], "split.fold: found 0 with split.folds None"),
        (["split.fold=2"], "expected a fold from 0 to split.folds - 1"),
        (["split.train=0.5"], "split.train and split.folds exclude each other"),
    ],
)
def test_classes_and_folds_that_contradict_each_other_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        config_of(*settings)


def test_several_classes_are_no_business_of_the_tumor_domain():
    with pytest.raises(ConfigError, match="edits tumors: name their parts in data.tumor"):
        load_config(None, ["data.classes={core: [1], edema: [2]}"])


def test_pictures_of_eight_bits_are_translated_with_their_labels(tmp_path):
    drawn = phantoms("head", 6, seed=4, shape=(32, 32, 6), spacing_mm=(6.0, 6.0, 14.0))
    records = [ScanRecord(p.patient, {"flair": p.images["flair"]}, p.label, p.affine) for p in drawn]
    write_layout(records, tmp_path / "lgg", "kaggle-lgg")
    settings = [word for word in TINY if not word.startswith(("data.", "target.", "split.", "translator.label"))]
    config = load_config(
        None,
        [*settings, "data.window=[0,255]", "data.sequence=flair", "target.sequence=post", "split.train=2",
         "split.validation=1", "evaluation.arms=[standard+gan-offline]"],
        {"domain": "ct", "data.root": tmp_path / "lgg"},
    )  # fmt: skip
    run = run_pipeline(config, tmp_path / "run")
    records = read_json(run.synthetic / "datalist.json")["training"]
    entries = {entry["case"]: entry for entry in read_json(run.datalist)["cases"]}
    assert records and all(entry["source_dtypes"] == ["uint8"] for entry in entries.values())
    for record in records:
        image, label = (run.synthetic / record[kind] for kind in ("image", "label"))
        values = read_scan(image).as_tensor()[0].numpy()
        assert record["window"] == {"low": 0.0, "high": 255.0, "unit": "au"}
        assert values.shape == (32, 32) and values.min() >= 0 and values.max() <= 255
        stored = open_array(run.prepared, entries[record["parent"]["case"]]["arrays"]["label"])
        np.testing.assert_array_equal(read_label(label).as_tensor()[0].numpy(), stored)


def test_a_translated_set_is_exported_with_the_held_out_patients_of_both_domains(run, tmp_path):
    fold, out = run.fold(0), tmp_path / "out"
    export_dataset(fold.root, out, "msd")
    split, translated = read_json(fold.split), read_json(fold.synthetic / "datalist.json")["training"]
    tested = {path.name.removesuffix(".nii.gz") for path in (out / "imagesTs").iterdir()}
    held_out = {*split["validation"], *split["test"]}
    both = [(read_json(path)["cases"], prefix) for path, prefix in ((fold.datalist, ""), (fold.datalist_b, "target-"))]
    assert tested == {f"{prefix}{c['case']}" for cases, prefix in both for c in cases if c["patient"] in held_out}
    assert read_json(out / "dataset.json")["modality"] == {"0": "CT"}
    for record in translated:
        image, label = (out / f"{kind}sTr" / f"synthetic-{record['case']}.nii.gz" for kind in ("image", "label"))
        np.testing.assert_array_equal(read_scan(image), read_scan(fold.synthetic / record["image"]))
        np.testing.assert_array_equal(read_label(label), read_label(fold.synthetic / record["label"]))


def test_copy_paste_moves_several_classes_each_with_its_own_number(run):
    config = config_of("split.fold=0", "evaluation.arms=[standard, gan-offline+copy-paste]")
    check_arms(config)
    task = across_domains.downstream_of(config, run.fold(0), [])["source"]
    pasting, pasted = ALL_ARMS["copy-paste"].pasting(task.real, config.data), set()
    for number, view in enumerate(task.real.views * 3):
        before = task.real.sample(view)
        after = pasting.set_random_state(seed=number)(before)
        new = after["label"] != before["label"]
        assert not (new & (before["label"] > 0)).any(), "what is labelled stays"
        pasted |= set(after["label"][new].int().tolist())
    assert pasted == {1, 2}
