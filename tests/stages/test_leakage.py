"""No validation or test patient reaches the GAN or the synthetic cases, and what was made from one is refused."""

import hashlib
import json
import shutil

import nibabel
import numpy as np
import pytest

from medaug.config.files import load_config
from medaug.data import prepared
from medaug.data.atomic import read_json
from medaug.data.writers import write_phantoms
from medaug.errors import LeakageError, WeightsError
from medaug.examination.examination import examine
from medaug.models.weights import load_weights
from medaug.splits import PARTS
from medaug.stages.anomaly import anomaly
from medaug.stages.audit import audit
from medaug.stages.evaluate import evaluate
from medaug.stages.pipeline import run_pipeline
from medaug.stages.synthesize import synthesize
from medaug.stages.tasks import task_of
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
    assert list(weights.facts.training_patients) == training
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


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Four patients in BraTS' layout."""
    root = tmp_path_factory.mktemp("heads")
    write_phantoms(root, "brats", anatomy="head", patients=4, seed=0, shape=(24, 20, 6), spacing_mm=(6, 6, 10))
    return root


def volume(root, patient):
    return np.asarray(nibabel.load(root / patient / f"{patient}_flair.nii.gz").dataobj)


def write_volume(root, patient, array):
    """As float64, uncompressed; a label is that of no tumor."""
    (root / patient).mkdir(exist_ok=True)
    for kind, values in (("flair", array.astype(np.float64)), ("seg", np.zeros(array.shape))):
        (root / patient / f"{patient}_{kind}.nii.gz").unlink(missing_ok=True)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([6, 6, 10, 1])), root / patient / f"{patient}_{kind}.nii")


def as_a_whole(root, original):
    """Another type, ending, order of axes, and mirrored."""
    write_volume(root, "zoe", volume(root, original)[::-1].transpose(1, 0, 2))


def as_one_slice(root, original):
    """Among slices of its own, one of which is blank in both."""
    array = np.random.default_rng(0).normal(100, 20, volume(root, original).shape)
    array[..., 0], array[..., 3] = 0, volume(root, original)[:, ::-1, 2]
    write_volume(root, "zoe", array)


def prepared_with(config, root, out, **split):
    (out.parent / "split.json").write_text(json.dumps(split))
    settings = (f"data.root={root}", "data.sequence=flair", f"split.file={out.parent / 'split.json'}")
    return run_pipeline(config(*settings), out, until="prepare")


@pytest.mark.parametrize("copied", [as_a_whole, as_one_slice])
def test_one_image_under_two_names_is_refused_across_the_split_and_told_inside_a_part(
    heads, tmp_path, tiny_config, caplog, copied
):
    root = shutil.copytree(heads, tmp_path / "data")
    ann, *others = sorted(path.name for path in heads.iterdir())
    copied(root, ann)
    with pytest.raises(LeakageError, match=rf"same image.*{ann} \(train: .*{ann}_flair.nii.gz\).*zoe \(test") as error:
        prepared_with(tiny_config, root, tmp_path / "across", train=[ann, *others[:2]], test=["zoe", others[2]])
    assert error.value.patients == [ann, "zoe"]
    run = prepared_with(tiny_config, root, tmp_path / "within", train=[ann, "zoe"], test=others)
    assert f"{ann} (train" in caplog.text and "zoe (train" in caplog.text and run.split.exists()


def test_one_image_in_both_domains_under_two_names_is_refused(heads, tmp_path, tiny_config):
    target = shutil.copytree(heads, tmp_path / "target")
    for folder in list(target.iterdir()):
        shutil.rmtree(folder)
    ann, *others = sorted(path.name for path in heads.iterdir())
    (target / "zoe").mkdir()
    shutil.copy(heads / ann / f"{ann}_flair.nii.gz", target / "zoe" / "zoe_t1.nii.gz")
    two = lambda *more: tiny_config("domain=ct", f"target.root={target}", "target.sequence=t1", "crop.size=null", *more)  # noqa: E731
    with pytest.raises(LeakageError, match=f"{ann}.*zoe"):
        prepared_with(two, heads, tmp_path / "run", train=["zoe", *others], test=[ann])
    found = examine(heads, sequence="flair", target=target, target_sequence="t1")
    assert any(check.verdict == "fail" and "data and target" in check.sentence for check in found.checks)


@pytest.fixture(scope="module")
def renamed(tiny_run, tiny_config, tmp_path_factory):
    """A run on the tiny run's own patients under other names, prepared: who trained there is tested here."""
    folder = tmp_path_factory.mktemp("renamed")
    root = shutil.copytree(tiny_run.phantoms, folder / "data")
    for path in root.glob("*Tr/*"):
        path.rename(path.with_name(path.name.replace("phantom", "new")))
    split = {part: [name.replace("phantom", "new") for name in read_json(tiny_run.split)[part]] for part in PARTS}
    split["train"], split["test"] = split["test"], split["train"]
    run = prepared_with(tiny_config, root, folder / "run", **split)
    shutil.copytree(tiny_run.weights, run.weights)
    return run, lambda *more: load_config(run.config, list(more))


def own_arm(weights):
    given = {"keys": "image", "label_key": "label", "weights": str(weights)}
    return {"transform": "medaug.transforms.RandInsertTumord", "args": given}


def stages_with_foreign_weights(renamed, weights):
    """What every stage that uses weights does with these."""
    run, config = renamed
    yield "synthesize", lambda: synthesize(config(), run)
    yield "audit", lambda: audit(config(), run)
    yield "anomaly", lambda: anomaly(config(), run, weights)
    yield (
        "evaluate",
        lambda: task_of(config(f"evaluation.own_arms={json.dumps({'mine': own_arm(weights)})}")).check_prepared(run),
    )
    yield "train", lambda: train(config(f"translator.warm_start={weights}"), run)


def test_weights_that_know_a_scan_by_another_name_are_refused_by_every_stage(renamed, tiny_run):
    tested = read_json(renamed[0].split)["test"]
    for name, stage in stages_with_foreign_weights(renamed, tiny_run.weights):
        with pytest.raises(LeakageError, match="new-.* \\(the same images under another name\\)") as error:
            stage()
        assert error.value.patients == tested, name


def test_weights_keep_fingerprints_of_their_scans_and_older_ones_without_load(tiny_run, weights, tmp_path, edit_json):
    content = weights.facts.training_content
    assert all(set(text) <= set("0123456789abcdef") for text in content)
    entries = [e for e in read_json(tiny_run.datalist)["cases"] if e["patient"] in weights.facts.training_patients]
    assert list(content) == sorted({text for entry in entries for text in entry["fingerprints"]}) and len(content) > 4
    old = shutil.copytree(tiny_run.weights, tmp_path / "weights")
    edit_json(old / "model.json", lambda facts: facts.pop("training_content"))
    assert load_weights(old).facts.training_patients == weights.facts.training_patients


@pytest.mark.parametrize("content", [7, None, "abc", [["abc"]], {"abc": 1}])
def test_weights_that_do_not_say_whom_they_know_are_refused(copy_of_run, tiny_config, edit_json, content):
    edit_json(copy_of_run.weights / "model.json", lambda facts: facts.update(training_content=content))
    with pytest.raises(WeightsError, match="found no lists of texts in training_patients and training_content"):
        synthesize(tiny_config(), copy_of_run)


def test_weights_that_name_nobody_are_refused(copy_of_run, tiny_config, edit_json):
    edit_json(copy_of_run.weights / "model.json", lambda facts: facts.pop("training_patients"))
    with pytest.raises(WeightsError, match="found no training_patients in their model.json"):
        synthesize(tiny_config(), copy_of_run)


def test_older_weights_are_compared_by_name(renamed, tiny_run, tmp_path, edit_json):
    run, config = renamed
    old = shutil.copytree(tiny_run.weights, tmp_path / "weights")
    edit_json(old / "model.json", lambda facts: facts.pop("training_content"))
    task_of(config(f"evaluation.own_arms={json.dumps({'mine': own_arm(old)})}")).check_prepared(run)
