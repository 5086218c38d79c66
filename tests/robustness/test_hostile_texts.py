"""Damaged and hostile JSON, YAML, weights and checkpoints: used, or refused by name; never another exception."""

import copy
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from medaug.cli import app
from medaug.config.data import DataConfig
from medaug.config.files import dump_config, load_config
from medaug.data.atomic import read_json
from medaug.data.files import write_scan
from medaug.data.layouts import find_cases
from medaug.data.synthetic import synthetic_cases
from medaug.data.weights import read_weights, write_weights
from medaug.errors import ConfigError, DataError, RunError, WeightsError
from medaug.experiment.held_out import synthetic_source
from medaug.models.weights import load_weights
from medaug.report.page import ReportPage, render
from medaug.splits import Split
from medaug.training.checkpoint import load_checkpoint, save_checkpoint

from .fuzzing import altered, damaged, fuzzed, refused, written

DATALIST = {
    "channel_names": {"0": "flair", "1": "t1"},
    "training": [
        {"image": ["a.nii.gz", "b.nii.gz"], "label": "b.nii.gz", "patient": "p1", "case": "c1", "scan": "s1"},
        {"image": "b.nii.gz", "subject": 7, "channel": 1},
    ],
}
MSD = {
    "modality": {"0": "MRI"}, "labels": {"0": "background", "1": "tumor"}, "file_ending": ".nii.gz",
    "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A folder with a few images, for JSON files beside them."""
    root = tmp_path_factory.mktemp("scans")
    for name in (
        "a.nii.gz",
        "b.nii.gz",
        "imagesTr/a.nii.gz",
        "labelsTr/a.nii.gz",
        "images/a.nii.gz",
        "labels/a.nii.gz",
    ):
        write_scan(root / name, np.arange(24, dtype=np.int16).reshape(1, 2, 3, 4))
    return root


@pytest.fixture(scope="module")
def pairs(scans, tmp_path_factory):
    """A folder of images and labels alone: patients.json beside them counts for no other test."""
    root = tmp_path_factory.mktemp("pairs")
    for kind in ("images", "labels"):
        shutil.copytree(scans / kind, root / kind)
    return root


def put(path, value):
    path.write_text(json.dumps(value))
    return path


@fuzzed
@given(
    content=st.one_of(altered(DATALIST), altered([DATALIST["training"][1]])), sequence=st.sampled_from([None, 0, "t1"])
)
def test_an_altered_datalist_is_read_or_refused(scans, content, sequence):
    path = put(scans / "list.json", content)
    refused(lambda: [json.dumps(case.to_json()) for case in find_cases(path, sequence=sequence)], "list.json")


@fuzzed
@given(content=altered(MSD))
def test_an_altered_msd_dataset_is_read_or_refused(scans, content):
    put(scans / "dataset.json", content)
    refused(lambda: find_cases(scans, layout="msd"), str(scans))


@fuzzed
@given(content=st.one_of(altered({"a": "p1"}), altered(["p1"])), channels=altered(["flair"]))
def test_altered_patients_and_channels_are_read_or_refused(pairs, content, channels):
    put(pairs / "patients.json", content)
    put(pairs / "channels.json", channels)
    refused(lambda: find_cases(pairs, layout="images-labels", sequence=0), str(pairs))


@fuzzed
@given(data=damaged(json.dumps(DATALIST).encode(), 200))
def test_damaged_json_is_read_or_refused(scans, data):
    written(scans / "bytes.json", data)
    refused(lambda: find_cases(scans / "bytes.json", sequence=0), "bytes.json")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 50_000, '{"training": ' + "1" * 5000 + "}", "nul", "\0"])
def test_json_beyond_all_measure_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json"):
        read_json(tmp_path / "a.json")


@fuzzed
@given(content=altered({"train": ["a", "b"], "validation": ["c"], "test": ["d"], "unused": []}))
def test_an_altered_split_is_used_or_refused(content):
    refused(lambda: Split.from_dict(content), "split")


@pytest.mark.parametrize("outside", ["../secret.nii.gz", "/etc/passwd", "images/../../secret.nii.gz"])
def test_a_manifest_cannot_point_out_of_its_folder(copy_of_run, outside):
    record, *_ = synthetic_cases(copy_of_run.synthetic / "datalist.json")
    for named in ({"images": (outside,)}, {"label": outside}):
        changed = [replace(record, **named)]
        with pytest.raises(DataError, match="leaves the folder"):
            synthetic_source(changed, copy_of_run, DataConfig())


@pytest.mark.parametrize("outside", ["absolute", "above", "link", "linked folder", 7])
@pytest.mark.parametrize("command", ["export {run} {out} --to nnunet", "report {run}"])
def test_a_run_exports_and_shows_only_its_own_files(copy_of_run, scans, tmp_path, outside, command):
    secret, manifest = scans / "a.nii.gz", copy_of_run.synthetic / "datalist.json"
    (copy_of_run.synthetic / "link.nii.gz").symlink_to(secret)
    (copy_of_run.synthetic / "folder").symlink_to(scans)
    named = {
        "absolute": str(secret), "above": os.path.relpath(secret, copy_of_run.synthetic), "link": "link.nii.gz",
        "linked folder": "folder/a.nii.gz",
    }  # fmt: skip
    content = read_json(manifest)
    content["training"][0] |= dict.fromkeys(("image", "label", "original"), named.get(outside, outside))
    put(manifest, content)
    result = CliRunner().invoke(app, command.format(run=copy_of_run.root, out=tmp_path / "out").split())
    assert result.exit_code == DataError.exit_code, result.output
    assert "datalist.json" in result.stderr and "a file in" in result.stderr or "leaves the folder" in result.stderr


NASTY = "a\x1b[2Jb\x9bc\u202ed\n[red]e"


def test_names_are_printed_as_escapes_wherever_they_go(scans, tmp_path):
    """In what doctor says, in a log and in an error, and on a page."""
    for kind in ("images", "labels"):
        written(tmp_path / "data" / kind / f"{NASTY}.nii.gz", (scans / kind / "a.nii.gz").read_bytes())
    found = [
        CliRunner().invoke(app, ["-v", *command])
        for command in (["doctor", str(tmp_path / "data")], ["run", str(tmp_path / f"{NASTY}.yaml")])
    ]
    out = CliRunner().invoke(app, ["phantoms", str(tmp_path / NASTY), "--patients", "1"])
    for result in [*found, out]:
        assert not set(result.output) & {"\x1b", "\x9b", "\u202e"}, result.output
    assert r"a\x1b[2Jb\x9bc\u202ed\n[red]e" in out.stdout and r"\u202ed\n[red]e" in found[0].stdout
    page = render(ReportPage(NASTY, NASTY, None, [(NASTY, NASTY)], []), tmp_path / "page.html").read_text()
    assert not set(page) & {"\x1b", "\x9b", "\u202e"} and r"a\x1b[2Jb" in page


@pytest.mark.parametrize("outside", ["../secret.nii.gz", "/etc/passwd", "x" * 300, "a\0b", "\ud800.nii.gz", "\x1b[2J"])
def test_a_datalist_that_points_elsewhere_ends_in_one_plain_line(scans, tmp_path, outside):
    put(scans / "elsewhere.json", [{"image": outside}])
    result = CliRunner().invoke(
        app, ["train-cycle", "--data", str(scans / "elsewhere.json"), "--out", str(tmp_path / "o")]
    )
    assert result.exit_code == DataError.exit_code, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("medaug: ")]
    assert len(lines) == 1 and "elsewhere.json" in lines[0] and lines[0].isprintable()


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
@pytest.mark.parametrize(
    ("place", "command"),
    [
        ("data/noise", "doctor data"),
        ("data/images/a.nii.gz", "doctor data"),
        ("data/labels/a.nii.gz", "doctor data"),
        ("data/patients.json", "doctor data"),
        ("data/datalist.json", "doctor data"),
        ("data/dataset.json", "doctor data"),
        ("data", "doctor data"),
        ("a.yaml", "run a.yaml --dry-run"),
        ("a.nii.gz", "insert a.nii.gz --weights w --out o"),
        ("w/model.json", "insert data/images/a.nii.gz --weights w --out o"),
        ("w/model.safetensors", "insert data/images/a.nii.gz --weights w --out o"),
        ("run/config.yaml", "report run"),
    ],
)
def test_a_pipe_or_device_in_place_of_any_file_is_told_at_once(
    scans, weights_folder, special, tmp_path, monkeypatch, place, command, kind
):
    monkeypatch.chdir(tmp_path)
    for name in ("images/a.nii.gz", "labels/a.nii.gz"):
        if not place.startswith("data") or place.startswith(("data/images", "data/labels", "data/patients")):
            (tmp_path / "data" / name).parent.mkdir(parents=True)
            shutil.copy(scans / name, tmp_path / "data" / name)
    shutil.copytree(weights_folder, tmp_path / "w")
    written(tmp_path / "run" / "config.yaml", PIPELINE.encode())
    special(kind, tmp_path / place)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code in (2, 3, 5, 6, 8), (result.output, result.exception)
    assert place.rsplit("/")[-1] in result.output, result.output


PIPELINE = dump_config(load_config(None, ["data.classes={liver: [1]}", "arms={x: {augment: standard}}"][:1]))


@fuzzed
@given(data=damaged(PIPELINE.encode(), len(PIPELINE)))
def test_a_damaged_pipeline_is_used_or_refused(scans, data):
    path = written(scans / "damaged.yaml", data)
    refused(lambda: load_config(path, []), "damaged.yaml", "settings", "translator", "data.", "pairing", "split")


@fuzzed
@given(content=altered(json.loads(json.dumps(load_config(None, []).model_dump(mode="json")))))
def test_an_altered_pipeline_is_used_or_refused(scans, content):
    path = scans / "altered.yaml"
    path.write_text(json.dumps(content))
    refused(lambda: load_config(path, []), *content, "altered.yaml", "settings")


def alias_bomb():
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(["a0: &a0 [1]", *levels, "data: {root: *a11}"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (alias_bomb(), "aliases"),
        ("data: &a {root: *a}", "without end"),
        ("data: " + "[" * 20_000, "without end"),
        ("data:\n  name: " + "x" * 10**6, "no pipeline has"),
        ("training: {steps: " + "9" * 10_000 + "}", "not readable as YAML"),
        ("data: !!python/object/apply:os.system [echo harm]", "not readable as YAML"),
        ("data: {modality: " + "x" * 100_000 + "}", "modality"),
        ("\ufeff\0", "not readable as YAML"),
    ],
    ids=["aliases", "itself", "deep", "long", "digits", "object", "scalar", "zero"],
)
def test_a_yaml_bomb_is_refused_in_few_words(tmp_path, capfd, text, words):
    (tmp_path / "bomb.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words) as error:
        load_config(tmp_path / "bomb.yaml", [])
    assert len(str(error.value)) < 2000 and "bomb.yaml" in str(error.value)
    assert "harm" not in capfd.readouterr().out


@fuzzed
@given(data=st.data())
def test_altered_weights_are_used_or_refused(weights_folder, tmp_path, data):
    tensors, metadata = read_weights(weights_folder)
    if data.draw(st.booleans()):
        metadata = data.draw(altered(metadata, st.one_of(st.sampled_from([10**5, 10**9, 2.0**70, {}]), st.none())))
    else:
        name = data.draw(st.sampled_from(sorted(tensors)))
        change = data.draw(st.sampled_from([
            lambda t: t[..., :-1], lambda t: t.to(torch.complex64), lambda t: t.float() * float("nan"),
            lambda t: t[None], lambda t: torch.zeros(0),
        ]))  # fmt: skip
        tensors = tensors | {name: change(tensors[name])}
    if not isinstance(metadata, dict):
        return
    metadata = {key: value for key, value in metadata.items() if key != "sha256"}
    write_weights(tmp_path / "w", copy.deepcopy(tensors), metadata)
    refused(lambda: load_weights(tmp_path / "w"), str(tmp_path / "w"))


@fuzzed
@given(data=st.data())
def test_damaged_tensors_are_refused_even_with_their_hash(weights_folder, tmp_path, data):
    import hashlib

    whole = (weights_folder / "model.safetensors").read_bytes()
    changed = data.draw(damaged(whole, 4000))
    metadata = read_json(weights_folder / "model.json") | {"sha256": hashlib.sha256(changed).hexdigest()}
    written(tmp_path / "w" / "model.safetensors", changed)
    put(tmp_path / "w" / "model.json", metadata)
    refused(lambda: load_weights(tmp_path / "w"), str(tmp_path / "w"))


@pytest.mark.parametrize(
    "setting", [{"width": 100_000}, {"depth": 10**9}, {"discriminator_width": 900, "discriminator_layers": 12}]
)
def test_weights_that_claim_a_giant_network_take_no_memory(weights_folder, tmp_path, setting):
    tensors, metadata = read_weights(weights_folder)
    settings = metadata["settings"] | setting
    write_weights(tmp_path / "w", tensors, {**metadata, "settings": settings})
    with pytest.raises(WeightsError, match="not weights this version of medaug can use"):
        load_weights(tmp_path / "w")


@fuzzed
@given(data=st.data())
def test_a_damaged_checkpoint_is_loaded_or_refused(checkpoint, tmp_path, data):
    written(tmp_path / "step-00000001" / "rank-0.pt", data.draw(damaged(checkpoint, len(checkpoint))))
    refused(lambda: load_checkpoint(tmp_path), "rank-0.pt")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, 1, {"step": 1, "weights": {"a": torch.arange(6.0)}})
    return (folder / "step-00000001" / "rank-0.pt").read_bytes()


def test_a_pickle_that_is_offered_runs_nothing(tmp_path, weights_folder, capfd):
    class Harmful:
        def __reduce__(self):
            return (os.system, ("echo harm",))

    save_checkpoint(tmp_path / "train", 1, {"step": Harmful()})
    with pytest.raises(RunError, match=r"rank-0\.pt"):
        load_checkpoint(tmp_path / "train")
    torch.save({"weight": Harmful()}, tmp_path / "model.safetensors")
    put(tmp_path / "model.json", read_json(weights_folder / "model.json"))
    with pytest.raises(WeightsError, match="sha256"):
        load_weights(tmp_path)
    assert "harm" not in capfd.readouterr().out
