"""The quality gate: what a frozen segmenter does not see is not written, and bad generators are found out by it."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from medaug.data.atomic import read_json
from medaug.data.synthetic import synthetic_cases
from medaug.errors import DataError
from medaug.experiment import downstream, edits
from medaug.experiment.edits import accepted_cases
from medaug.runs.folder import RunDir
from medaug.stages.evaluate import evaluate
from medaug.stages.pipeline import run_pipeline
from medaug.stages.synthesize import synthesize
from medaug.stages.tasks import insertion_cases as stage

GATED = "evaluation.arms=[standard, standard+gan-gated]"
SYNTHESIS = (
    "synthesis.insertions=16", "synthesis.removals=1", "synthesis.size_mm=[24,40]", "synthesis.workers=0",
)  # fmt: skip
MEASURED = (*SYNTHESIS, GATED, "segmenter.updates=50", "segmenter.channels=[8,16,16]", "segmenter.learning_rate=0.02")


def datalist(run):
    return read_json(run.synthetic / "datalist.json")


def insertions(run):
    return [record for record in datalist(run)["training"] if record["kind"] == "inserted"]


@pytest.fixture(scope="module")
def judges():
    """The judge that `measured` trained, for tests that need no other."""
    return []


@pytest.fixture(scope="module")
def measured(tmp_path_factory, tiny_run, tiny_config, judges):
    """A run whose insertions were measured and all written."""
    run = RunDir(tmp_path_factory.mktemp("measured") / "run")
    shutil.copytree(tiny_run.root, run.root)
    with pytest.MonkeyPatch.context() as patch:
        train = stage.QualityGate
        patch.setattr(stage, "QualityGate", lambda *of: judges.append(train(*of)) or judges[-1])
        synthesize(tiny_config(*MEASURED), run)
    return run


@pytest.fixture
def trained(measured, judges, monkeypatch):
    """The same views and settings give the same segmenter: it is not trained again."""
    monkeypatch.setattr(stage, "QualityGate", lambda *of: judges[0])


@pytest.fixture
def generator(monkeypatch):
    """`generator(spoil)`: every insertion becomes `spoil(edited)`."""
    inserted = edits.ViewEditor.inserted

    def plant(spoil):
        def spoilt(self, view, seed):
            edited = inserted(self, view, seed)
            return edited if edited is None else spoil(edited)

        monkeypatch.setattr(edits.ViewEditor, "inserted", spoilt)

    return plant


def paints_nothing(edited):
    return edited._replace(image=edited.original)


def paints_outside(edited):
    """What was inserted, ten voxels away from where the label says."""
    change = torch.roll(edited.image - edited.original, 10, dims=1)
    return edited._replace(image=edited.original + change)


def test_a_gate_that_nobody_asked_for_measures_nothing(tiny_run):
    assert "gate" not in datalist(tiny_run)
    assert not any({"agreement", "draws"} & set(record) for record in datalist(tiny_run)["training"])


def test_measuring_changes_no_case_and_every_insertion_keeps_its_agreement(measured, copy_of_run, tiny_config):
    synthesize(tiny_config(*SYNTHESIS), copy_of_run)
    for name in ("images/inserted-00003.nii.gz", "labels/inserted-00000.nii.gz"):
        assert (measured.synthetic / name).read_bytes() == (copy_of_run.synthetic / name).read_bytes()
    records = insertions(measured)
    assert len(records) == 16 and all(record["draws"] == 1 and 0 <= record["agreement"] <= 1 for record in records)
    accepted = sum(record["agreement"] >= 0.5 for record in records)
    expected = {"least": 0.5, "drawn": 16, "accepted": accepted, "accept_rate": round(accepted / 16, 4)}
    assert datalist(measured)["gate"] == expected


@pytest.mark.parametrize("spoil", [paints_nothing, paints_outside])
def test_a_bad_generator_has_a_low_accept_rate(measured, trained, copy_of_run, tiny_config, generator, spoil):
    generator(spoil)
    synthesize(tiny_config(*MEASURED), copy_of_run)
    good, bad = (datalist(run)["gate"]["accept_rate"] for run in (measured, copy_of_run))
    assert good > 0.3 > 0.1 > bad


def test_what_is_rejected_is_drawn_again(measured, trained, copy_of_run, tiny_config):
    least = float(np.median([record["agreement"] for record in insertions(measured)]))
    config = tiny_config(*MEASURED, f"synthesis.gate={least}", "synthesis.workers=1")
    synthesize(config, copy_of_run)
    gated, gate = insertions(copy_of_run), datalist(copy_of_run)["gate"]
    assert len(gated) == 16 and all(record["agreement"] >= least for record in gated)
    assert gate["least"] == least and gate["accepted"] == 16 < gate["drawn"] == sum(r["draws"] for r in gated)
    assert len(list((copy_of_run.synthetic / "images").glob("inserted-*"))) == 16
    for free, kept in zip(insertions(measured), gated, strict=True):
        assert (kept["draws"] == 1) == (free["agreement"] >= least)
        assert (free["seed"] == kept["seed"]) == (kept["draws"] == 1)


def test_where_almost_everything_is_rejected_the_accept_rate_is_told(trained, copy_of_run, tiny_config, generator):
    generator(paints_nothing)
    with pytest.raises(DataError, match=r"50 draws of inserted-00000 .*accept rate of 0 in 50 \(0%\).*Lower synthesis"):
        synthesize(tiny_config(*MEASURED, "synthesis.gate=0.6"), copy_of_run)
    assert not list((copy_of_run.synthetic / "images").glob("*"))


def test_the_gated_arm_learns_from_accepted_cases_alone_and_the_page_says_how_many(
    trained, copy_of_run, tiny_config, monkeypatch
):  # fmt: skip
    seen, train = [], downstream.train_network

    def spy(samples, config, *, seed, **options):
        seen.append(samples.synthetic)
        return train(samples, config, seed=seed, **options)

    monkeypatch.setattr(downstream, "train_network", spy)
    run_pipeline(tiny_config(*MEASURED), copy_of_run.root)
    good = {record["case"] for record in insertions(copy_of_run) if record["agreement"] >= 0.5}
    assert 0 < len(good) < 16 and {view.case.case for view in seen[-1].views} == good
    assert f"{len(good)} of 16 insertions accepted" in copy_of_run.report.read_text()


def test_cases_that_were_never_judged_are_no_accepted_ones(copy_of_run, tiny_config):
    with pytest.raises(DataError, match="found no agreement of inserted-00000, and 3 others.*Run synthesize again"):
        evaluate(tiny_config(GATED), copy_of_run)
    made = {record.kind: record for record in synthetic_cases(copy_of_run.synthetic / "datalist.json")}
    records = [replace(made["inserted"], case="a", agreement=0.4), replace(made["removed"], case="b")]
    assert accepted_cases(tiny_config(), records) == {"b"}
    assert accepted_cases(tiny_config("synthesis.gate=0.3"), records) == {"a", "b"}


def test_other_settings_of_the_segmenter_judge_again_and_leave_the_training_alone(measured, tiny_config):
    ran = []
    config = tiny_config(*MEASURED, "segmenter.updates=2")
    run_pipeline(config, measured.root, until="synthesize", on_stage=ran.append)
    assert [stage.name for stage in ran if stage.ran] == ["synthesize"]


def test_volumes_are_judged_too(volume_run, tiny_config, tmp_path):
    run = RunDir(tmp_path / "run")
    shutil.copytree(volume_run.root, run.root)
    volumes = ("data.spatial_dims=3", "crop.size=[16,16,12]", "evaluation.patch_size=[16,16,8]")
    few = ("synthesis.insertions=2", "synthesis.removals=0", "segmenter.updates=2", "segmenter.channels=[4,8,8]")
    synthesize(tiny_config(*volumes, *few, GATED), run)
    assert [0 <= record["agreement"] <= 1 for record in insertions(run)] == [True, True]
