"""The GAN's part of the contract of `AdversarialModel`, in 2-D and 3-D."""

import copy
import pickle

import pytest
import torch

from medaug.errors import ConfigError

from .toy import batch_of, tiny_gan

SIZES = {2: (16, 12), 3: (8, 8, 12)}


@pytest.fixture(params=[2, 3], ids=["2d", "3d"])
def size(request) -> tuple[int, ...]:
    return SIZES[request.param]


@pytest.fixture
def gan(size):
    return tiny_gan(size)


@pytest.fixture
def batch(size):
    return batch_of(0, 4, size)


def heard_by(gan):
    """What the discriminator is asked, as (images, labels), and its answers."""
    heard = []
    gan.discriminators["x"].register_forward_hook(lambda module, asked, scores: heard.append((*asked, scores)))
    return heard


def test_crops_have_the_size_and_range_and_follow_code_and_class(gan, size):
    z = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    healthy, tumor = (gan.generate(z, torch.full((3,), label)) for label in (0, 1))
    assert healthy.shape == (3, 1, *size) and healthy.abs().max() <= 1
    assert not torch.equal(healthy, tumor) and not torch.equal(healthy[0], healthy[1])
    torch.testing.assert_close(gan.generate(7 * z, torch.zeros(3, dtype=torch.long)), healthy)


def test_losses_are_finite_scalars_with_their_own_names(gan, batch):
    losses, fakes = gan.generator_losses(batch)
    judged = gan.discriminator_losses(batch, fakes)
    assert losses and judged and not set(losses) & set(judged)
    for value in (losses | judged).values():
        assert value.shape == () and value.dtype == torch.float32 and torch.isfinite(value)


def test_generator_losses_reach_the_generator_and_no_frozen_discriminator(gan, batch):
    for parameter in gan.discriminators.parameters():
        parameter.requires_grad_(False)
    losses, fakes = gan.generator_losses(batch)
    sum(losses.values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in gan.generators.parameters())
    assert any(p.grad.any() for p in gan.generators.parameters())
    assert all(p.grad is None for p in gan.discriminators.parameters()) and not fakes["x"].requires_grad


def test_discriminator_losses_reach_the_discriminator_and_no_generator(gan, batch):
    _, fakes = gan.generator_losses(batch)
    sum(gan.discriminator_losses(batch, fakes).values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in gan.discriminators.parameters())
    assert any(p.grad.any() for p in gan.discriminators.parameters())
    assert all(p.grad is None for p in gan.generators.parameters())


def test_every_parameter_is_trained_by_one_of_the_two_optimizers(gan):
    trained = [*gan.generators.parameters(), *gan.discriminators.parameters()]
    assert len(trained) == len({id(p) for p in trained})
    assert {id(p) for p in trained} == {id(p) for p in gan.parameters()}


def test_losses_come_from_weights_and_batch_only_and_leave_both_alone(size, batch):
    before, state = copy.deepcopy(batch), torch.get_rng_state()
    (first, fakes), (again, fakes_again) = (tiny_gan(size).generator_losses(batch) for _ in range(2))
    assert torch.equal(first["adversarial_x"], again["adversarial_x"]) and torch.equal(fakes["x"], fakes_again["x"])
    assert all(torch.equal(batch[key], before[key]) for key in before)
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_come_from_the_seed_only(size):
    first = tiny_gan(size, seed=5).state_dict()
    torch.rand(3)
    again, other = tiny_gan(size, seed=5).state_dict(), tiny_gan(size, seed=6).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_a_sample_does_not_depend_on_the_batch_it_is_in(gan, batch):
    _, together = gan.generator_losses(batch)
    for i in range(4):
        _, alone = gan.generator_losses({key: value[i : i + 1] for key, value in batch.items()})
        torch.testing.assert_close(alone["x"][0], together["x"][i], rtol=1e-4, atol=1e-4)


def test_real_and_fake_are_augmented_alike(gan, batch):
    plane = batch["label"].float().view(-1, *[1] * (batch["x"].ndim - 1)).expand_as(batch["x"])
    heard = heard_by(gan)
    gan.discriminator_losses(batch, {"x": torch.cat([batch["x"], plane], 1)})
    real, fake = heard[0][0].chunk(2)
    assert torch.equal(real, fake) and not torch.equal(real, batch["x"])


def test_fakes_of_earlier_batches_are_judged_as_the_class_they_were_made_as(gan, batch):
    _, fakes = gan.generator_losses(batch)
    heard = heard_by(gan)
    gan.discriminator_losses(batch, {"x": fakes["x"][[1, 1, 3, 2]]})
    assert heard[0][1].tolist() == [0, 1, 0, 1, 1, 1, 1, 0]


def test_discriminator_tells_apart_real_crops_of_the_wrong_class():
    gan = tiny_gan(width=8, discriminator_width=8, augment=())
    optimizer = torch.optim.Adam(gan.discriminators.parameters(), 5e-3, (0.5, 0.99))
    for step in range(60):
        batch = batch_of(16 * step, 16)
        plane = (1 - batch["label"]).float().view(-1, 1, 1, 1).expand_as(batch["x"])
        loss = sum(gan.discriminator_losses(batch, {"x": torch.cat([batch["x"], plane], 1)}).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 1.2  # 2 where the class is not heeded


def test_diversity_counts_crops_of_other_codes_that_look_alike(batch, size):
    losses, _ = tiny_gan(size, diversity_weight=0.2).generator_losses(batch)
    alike = tiny_gan(size, diversity_weight=0.2)
    torch.nn.init.zeros_(alike.generators["x"].head.conv.weight)
    assert alike.generator_losses(batch)[0]["diversity_x"] > 1.2 * losses["diversity_x"] > 0
    assert "diversity_x" not in tiny_gan(size, diversity_weight=0.0).generator_losses(batch)[0]


def test_pickled_and_copied_gans_are_equal(gan, batch):
    for twin in (pickle.loads(pickle.dumps(gan)), copy.deepcopy(gan)):
        assert all(torch.equal(x, y) for x, y in zip(twin.parameters(), gan.parameters(), strict=True))
        assert torch.equal(twin.generator_losses(batch)[1]["x"], gan.generator_losses(batch)[1]["x"])


@pytest.mark.parametrize("size", [(18, 16), (2, 16), (16,)])
def test_sizes_that_cannot_be_halved_are_refused_with_the_remedy(size):
    with pytest.raises(ConfigError, match=r"crop.size is \[.*multiples of 4. Change crop.size or gan.levels"):
        tiny_gan(size)
