"""The audits of a run between two kinds of image."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from medaug.audits.translations import AUDITS, TranslationRun
from medaug.cli import app
from medaug.config.files import load_config
from medaug.data.atomic import read_json
from medaug.stages.pipeline import run_pipeline

from . import planted

CT = (
    "domain=ct", "data.modality=CT", "data.sequence=contrast", "target.sequence=noncontrast",
    "data.phantoms.anatomy=abdomen", "data.phantoms.patients=6", "data.phantoms.shape=[32,32,6]",
    "data.phantoms.spacing_mm=[12,12,20]", "split.train=3", "split.validation=1", "evaluation.task=none",
    "translator.width=4", "translator.depth=2", "translator.discriminator_width=4", "translator.discriminator_layers=1",
    "training.steps=1", "training.batch_size=2", "training.workers=0", "crop.size=[16,16]", "audit.volumes=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def config():
    return load_config(None, list(CT))


@pytest.fixture(scope="module")
def run(tmp_path_factory, config):
    return run_pipeline(config, tmp_path_factory.mktemp("ct") / "run")


def test_the_command_asks_the_audits_that_apply_and_shows_them_on_the_page(run):
    result = CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1"}).invoke(app, ["audit", str(run.root)])
    assert result.exit_code in (0, 8), result.output
    names = [row["name"] for row in read_json(run.audit / "findings.json")["findings"]]
    assert names == list(AUDITS) and all(name in result.stdout for name in names)
    assert "Does the fake hide its source?" in run.report.read_text()
    assert (run.audit / "translation.json").exists()


@pytest.mark.parametrize(
    ("name", "there", "back", "verdict"),
    [
        ("steganography", planted.honest_image, planted.honest_image, "pass"),
        ("steganography", planted.hidden, planted.found_again, "fail"),
        ("seams", planted.honest_image, planted.honest_image, "pass"),
        ("seams", planted.blocked, planted.honest_image, "warn"),
        ("geometry", planted.honest_image, planted.honest_image, "pass"),
        ("geometry", planted.mirrored, planted.mirrored, "fail"),
        ("unchanged", planted.honest_image, planted.honest_image, "fail"),
        ("unchanged", planted.constant, planted.honest_image, "fail"),
        ("hu_bias", planted.brighter, planted.honest_image, "fail"),
    ],
)
def test_planted_faults_are_caught_and_an_honest_translation_passes(run, config, name, there, back, verdict):
    material = TranslationRun(config, run)
    weights = planted.plain(material.weights, there, back, domain="ct", patch_size=[16, 16], overlap=0.0)
    stand_in = type("Planted", (TranslationRun,), {"weights": weights})(config, run)
    finding, picture = AUDITS[name](stand_in)
    assert finding.verdict == verdict and picture[:4] == b"\x89PNG", finding.sentence
