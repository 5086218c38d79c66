"""What every translator must do, in 2-D and 3-D. A new method's test is a subclass that names it; see test_conformance.

The batch holds every key that some method wants; methods take what they need.
"""

import copy
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from medaug.lesions.prior import LesionPrior, ReferenceLesion
from medaug.models.base import Translator, with_noise
from medaug.models.methods import build_translator
from medaug.models.weights import load_weights, save_translator
from medaug.volumes import Domain, Window

HEALTHY, TUMOR = Domain("healthy", "CT", Window(-100, 300, "HU")), Domain("tumor", "MR")
DIRECTIONS = ("a2b", "b2a")


def prior_of(translator: Translator) -> LesionPrior | None:
    """The smallest prior that the weights of a mask-guided translator may have; plain ones have none."""
    if not translator.mask_guided:
        return None
    shape = (8,) * translator.spatial_dims
    lesion = ReferenceLesion(
        np.zeros(shape, np.float32), np.zeros(shape, bool), "p", "c", None, 3.0, 0.5, 0.0, (0.5,) * len(shape)
    )
    return LesionPrior([lesion], shape, (1.0,) * len(shape))


class TranslatorConformance:
    """Subclass it, name the method, and give settings that make it small."""

    method: ClassVar[str]
    settings: ClassVar[dict[str, Any]] = {}
    uses_noise: ClassVar[bool] = True
    """Whether `translate` draws from its `generator`."""
    reconstruction: ClassVar[str] = "cycle"
    """How the names of the terms begin that compare an image with what it should be."""
    judges: ClassVar[bool] = True
    """Whether it has discriminators."""

    @pytest.fixture(params=[2, 3], ids=["2d", "3d"])
    def dims(self, request) -> int:
        return request.param

    @pytest.fixture
    def translator(self, dims) -> Translator:
        return self.build(dims)

    @pytest.fixture
    def batch(self, dims) -> dict[str, Tensor]:
        return make_batch(dims)

    def build(self, dims: int, seed: int = 0) -> Translator:
        return build_translator(self.method, self.settings, HEALTHY, TUMOR, dims, seed=seed)

    @pytest.mark.parametrize("direction", DIRECTIONS)
    def test_output_has_the_input_shape_and_range(self, translator, batch, direction):
        output = translate(translator, batch, direction)
        assert output.shape == batch["a"].shape and output.dtype == torch.float32
        assert output.min() >= -1 and output.max() <= 1
        assert not torch.equal(output, batch[direction[0]])

    def test_losses_are_finite_scalars_with_their_own_names(self, translator, batch):
        losses, fakes = translator.generator_losses(batch)
        judged = translator.discriminator_losses(batch, fakes)
        assert losses and bool(judged) == self.judges and not set(losses) & set(judged)
        for name, value in (losses | judged).items():
            assert value.shape == () and value.dtype == torch.float32 and torch.isfinite(value), name

    def test_generator_losses_reach_every_generator_and_no_frozen_discriminator(self, translator, batch):
        for parameter in translator.discriminators.parameters():
            parameter.requires_grad_(False)
        losses, fakes = translator.generator_losses(batch)
        sum(losses.values()).backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in translator.generators.parameters())
        assert all(any(p.grad.any() for p in g.parameters()) for g in translator.generators.values())
        assert all(p.grad is None for p in translator.discriminators.parameters())
        assert not any(fake.requires_grad for fake in fakes.values())

    def test_discriminator_losses_reach_every_discriminator_and_no_generator(self, translator, batch):
        if not self.judges:
            assert not list(translator.discriminators.parameters())
            return
        _, fakes = translator.generator_losses(batch)
        sum(translator.discriminator_losses(batch, fakes).values()).backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in translator.discriminators.parameters())
        assert all(any(p.grad.any() for p in d.parameters()) for d in translator.discriminators.values())
        assert all(p.grad is None for p in translator.generators.parameters())

    def test_every_parameter_is_trained_by_one_of_the_two_optimizers(self, translator):
        trained = [*translator.generators.parameters(), *translator.discriminators.parameters()]
        assert len(trained) == len({id(p) for p in trained})
        assert {id(p) for p in trained} == {id(p) for p in translator.parameters()}

    def test_losses_leave_the_batch_and_the_global_generator_alone(self, translator, batch):
        before, state = copy.deepcopy(batch), torch.get_rng_state()
        _, fakes = translator.generator_losses(batch)
        translator.discriminator_losses(batch, fakes)
        assert all(torch.equal(batch[key], before[key]) for key in before)
        assert torch.equal(torch.get_rng_state(), state)

    def test_noise_drawn_beforehand_is_all_that_a_step_draws(self, translator, batch):
        ahead = with_noise(batch, translator.noise_shapes(batch))
        del ahead["seed"]
        translator.eval()  # spectral norms go a step on with every pass
        (losses, fakes), (expected, _) = translator.generator_losses(ahead), translator.generator_losses(batch)
        assert losses == expected
        translator.discriminator_losses(ahead, fakes)

    def test_weights_come_from_the_seed_only(self, dims):
        state = torch.get_rng_state()
        first = self.build(dims, seed=5).state_dict()
        torch.rand(3)
        again, other = self.build(dims, seed=5).state_dict(), self.build(dims, seed=6).state_dict()
        assert all(torch.equal(first[key], again[key]) for key in first)
        assert any(not torch.equal(first[key], other[key]) for key in first)
        torch.set_rng_state(state)

    def test_losses_and_fakes_come_from_weights_and_batch_only(self, dims, batch):
        (first, fakes), (again, fakes_again) = (self.build(dims).generator_losses(batch) for _ in range(2))
        assert all(torch.equal(first[key], again[key]) for key in first)
        assert all(torch.equal(fakes[key], fakes_again[key]) for key in fakes)

    @pytest.mark.parametrize("direction", DIRECTIONS)
    def test_noise_comes_from_the_given_generator(self, translator, batch, direction):
        state = torch.get_rng_state()
        first, again, other = (translate(translator, batch, direction, seed) for seed in (1, 1, 2))
        assert torch.equal(first, again) and torch.equal(first, other) != self.uses_noise
        assert torch.equal(translate(translator, batch, direction), translate(translator, batch, direction))
        assert torch.equal(torch.get_rng_state(), state)

    def test_a_sample_does_not_depend_on_the_batch_it_is_in(self, translator, batch):
        """So a batch may be split over devices: its losses are the means over its samples."""
        translator.eval()  # spectral norm would count the passes
        losses, together = translator.generator_losses(batch)
        judged, count = translator.discriminator_losses(batch, together), len(batch["seed"])
        means = dict.fromkeys(losses | judged, 0.0)
        for i in range(count):
            sample = {key: value[i : i + 1] for key, value in batch.items()}
            of_one, alone = translator.generator_losses(sample)
            for name, loss in (of_one | translator.discriminator_losses(sample, alone)).items():
                means[name] += float(loss.detach()) / count
            for domain in together:
                torch.testing.assert_close(alone[domain][0], together[domain][i], rtol=1e-4, atol=1e-4)
        assert means == pytest.approx({k: float(v.detach()) for k, v in (losses | judged).items()}, rel=1e-3, abs=1e-5)

    def test_saved_weights_translate_bit_for_bit_alike(self, translator, batch, tmp_path):
        spacing_mm, prior = (1.0,) * translator.spatial_dims, prior_of(translator)
        digest = save_translator(tmp_path / "weights", translator, prior, {"spacing_mm": spacing_mm, "note": "x"})
        weights = load_weights(tmp_path / "weights")
        loaded = weights.translator
        assert type(loaded) is type(translator) and asdict(loaded.config) == asdict(translator.config)
        assert (loaded.domain_a, loaded.domain_b, loaded.spatial_dims) == (HEALTHY, TUMOR, translator.spatial_dims)
        assert (weights.prior is None) == (prior is None)
        assert weights.facts.sha256 == digest and weights.facts.note == "x"
        assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
        for direction in DIRECTIONS:
            expected = translate(translator.eval(), batch, direction, seed=3)
            assert torch.equal(translate(loaded, batch, direction, seed=3), expected)

    def test_one_batch_is_learned(self, translator, batch):
        optimizer = torch.optim.Adam(translator.generators.parameters(), 1e-3, (0.5, 0.99))
        first = {key: value[:1] for key, value in batch.items()}

        def reconstruction() -> Tensor:
            losses, _ = translator.generator_losses(first)
            return sum(value for name, value in losses.items() if name.startswith(self.reconstruction))

        start = float(reconstruction().detach())
        for _ in range(16):
            optimizer.zero_grad()
            reconstruction().backward()
            optimizer.step()
        assert float(reconstruction().detach()) < 0.85 * start

    def test_gradient_at_batch_size_one_is_that_of_float64(self, translator, batch):
        """torch 2.13 computes wrong instance-norm gradients on the CPU at batch size 1 in some memory layouts."""
        first = {key: value[:1] for key, value in batch.items()}
        exact = copy.deepcopy(translator).double()
        gradients = []
        for network, dtype in ((translator, torch.float32), (exact, torch.float64)):
            samples = {key: value if key == "seed" else value.to(dtype) for key, value in first.items()}
            losses, fakes = network.generator_losses(samples)
            sum([*losses.values(), *network.discriminator_losses(samples, fakes).values()]).backward()
            gradients.append(torch.cat([p.grad.flatten().double() for p in network.parameters()]))
        assert float((gradients[0] - gradients[1]).norm() / gradients[1].norm()) < 1e-3

    def test_inputs_it_cannot_translate_are_refused_with_the_reason(self, translator, batch):
        x, mask = batch["a"], batch["mask_a"]
        with pytest.raises(ValueError, match=f"expected .* {translator.spatial_dims} spatial axes; found shape"):
            translator.translate(x[0], "a2b", mask=mask[0])
        with pytest.raises(ValueError, match=f"multiples of {translator.stride}; found"):
            translator.translate(x[..., 1:], "a2b", mask=mask[..., 1:])
        if translator.mask_guided:
            with pytest.raises(ValueError, match=f"'{self.method}' is mask-guided: pass mask="):
                translator.translate(x, "a2b")
            with pytest.raises(ValueError, match="mask .* does not lie on the image"):
                translator.translate(x, "a2b", mask=mask[..., 2:])


class BrightIsLabelled(nn.Module):
    """Stands in for a frozen segmenter of `classes`: logits that rise with the brightness of the middle channel."""

    def __init__(self, classes: int = 1):
        super().__init__()
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        middle = x[:, x.shape[1] // 2][:, None]
        return torch.cat([4 * middle - number for number in range(self.classes)], dim=1)


def small(method: str) -> dict[str, int]:
    """Settings that make a method small; a regression has no discriminators."""
    size = {"width": 4, "depth": 2}
    return size if method == "regression" else size | {"discriminator_width": 4, "discriminator_layers": 1}


def make_batch(dims: int, count: int = 3, size: int | None = None) -> dict[str, Tensor]:
    """Smooth tissue in [-1, 1], ball-shaped masks with brighter lesions, and one seed a sample."""
    rng = np.random.RandomState(0)
    shape = [size or {2: 16, 3: 8}[dims]] * dims
    samples = [_sample(shape, rng) for _ in range(count)]
    return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}


def translate(translator: Translator, batch: dict[str, Tensor], direction: str, seed: int | None = None) -> Tensor:
    """The batch's images of the source domain, translated without gradients."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    source = direction[0]
    with torch.no_grad():
        return translator.translate(batch[source], direction, mask=batch[f"mask_{source}"], generator=generator)


def _sample(shape: list[int], rng: np.random.RandomState) -> dict[str, Tensor]:
    a, b, reference = (
        torch.from_numpy(np.clip(2 * gaussian_filter(rng.normal(size=shape), 1), -0.9, 0.4)).float()[None]
        for _ in range(3)
    )
    mask_a, mask_b = _ball(shape, rng), _ball(shape, rng)
    return {
        "a": a, "mask_a": mask_a, "label_a": mask_a, "reference_a": reference + 0.5, "b": b + 0.5 * mask_b,
        "mask_b": mask_b, "seed": torch.tensor(int(rng.randint(2**31))), "paired": torch.tensor(1.0),
    }  # fmt: skip


def _ball(shape: list[int], rng: np.random.RandomState) -> Tensor:
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"))
    center = np.array([rng.uniform(0.4, 0.6) * n for n in shape]).reshape(-1, *[1] * len(shape))
    return torch.from_numpy(((grid - center) ** 2).sum(0) < (shape[0] / 4) ** 2).float()[None]
