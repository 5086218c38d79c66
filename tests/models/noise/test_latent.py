"""Walks keep to the sphere, attribute vectors raise their attribute, and a search finds what the GAN can make."""

import numpy as np
import pytest
import torch

from medaug.models.noise.config import HEALTHY, TUMOR
from medaug.models.noise.latent import (
    ATTRIBUTES,
    attribute_vector,
    center_contrast,
    interpolate,
    latent_residual,
    project,
    sample,
)

from .toy import batch_of, tiny_gan


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_walk_ends_at_its_ends_and_keeps_the_norm():
    z0, z1 = (5 * v / v.norm() for v in torch.randn(2, 32, generator=chance()))
    path = interpolate(z0, z1, 9)
    assert path.shape == (9, 32) and torch.equal(path[0], z0) and torch.equal(path[-1], z1)
    torch.testing.assert_close(path.norm(dim=1), torch.full((9,), 5.0))
    turns = torch.nn.functional.cosine_similarity(path[1:], path[:-1])
    assert turns.max() - turns.min() < 1e-4
    assert ((z0 + z1) / 2).norm() < 4.5  # where a straight line would pass


def test_a_walk_between_unequal_codes_changes_its_length_evenly_and_a_short_one_is_straight():
    z0 = torch.tensor([1.0, 0.0])
    torch.testing.assert_close(interpolate(z0, torch.tensor([0.0, 3.0]), 3).norm(dim=1), torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(interpolate(z0, z0, 4), z0.expand(4, 2))


def test_walks_that_are_not_defined_are_refused():
    z = torch.tensor([1.0, 2.0])
    with pytest.raises(ValueError, match="opposite directions"):
        interpolate(z, -2 * z, 5)
    with pytest.raises(ValueError, match="two ends; found steps=1"):
        interpolate(z, z, 1)


def test_samples_come_from_the_generator_only_and_show_their_class(trained):
    first, again, other = (sample(trained, 64, TUMOR, chance(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images) and not torch.equal(first.images, other.images)
    healthy = sample(trained, 64, HEALTHY, chance(1))
    assert torch.equal(healthy.z, first.z)
    assert center_contrast(first.images).mean() > center_contrast(healthy.images).mean() + 0.2


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_attribute_vector_raises_its_attribute_in_new_samples(trained, name):
    measure, drawn = ATTRIBUTES[name], sample(trained, 256, HEALTHY, chance(1))
    direction = attribute_vector(drawn.z, measure(drawn.images))
    fresh = sample(trained, 64, HEALTHY, chance(2))
    label = torch.full((64,), HEALTHY)
    less, more = (measure(trained.generate(fresh.z + step * direction, label)) for step in (-1, 1))
    assert (more > less).float().mean() > 0.9
    assert more.mean() > measure(fresh.images).mean() > less.mean()


def test_an_attribute_that_is_the_same_everywhere_has_no_direction():
    with pytest.raises(ValueError, match="same value in all samples"):
        attribute_vector(torch.randn(4, 2, generator=chance()), torch.ones(4))


def test_a_search_finds_a_samples_own_code_better_than_chance(trained):
    target = sample(trained, 6, HEALTHY, chance(3))
    start, found = (project(trained, target.images, steps, chance(4)) for steps in (0, 150))
    others = sample(trained, 200, HEALTHY, chance(5)).images
    random = torch.stack([(other - target.images).abs().mean(dim=(1, 2, 3)) for other in others]).mean(dim=0)
    assert (start.residual < random).all() and (found.residual <= start.residual).all()
    assert found.residual.mean() < 0.4 * start.residual.mean()  # one of them may end in a local minimum
    again = (trained.generate(found.z, torch.full((6,), HEALTHY)) - target.images).abs().mean(dim=(1, 2, 3))
    torch.testing.assert_close(again, found.residual, atol=1e-5, rtol=1e-4)


def test_a_search_depends_on_its_seed_and_not_on_the_crops_beside_it(trained):
    x = batch_of(1000, 5)["x"]
    state = torch.get_rng_state()
    together = latent_residual(trained, x, steps=5, seed=0)
    assert torch.equal(torch.get_rng_state(), state) and together.shape == (5,)
    np.testing.assert_array_equal(latent_residual(trained, x.numpy(), steps=5, seed=0), together)
    np.testing.assert_allclose([latent_residual(trained, x[i : i + 1], steps=5, seed=0)[0] for i in range(5)], together,
                               rtol=1e-3)  # fmt: skip
    assert (latent_residual(trained, x, steps=5, seed=1) != together).any()


def test_what_the_gan_knows_as_healthy_is_reproduced_better_than_a_tumor(trained):
    crops = batch_of(2000, 20)
    scores = latent_residual(trained, crops["x"], steps=60, seed=0)
    tumor = crops["label"].numpy() == TUMOR
    assert scores[~tumor].mean() < 0.8 * scores[tumor].mean()


def test_a_search_leaves_the_gans_weights_alone():
    gan = tiny_gan()
    before = {key: value.clone() for key, value in gan.state_dict().items()}
    project(gan, batch_of(0, 2)["x"], 2, chance())
    assert all(p.grad is None for p in gan.parameters())
    assert all(torch.equal(value, before[key]) for key, value in gan.state_dict().items())


def test_crops_of_another_size_are_refused(trained):
    with pytest.raises(ValueError, match=r"crops of \(N, 1, 16, 16\); found \(2, 1, 12, 16\)"):
        latent_residual(trained, torch.zeros(2, 1, 12, 16), steps=1, seed=0)
