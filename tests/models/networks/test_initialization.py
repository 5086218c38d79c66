"""Initial weights come from their seed and from nothing else."""

import pytest
import torch
from torch import nn

from medaug.models.networks.layers import initialize_normal, isolated_rng


def small(spectral: bool = False) -> nn.Module:
    convolution = nn.Conv2d(4, 64, 3)
    return nn.Sequential(nn.utils.parametrizations.spectral_norm(convolution) if spectral else convolution)


def drawn(seed: int) -> torch.Tensor:
    with isolated_rng(seed):
        module = small()
        initialize_normal(module)
    return module[0].weight


def test_weights_depend_on_the_seed_only():
    torch_state = torch.get_rng_state()
    first = drawn(3)
    with isolated_rng(99):
        torch.rand(7)
    assert torch.equal(first, drawn(3)) and not torch.equal(first, drawn(4))
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_global_generator_is_put_back_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(KeyError), isolated_rng(1):
        torch.rand(3)
        raise KeyError
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("spectral", [False, True])
def test_convolutions_are_normal_with_the_papers_deviation_and_biases_zero(spectral):
    with isolated_rng(0):
        module = small(spectral)
        initialize_normal(module)
    weight = module[0].parametrizations.weight.original if spectral else module[0].weight
    weight = weight.detach()
    assert float(weight.std()) == pytest.approx(0.02, rel=0.1) and abs(float(weight.mean())) < 0.002
    assert not module[0].bias.any()


def test_norm_layers_keep_their_identity():
    with isolated_rng(0):
        norm = nn.InstanceNorm2d(3, affine=True)
        initialize_normal(norm)
    assert norm.weight.eq(1).all() and norm.bias.eq(0).all()
