"""Translated held-out patients against the real ones: phantoms in HU, sequences, and 8-bit slices in paired folders."""

import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from medaug.audits.measures.similarity import IMAGE_METRICS
from medaug.audits.scans import scale_of
from medaug.cli import app
from medaug.config.files import load_config
from medaug.data.atomic import read_json
from medaug.data.layouts import find_cases
from medaug.data.writers import ScanRecord, write_layout
from medaug.errors import ConfigError, DataError, LeakageError
from medaug.phantoms import phantoms
from medaug.report.translation_sections import translation_results
from medaug.report.viewer import read_cases
from medaug.runs.folder import RunDir
from medaug.splits import Split
from medaug.stages.evaluate import evaluate
from medaug.stages.pipeline import run_pipeline
from medaug.stages.tasks import translation_scores as stage

from ...stored import array_of

DATA = Path(os.environ.get("MEDAUG_DATA", Path(__file__).parents[4] / "shared" / "data")) / "mri_ct_pairs"
TINY = (
    "domain=ct", "evaluation.task=translation", "data.phantoms.patients=6",
    "data.phantoms.shape=[32,32,7]", "data.phantoms.spacing_mm=[12,12,24]",
    "split.train=3", "split.validation=0", "training.steps=1", "training.batch_size=1", "training.workers=0",
    "translator.width=4", "translator.depth=2", "translator.discriminator_width=4",
    "translator.discriminator_layers=1", "target.window_hu=[-1024, 600]",
)  # fmt: skip


def trained(out: Path, *settings: str, **options: object) -> tuple:
    """(config, run) of a finished tiny training."""
    keys = {key.replace("__", "."): value for key, value in options.items()}
    config = load_config(None, [*TINY, *settings], keys)
    return config, run_pipeline(config, out, until="train")


@pytest.fixture(scope="module")
def in_hu(tmp_path_factory):
    """(config, run): phantoms, MR to CT, scored."""
    config, run = trained(tmp_path_factory.mktemp("hu") / "run", "translator.type=pix2pix")
    assert evaluate(config, run)
    return config, run


@pytest.fixture(scope="module")
def slices(tmp_path_factory) -> Path:
    """Five patients in the layout of `paired-folders`: MR and CT slices of 8 bits."""
    folder = tmp_path_factory.mktemp("data")
    for phantom in phantoms("abdomen", 5, seed=1, shape=(32, 32, 7), spacing_mm=(12.0, 12.0, 24.0)):
        for kind, name in (("mr", "MRI"), ("contrast", "CT")):
            image = phantom.images[kind].astype(float)
            grey = 255 * (image - image.min()) / (image.max() - image.min())
            (folder / phantom.patient / name).mkdir(parents=True)
            for z in range(2, 5):
                picture = Image.fromarray(grey[..., z].T.astype(np.uint8))
                picture.save(folder / phantom.patient / name / f"{z:03d}.png")
    return folder


@pytest.fixture(scope="module")
def in_grey(slices, tmp_path_factory):
    settings = ("data.window=[0,255]", "data.grid_size=[32,32]", "target.modality=CT", "translator.type=cyclegan")
    out = tmp_path_factory.mktemp("grey") / "run"
    config, run = trained(out, *settings, data__root=slices, data__sequence="MRI", target__sequence="CT")
    assert evaluate(config, run)
    return config, run


def test_every_held_out_patient_has_every_metric_of_every_arm(in_hu):
    _, run = in_hu
    split, summary = read_json(run.split), read_json(run.evaluation / "summary.json")
    assert summary["task"] == "translation" and summary["patients"] == split["test"] and len(split["test"]) == 3
    assert list(summary["arms"]) == ["pix2pix", "mean", "intensity"]
    for arm in summary["arms"]:
        cell = read_json(run.evaluation / "cells" / f"{arm}-seed0.json")
        assert cell["arm"] == arm and cell["seed"] == 0
        assert all(list(cell["scores"][patient]) == list(IMAGE_METRICS) for patient in split["test"])
        for metric in IMAGE_METRICS:
            interval = summary["arms"][arm][metric]
            mean = np.mean([cell["scores"][patient][metric] for patient in split["test"]])
            assert interval["low"] <= interval["mean"] <= interval["high"] and interval["mean"] == pytest.approx(mean)
    rows = list(csv.DictReader((run.evaluation / "scores.csv").open()))
    assert len(rows) == 9 and set(rows[0]) == {"arm", "seed", "patient", *IMAGE_METRICS}
    assert (run.evaluation / "pictures.png").read_bytes()[:4] == b"\x89PNG"
    cases = read_cases(run.evaluation / "viewer.json")
    assert [case.facts["after"]["name"] for case in cases] == ["translated"] * 3
    assert all(case.facts["difference"] and case.facts["before"]["unit"] == "HU" for case in cases)


def test_a_ct_in_hu_is_scored_in_hu_by_tissue_and_against_the_better_trivial_translation(in_hu):
    _, run = in_hu
    summary = read_json(run.evaluation / "summary.json")
    assert summary["unit"] == "HU" and summary["scale"] == [-1024, 3000]
    cell = read_json(run.evaluation / "cells" / "intensity-seed0.json")
    by_patient = [figures["tissues"]["soft"]["bias_hu"] for figures in cell["hounsfield"].values()]
    soft = summary["hounsfield"]["intensity"]["tissues"]["soft"]["bias_hu"]
    assert soft["low"] <= soft["mean"] <= soft["high"] and soft["patients"] == 3
    assert soft["mean"] == pytest.approx(np.mean(by_patient))
    table = next(t for t in translation_results(run).sections[0].tables if t.title == "Errors by tissue")
    assert [row[0] for row in table.rows] == ["pix2pix", "mean", "intensity"]
    assert table.columns[:4] == ["Arm", "Bone Dice", "lung, bias, HU", "lung, MAE, HU"]
    for comparison in summary["comparisons"]:
        metric, rivals = comparison["metric"], ("mean", "intensity")
        means = {rival: summary["arms"][rival][metric]["mean"] for rival in rivals}
        better = max if IMAGE_METRICS[metric].higher_is_better else min
        assert comparison["reference"] == better(means, key=means.get) and comparison["arm"] == "pix2pix"
        assert comparison["higher_is_better"] == IMAGE_METRICS[metric].higher_is_better


def test_one_trained_translator_is_too_few_for_a_verdict_and_its_card_and_page_name_both_arms(in_hu, tmp_path):
    _, run = in_hu
    rival = read_json(run.evaluation / "summary.json")["comparisons"][0]["reference"]
    headline = translation_results(run).verdict.headline
    assert headline.startswith(f"{rival} is the best rival (Mean absolute error ")
    assert re.search(r" HU\); pix2pix has too few seeds for a verdict against it: \S+ HU \(95% interval ", headline)
    result = CliRunner().invoke(
        app, ["model-card", str(run.weights), str(tmp_path / "card.md"), "--run", str(run.root)]
    )
    assert result.exit_code == 0 and headline in (tmp_path / "card.md").read_text()


def test_an_unchanged_run_is_not_scored_again(in_hu):
    assert not evaluate(*in_hu)


def test_a_translation_near_the_truth_beats_the_trivial_ones(in_hu, tmp_path, monkeypatch):
    config, run = in_hu
    copied = RunDir(tmp_path / "run")
    for name in ("prepared", "prepared_b", "split.json", "train", "config.yaml"):
        (copied.root).mkdir(exist_ok=True)
        (copied.root / name).symlink_to(run.root / name)

    def truth(run, view, translate, scale):
        entries = {entry["case"]: entry for entry in read_json(run.datalist_b)["cases"]}
        return array_of(run.prepared_b, entries[view.case.case], "image")[None] + 1.0

    monkeypatch.setattr(stage, "translated", truth)
    evaluate(config, copied)
    summary = read_json(copied.evaluation / "summary.json")
    assert summary["arms"]["pix2pix"]["mae"]["mean"] == pytest.approx(1.0)
    assert summary["arms"]["pix2pix"]["ssim"]["mean"] > 0.999
    mae, psnr = summary["comparisons"][:2]
    assert mae["difference"]["high"] < 0 < psnr["difference"]["low"]


def test_weights_made_from_a_patient_to_score_are_refused(in_hu, tmp_path, edit_json):
    config, run = in_hu
    copied = RunDir(tmp_path / "run")
    (copied.train / "weights").mkdir(parents=True)
    for path in [run.split, *run.weights.iterdir()]:
        (copied.root / path.relative_to(run.root)).write_bytes(path.read_bytes())
    leaked = read_json(run.split)["test"][0]
    edit_json(copied.weights / "model.json", lambda facts: facts["training_patients"].append(leaked))
    with pytest.raises(LeakageError, match=leaked):
        evaluate(config, copied)


def test_eight_bit_slices_are_scored_in_grey_levels_without_tissues(in_grey):
    _, run = in_grey
    summary = read_json(run.evaluation / "summary.json")
    assert summary["unit"] == "grey levels" and summary["scale"] == [0, 255]
    assert (summary["source"], summary["target"]) == ("MRI", "CT")
    assert list(summary["arms"]) == ["cyclegan", "mean", "intensity"]
    assert "hounsfield" not in read_json(run.evaluation / "cells" / "cyclegan-seed0.json")
    assert 0 < summary["arms"]["mean"]["mae"]["mean"] < 255
    entry = read_json(run.datalist_b)["cases"][0]
    assert entry["windows"] == [{"low": 0.0, "high": 255.0, "unit": "au"}] and entry["patient"] in entry["case"]


def test_the_mean_image_is_that_of_the_training_patients_alone(in_grey):
    config, run = in_grey
    split = read_json(run.split)
    seen = []
    for entry in read_json(run.datalist_b)["cases"]:
        if entry["patient"] in split["train"]:
            seen.append(array_of(run.prepared_b, entry, "image"))
    scale = scale_of(run, config.target.domain("CT"))
    arms = stage._baselines(run, Split.from_dict(split), {}, scale)
    assert list(arms) == ["mean"]  # no pairs, no curve
    np.testing.assert_allclose(arms["mean"](None, seen[0][None])[0], np.mean(seen, axis=0), atol=1e-4)


def test_sequences_without_a_common_unit_are_scored_in_window_units(tmp_path):
    drawn = phantoms("head", 4, seed=4, shape=(32, 32, 7), spacing_mm=(6.0, 6.0, 14.0))
    records = (
        ScanRecord(p.patient, {"flair": p.images["flair"], "t2": 50 * p.images["flair"] ** 0.5}, p.label, p.affine)
        for p in drawn
    )
    write_layout(records, tmp_path / "data", "brats")
    options = {"data__root": tmp_path / "data", "data__sequence": "flair", "target__sequence": "t2"}
    config, run = trained(tmp_path / "run", "split.train=2", "translator.type=cyclegan", **options)
    evaluate(config, run)
    summary = read_json(run.evaluation / "summary.json")
    assert summary["unit"] == "window units" and summary["scale"] == [-1, 1]
    intensity = summary["arms"]["intensity"]
    assert intensity["mae"]["mean"] < 0.15 < summary["arms"]["mean"]["mae"]["mean"]  # t2 is a function of flair here


def test_patients_without_registered_images_are_named_and_too_few_are_refused(in_grey, tmp_path, edit_json):
    config, run = in_grey
    copied = RunDir(tmp_path / "run")
    copied.prepared_b.mkdir(parents=True)
    for name in ("prepared", "split.json", "train"):
        (copied.root / name).symlink_to(run.root / name)
    for path in run.prepared_b.iterdir():
        (copied.prepared_b / path.name).symlink_to(path)
    copied.datalist_b.unlink()
    copied.datalist_b.write_bytes(run.datalist_b.read_bytes())
    lost = read_json(run.split)["test"][0]
    edit_json(
        copied.datalist_b,
        lambda found: found.update(cases=[case for case in found["cases"] if case["patient"] != lost]),
    )
    with pytest.raises(DataError, match=rf"found 1 test patient.* expected at least 2.*{lost}"):
        evaluate(config, copied)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["data.window=[255,0]"], "window: found [255.0, 0.0]; expected [low, high]"),
        (["data.window_hu=[3,3]"], "window_hu: found [3.0, 3.0]"),
        (["domain=tumor", "target=null", "evaluation.task=translation"], "set domain: ct"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(ConfigError) as error:
        load_config(None, [*(["domain=ct"] if "domain=tumor" not in settings else []), *settings])
    assert words in str(error.value)


def test_the_pipeline_of_mr_and_ct_slices_fits_the_real_ones():
    if not DATA.is_dir():
        pytest.skip("no MR and CT slices; set MEDAUG_DATA to a folder with mri_ct_pairs/")
    pipeline = Path(__file__).parents[3] / "pipelines" / "mri_ct.yaml"
    config = load_config(pipeline, [], {"data.root": DATA})
    mr, ct = (
        find_cases(side.root, layout=side.layout, sequence=side.sequence) for side in (config.data, config.target)
    )
    assert [case.case for case in mr] == [case.case for case in ct] and len(mr) > 100
    assert len({case.patient for case in ct}) == 7 and config.target.domain("ct").unit == "au"
