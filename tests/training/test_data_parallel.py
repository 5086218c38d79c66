"""Several processes take the step that one takes with all their samples, and what ends one of them is told."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch.multiprocessing.reductions import rebuild_storage_fd
from torch.utils.data import StackDataset

from medaug.errors import RunError, TrainingError
from medaug.models.noise.config import DCGANConfig
from medaug.models.noise.dcgan import build_dcgan
from medaug.processes import told_where_loaders_end
from medaug.training import fit
from medaug.training.config import data_parallel
from medaug.training.loop import _State, _step

from .tiny import DOMAIN, Crops, assert_same_state, crop, flatten, states, tiny_config, tiny_translator

ROOT = Path(__file__).parents[2]


def samples(*numbers: int) -> StackDataset:
    """Crops by number, as other processes can be given them."""
    crops = [crop(number) for number in numbers]
    return StackDataset(**{key: torch.stack([c[key] for c in crops]) for key in crops[0]})


def moments_after_a_step(folder: Path, data: StackDataset, **settings) -> dict[str, torch.Tensor]:
    """Adam's first moments: half the gradients of the first step."""
    fit(tiny_translator(), data, tiny_config(steps=1, **settings), folder)
    state = flatten(torch.load(next((folder / "checkpoints").rglob("rank-0.pt")), weights_only=True))
    found = {name: value for name, value in state.items() if name.endswith("/exp_avg")}
    assert len(found) > 20 and all(value.any() for value in found.values())
    return found


@pytest.mark.processes
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("precision", "seen_by_two", "seen_by_one"),
    [
        ("32-true", samples(0, 1, 2, 3), samples(0, 1, 2, 3)),
        # bfloat16 rounds the gradients of each process, so that these see the same: their mean is that of one
        ("bf16-mixed", samples(0, 1, 0, 1), samples(0, 1)),
    ],
)
def test_two_processes_take_the_step_of_one(tmp_path, precision, seen_by_two, seen_by_one):
    two = moments_after_a_step(tmp_path / "two", seen_by_two, precision=precision, devices=2, batch_size=2)
    one = moments_after_a_step(tmp_path / "one", seen_by_one, precision=precision, batch_size=len(seen_by_one))
    assert two.keys() == one.keys()
    worst = max(float((two[name] - one[name]).abs().max()) for name in one)
    assert worst <= 1e-6


@pytest.fixture
def one_of_one(monkeypatch):
    """Fabric with DDP on one process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MASTER_PORT", str(free.getsockname()[1]))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    fabric = Fabric(accelerator="cpu", devices=1, strategy=data_parallel("popen"))
    fabric.launch()
    yield fabric
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("method", ["mask-guided-cyclegan", "cyclegan", "dcgan"])
def test_a_step_reduces_every_gradient_once(one_of_one, tmp_path, method):
    if method == "dcgan":
        model = build_dcgan(DCGANConfig(latent_dim=4, width=4, levels=2, discriminator_width=4), (16, 16), DOMAIN)
        batch = {"x": torch.rand(2, 1, 16, 16), "label": torch.tensor([0, 1]), "seed": torch.tensor([0, 1])}
    else:
        model, batch = tiny_translator(method), samples(0, 1).__getitems__([0, 1])
        batch = {key: torch.stack([sample[key] for sample in batch]) for key in batch[0]}
    state = _State(one_of_one, model, tiny_config(), tmp_path)
    reduced: Counter[str] = Counter()

    def counting(name, bucket):
        reduced[name] += bucket.buffer().nbytes
        future = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    for name, losses in zip(("generators", "discriminators"), state.losses, strict=True):
        losses.register_comm_hook(name, counting)
    for step in (1, 2):
        _step(one_of_one, state, batch, tiny_config())
        for name in ("generators", "discriminators"):
            assert reduced[name] == step * sum(p.nbytes for p in getattr(model, name).parameters())


def train_with_a_worker_that_is_killed(folder):
    """Where a worker dies, torch may say so at any later time, too: a process of its own keeps that to itself."""

    def die(index):
        if index == 16 and not (folder / "died").exists():
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(RunError, match=r"a process that prepares samples ended from outside.*training\.workers.*kept"):
        fit(tiny_translator(), Crops(die), tiny_config(workers=1), folder / "broken")


def test_a_loaders_worker_that_is_killed_is_told_and_nothing_is_lost(tmp_path):
    here = "tests.training.test_data_parallel"
    script = f"from pathlib import Path; from {here} import {train_with_a_worker_that_is_killed.__name__} as train; "
    subprocess.run([sys.executable, "-c", f"{script} train(Path({str(tmp_path)!r}))"], cwd=ROOT, check=True)
    assert 3 <= int(states(tmp_path / "broken")["/step"]) < 12
    fit(tiny_translator(), Crops(), tiny_config(workers=1), tmp_path / "broken")
    fit(tiny_translator(), Crops(), tiny_config(), tmp_path / "whole")
    assert_same_state(tmp_path / "broken", tmp_path / "whole")


def test_a_loaders_worker_that_dies_while_it_hands_over_a_batch_is_told():
    class Handle:
        def detach(self):
            raise ConnectionResetError(104, "Connection reset by peer")

    told = told_where_loaders_end("data.workers", "Go on.")
    words = r"prepares samples ended.*reset by peer.*lower data\.workers\. Go on\."
    with pytest.raises(RunError, match=words), told:
        rebuild_storage_fd(torch.UntypedStorage, Handle(), 8)


@pytest.mark.processes
@pytest.mark.timeout(900)
def test_a_rank_that_dies_ends_all_and_is_told(tmp_path):
    def started_here() -> list[int]:
        return sorted({child.pid for child in multiprocessing.active_children()} - others)

    def kill_one() -> None:
        while not list((tmp_path / "checkpoints").glob("step-*")):
            time.sleep(0.01)
        os.kill(started_here()[-1], signal.SIGKILL)

    others = {child.pid for child in multiprocessing.active_children()}

    threading.Thread(target=kill_one, daemon=True).start()
    with pytest.raises(RunError, match="process.*ended from outside|processes that train together gone"):
        fit(tiny_translator(), samples(*range(4000)), tiny_config(steps=1000, devices=2), tmp_path)
    assert int(states(tmp_path)["/step"]) >= 3 and not started_here()


@pytest.mark.processes
@pytest.mark.timeout(900)
def test_what_a_started_process_refuses_is_refused_in_its_own_words(tmp_path):
    broken = samples(*range(8))
    broken.datasets["b"][2:] = torch.nan
    with pytest.raises(TrainingError, match="not finite.*The last checkpoint is kept"):
        fit(tiny_translator(), broken, tiny_config(steps=2, devices=2), tmp_path)
