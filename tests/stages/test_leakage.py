"""No validation or test patient reaches the GAN or the synthetic cases, and what was made from one is refused."""

import hashlib
import json

import pytest

from medaug.errors import LeakageError
from medaug.io import prepared
from medaug.io.atomic import read_json
from medaug.pipeline import run_pipeline
from medaug.stages.audit import audit
from medaug.stages.evaluate import evaluate
from medaug.stages.synthesize import synthesize
from medaug.stages.train import train


@pytest.fixture
def patients(copy_of_run):
    return read_json(copy_of_run.split)


def test_training_and_synthesis_read_training_patients_only(copy_of_run, tiny_config, forget, patients, monkeypatch):
    read = set()
    open_array = prepared.open_array

    def spy(folder, relative):
        read.add(relative.split(".")[0])
        return open_array(folder, relative)

    monkeypatch.setattr(prepared, "open_array", spy)
    config = tiny_config("synthesis.workers=0")
    forget(copy_of_run, "train", "synthesize")
    assert train(config, copy_of_run)
    assert read == set(patients["train"])
    assert synthesize(config, copy_of_run)
    assert read == set(patients["train"])


def test_every_reference_lesion_and_parent_is_of_a_training_patient(tiny_run, weights):
    training = read_json(tiny_run.split)["train"]
    assert {reference.patient for reference in weights.prior.references} <= set(training)
    assert weights.facts["training_patients"] == training
    for record in read_json(tiny_run.synthetic / "datalist.json")["training"]:
        assert record["parent"]["patient"] in training
        assert all(lesion["patient"] in training for lesion in record["lesions"])
        assert record["training_patients"] == training


@pytest.mark.parametrize("part", ["validation", "test"])
def test_weights_trained_on_a_held_out_patient_are_refused(copy_of_run, tiny_config, forget, edit_json, patients, part):
    leaked = patients[part][0]
    edit_json(copy_of_run.weights / "model.json", lambda facts: facts["training_patients"].append(leaked))
    forget(copy_of_run, "synthesize", "audit")
    for stage in (synthesize, audit):
        with pytest.raises(LeakageError, match=leaked) as error:
            stage(tiny_config(), copy_of_run)
        assert error.value.patients == [leaked]


@pytest.mark.parametrize(
    "change",
    [
        lambda record, patient: record["parent"].update(patient=patient),
        lambda record, patient: record["lesions"][0].update(patient=patient),
        lambda record, patient: record["training_patients"].append(patient),
    ],
    ids=["parent", "lesion", "weights"],
)
def test_synthetic_cases_made_from_a_test_patient_are_refused(copy_of_run, tiny_config, edit_json, patients, change):
    leaked = patients["test"][0]
    edit_json(copy_of_run.synthetic / "datalist.json", lambda content: change(content["training"][0], leaked))
    with pytest.raises(LeakageError, match=leaked) as error:
        evaluate(tiny_config(), copy_of_run)
    assert error.value.patients == [leaked]


def with_hash(split):
    parts = {part: split[part] for part in ("train", "validation", "test")}
    split["hash"] = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@pytest.mark.parametrize("hashed", [False, True], ids=["as it is", "with a new hash"])
def test_an_edited_split_is_refused_naming_who_moved(copy_of_run, tiny_config, edit_json, patients, hashed):
    moved = patients["test"][0]

    def change(split):
        split["test"].remove(moved)
        split["train"].append(moved)
        split["train"].sort()
        if hashed:
            with_hash(split)

    edit_json(copy_of_run.split, change)
    with pytest.raises(LeakageError, match=moved) as error:
        run_pipeline(tiny_config(), copy_of_run.root)
    assert error.value.patients == [moved]


def test_a_patient_on_both_sides_is_refused_by_every_stage(copy_of_run, tiny_config, edit_json, forget, patients):
    both = patients["test"][0]
    edit_json(copy_of_run.split, lambda split: split["train"].append(both))
    forget(copy_of_run, "audit", "evaluate")
    for stage in (synthesize, audit, evaluate):
        with pytest.raises(LeakageError, match=both):
            stage(tiny_config(), copy_of_run)
