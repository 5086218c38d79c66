"""`evaluation.gan_seeds`: every seed of the networks learns from a GAN that was trained with that seed."""

import pytest

from medaug.errors import ConfigError
from medaug.experiment.edits import online_edits
from medaug.experiment.records import Evaluation
from medaug.models.weights import read_facts
from medaug.report.verdicts import verdict_of
from medaug.stages.pipeline import run_pipeline

ARMS = "evaluation.arms=[standard,standard+gan]"


def test_every_seed_of_the_networks_has_a_gan_of_its_own(copy_of_run, tiny_config):
    config, stages = tiny_config(ARMS, "evaluation.gan_seeds=true", "evaluation.seeds=[0,1]"), {}
    run_pipeline(config, copy_of_run.root, on_stage=lambda result: stages.update({result.name: result.ran}))
    assert stages["train for each seed"] and not stages["train"], "the training of seed 0 was there"
    weights = {seed: copy_of_run.of_seed(config, seed).weights for seed in (0, 1)}
    assert weights[0] == copy_of_run.weights and [read_facts(weights[seed]).seed for seed in (0, 1)] == [0, 1]
    assert read_facts(weights[0]).sha256 != read_facts(weights[1]).sha256
    edits = online_edits(config, copy_of_run)
    assert edits[0]["online"] is not edits[1]["online"]
    (summary,) = Evaluation.of_run(copy_of_run).tests.values()
    assert summary.gan_seeds and "Each seed has a GAN training of its own" in verdict_of(summary).sentence
    run_pipeline(config, copy_of_run.root, on_stage=lambda result: stages.update({result.name: result.ran}))
    assert not stages["train for each seed"] and not stages["evaluate"]


def test_one_gan_serves_all_seeds_otherwise(tiny_run, tiny_config):
    edits = online_edits(tiny_config("evaluation.seeds=[0,1]"), tiny_run)
    assert edits[0]["online"] is edits[1]["online"]
    assert "One GAN training" in verdict_of(Evaluation.of_run(tiny_run).tests[""]).sentence


def test_arms_of_written_cases_cannot_have_a_gan_for_each_seed(tiny_config, tmp_path):
    asked = "evaluation.arms=[standard,standard+gan-offline]"
    with pytest.raises(ConfigError, match=r"gan_seeds: found true with standard\+gan-offline.*expected.*Leave"):
        run_pipeline(tiny_config(asked, "evaluation.gan_seeds=true"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
