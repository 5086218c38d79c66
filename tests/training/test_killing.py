"""A training process killed at any moment, again and again, ends with the weights of the one that was left alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import medaug

from .tiny import assert_same_state

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the processes it kills"),
    pytest.mark.timeout(900),
]
PATIENCE_S = 200


class Trainer:
    """A process that has imported everything and forks a training on demand."""

    def __init__(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(medaug.__file__).parents[1])}
        script = Path(__file__).with_name("tiny.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.messages: list[str] = []
        self._until("ready")

    def start(self, folder: Path, workers: int = 0) -> int:
        self.messages = []
        self.process.stdin.write(f"{folder} {workers}\n")
        self.process.stdin.flush()
        return int(self._until("pid"))

    def ended(self) -> int:
        return int(self._until("ended"))

    def _until(self, word: str) -> str:
        for line in self.process.stdout:
            first, _, rest = line.strip().partition(" ")
            if first == word:
                return rest
            if first == "message":
                self.messages.append(rest)
        raise AssertionError("the trainer itself died")


@pytest.fixture(scope="module")
def trainer():
    trainer = Trainer()
    yield trainer
    trainer.process.kill()
    trainer.process.communicate()


@pytest.fixture(scope="module")
def unbroken(trainer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    trainer.start(folder)
    assert trainer.ended() == 0, trainer.messages
    return folder


def wait_for(condition, why: str) -> None:
    limit = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < limit, f"waited {PATIENCE_S} s for {why}"
        time.sleep(0.0005)


def last_step(folder: Path) -> int:
    return max((int(path.name[5:]) for path in (folder / "checkpoints").glob("step-*")), default=0)


@pytest.mark.parametrize("seed", range(2))
def test_training_killed_again_and_again_ends_with_the_same_weights(trainer, unbroken, tmp_path, seed):
    rng = np.random.RandomState(seed)
    kills = 0
    while True:
        pid, goal = trainer.start(tmp_path), last_step(tmp_path) + rng.randint(3, 8)
        if goal < 17:
            wait_for(lambda goal=goal: last_step(tmp_path) >= goal, f"the checkpoint of step {goal}")
            time.sleep(rng.uniform(0, 0.1))
            os.kill(pid, signal.SIGKILL)
            kills += 1
        code = trainer.ended()
        if code == 0:
            break
        assert code == -signal.SIGKILL, trainer.messages
    assert kills >= 2
    assert_same_state(tmp_path, unbroken)


def test_training_killed_while_it_writes_a_checkpoint_resumes_from_the_one_before(trainer, unbroken, tmp_path):
    for _ in range(3):
        before = last_step(tmp_path)
        pid = trainer.start(tmp_path)
        wait_for(lambda before=before: any(
            int(path.name[9:]) > before + 3 for path in (tmp_path / "checkpoints").glob(".partial-*")
        ), "a checkpoint being written")  # fmt: skip
        os.kill(pid, signal.SIGKILL)
        assert trainer.ended() == -signal.SIGKILL
        assert last_step(tmp_path) > before
    trainer.start(tmp_path)
    assert trainer.ended() == 0, trainer.messages
    assert_same_state(tmp_path, unbroken)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_all_its_processes_stops_it_with_the_state_saved(trainer, unbroken, tmp_path, workers, number):
    """What Ctrl-C on a terminal and a scheduler at its time limit do."""
    pid = trainer.start(tmp_path, workers)
    wait_for(lambda: last_step(tmp_path) >= 3, "the first checkpoint")
    os.killpg(pid, number)
    assert trainer.ended() == 130, trainer.messages
    assert trainer.messages == [f"stopped after step {last_step(tmp_path)} of 18; the same command resumes"]
    trainer.start(tmp_path, workers)
    assert trainer.ended() == 0, trainer.messages
    assert_same_state(tmp_path, unbroken)
