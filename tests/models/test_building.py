"""Translators are built by name and their noise comes from seeds."""

from dataclasses import asdict

import pytest
import torch
from pydantic import ValidationError

from medaug.errors import ConfigError
from medaug.models.base import drawn_noise, seeded_noise
from medaug.models.methods import TRANSLATORS, build_translator

from .conformance import HEALTHY, TUMOR, small


def test_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="unknown translator 'gan'; choose one of: .*cyclegan"):
        build_translator("gan", {}, HEALTHY, TUMOR, 2)


@pytest.mark.parametrize("name", TRANSLATORS)
def test_unknown_setting_is_refused_with_the_known_ones(name):
    with pytest.raises(ConfigError, match=f"'{name}' has no setting colour, widht; it has: .*width"):
        build_translator(name, {"widht": 3, "colour": 1, "width": 4}, HEALTHY, TUMOR, 2)


@pytest.mark.parametrize("spatial_dims", [1, 4])
def test_other_than_two_or_three_dimensions_are_refused(spatial_dims):
    with pytest.raises(ValueError, match=f"2 or 3; found {spatial_dims}"):
        build_translator("mask-guided-cyclegan", {}, HEALTHY, TUMOR, spatial_dims)


@pytest.mark.parametrize("name", TRANSLATORS)
def test_settings_rebuild_the_same_translator(name):
    first = build_translator(name, small(name), HEALTHY, TUMOR, 2, seed=3)
    settings = asdict(first.config)
    assert settings["width"] == 4
    again = build_translator(name, settings, HEALTHY, TUMOR, 2, seed=3)
    assert all(torch.equal(x, y) for x, y in zip(first.parameters(), again.parameters(), strict=True))


def test_seeded_noise_of_a_sample_is_the_same_alone_and_in_any_batch():
    seeds, like = torch.tensor([5, 7, 5, 2**31 - 1]), torch.zeros(4, 1, 6, 6)
    noise = seeded_noise(like, {"seed": seeds}, salt=1)
    assert torch.equal(noise[0], noise[2]) and not torch.equal(noise[0], noise[1])
    for i in range(4):
        assert torch.equal(seeded_noise(like[:1], {"seed": seeds[i : i + 1]}, salt=1)[0], noise[i])


def test_salts_give_independent_standard_normal_noise():
    like, batch = torch.zeros(2, 1, 64, 64), {"seed": torch.tensor([1, 2])}
    first, second = seeded_noise(like, batch, salt=1), seeded_noise(like, batch, salt=2)
    assert abs(float(first.mean())) < 0.05 and float(first.std()) == pytest.approx(1, abs=0.05)
    assert abs(float((first * second).mean())) < 0.05


def test_noise_without_a_generator_is_zero():
    assert not drawn_noise(torch.ones(1, 1, 4, 4), None).any()


@pytest.mark.parametrize("name", TRANSLATORS)
@pytest.mark.parametrize(("settings", "words"), [({"width": 0}, "width: found 0"), ({"depth": "deep"}, "depth: found")])
def test_a_wrong_setting_in_python_is_refused_as_one_in_a_pipeline_file(name, settings, words):
    with pytest.raises(ConfigError, match=f"translator '{name}': {words}"):
        build_translator(name, settings, HEALTHY, TUMOR, 2)
    with pytest.raises(ValidationError):
        TRANSLATORS[name][1](**settings)
