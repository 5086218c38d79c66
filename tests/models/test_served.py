"""The generator in another process: workers get what they would make themselves, alone or together with others."""

import threading
from multiprocessing import current_process
from multiprocessing.connection import Listener

import pytest
import torch

from medaug.errors import TrainingError
from medaug.models.served import attach, serve
from medaug.models.weights import load_weights


@pytest.fixture(scope="module")
def address(tiny_run):
    """Of a server on the CPU, in a thread of this process."""
    listener = Listener(authkey=current_process().authkey)
    threading.Thread(target=serve, args=(load_weights(tiny_run.weights), listener), daemon=True).start()
    return listener.address


def asking(tiny_run, address):
    weights = load_weights(tiny_run.weights)
    attach(weights.translator, address)
    return weights


def crops(size, count, seed):
    rng = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(count, 1, size, size, generator=rng) - 1
    mask = torch.zeros_like(x)
    mask[..., 4:9, 4:9] = 1
    return x, mask, [torch.Generator().manual_seed(seed + n) for n in range(count)]


def test_many_who_ask_at_once_get_what_each_would_make_alone(tiny_run, address):
    alone, answers = load_weights(tiny_run.weights), {}

    def ask(number):
        x, mask, chances = crops(16 if number % 2 else 32, 1 + number % 3, seed=10 * number)
        with torch.inference_mode():
            answers[number] = asking(tiny_run, address).translate(x, "a2b", mask=mask, generator=chances)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 6
    for number, answer in answers.items():
        x, mask, chances = crops(16 if number % 2 else 32, 1 + number % 3, seed=10 * number)
        with torch.inference_mode():
            expected = alone.translate(x, "a2b", mask=mask, generator=chances)
        torch.testing.assert_close(answer, expected, atol=2e-5, rtol=0)


def test_an_error_reaches_the_one_who_asked_and_the_others_go_on(tiny_run, address):
    weights = asking(tiny_run, address)
    x, mask, chances = crops(16, 1, seed=0)
    with pytest.raises(ValueError, match="is mask-guided: pass mask="):
        weights.translate(x, "a2b", generator=chances)
    assert weights.translate(x, "b2a", mask=mask, generator=chances).shape == x.shape


def test_a_server_that_is_gone_is_told_in_words(tiny_run, tmp_path):
    weights = asking(tiny_run, str(tmp_path / "gone"))
    x, mask, chances = crops(16, 1, seed=0)
    with pytest.raises(TrainingError, match="generator's process ended .*expected it to answer.*same command goes on"):
        weights.translate(x, "a2b", mask=mask, generator=chances)
