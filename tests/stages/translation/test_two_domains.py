"""`train-cycle --domain ct`: two kinds of image from the folder, or phantoms, to weights."""

import itertools

import nibabel
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from medaug.cli import app
from medaug.config.files import load_config
from medaug.data.atomic import read_json
from medaug.data.files import read_scan
from medaug.data.writers import ScanRecord, write_layout
from medaug.errors import ConfigError, DataError, RunError, WeightsError
from medaug.lesions.anatomy import body_of
from medaug.models.weights import load_weights
from medaug.phantoms import phantoms
from medaug.runs.folder import RunDir
from medaug.stages import train as train_stage
from medaug.stages.pipeline import run_pipeline
from medaug.stages.tasks import translation
from medaug.transforms import SynthesizeCT
from medaug.volumes import Window

from ...stored import array_of

TINY = (
    "data.phantoms.patients=5", "data.phantoms.shape=[32,32,6]", "data.phantoms.spacing_mm=[12,12,24]",
    "split.train=3", "split.validation=1", "training.steps=2", "training.batch_size=2", "training.log_every=1",
    "training.workers=0", "translator.width=4", "translator.depth=2", "translator.discriminator_width=4",
    "translator.discriminator_layers=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def cli():
    """`cli("--set", ...)`: `train-cycle --domain ct` with tiny settings."""
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    tiny = [word for setting in TINY for word in ("--set", setting)]
    return lambda *more: runner.invoke(app, ["train-cycle", "--domain", "ct", *tiny, *map(str, more)])


def sets(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


@pytest.fixture(scope="module")
def brats(tmp_path_factory):
    """Five head patients with registered sequences."""
    folder = tmp_path_factory.mktemp("data") / "brats"
    drawn = phantoms("head", 5, seed=4, shape=(32, 32, 6), spacing_mm=(6.0, 6.0, 14.0))
    records = (
        ScanRecord(p.patient, {"flair": p.images["flair"], "t2": p.images["flair"] ** 0.5}, p.label, p.affine)
        for p in drawn
    )
    write_layout(records, folder, "brats")
    return folder


@pytest.fixture(scope="module")
def phantom_run(cli, tmp_path_factory) -> RunDir:
    """pix2pix from the MR-like abdomen to its CT, trained by the command."""
    out = tmp_path_factory.mktemp("ct") / "run"
    result = cli("--out", out, *sets("translator.type=pix2pix"))
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == str(out / "train" / "weights")
    return RunDir(out)


def test_phantoms_train_pix2pix_from_mr_to_ct_with_both_windows_in_the_weights(phantom_run):
    weights = load_weights(phantom_run.weights)
    a, b = weights.translator.domain_a, weights.translator.domain_b
    assert weights.translator.name == "pix2pix" and weights.facts.domain == "ct"
    assert (a.name, a.unit, b.name, b.unit) == ("mr", "au", "contrast", "HU")
    assert (b.window.low, b.window.high) == (-160.0, 240.0)
    assert weights.facts.sequence == "mr" and weights.facts.target_sequence == "contrast"
    assert weights.facts.paired_patients == weights.facts.training_patients and weights.prior is None
    assert list(phantom_run.previews.glob("step-*.png"))


def test_bodies_not_brains_are_stored_in_both_domains_and_the_weights_say_so(phantom_run):
    assert load_weights(phantom_run.weights).facts.body == "auto"
    run = phantom_run
    for datalist, folder in ((run.datalist, run.prepared), (run.datalist_b, run.prepared_b)):
        for entry in read_json(datalist)["cases"]:
            image, organ = (array_of(folder, entry, kind) for kind in ("image", "body"))
            body = body_of(image.astype(np.float32), Window(**entry["windows"][0]), entry["spacing_mm"])
            np.testing.assert_array_equal(organ > 0, body)
            assert 0.2 < body.mean() < 0.9


def test_trained_weights_make_a_ct_of_a_scan(phantom_run):
    scan = read_scan(sorted(phantom_run.phantoms.rglob("*_0002.nii.gz"))[0])
    transform = SynthesizeCT(str(phantom_run.weights))
    result = transform(scan)
    assert result.dtype == torch.int16 and torch.equal(result.affine, scan.affine)
    assert (result.numpy()[0][~transform.body] == -1024).all() and transform.resampled_from_mm is None


def test_the_same_command_runs_nothing_again_and_other_pairs_are_another_run(cli, phantom_run):
    result = cli("--out", phantom_run.root, *sets("translator.type=pix2pix"))
    assert result.exit_code == 0 and "train: unchanged" in result.stderr and "prepare: unchanged" in result.stderr
    result = cli("--out", phantom_run.root, *sets("translator.type=pix2pix", "target.sequence=noncontrast"))
    assert result.exit_code == RunError.exit_code and "target.sequence is 'contrast'" in result.stderr


def test_weights_between_two_domains_insert_no_tumors(phantom_run, tmp_path):
    runner = CliRunner(env={"COLUMNS": "200"})
    scan = next(phantom_run.phantoms.rglob("*_0000.nii.gz"))
    arguments = ["insert", scan, "--weights", phantom_run.weights, "--out", tmp_path / "out"]
    result = runner.invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == WeightsError.exit_code
    assert "translate mr to contrast; expected weights that insert" in result.stderr


def test_one_split_covers_both_domains_and_only_its_training_patients_are_read(brats, tmp_path, monkeypatch):
    seen = {}

    def look(translator, samples, settings, folder, **more):
        folder.mkdir()
        seen["samples"] = samples

    monkeypatch.setattr(train_stage, "fit", look)
    lone = tmp_path / "t2"
    drawn = [p for p in sorted(brats.iterdir()) if p.is_dir()]
    for folder in drawn[1:]:
        (lone / folder.name).mkdir(parents=True)
        for file in folder.glob("*_t2.nii.gz"):
            (lone / folder.name / file.name).write_bytes(file.read_bytes())
    config = load_config(None, [*TINY, "split.train=2", "translator.type=cyclegan", "translator.paired_weight=10",
                                "pairing.paired=1"],
                         {"domain": "ct", "data.root": brats, "data.sequence": "flair", "target.root": lone,
                          "target.sequence": "t2"})  # fmt: skip
    run = run_pipeline(config, tmp_path / "run", until="train")
    split = read_json(run.split)
    assert sorted(split["train"] + split["validation"] + split["test"]) == [p.name for p in drawn]
    samples, trained = seen["samples"], set(split["train"])
    assert {v.patient for v in samples.a.views} <= trained and {v.patient for v in samples.b.views} <= trained
    assert len({a.patient for a, _ in samples.pairs}) == 1 and samples.share == 0.5
    assert all("label" not in v.case.arrays for v in samples.b.views)


def test_two_sequences_of_one_folder_train_a_semi_paired_cyclegan_with_structure_terms(cli, brats, tmp_path):
    out = tmp_path / "run"
    terms = ("paired_weight=10", "gradient_weight=1", "mutual_information_weight=1", "segmentation_weight=1")
    result = cli(
        "--data", brats, "--sequence", "flair", "--out", out,
        *sets("target.sequence=t2", "pairing.paired=1", "crop.size=[16,16]", "segmenter.updates=2",
              "segmenter.channels=[4,8,8]", *(f"translator.{term}" for term in terms)),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    weights = load_weights(out / "train" / "weights")
    assert weights.translator.name == "cyclegan" and len(weights.facts.paired_patients) == 1
    assert weights.facts.target_sequence == "t2" and weights.translator.domain_b.name == "t2"
    row = (out / "train" / "metrics.jsonl").read_text().splitlines()[-1]
    assert all(f'"{term.split("_weight")[0]}_a2b"' in row for term in terms)


def test_tumors_are_balanced_by_the_labels_of_data_and_by_what_a_network_sees_in_the_target(
    brats, tmp_path, monkeypatch
):
    seen = {}

    def look(translator, samples, settings, folder, **more):
        folder.mkdir()
        seen["samples"] = samples

    monkeypatch.setattr(train_stage, "fit", look)
    every_other = itertools.cycle([1.0, -1.0])
    monkeypatch.setattr(translation, "frozen_segmenter", lambda *_: lambda x: torch.full_like(x, next(every_other)))
    settings = [*TINY, "split.train=2", "data.sequence=flair", "target.sequence=t2", "pairing.tumor_share=0.5"]
    run_pipeline(load_config(None, settings, {"domain": "ct", "data.root": brats}), tmp_path / "run", until="train")
    a, b = seen["samples"].a, seen["samples"].b
    assert list(a.shows) == [view.tumor_voxels > 0 for view in a.views] and len(set(a.shows)) == 2
    assert list(b.shows) == [number % 2 == 0 for number in range(len(b.views))]
    assert all("label" not in view.case.arrays for view in b.views)


def test_volumes_train_in_three_dimensions(cli, brats, tmp_path):
    settings = sets("target.sequence=t2", "data.spatial_dims=3", "crop.size=[16,16,6]", "translator.type=pix2pix")
    result = cli("--data", brats, "--sequence", "flair", "--out", tmp_path / "run", *settings)
    assert result.exit_code == 0, result.output
    assert load_weights(tmp_path / "run" / "train" / "weights").translator.spatial_dims == 3


def test_three_dimensions_on_single_slices_are_refused(cli, tmp_path):
    drawn = phantoms("head", 3, seed=4, shape=(32, 32, 6), spacing_mm=(6.0, 6.0, 14.0))
    records = [ScanRecord(p.patient, {"flair": p.images["flair"]}, p.label, p.affine) for p in drawn]
    write_layout(records, tmp_path / "lgg", "kaggle-lgg")
    settings = sets("target.sequence=post", "data.spatial_dims=3", "split.train=1", "split.validation=0")
    result = cli("--data", tmp_path / "lgg", "--sequence", "flair", "--out", tmp_path / "run", *settings)
    assert result.exit_code == DataError.exit_code
    assert "a 2-D image" in result.stderr and "Set spatial_dims to 2" in result.stderr


def test_pairs_that_are_not_registered_end_the_command_naming_both_files(cli, brats, tmp_path):
    for folder in brats.iterdir():
        for file in folder.glob("*.nii.gz"):
            scan = nibabel.load(file)
            affine = scan.affine + 3.0 * np.eye(4, k=3) * ("t2" in file.name)
            (tmp_path / "data" / folder.name).mkdir(parents=True, exist_ok=True)
            moved = nibabel.Nifti1Image(np.asarray(scan.dataobj), affine)
            nibabel.save(moved, tmp_path / "data" / folder.name / file.name)
    settings = sets("target.sequence=t2", "translator.type=pix2pix")
    for labels in list((tmp_path / "data").rglob("*_seg.nii.gz")):
        labels.unlink()
    result = cli("--data", tmp_path / "data", "--sequence", "flair", "--out", tmp_path / "run", *settings)
    assert result.exit_code == DataError.exit_code
    for words in ("_t2.nii.gz: found voxels up to 3 mm away", "_flair.nii.gz", "Register the two"):
        assert words in result.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["data.root=x"], "found no second one: set target.sequence"),
        (["data.root=x", "target.sequence=null"], "target is the same as data"),
        (["translator.mask_guided=true"], "domain 'ct' translates images: set it to false"),
        (["target.spatial_dims=3"], "target.spatial_dims differs"),
        (["target.root=x"], "set data.root to the folder to translate from"),
        (["translator.type=pix2pix", "pairing.paired=2"], "'pix2pix' learns from pairs only, expected all"),
        (["translator.paired_weight=1"], "needs registered pairs: set pairing.paired"),
        (["pairing.paired=2"], "which 'cyclegan' does not use; set translator.paired_weight"),
        (["pairing.paired=-1"], "pairing.paired"),
        (["target.sequnce=t2"], "unknown key 'target.sequnce'; did you mean 'target.sequence'?"),
        (["crop.size=[16,16,16]"], "crop.size has 3 axes"),
    ],
)
def test_settings_that_do_not_fit_two_domains_are_refused(settings, words):
    with pytest.raises(ConfigError) as error:
        load_config(None, settings, {"domain": "ct"})
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["target.sequence=t2"], "set domain: ct"),
        (["translator.mask_guided=false"], "found false; expected true in domain 'tumor'"),
        (["translator.paired_weight=1"], "unknown key 'translator.paired_weight'"),
        (["data.slices=3"], "data.slices: found 3; expected 1 in domain 'tumor'"),
        (["crop.size=null"], "mask-guided methods edit crops"),
        (["translator.type=pix2pix", "translator.content=reference"], "takes 'free' only"),
    ],
)
def test_settings_of_two_domains_are_refused_in_the_tumor_domain(settings, words):
    with pytest.raises(ConfigError) as error:
        load_config(None, settings)
    assert words in str(error.value)


def test_domains_are_named_by_their_kind_and_where_that_is_one_by_their_folders():
    def names(*settings):
        return load_config(None, list(settings), {"domain": "ct"}).domain_names

    assert names() == ("mr", "contrast")
    assert names("data.root=x", "data.sequence=t2", "target.sequence=flair") == ("t2", "flair")
    assert names("data.root=x/contrast", "target.root=x/plain", "data.modality=CT") == ("contrast", "plain")


def test_a_resolved_config_is_read_back_as_it_is(tmp_path):
    from medaug.config.files import dump_config

    config = load_config(None, ["data.root=x", "data.grid_size=[64,64]", "target.root=y", "target.modality=CT"],
                         {"domain": "ct"})  # fmt: skip
    (tmp_path / "x.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "x.yaml", []) == config
    assert config.target.grid_size == (64, 64) and config.crop.size is None and not config.translator.mask_guided


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("translator.paired_weight=1", "pairing.paired=4"), "pairing.paired is 4; found 3 training patient(s)"),
        (("translator.segmentation_weight=1", "data.tumor_labels=[7]"), "labels to train the segmenter on"),
        (("crop.size=[30,30]", "translator.depth=1"), "every size must be a multiple of 4"),
        (("crop.size=[16,16]", "translator.discriminator_layers=3"), "discriminators of 3 layers need 24 at least"),
        (("pairing.tumor_share=0.5", "data.tumor_labels=[7]"), "labels to train the segmenter on"),
    ],
)
def test_data_that_does_not_fit_the_settings_is_refused(cli, phantom_run, tmp_path, settings, words):
    result = cli("--out", tmp_path / "run", *sets(*settings))
    assert result.exit_code == DataError.exit_code and words in result.stderr, result.stderr


def test_a_full_run_of_two_domains_trains_translates_and_tests_in_both(tmp_path):
    settings = (
        *TINY, "data.phantoms.patients=6", "split.train=3", "split.validation=1", "evaluation.seeds=[0]",
        "evaluation.updates=2", "evaluation.channels=[4,8,8]", "evaluation.batch_size=2", "data.phantoms.label=organs",
        "evaluation.arms=[standard, standard+gan-offline]",
    )  # fmt: skip
    run = run_pipeline(load_config(None, list(settings), {"domain": "ct"}), tmp_path / "run")
    summary = read_json(run.evaluation / "summary.json")
    assert set(summary["tests"]) == {"source", "target"}
    for found in summary["tests"].values():
        assert set(found["arms"]) == {"standard", "standard+gan-offline"} and len(found["patients"]) == 2
    page = run.report.read_text()
    assert "Tested on the target domain" in page
