"""A run's set in the formats of others: read back, labels exact, patients on one side, nobody named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from monai.auto3dseg import datafold_read
from monai.data import load_decathlon_datalist
from typer.testing import CliRunner

from medaug.cli import app
from medaug.config.files import dump_config, load_config
from medaug.data.atomic import read_json, write_json
from medaug.data.files import read_label, read_scan
from medaug.data.layouts import find_cases
from medaug.data.prepared import View
from medaug.data.records import prepared_cases
from medaug.data.synthetic import synthetic_cases
from medaug.data.writers import write_phantoms
from medaug.errors import ConfigError, DataError, LeakageError, RunError
from medaug.examination.examination import examine
from medaug.experiment.backends import layout
from medaug.exports.datasets import FORMATS, export_dataset
from medaug.splits import PARTS, Split
from medaug.stages.pipeline import run_pipeline
from medaug.volumes import spacing_of

from ..stored import array_of


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    """Format → folder."""
    folders = {}
    for name in FORMATS:
        folders[name] = tmp_path_factory.mktemp("exports") / name
        result = CliRunner().invoke(app, ["export", str(tiny_run.root), str(folders[name]), "--to", name])
        assert result.exit_code == 0, result.output
        assert "4 real, 4 inserted, 2 removed; 4 real cases of held-out patients" in result.output
    return folders


@pytest.fixture(scope="module")
def nnunet(exported):
    return exported["nnunet"] / "Dataset501_Medaug"


def pairs(name, folder):
    """(case, image, label) of every exported pair that a format has a name for."""
    ending = "_0000.nii.gz" if name == "nnunet" else ".nii.gz"
    for image in [*folder.rglob("images*/*.nii.gz")]:
        case = image.name.removesuffix(ending)
        yield case, image, image.parent.parent / image.parent.name.replace("images", "labels") / f"{case}.nii.gz"


def truths(run):
    """Case → (image, label) as the run holds them, (X, Y, Z), and the affine that they have in space."""
    entries = {entry["case"]: entry for entry in read_json(run.datalist)["cases"]}
    found = {}
    for name, entry in entries.items():
        arrays = [array_of(run.prepared, entry, key) for key in ("image", "label")]
        found[name] = *arrays, np.array(entry["affine"])
    for record in read_json(run.synthetic / "datalist.json")["training"]:
        parent = record["parent"]
        affine = np.array(entries[parent["case"]]["affine"])
        affine[:3, 3] = (affine @ [0, 0, parent["level"], 1])[:3]
        image = read_scan(run.synthetic / record["image"]).numpy()[0, ..., None]
        label = read_label(run.synthetic / record["label"]).numpy()[0, ..., None]
        found[f"synthetic-{record['case']}"] = image, label, affine
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_every_sequence_and_every_part_comes_back_from_each_format(multi_run, tmp_path, name):
    export_dataset(multi_run.root, tmp_path / "out", name)
    root = next((tmp_path / "out").glob("Dataset*"), tmp_path / "out")
    described = read_json(root / ("datalist.json" if name == "datalist" else "dataset.json"))
    names = described["modality" if name == "msd" else "channel_names"]
    assert names == {"0": "flair", "1": "t1"} and "1 core, 2 rim" in described["description"]
    assert dict(described["labels"]) == (
        {"background": 0, "core": 1, "rim": 2} if name == "nnunet" else {"0": "background", "1": "core", "2": "rim"}
    )
    entries = {case.case: case for case in prepared_cases(multi_run.datalist)}
    records = {f"synthetic-{r.case}": r for r in synthetic_cases(multi_run.synthetic / "datalist.json")}
    found, parts = find_cases(root, sequences=("t1", "flair")), set()
    assert len(found) == 10
    for case in found:
        image = np.stack([read_scan(f.image, channel=f.channel).numpy()[0] for f in reversed(case.sequences)])
        label = read_label(case.label).numpy()[0]
        if case.case in entries:
            view = View(entries[case.case], None, 0)
            expected, truth = view.raw(multi_run.prepared, "image"), view.classes(multi_run.prepared)
        else:
            files = [multi_run.synthetic / file for file in records[case.case].images]
            expected = np.stack([read_scan(file).numpy()[0] for file in files])
            truth = read_label(multi_run.synthetic / records[case.case].label).numpy()[0]
        np.testing.assert_array_equal(image.reshape(expected.shape), expected)
        np.testing.assert_array_equal(label.reshape(truth.shape), truth)
        parts |= set(np.unique(label))
    assert parts == {0, 1, 2}


def test_regions_become_lists_of_classes_in_the_order_in_which_nnunet_writes_them(multi_run, tmp_path):
    shutil.copytree(multi_run.root, tmp_path / "run")
    regions = "evaluation.regions={whole: [core, rim], core: [core]}"
    config = load_config(multi_run.config, [regions])
    (tmp_path / "run" / multi_run.config.name).write_text(dump_config(config))
    export_dataset(tmp_path / "run", tmp_path / "out", "nnunet")
    (root,) = (tmp_path / "out").iterdir()
    described = read_json(root / "dataset.json")
    assert described["labels"] == {"background": 0, "whole": [1, 2], "core": [1]}
    assert described["regions_class_order"] == [2, 1]


def made_from(record):
    return {record["parent"]["patient"], *(lesion["patient"] for lesion in record["lesions"])}


@pytest.mark.parametrize("name", FORMATS)
def test_every_case_is_there_once_with_its_voxels_its_label_and_its_place(exported, tiny_run, name):
    expected, seen = truths(tiny_run), []
    for case, image_path, label_path in pairs(name, exported[name]):
        image, label, affine = expected[case]
        scan, truth = read_scan(image_path), read_label(label_path)
        np.testing.assert_array_equal(scan.numpy()[0].reshape(image.shape), image)
        np.testing.assert_array_equal(truth.numpy()[0].reshape(label.shape), label)
        np.testing.assert_allclose(scan.affine, affine, atol=1e-4)
        np.testing.assert_allclose(truth.affine, affine, atol=1e-4)
        assert truth.meta["dtype"] == "uint8" and set(np.unique(truth)) <= {0, 1}
        seen.append(case)
    assert sorted(seen) == sorted(expected)


def test_held_out_patients_are_in_imagests_alone(exported, nnunet, tiny_run):
    split = read_json(tiny_run.split)
    for folder, ending in ((nnunet, "_0000.nii.gz"), (exported["msd"], ".nii.gz")):
        tested = {path.name.removesuffix(ending) for path in (folder / "imagesTs").iterdir()}
        trained = {path.name.removesuffix(ending) for path in (folder / "imagesTr").iterdir()}
        assert tested == {*split["validation"], *split["test"]}  # a phantom's case is its patient
        assert {name for name in trained if not name.startswith("synthetic")} == set(split["train"])


def test_nnunets_description_fits_its_folder(nnunet):
    description = read_json(nnunet / "dataset.json")
    assert description["channel_names"] == {"0": "mr"} and description["labels"] == {"background": 0, "tumor": 1}
    images = sorted(path.name for path in (nnunet / "imagesTr").iterdir())
    labels = sorted(path.name for path in (nnunet / "labelsTr").iterdir())
    assert description["numTraining"] == len(images) == 10 and description["file_ending"] == ".nii.gz"
    assert labels == [name.replace("_0000", "") for name in images]


def test_a_synthetic_case_never_trains_in_a_fold_that_validates_a_patient_it_was_made_from(nnunet, tiny_run):
    records = {f"synthetic-{r['case']}": r for r in read_json(tiny_run.synthetic / "datalist.json")["training"]}
    folds, validated, left_out = read_json(nnunet / "splits_final.json", list), [], 0
    for fold in folds:
        assert not set(fold["val"]) & set(records), "only real cases validate"
        assert not set(fold["val"]) & set(fold["train"])
        for name, record in records.items():
            clean = not made_from(record) & set(fold["val"])
            assert (name in fold["train"]) == clean
            left_out += not clean
        validated += fold["val"]
    assert sorted(validated) == read_json(tiny_run.split)["train"] and left_out >= len(records)


def number(patient):
    """Of a phantom in the export."""
    return f"{int(patient[-3:]) + 1:03d}"


@pytest.mark.parametrize("name", FORMATS)
def test_our_own_layouts_know_synthetic_cases_and_everybody_they_were_made_from(exported, nnunet, tiny_run, name):
    found = {case.case: case for case in find_cases(nnunet if name == "nnunet" else exported[name])}
    records = read_json(tiny_run.synthetic / "datalist.json")["training"]
    assert len(found) == 10 and sum(case.synthetic is not None for case in found.values()) == len(records)
    for record in records:
        case = found[f"synthetic-{record['case']}"]
        assert case.patient == found[record["parent"]["case"]].patient
        assert set(map(number, made_from(record))) <= set(case.synthetic["made_from"])
        assert case.synthetic["trained_on"] == [number(patient) for patient in record["training_patients"]]


def test_a_bids_sidecar_says_whom_a_synthetic_image_was_made_from(exported, tmp_path):
    """Such a folder is what medaug 0.1 exported."""
    (entry, *_) = [e for e in read_json(exported["datalist"] / "datalist.json")["training"] if "synthetic" in e]
    subject = f"sub-{entry['patient']}"
    anat = tmp_path / subject / "anat"
    for desc, provenance in (("real", {}), ("synthetic", {"Provenance": entry["synthetic"]})):
        write_json(anat / f"{subject}_run-001_desc-{desc}_FLAIR.json", provenance)
        for kind, name in (("images", "FLAIR"), ("labels", "dseg")):
            source = exported["datalist"] / kind / f"{entry['case']}.nii.gz"
            shutil.copy(source, anat / f"{subject}_run-001_desc-{desc}_{name}.nii.gz")
    real, made = sorted(find_cases(tmp_path), key=lambda case: case.synthetic is not None)
    assert real.synthetic is None and real.patient == made.patient == subject
    made_from = {f"sub-{patient}" for patient in entry["synthetic"]["made_from_patients"]}
    assert made_from <= set(made.synthetic["made_from"])


@pytest.mark.parametrize("name", ["nnunet", "msd"])
def test_synthetic_cases_are_kept_out_where_somebody_they_know_does_not_train(
    exported, nnunet, tiny_config, tmp_path, name, caplog
):
    folder = nnunet if name == "nnunet" else exported[name]
    run = run_pipeline(
        tiny_config(f"data.root={folder}", "split.train=2", "split.validation=1"), tmp_path / "run", until="prepare"
    )
    assert not any("synthetic" in entry for entry in read_json(run.datalist)["cases"])
    split = read_json(run.split)
    assert sum(len(split[part]) for part in PARTS) == 4
    assert "synthetic cases in the data: 0 train, none is tested" in caplog.text and "generator learnt" in caplog.text


def prepared(tiny_config, out, root, split):
    write_json(out / "split.json", split)
    settings = (f"data.root={root}", f"split.file={out / 'split.json'}")
    run = run_pipeline(tiny_config(*settings), out / "run", until="prepare")
    return {entry["case"]: entry for entry in read_json(run.datalist)["cases"]}, read_json(run.split)


def test_with_the_runs_own_split_synthetic_cases_train_and_nobody_tests_on_them(
    exported, tiny_config, tiny_run, tmp_path
):
    folder = exported["datalist"]
    split = read_json(folder / "split.json")
    entries, made = prepared(tiny_config, tmp_path, folder / "datalist_all.json", split)
    assert made == split and [len(split[part]) for part in PARTS[:3]] == [4, 1, 3] and len(entries) == 14
    assert {entry["patient"] for entry in entries.values() if "synthetic" in entry} <= set(split["train"])
    again = run_pipeline(  # the same command goes on
        tiny_config(f"data.root={folder / 'datalist_all.json'}", f"split.file={tmp_path / 'split.json'}"),
        tmp_path / "run",
        until="prepare",
    )
    assert read_json(again.split) == split


def test_a_parent_is_known_by_its_scan_where_its_name_is_another(exported, tiny_config, tiny_run, tmp_path):
    folder = shutil.copytree(exported["datalist"], tmp_path / "data")
    content = read_json(folder / "datalist_all.json")
    for entry in content["training"]:
        entry["patient"] = f"new-{entry['patient']}"
    write_json(folder / "datalist.json", content)
    records = read_json(tiny_run.synthetic / "datalist.json")["training"]
    tested = next(iter(made_from(records[0])))
    everybody = {entry["patient"] for entry in content["training"]}
    split = {"test": [f"new-{number(tested)}"], "train": sorted(everybody - {f"new-{number(tested)}"})}
    entries, _ = prepared(tiny_config, tmp_path, folder, split)
    kept = {name for name, entry in entries.items() if "synthetic" in entry}
    assert kept == {f"synthetic-{record['case']}" for record in records if tested not in made_from(record)}


def test_a_runs_own_synthetic_cases_are_no_data_set_without_real_ones(tiny_run, tiny_config, tmp_path):
    with pytest.raises(DataError, match="6 synthetic cases and no other; expected real scans"):
        run_pipeline(tiny_config(f"data.root={tiny_run.synthetic}"), tmp_path / "run", until="prepare")


def test_names_tell_where_nothing_else_does(exported, tmp_path):
    """nnU-Net's own `dataset.json` lists no cases; a folder of images has none."""
    folder = shutil.copytree(exported["msd"], tmp_path / "images-labels")
    (folder / "dataset.json").unlink()
    for kind in ("images", "labels"):
        (folder / f"{kind}Tr").rename(folder / kind)
    cases = find_cases(folder)
    assert {case.case.startswith("synthetic") for case in cases} == {True, False}
    assert all((case.synthetic == {}) == case.case.startswith("synthetic") for case in cases)
    found = examine(folder)
    assert len(next(check for check in found.checks if check.name == "synthetic").named) == 6 and found.data.cases == 4


def test_monai_reads_the_decathlon_folder(exported):
    listed = load_decathlon_datalist(exported["msd"] / "dataset.json", True, "training")
    assert len(listed) == 10 and all(
        read_scan(item["image"]).shape == read_label(item["label"]).shape for item in listed
    )
    assert len(load_decathlon_datalist(exported["msd"] / "dataset.json", True, "test")) == 4


def test_monai_reads_the_folds_of_the_datalist(exported, tiny_run):
    folder, validated = exported["datalist"], []
    for number in range(4):
        train, validation = datafold_read(str(folder / f"datalist_fold{number}.json"), str(folder), fold=number)
        patients = {Path(item["patient"]).name for item in validation}  # MONAI takes every text for a path
        assert not any("synthetic" in item for item in validation)
        for item in train:
            sources = item.get("synthetic", {}).get("made_from_patients", [Path(item["patient"]).name])
            assert not patients & set(sources)
        validated += [Path(item["case"]).name for item in validation]
    assert sorted(validated) == read_json(tiny_run.split)["train"]


@pytest.fixture
def named(copy_of_run):
    """A run whose patients have names that no case has."""
    split = read_json(copy_of_run.split)
    names = {patient: f"Doe^Jane^{patient[-3:]}" for part in PARTS for patient in split[part]}

    def renamed(value):
        if isinstance(value, dict):
            return {key: names.get(item, item) if key == "patient" else renamed(item) for key, item in value.items()}
        return [renamed(item) for item in value] if isinstance(value, list) else value

    for path in (copy_of_run.datalist, copy_of_run.synthetic / "datalist.json"):
        write_json(path, renamed(read_json(path)))
    parts = {part: tuple(names[patient] for patient in split[part]) for part in PARTS}
    write_json(copy_of_run.split, Split(**parts).to_dict())
    return copy_of_run


@pytest.mark.parametrize("name", FORMATS)
def test_neither_a_patients_name_nor_a_path_is_exported(named, tmp_path, name):
    export_dataset(named.root, tmp_path / "out", name)
    for path in (tmp_path / "out").rglob("*"):
        assert "Doe" not in path.name
        if path.is_file() and not path.name.endswith(".nii.gz"):
            text = path.read_text()
            assert "Doe" not in text and str(tmp_path) not in text and "prepared" not in text


def test_pictures_become_volumes_of_one_slice_with_their_voxel_size(tiny_config, tmp_path):
    write_phantoms(
        tmp_path / "lgg",
        "kaggle-lgg",
        anatomy="head",
        patients=5,
        seed=0,
        shape=(32, 32, 8),
        spacing_mm=(6.0, 6.0, 10.0),
    )
    run = run_pipeline(
        tiny_config(
            f"data.root={tmp_path / 'lgg'}",
            "data.sequence=flair",
            "data.spacing_mm=[6,6]",
            "split.train=3",
            "training.steps=1",
            "synthesis.insertions=1",
            "synthesis.removals=1",
        ),
        tmp_path / "run",
        until="synthesize",
    )
    export_dataset(run.root, tmp_path / "out", "nnunet")
    (folder,) = (tmp_path / "out").iterdir()
    picture = read_scan(run.synthetic / "images" / "inserted-00000.png")
    scan = read_scan(folder / "imagesTr" / "synthetic-inserted-00000_0000.nii.gz")
    np.testing.assert_array_equal(scan.numpy(), picture.numpy())
    assert spacing_of(scan.affine, 2) == (6.0, 6.0) and scan.meta["dtype"] == "uint8"
    assert read_json(folder / "dataset.json")["channel_names"] == {"0": "flair"}


def test_what_cannot_be_exported_is_refused(tiny_run, copy_of_run, tmp_path, exported):
    with pytest.raises(RunError, match="exists already"):
        export_dataset(tiny_run.root, exported["msd"], "msd")
    with pytest.raises(ConfigError, match="expected one of nnunet, msd, datalist"):
        export_dataset(tiny_run.root, tmp_path / "x", "nifti")
    shutil.rmtree(copy_of_run.synthetic)
    copy_of_run.done("synthesize").unlink()  # as after train-cycle
    with pytest.raises(RunError, match=f"Write them first: medaug synthesize {copy_of_run.root}"):
        export_dataset(copy_of_run.root, tmp_path / "x", "msd")
    assert CliRunner().invoke(app, ["synthesize", str(copy_of_run.root)]).exit_code == 0
    assert "4 inserted" in export_dataset(copy_of_run.root, tmp_path / "after", "msd")
    copy_of_run.split.unlink()
    with pytest.raises(RunError, match="missing: split.json"):
        export_dataset(copy_of_run.root, tmp_path / "x", "msd")
    (copy_of_run.root / "fold-0").mkdir()
    with pytest.raises(RunError, match="holds several runs"):
        export_dataset(copy_of_run.root, tmp_path / "x", "msd")
    assert not (tmp_path / "x").exists()


def test_a_case_made_from_a_held_out_patient_is_refused(copy_of_run, tmp_path):
    path, held_out = copy_of_run.synthetic / "datalist.json", read_json(copy_of_run.split)["test"][0]
    records = read_json(path)
    records["training"][0]["lesions"][0]["patient"] = held_out
    write_json(path, records)
    with pytest.raises(LeakageError, match=held_out):
        export_dataset(copy_of_run.root, tmp_path / "x", "nnunet")


def test_cases_by_weights_that_know_a_held_out_scan_by_another_name_are_refused(copy_of_run, tmp_path):
    tested = read_json(copy_of_run.split)["test"][0]
    scan = next(e for e in read_json(copy_of_run.datalist)["cases"] if e["patient"] == tested)["fingerprints"][0]
    facts = read_json(copy_of_run.weights / "model.json")
    write_json(copy_of_run.weights / "model.json", facts | {"training_content": [scan]})
    with pytest.raises(LeakageError, match=rf"{tested} \(the same images under another name\)"):
        export_dataset(copy_of_run.root, tmp_path / "x", "nnunet")


def test_a_failed_export_leaves_nothing(tiny_run, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(layout, "write_scan", full)
    with pytest.raises(RunError, match="No space left"):
        export_dataset(tiny_run.root, tmp_path / "x", "msd")
    assert not any(tmp_path.iterdir())


def test_the_healthy_pool_is_left_out_and_what_was_inserted_into_it_is_not(tiny_config, tmp_path, caplog):
    settings = ("split.train=2", "split.healthy=3", "synthesis.insertions=24", "synthesis.removals=0")
    run = run_pipeline(tiny_config(*settings, "training.steps=1"), tmp_path / "run", until="synthesize")
    export_dataset(run.root, tmp_path / "out", "datalist")
    pool = read_json(run.split)["healthy"]
    records = read_json(run.synthetic / "datalist.json")["training"]
    assert any(record["parent"]["patient"] in pool for record in records)
    listed = read_json(tmp_path / "out" / "datalist_all.json")["training"]
    assert not {entry["case"] for entry in listed} & set(pool) and "3 case(s) of the healthy pool" in caplog.text
    assert sum("synthetic" in entry for entry in listed) == len(records)
