"""`medaug train-gan` and `medaug sample`: training patients only, weights, pictures, and crops that say where they
come from."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from medaug.cli import app
from medaug.config.files import dump_config
from medaug.data import prepared
from medaug.data.atomic import read_json
from medaug.data.files import read_scan
from medaug.errors import ConfigError, DataError, RunError, WeightsError
from medaug.models.noise.latent import sample
from medaug.models.noise.weights import load_gan
from medaug.runs.folder import RunDir
from medaug.stages.train_gan import train_gan

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def cli():
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def gan_run(tmp_path_factory, tiny_config, cli) -> RunDir:
    """A run of `train-gan` alone, not to be changed."""
    folder = tmp_path_factory.mktemp("gan")
    (folder / "tiny.yaml").write_text(dump_config(tiny_config()))
    result = cli("train-gan", "--config", folder / "tiny.yaml", "--out", folder / "run", "--max-steps", "2")
    assert result.exit_code == 0, result.output
    run = RunDir(folder / "run")
    assert result.stdout.splitlines()[-1] == str(run.gan_weights)
    return run


def test_training_leaves_weights_with_provenance_and_pictures(gan_run):
    loaded, split = load_gan(gan_run.gan_weights), read_json(gan_run.split)
    assert list(loaded.facts.training_patients) == split["train"] and loaded.facts.split_hash == split["hash"]
    entries = [entry for entry in read_json(gan_run.datalist)["cases"] if entry["patient"] in split["train"]]
    assert set(loaded.facts.training_content) == {text for entry in entries for text in entry["fingerprints"]}
    assert loaded.spacing_mm == pytest.approx((6.0, 6.0)) and loaded.facts.steps == 2 and loaded.gan.size == (16, 16)
    pictures = ["samples.png", "interpolation.png", "attributes.png", "previews/step-000002.png"]
    assert all((gan_run.train_gan / name).read_bytes()[:4] == PNG for name in pictures)


def test_the_same_command_does_not_train_again(gan_run, cli):
    config = gan_run.root.parent / "tiny.yaml"
    result = cli("train-gan", "--config", config, "--out", gan_run.root, "--max-steps", "2")
    assert result.exit_code == 0 and "train_gan: unchanged, not run again" in result.stderr


def test_training_reads_training_patients_only_and_leaves_the_translator_alone(copy_of_run, tiny_config, monkeypatch):
    read, open_array = set(), prepared.open_array

    def spy(folder, relative):
        read.add(relative.split(".")[0])
        return open_array(folder, relative)

    monkeypatch.setattr(prepared, "open_array", spy)
    before = (copy_of_run.weights / "model.json").read_bytes()
    config = tiny_config("training.steps=8", "training.batch_size=8")  # enough to draw every patient
    assert train_gan(config, copy_of_run)
    assert read == set(read_json(copy_of_run.split)["train"])
    assert (copy_of_run.weights / "model.json").read_bytes() == before
    assert not train_gan(config, copy_of_run)


def test_settings_that_do_not_fit_are_refused(copy_of_run, tiny_config):
    with pytest.raises(ConfigError, match=r"multiples of 8. Change crop.size or gan.levels"):
        train_gan(tiny_config("crop.size=[20, 20]", "gan.levels=3"), copy_of_run)
    with pytest.raises(ConfigError, match="crop.size has 3 axes, data.spatial_dims is 2"):
        train_gan(tiny_config("crop.size=[16, 16, 8]"), copy_of_run)
    with pytest.raises(DataError, match="no place for a tumor crop"):
        train_gan(tiny_config("crop.min_diameter_mm=500"), copy_of_run)
    with pytest.raises(ConfigError, match=r"unknown key 'gan.widht'; did you mean 'gan.width'"):
        tiny_config("gan.widht=3")


def test_sample_writes_balanced_crops_that_say_where_they_come_from(gan_run, cli, tmp_path):
    result = cli("sample", gan_run.gan_weights, "--count", "3", "--seed", "5", "--out", tmp_path / "crops")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "crops" / "datalist.json")
    records, facts = read_json(tmp_path / "crops" / "datalist.json")["training"], load_gan(gan_run.gan_weights).facts
    assert [r["label"] for r in records] == [0, 0, 0, 1, 1, 1] and len({r["seed"] for r in records}) == 6
    assert [r["class"] for r in records[2:4]] == ["healthy", "tumor"]
    for record in records:
        assert record["weights"] == facts.sha256 and record["split_hash"] == facts.split_hash
        assert record["training_patients"] == list(facts.training_patients)
        image = read_scan(tmp_path / "crops" / record["image"])
        assert image.shape == (1, 16, 16) and image.abs().max() <= 1
        np.testing.assert_allclose(np.diag(image.affine)[:2], [6, 6])


def test_each_crop_can_be_made_again_from_its_record(gan_run, cli, tmp_path):
    for name, label, seed in (("a", "tumor", 5), ("b", "both", 5), ("c", "tumor", 6)):
        options = ("--count", "2", "--seed", seed, "--label", label, "--out", tmp_path / name)
        assert cli("sample", gan_run.gan_weights, *options).exit_code == 0
    first, again, other = (tmp_path / name / "images" / "tumor-00001.nii.gz" for name in "abc")
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()
    record = read_json(tmp_path / "a" / "datalist.json")["training"][1]
    gan = load_gan(gan_run.gan_weights).gan
    made = sample(gan, 1, record["label"], torch.Generator().manual_seed(record["seed"])).images[0]
    assert torch.equal(read_scan(first).as_tensor(), made)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--label", "cat"), ConfigError.exit_code, "--label: found 'cat'; expected one of: healthy, tumor, both"),
        (("--out", "."), RunError.exit_code, "holds files already"),
    ],
)
def test_what_sample_cannot_do_is_refused(gan_run, cli, tmp_path, arguments, code, message):
    options = arguments if "--out" in arguments else (*arguments, "--out", tmp_path / "x")
    result = cli("sample", gan_run.gan_weights, *options)
    assert result.exit_code == code and message in result.stderr


def test_sample_refuses_the_weights_of_a_translator(weights_folder, cli, tmp_path):
    result = cli("sample", weights_folder, "--out", tmp_path / "x")
    assert result.exit_code == WeightsError.exit_code
    assert "weights of a translator (mask-guided-cyclegan); expected those of a GAN from noise (dcgan)" in result.stderr
    assert not (tmp_path / "x").exists()
