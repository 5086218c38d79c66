"""A training that starts from the weights of another: what it begins with, what it knows, and what is refused."""

from dataclasses import asdict

import pytest
import torch

from medaug.config.files import dump_config
from medaug.errors import LeakageError, WeightsError
from medaug.models.methods import build_translator
from medaug.models.weights import load_weights
from medaug.runs.folder import RunDir
from medaug.runs.provenance import start_from
from medaug.splits import Split
from medaug.stages.pipeline import run_pipeline


@pytest.fixture
def other(weights):
    """A translator of the same kind, not trained."""

    def other(**settings):
        trained = weights.translator
        domains = trained.domain_a, trained.domain_b
        return build_translator(trained.name, asdict(trained.config) | settings, *domains, trained.spatial_dims, seed=7)

    return other


def split(train=("new-1", "new-2"), validation=("new-3",), test=("new-4",)):
    return Split(train, validation, test)


def test_generators_start_where_the_others_ended_and_discriminators_anew(weights_folder, weights, other, tmp_path):
    fresh, started = other(), other()
    known = start_from(weights_folder, started, RunDir(tmp_path), split()).training_patients
    assert known == weights.facts.training_patients
    for name, tensor in started.generators.state_dict().items():
        assert torch.equal(tensor, weights.translator.generators.state_dict()[name])
    for name, tensor in started.discriminators.state_dict().items():
        assert torch.equal(tensor, fresh.discriminators.state_dict()[name])


def test_loss_weights_may_differ_and_sizes_may_not(weights_folder, other, tmp_path):
    run = RunDir(tmp_path)
    start_from(weights_folder, other(adversarial_weight=1.0), run, split())
    with pytest.raises(WeightsError, match="found generators of other sizes"):
        start_from(weights_folder, other(width=6), run, split())
    with pytest.raises(WeightsError, match="found .*reference content; expected .*free content"):
        start_from(weights_folder, other(content="free"), run, split())


@pytest.mark.parametrize("part", ["validation", "test"])
def test_weights_that_know_a_held_out_patient_are_refused(weights_folder, weights, other, part, tmp_path):
    patient = weights.facts.training_patients[0]
    with pytest.raises(LeakageError, match=patient):
        start_from(weights_folder, other(), RunDir(tmp_path), split(**{part: (patient,)}))


def test_a_run_starts_from_weights_and_hands_on_whom_they_know(tiny_config, weights_folder, weights, tmp_path, capsys):
    two = ("training.steps=1", "split.labelled=2")
    run = run_pipeline(tiny_config(f"translator.warm_start={weights_folder}", *two), tmp_path / "run", until="train")
    cold = run_pipeline(tiny_config(*two), tmp_path / "cold", until="train")
    warm_facts, cold_facts = (load_weights(made.weights).facts for made in (run, cold))
    assert len(cold_facts.training_patients) == 2
    assert warm_facts.training_patients == weights.facts.training_patients
    assert warm_facts.training_content == weights.facts.training_content
    assert warm_facts.sha256 != cold_facts.sha256
    told = "of 2 patients beyond the 2 that train here (2 of them left out here by split.labelled)"
    assert told in warm_facts.warnings[0] and not any("beyond" in warning for warning in cold_facts.warnings)
    assert capsys.readouterr().err.count(told) == 1


def test_without_it_the_settings_are_written_as_before(tiny_config, weights_folder):
    assert "warm_start" not in dump_config(tiny_config())
    assert str(weights_folder) in dump_config(tiny_config(f"translator.warm_start={weights_folder}"))
