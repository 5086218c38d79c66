"""nnU-Net's U-Net, plain and residual: features at full resolution, an answer a level while it trains, any size."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.nets import DynUNet

from medaug.errors import ConfigError
from medaug.evaluation.metrics import score_patient
from medaug.evaluation.networks import SegmentationConfig, padded
from medaug.evaluation.predictions import logits, predict
from medaug.evaluation.updates import train_network

EVERY = pytest.mark.parametrize("residual", [False, True])


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


def config_of(**changes):
    return SegmentationConfig(**{"channels": (8, 16, 32), "batch_size": 4, **changes})


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@EVERY
def test_two_classes_are_learnt_and_the_same_seed_learns_the_same(residual):
    config = config_of(residual=residual, classes=2, updates=25, batch_size=8, learning_rate=1e-2)
    network = train_network(Squares(), config, seed=0)
    held_out = [Squares()[9_000 + i] for i in range(5)]
    found = predict(network, torch.stack([torch.from_numpy(sample["image"]) for sample in held_out]), config)
    for number in (1, 2):
        pairs = [(f[0].numpy() == number, s["label"][0] == number) for f, s in zip(found, held_out, strict=True)]
        assert score_patient(pairs, (1, 1))["dice"] > 0.85
    few = config_of(residual=residual, classes=2, updates=2)
    assert same_weights(train_network(Squares(), few, seed=0), train_network(Squares(), few, seed=0))


@EVERY
@pytest.mark.parametrize(("dims", "classes"), [(2, 1), (2, 3), (3, 1), (3, 2)])
def test_initial_weights_come_from_the_seed_alone_and_every_level_but_two_answers(residual, dims, classes):
    config = config_of(residual=residual, spatial_dims=dims, classes=classes, channels=(4, 8, 16, 16))
    before = torch.random.get_rng_state()
    first = config.build(0)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(3)
    assert same_weights(first, config.build(0)) and not same_weights(first, config.build(1))
    assert all(torch.isfinite(weights).all() for weights in first.state_dict().values())
    image = torch.zeros(1, 1, *(16,) * dims)
    assert first(image).shape == (1, 3, config.outputs, *(16,) * dims)  # while it trains
    assert first.eval()(image).shape == (1, config.outputs, *(16,) * dims)


@EVERY
@pytest.mark.parametrize("dims", [2, 3])
def test_weights_are_spread_as_monai_spreads_them(residual, dims):
    config = config_of(residual=residual, spatial_dims=dims, channels=(16, 32, 64))
    theirs = DynUNet(
        dims, 1, 1, (3,) * 3, (1, 2, 2), (2, 2), filters=(16, 32, 64), res_block=residual, deep_supervision=True
    ).state_dict()
    mine = config.build(0).state_dict()
    assert {k: v.shape for k, v in mine.items()} == {k: v.shape for k, v in theirs.items()}
    for key, weights in theirs.items():
        if weights.numel() > 500:
            assert float(mine[key].std()) == pytest.approx(float(weights.std()), rel=0.2), key
        elif weights.numel() > 1 and float(weights.std()) == 0:  # norms
            assert torch.equal(mine[key], weights), key


def test_the_loss_looks_at_every_level_and_halves_its_weight():
    config = config_of(channels=(4, 8, 16, 16))
    network, sample = config.build(0), Squares((16, 16))
    images = torch.stack([torch.from_numpy(sample[i]["image"]) for i in range(2)])
    labels = torch.stack([torch.from_numpy(sample[i]["label"]).float() for i in range(2)]).clamp(max=1)
    heads = network(images).unbind(1)
    alone = [config.loss(lambda _, head=head: head, images, labels) for head in heads]
    expected = sum(0.5**number * loss for number, loss in enumerate(alone)) / (1 + 0.5 + 0.25)
    assert len(heads) == 3
    torch.testing.assert_close(config.loss(network, images, labels), expected)


def test_an_axis_of_thick_voxels_is_halved_later_and_no_kernel_reaches_along_it_before():
    config = config_of(spatial_dims=3, channels=(4, 8, 16), strides=((2, 2, 1), (2, 2, 2)))
    assert config.stride == (4, 4, 2)
    network = config.build(0)
    kernels = [tuple(m.kernel_size) for m in network.modules() if isinstance(m, torch.nn.Conv3d)]
    assert (3, 3, 1) in kernels and (3, 3, 3) in kernels
    assert logits(network.eval(), torch.zeros(1, 13, 9, 5), config).shape == (1, 13, 9, 5)


@settings(max_examples=25, deadline=None)
@given(residual=st.booleans(), size=st.lists(st.integers(1, 21), min_size=2, max_size=3))
def test_any_size_is_padded_and_cropped_back_and_one_image_alone_is_no_different(residual, size):
    config = config_of(residual=residual, spatial_dims=len(size), classes=2)
    network = config.build(0).eval()
    images = torch.rand((2, 1, *size), generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = [logits(network, image, config) for image in images]
    assert all(f.shape == (3, *size) and torch.isfinite(f).all() for f in found)
    together = network(padded(images, config))[(..., *(slice(n) for n in size))]
    torch.testing.assert_close(together, torch.stack(found), rtol=1e-3, atol=1e-4)


def test_mirroring_is_the_mean_over_the_mirrored_images():
    config, image = config_of(mirror_axes=(0, 1)), torch.rand(1, 16, 24, generator=torch.Generator().manual_seed(0))
    network, plain = config.build(0).eval(), config_of()
    turned = [logits(network, image.flip(axes), plain).flip(axes) for axes in ([], [1], [2], [1, 2])]
    torch.testing.assert_close(logits(network, image, config), torch.stack(turned).mean(0))
    mirrored = logits(network, image.flip(1), config).flip(1)
    torch.testing.assert_close(mirrored, logits(network, image, config), rtol=1e-4, atol=1e-5)


@EVERY
def test_gradients_of_a_single_image_are_those_of_float64(residual):
    config = config_of(residual=residual)
    image = torch.rand((1, 1, 24, 16), generator=torch.Generator().manual_seed(0))

    def gradients(dtype):
        network = config.build(0).to(dtype)
        network(image.to(dtype)).square().mean().backward()
        return [parameter.grad.double() for parameter in network.parameters()]

    for single, double in zip(gradients(torch.float32), gradients(torch.float64), strict=True):
        torch.testing.assert_close(single, double, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"channels": (8, 16)}, "found 2 levels; expected at least 3"),
        ({"strides": ((2, 2), (2, 2, 2))}, "expected 2 of 2 numbers each"),
        ({"patch_size": (40, 42)}, "expected multiples of"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        SegmentationConfig(**{"channels": (8, 16, 32), **settings})
