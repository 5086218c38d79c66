"""CycleGAN with terms the paper does not have: a few pairs, and structure kept from input to output."""

import copy
import pickle

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from medaug.errors import ConfigError
from medaug.models.methods import build_translator
from medaug.models.weights import load_weights, save_translator

from .conformance import HEALTHY, TUMOR, make_batch

SMALL = {"width": 4, "depth": 1, "discriminator_width": 4, "discriminator_layers": 1}
TERMS = ("paired", "gradient", "mutual_information", "segmentation")
EACH_TERM = pytest.mark.parametrize("term", TERMS)


def build(**more):
    return build_translator("cyclegan", SMALL | more, HEALTHY, TUMOR, 2)


def segmenter() -> nn.Module:
    network = nn.Conv2d(1, 1, 3, padding=1)
    nn.init.constant_(network.weight, 1.0)
    nn.init.zeros_(network.bias)
    return network


def weighted(term: str, weight: float):
    translator = build(**{f"{term}_weight": weight})
    translator.attach_segmenter(segmenter())
    return translator


def gradient(translator, batch) -> torch.Tensor:
    losses, _ = translator.generator_losses(batch)
    sum(losses.values()).backward()
    return torch.cat([p.grad.flatten() for p in translator.generators.parameters()])


@EACH_TERM
def test_each_term_is_off_by_default_and_changes_the_gradient_with_its_weight(term):
    batch = make_batch(2)
    assert not any(name.startswith(term) for name in build().generator_losses(batch)[0])
    off, some, more = (gradient(weighted(term, weight), batch) for weight in (0.0, 1.0, 3.0))
    assert torch.equal(off, gradient(build(), batch))
    assert torch.isfinite(some).all() and float((some - off).norm()) > 1e-4
    torch.testing.assert_close(more - off, 3 * (some - off), rtol=1e-2, atol=1e-3 * float(more.abs().max()))


def test_noise_against_a_hidden_code_is_on_by_default():
    batch = make_batch(2)
    assert build().generator_losses(batch)[0]["cycle_a"] != build(cycle_noise=0.0).generator_losses(batch)[0]["cycle_a"]


@EACH_TERM
def test_each_term_goes_both_ways(term):
    losses, _ = weighted(term, 2.0).generator_losses(make_batch(2))
    assert {name for name in losses if name.startswith(term)} == {f"{term}_a2b", f"{term}_b2a"}


def test_pairs_count_in_full_and_other_samples_not_at_all():
    batch, translator = make_batch(2), build(paired_weight=2.0)
    batch["paired"] = torch.tensor([0.0, 1.0, 0.0])
    losses, fakes = translator.generator_losses(batch)
    expected = 2 * (fakes["b"][1] - batch["b"][1]).abs().mean()
    assert float(losses["paired_a2b"].detach()) == pytest.approx(float(expected), rel=1e-5)
    batch["paired"] = torch.zeros(3)
    assert translator.generator_losses(batch)[0]["paired_a2b"] == 0
    del batch["paired"]
    assert translator.generator_losses(batch)[0]["paired_b2a"] == 0


def test_segmentation_is_compared_with_the_label_where_there_is_one():
    batch, translator = make_batch(2), weighted("segmentation", 1.0)
    own = translator.generator_losses(batch)[0]
    labelled = translator.generator_losses(batch | {"label_a": batch["mask_b"]})[0]
    assert own["segmentation_a2b"] != labelled["segmentation_a2b"]
    assert own["segmentation_b2a"] == labelled["segmentation_b2a"]


def test_a_segmentation_weight_without_a_segmenter_is_refused():
    with pytest.raises(ConfigError, match="segmentation_weight is 2, but there is no segmenter; .*attach_segmenter"):
        build(segmentation_weight=2.0).generator_losses(make_batch(2))


def test_the_segmenter_is_neither_trained_nor_saved(tmp_path):
    translator, network = build(segmentation_weight=1.0), segmenter()
    names = set(translator.state_dict())
    translator.attach_segmenter(network)
    translator.train()
    assert set(translator.state_dict()) == names and not network.training
    gradient(translator, make_batch(2))
    assert network.weight.grad is None and not any(p is network.weight for p in translator.parameters())
    save_translator(tmp_path / "w", translator, None, {"spacing_mm": [1.0, 1.0]})
    assert load_weights(tmp_path / "w").translator.segmenter is None


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_for_other_processes_keep_the_segmenter(twin):
    batch, translator = make_batch(2), weighted("segmentation", 1.0)
    first, again = translator.generator_losses(batch)[0], twin(translator).generator_losses(batch)[0]
    assert torch.equal(first["segmentation_a2b"], again["segmentation_a2b"])


def smooth(seed: int, count: int) -> torch.Tensor:
    rng = np.random.RandomState(seed)
    images = np.stack([gaussian_filter(rng.normal(size=(16, 16)), 1.5) for _ in range(count)])
    return torch.from_numpy(images / np.abs(images).max()).float()[:, None]


def test_one_pair_among_unpaired_samples_lowers_the_error_on_held_out_pairs():
    """The task is to invert the brightness of images whose values lie around 0: distributions do not tell it."""
    held_out = smooth(99, 12)
    errors = {}
    for weight in (0.0, 20.0):
        translator = build(generator="unet", depth=2, width=8, paired_weight=weight)
        optimizers = [
            torch.optim.Adam(parameters, 2e-3, (0.5, 0.99))
            for parameters in (translator.generators.parameters(), translator.discriminators.parameters())
        ]
        a, b = smooth(1, 24), -smooth(2, 24)
        b[0] = -a[0]
        rng = np.random.RandomState(0)
        for step in range(40):
            rows, others = [0, *rng.randint(1, 24, 3)], [0, *rng.randint(1, 24, 3)]
            batch = {"a": a[rows], "b": b[others], "paired": torch.tensor([1.0, 0, 0, 0])}
            batch["seed"] = torch.arange(4) + step
            losses, fakes = translator.generator_losses(batch)
            optimizers[0].zero_grad()
            sum(losses.values()).backward()
            optimizers[0].step()
            optimizers[1].zero_grad()
            sum(translator.discriminator_losses(batch, fakes).values()).backward()
            optimizers[1].step()
        with torch.no_grad():
            errors[weight] = float((translator.translate(held_out, "a2b") + held_out).abs().mean())
    assert errors[20.0] < 0.6 * errors[0.0]
