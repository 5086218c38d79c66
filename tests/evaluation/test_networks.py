"""Networks by name: each passes the same tests, and the U-Net is MONAI's, weight for weight as drawn before."""

import logging
import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.nets import DynUNet, SegResNet, UNet
from torch import nn

from medaug.config import EvaluationConfig
from medaug.errors import ConfigError
from medaug.evaluation.metrics import score_patient
from medaug.evaluation.networks import NETWORKS, SegmentationConfig, padded
from medaug.evaluation.predictions import logits, predict
from medaug.evaluation.updates import train_network

EVERY = pytest.mark.parametrize("name", list(NETWORKS))


class Squares:
    """A bright square (class 1) and a dark one (class 2) on grey noise; sample i is always the same."""

    def __init__(self, size=(24, 20)):
        self.size = size

    def __len__(self):
        return 10_000

    def __getitem__(self, index):
        rng = np.random.RandomState(index)
        image, label = rng.normal(0, 0.1, self.size).astype(np.float32), np.zeros(self.size, np.uint8)
        for number, level, first in ((1, 0.8, 1), (2, -0.8, 12)):
            place = (
                slice(first, first + 8),
                *(slice(a, a + 8) for a in rng.randint(0, [n - 8 for n in self.size[1:]])),
            )
            image[place] += level
            label[place] = number
        return {"image": image.clip(-1, 1)[None], "label": label[None]}


@pytest.fixture(scope="module", autouse=True)
def quiet():
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)


def config_of(name, **changes):
    return SegmentationConfig(network=name, **{"channels": (8, 16, 32), "batch_size": 4, **changes})


def built(config, seed=0):
    return config.build(seed)


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@EVERY
def test_two_classes_are_learnt_and_the_same_seed_learns_the_same(name):
    config = config_of(name, classes=2, updates=25, batch_size=8, learning_rate=1e-2)
    network = train_network(Squares(), config, seed=0)
    held_out = [Squares()[9_000 + i] for i in range(5)]
    found = predict(network, torch.stack([torch.from_numpy(sample["image"]) for sample in held_out]), config)
    for number in (1, 2):
        pairs = [(f[0].numpy() == number, s["label"][0] == number) for f, s in zip(found, held_out, strict=True)]
        assert score_patient(pairs, (1, 1))["dice"] > 0.85
    few = config_of(name, classes=2, updates=2)
    assert same_weights(train_network(Squares(), few, seed=0), train_network(Squares(), few, seed=0))


@EVERY
@pytest.mark.parametrize(("dims", "classes"), [(2, 1), (2, 3), (3, 1), (3, 2)])
def test_initial_weights_come_from_the_seed_alone(name, dims, classes):
    config = config_of(name, spatial_dims=dims, classes=classes)
    before = torch.random.get_rng_state()
    first = built(config)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(3)
    assert same_weights(first, built(config)) and not same_weights(first, built(config, seed=1))
    assert all(torch.isfinite(weights).all() for weights in first.state_dict().values())
    assert first(torch.zeros(1, 1, *(8,) * dims)).shape == (1, config.outputs, *(8,) * dims)


@pytest.mark.parametrize(("name", "options"), [*((name, {}) for name in NETWORKS), ("unet", {"num_res_units": 2})])
@pytest.mark.parametrize("dims", [2, 3])
def test_weights_are_spread_as_monai_spreads_them(name, options, dims):
    channels = (16, 32, 64)
    theirs = {
        "unet": lambda: UNet(dims, 1, 1, channels=channels, strides=(2, 2), **options),
        "segresnet": lambda: SegResNet(dims, 16, 1, 1, blocks_down=(1, 2, 4), blocks_up=(1, 1)),
        "dynunet": lambda: DynUNet(dims, 1, 1, (3, 3, 3), (1, 2, 2), (2, 2), filters=channels),
    }[name]().state_dict()
    mine = built(config_of(name, spatial_dims=dims, channels=channels, **options)).state_dict()
    assert {k: v.shape for k, v in mine.items()} == {k: v.shape for k, v in theirs.items()}
    for key, weights in theirs.items():
        if weights.numel() > 500:
            assert float(mine[key].std()) == pytest.approx(float(weights.std()), rel=0.2), key
        elif weights.numel() > 1 and float(weights.std()) == 0:  # norms
            assert torch.equal(mine[key], weights), key


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(list(NETWORKS)), size=st.lists(st.integers(1, 21), min_size=2, max_size=3))
def test_any_size_is_padded_and_cropped_back_and_one_image_alone_is_no_different(name, size):
    config = config_of(name, spatial_dims=len(size), classes=2, channels=(8, 16, 32))
    network = built(config).eval()
    images = torch.rand((2, 1, *size), generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = [logits(network, image, config) for image in images]
    assert all(f.shape == (3, *size) and torch.isfinite(f).all() for f in found)
    together = network(padded(images, config))[(..., *(slice(n) for n in size))]
    torch.testing.assert_close(together, torch.stack(found), rtol=1e-3, atol=1e-4)


@EVERY
def test_gradients_of_a_single_image_are_those_of_float64(name):
    config = config_of(name)
    image = torch.rand((1, 1, 24, 16), generator=torch.Generator().manual_seed(0))

    def gradients(dtype):
        network = built(config).to(dtype)
        network(image.to(dtype)).square().mean().backward()
        return [parameter.grad.double() for parameter in network.parameters()]

    for single, double in zip(gradients(torch.float32), gradients(torch.float64), strict=True):
        torch.testing.assert_close(single, double, rtol=1e-3, atol=1e-5)


def test_the_default_is_monais_unet_with_every_weight_drawn_in_its_order():
    config = SegmentationConfig(channels=(8, 16, 32))
    assert config.network == "unet"
    generator = torch.Generator().manual_seed(7)
    expected = UNet(2, 1, 1, channels=(8, 16, 32), strides=(2, 2))
    for module in expected.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            bound = 1 / math.sqrt(module.weight[0].numel())
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
    network = built(config, seed=7)
    assert same_weights(network, expected)
    image = torch.rand(2, 1, 16, 16)
    assert torch.equal(network.eval()(image), expected.eval()(image))


def test_dynunet_has_one_output_in_training_too_and_any_width_has_its_group_norm():
    network = built(config_of("dynunet")).train()
    assert network(torch.zeros(2, 1, 16, 16)).shape == (2, 1, 16, 16)
    groups = {
        m.num_groups for m in built(config_of("segresnet", channels=(12, 24))).modules() if hasattr(m, "num_groups")
    }
    assert groups == {4}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"network": "vnet"}, "found 'vnet'; expected one of unet, segresnet, dynunet"),
        ({"network": "segresnet", "channels": (8, 16, 24)}, "each level twice as wide as the one before"),
        ({"network": "dynunet", "channels": (8, 16)}, "at least 3 levels"),
        ({"network": "segresnet", "num_res_units": 2}, "leave it out"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        SegmentationConfig(**{"channels": (8, 16, 32), **settings})


def test_the_settings_offer_every_network():
    assert get_args(EvaluationConfig.model_fields["network"].annotation) == tuple(NETWORKS)
    assert EvaluationConfig().network == SegmentationConfig().network
