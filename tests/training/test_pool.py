"""The image pool hands out old fakes half of the time, and continues after a resume as if nothing had happened."""

import pytest
import torch

from medaug.training.loop import ImagePool


def fakes(first: int, count: int) -> torch.Tensor:
    return torch.arange(first, first + count).float().reshape(-1, 1, 1, 1)


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_pool_of_size_zero_hands_back_what_it_gets():
    x = fakes(0, 4)
    assert ImagePool(0).exchange(x, chance()) is x


def test_filling_pool_hands_back_what_it_gets():
    pool = ImagePool(10)
    assert torch.equal(pool.exchange(fakes(0, 4), chance()), fakes(0, 4)) and len(pool.images) == 4


def test_full_pool_hands_out_older_fakes_half_of_the_time():
    pool, rng, out = ImagePool(50), chance(), []
    for step in range(200):
        out += pool.exchange(fakes(8 * step, 8), rng).flatten().tolist()
    older = sum(value < 8 * (i // 8) for i, value in enumerate(out)) / len(out)
    assert older == pytest.approx(0.48, abs=0.05) and len(pool.images) == 50


def test_what_is_swapped_out_is_not_in_the_pool_any_more():
    pool, rng = ImagePool(3), chance()
    pool.exchange(fakes(0, 3), rng)
    for step in range(1, 40):
        new = float(step * 10)
        out = float(pool.exchange(fakes(step * 10, 1), rng))
        held = [float(image) for image in pool.images]
        assert (out == new and new not in held) or (out != new and new in held and out not in held)


def test_pool_continues_after_its_state_comes_back():
    pool = ImagePool(6)
    pool.exchange(fakes(0, 9), chance(1))
    twin = ImagePool(6)
    twin.load_state_dict(pool.state_dict(), torch.device("cpu"))
    for step in range(5):
        x = fakes(100 + 4 * step, 4)
        assert torch.equal(pool.exchange(x, chance(step)), twin.exchange(x, chance(step)))


def test_state_of_an_empty_pool_comes_back_empty():
    pool = ImagePool(4)
    pool.load_state_dict(ImagePool(4).state_dict(), torch.device("cpu"))
    assert pool.images == []


def test_pooled_fakes_do_not_keep_their_whole_batch_in_memory():
    pool = ImagePool(2)
    pool.exchange(torch.zeros(8, 1, 16, 16), chance())
    assert all(image.untyped_storage().nbytes() == 16 * 16 * 4 for image in pool.images)
