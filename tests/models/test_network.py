"""A direction as a plain network gives what the translator gives."""

import pytest
import torch

from medaug.models.methods import TRANSLATORS, build_translator
from medaug.models.network import DirectionNetwork
from medaug.volumes import Domain

DOMAINS = Domain("a", "MR"), Domain("b", "MR")


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("direction", ["a2b", "b2a"])
@pytest.mark.parametrize("method", TRANSLATORS)
def test_the_network_translates_as_the_translator_does_without_noise(method, direction, dims):
    translator = build_translator(method, {"width": 2, "depth": 2}, *DOMAINS, dims).eval()
    network = DirectionNetwork(translator, direction)
    size = (4 * translator.stride,) * dims
    channels = {"image": torch.rand(2, *size) * 2 - 1, "mask": (torch.rand(2, *size) > 0.8).float()}
    x = torch.stack([channels.get(name, torch.zeros(2, *size)) for name in network.channels], dim=1)
    style = torch.randn(2, network.style_dim) if network.style_dim else None
    mask = x[:, 1:2] if translator.mask_guided else None
    with torch.inference_mode():
        expected = translator.translate(x[:, :1], direction, mask=mask, style=style)
        torch.testing.assert_close(network(x, style), expected, rtol=0, atol=0)
        assert network(x).shape == (2, len(network.outputs), *size)


def test_labels_and_slices_are_channels():
    settings = {"width": 2, "depth": 1, "generator": "unet", "channels": 3, "label_input": 2}
    translator = build_translator("cyclegan", settings, *DOMAINS, 2).eval()
    assert DirectionNetwork(translator, "a2b").channels == ("image 1", "image 2", "image 3", "label 1", "label 2")
    assert DirectionNetwork(translator, "b2a").channels == ("image 1", "image 2", "image 3")
    x = torch.rand(1, 5, 8, 8)
    expected = translator.translate(x[:, :3], "a2b", mask=x[:, 3:])
    assert torch.equal(DirectionNetwork(translator, "a2b")(x), expected)
