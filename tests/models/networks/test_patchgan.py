"""The discriminator scores patches, in 2-D and 3-D, as in pix2pix's 70 × 70 PatchGAN."""

import pytest
import torch
from torch import nn

from medaug.models.networks.discriminators import least_size, patch_discriminator
from medaug.models.networks.layers import initialize_normal, isolated_rng


@pytest.mark.parametrize("spectral", [False, True])
@pytest.mark.parametrize("size", [(48, 32), (16, 16, 16)])
@pytest.mark.parametrize("layers", [1, 2])
def test_scores_are_one_map_a_sample(size, layers, spectral):
    network = patch_discriminator(len(size), 2, width=4, layers=layers, spectral=spectral)
    scores = network(torch.zeros(3, 2, *size))
    expected = [n // 2**layers - 2 for n in size]
    assert scores.shape == (3, 1, *expected)


@pytest.mark.parametrize("spectral", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_one_patch_is_left_of_the_least_size_and_none_of_less(layers, spectral):
    network, least = patch_discriminator(2, 1, width=4, layers=layers, spectral=spectral), least_size(layers)
    assert network(torch.zeros(1, 1, least, least)).shape == (1, 1, 1, 1)
    with pytest.raises((RuntimeError, ValueError), match="Kernel size|spatial element"):
        network(torch.zeros(1, 1, least - 1, least - 1))


def test_three_layers_judge_patches_of_70_voxels():
    with isolated_rng(0):
        network = patch_discriminator(2, 1, width=4, layers=3, spectral=True).eval()
        initialize_normal(network, std=0.5)
    x = torch.zeros(1, 1, 144, 144, requires_grad=True)
    scores = network(x)
    middle = scores.shape[-1] // 2
    scores[0, 0, middle, middle].backward()
    seen = x.grad[0, 0] != 0
    assert int(seen.any(0).sum()) == 70 and int(seen.any(1).sum()) == 70


def test_spectral_weights_have_norm_one_and_no_instance_norm():
    with isolated_rng(0):
        network = patch_discriminator(2, 1, width=8, layers=2, spectral=True)
        initialize_normal(network)
    x = torch.zeros(1, 1, 32, 32)
    for _ in range(60):
        network(x)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 4
    for convolution in convolutions:
        assert float(torch.linalg.matrix_norm(convolution.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=0.02)
    assert not any(isinstance(m, nn.InstanceNorm2d | nn.BatchNorm2d) for m in network.modules())


def test_norm_is_per_instance_never_per_batch():
    network = patch_discriminator(2, 1, width=4, layers=2)
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
    assert norms and all(isinstance(m, nn.InstanceNorm2d) for m in norms)
