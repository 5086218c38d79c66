"""A training that was stopped, in whatever way, and resumed ends as the one that was not, bit for bit."""

import os
import shutil
import signal

import pytest
import torch

from medaug.errors import Interrupted, RunError
from medaug.training import fit
from medaug.training.monitors import read_metrics

from .tiny import Crops, assert_same_state, tiny_config, tiny_translator


class Broken(Exception):
    """Something outside medaug, such as a full memory."""


def breaks_at(index: int) -> Crops:
    def check(i: int) -> None:
        if i == index:
            raise Broken

    return Crops(check)


def signals_at(index: int, *numbers: int) -> Crops:
    def send(i: int) -> None:
        if i == index:
            for number in numbers:
                os.kill(os.getpid(), number)

    return Crops(send)


def refuse(index: int) -> None:
    raise AssertionError(f"sample {index} was asked for")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    fit(tiny_translator(), Crops(), tiny_config(), folder)
    return folder


@pytest.mark.parametrize("index", [1, 17])
def test_training_that_broke_and_resumed_equals_the_unbroken_one(unbroken, tmp_path, index):
    with pytest.raises(Broken):
        fit(tiny_translator(), breaks_at(index), tiny_config(), tmp_path)
    fit(tiny_translator(), Crops(), tiny_config(), tmp_path)
    assert_same_state(tmp_path, unbroken)
    assert read_metrics(tmp_path / "metrics.jsonl") == read_metrics(unbroken / "metrics.jsonl")


@pytest.mark.parametrize(
    ("method", "settings", "training"),
    [
        ("mask-guided-cyclegan", {"content": "free", "spectral": True}, {}),
        ("cyclegan", {}, {"pool_size": 0, "ema_decay": 0.0}),
        ("mask-guided-cyclegan", {}, {"decay_from": 0.0, "seed": 9, "precision": "bf16-mixed"}),
    ],
)
def test_resuming_is_exact_for_other_settings_too(tmp_path, method, settings, training):
    config = tiny_config(steps=6, **training)
    whole = fit(tiny_translator(method, **settings), Crops(), config, tmp_path / "whole")
    with pytest.raises(Broken):
        fit(tiny_translator(method, **settings), breaks_at(9), config, tmp_path / "broken")
    resumed = fit(tiny_translator(method, **settings), Crops(), config, tmp_path / "broken")
    assert_same_state(tmp_path / "whole", tmp_path / "broken")
    assert all(torch.equal(x, y) for x, y in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_initial_weights_do_not_matter_to_a_resumed_training(unbroken, tmp_path):
    with pytest.raises(Broken):
        fit(tiny_translator(), breaks_at(13), tiny_config(), tmp_path)
    other = tiny_translator()
    for parameter in other.parameters():
        parameter.data.zero_()
    fit(other, Crops(), tiny_config(), tmp_path)
    assert_same_state(tmp_path, unbroken)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_after_the_step_and_the_same_command_resumes(unbroken, tmp_path, number):
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted, match="stopped after step 5 of 12; the same command resumes") as caught:
        fit(tiny_translator(), signals_at(9, number), tiny_config(), tmp_path)
    assert caught.value.exit_code == 130
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert (tmp_path / "checkpoints" / "step-00000005").is_dir()
    fit(tiny_translator(), Crops(), tiny_config(), tmp_path)
    assert_same_state(tmp_path, unbroken)


def test_second_signal_stops_at_once_and_loses_no_checkpoint(unbroken, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(tiny_translator(), signals_at(9, signal.SIGINT, signal.SIGINT), tiny_config(), tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000003"]
    fit(tiny_translator(), Crops(), tiny_config(), tmp_path)
    assert_same_state(tmp_path, unbroken)


def test_finished_training_is_returned_without_another_step(unbroken):
    before = (unbroken / "metrics.jsonl").read_bytes()
    first = fit(tiny_translator(), Crops(refuse), tiny_config(), unbroken)
    again = fit(tiny_translator(), Crops(refuse), tiny_config(), unbroken)
    assert all(torch.equal(x, y) for x, y in zip(first.parameters(), again.parameters(), strict=True))
    assert (unbroken / "metrics.jsonl").read_bytes() == before and not first.training


def test_number_of_workers_does_not_matter(unbroken, tmp_path):
    fit(tiny_translator(), Crops(), tiny_config(workers=2), tmp_path)
    assert_same_state(tmp_path, unbroken)


def test_rows_after_the_resumed_step_are_written_once(tmp_path):
    with pytest.raises(Broken):
        fit(tiny_translator(), breaks_at(17), tiny_config(), tmp_path)
    log = tmp_path / "metrics.jsonl"
    assert [row["step"] for row in read_metrics(log)] == [1, 2, 3, 4, 5, 6, 7, 8]
    with open(log, "a") as file:
        file.write('{"step": 9, "cyc')
    fit(tiny_translator(), Crops(), tiny_config(), tmp_path)
    assert [row["step"] for row in read_metrics(log)] == list(range(1, 13))
    assert len(log.read_text().splitlines()) == 12


def test_global_generators_are_left_alone(tmp_path):
    state = torch.get_rng_state()
    fit(tiny_translator(), Crops(), tiny_config(steps=2), tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_extended_training_ends_as_one_that_was_asked_for_both_at_once(unbroken, tmp_path):
    shutil.copytree(unbroken, tmp_path / "extended")
    config = tiny_config(extend=5)
    fit(tiny_translator(), Crops(lambda index: None if index >= 24 else refuse(index)), config, tmp_path / "extended")
    fit(tiny_translator(), Crops(), config, tmp_path / "whole")
    assert_same_state(tmp_path / "extended", tmp_path / "whole")
    rates = [config.learning_rate_at(step) for step in range(18)]
    assert rates[:13] == [*(tiny_config().learning_rate_at(step) for step in range(12)), config.learning_rate]
    assert rates[-1] == 0 and rates[12:] == sorted(rates[12:], reverse=True)


def test_a_folder_with_more_steps_than_are_asked_for_is_refused(unbroken):
    with pytest.raises(RunError, match=r"found a training of 12 steps; expected at most 9 .*Set training.extend=3"):
        fit(tiny_translator(), Crops(), tiny_config(steps=9), unbroken)
