"""Several devices are Lightning Fabric's business: DDP, started here or by torchrun or SLURM."""

import multiprocessing
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from lightning_fabric.strategies import DDPStrategy
from torch.utils.data import StackDataset

import medaug
from medaug.errors import Interrupted, RunError
from medaug.training import TrainingConfig, fit
from medaug.training.config import make_fabric

from .tiny import crop, flatten, tiny_config, tiny_translator

STARTERS = ("TORCHELASTIC_RUN_ID", "SLURM_PROCID")


@pytest.fixture(autouse=True)
def started_by_nobody(monkeypatch):
    for name in STARTERS:
        monkeypatch.delenv(name, raising=False)


def test_one_device_needs_no_processes():
    fabric = make_fabric(TrainingConfig(accelerator="cpu"))
    assert fabric.world_size == 1 and not isinstance(fabric.strategy, DDPStrategy) and fabric.strategy.launcher is None


def test_several_devices_are_spawned_with_ddp():
    fabric = make_fabric(TrainingConfig(accelerator="cpu", devices=2))
    assert isinstance(fabric.strategy, DDPStrategy) and fabric.strategy.num_processes == 2
    assert "MultiProcessing" in type(fabric.strategy.launcher).__name__


def test_torchrun_brings_its_own_processes(monkeypatch):
    environment = {
        "TORCHELASTIC_RUN_ID": "1", "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "GROUP_RANK": "0",
        "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29555",
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    fabric = make_fabric(TrainingConfig(accelerator="cpu", devices=2))
    assert isinstance(fabric.strategy, DDPStrategy)
    assert fabric.strategy.launcher is None or "Subprocess" in type(fabric.strategy.launcher).__name__
    assert fabric.strategy.cluster_environment.creates_processes_externally


def test_slurm_brings_its_own_processes(monkeypatch):
    environment = {
        "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NODEID": "0", "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "train", "SLURM_NODELIST": "localhost",
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    fabric = make_fabric(TrainingConfig(accelerator="cpu", devices=2))
    assert isinstance(fabric.strategy, DDPStrategy)
    assert fabric.strategy.cluster_environment.creates_processes_externally


def test_training_begun_on_two_devices_is_not_resumed_on_one(tmp_path):
    config = tiny_config(steps=3)
    fit(tiny_translator(), [crop(i) for i in range(6)], config, tmp_path)
    part = next((tmp_path / "checkpoints").glob("step-*")) / "rank-1.pt"
    torch.save({}, part)
    with pytest.raises(RunError, match="written by 2 process.* found 1. Resume with --devices 2"):
        fit(tiny_translator(), [crop(i) for i in range(6)], config, tmp_path)


def test_no_code_moves_tensors_to_a_named_accelerator():
    named = re.compile(r"""\.cuda\(|torch\.device\(["'](cuda|mps)|\.to\(["'](cuda|mps)|device=["'](cuda|mps)""")
    sources = list(Path(medaug.__file__).parent.rglob("*.py"))
    assert len(sources) > 30
    assert [f"{path}: {line}" for path in sources for line in path.read_text().splitlines() if named.search(line)] == []


@pytest.mark.processes
@pytest.mark.timeout(900)
def test_two_processes_keep_equal_weights_and_stop_together_on_a_signal_to_one(tmp_path):
    crops = [crop(i) for i in range(4000)]
    samples = StackDataset(**{key: torch.stack([c[key] for c in crops]) for key in crops[0]})
    checkpoints = tmp_path / "checkpoints"

    def interrupt_one() -> None:
        while not list(checkpoints.glob("step-*")):
            time.sleep(0.01)
        os.kill(sorted(multiprocessing.active_children(), key=lambda child: child.pid)[-1].pid, signal.SIGINT)

    watcher = threading.Thread(target=interrupt_one, daemon=True)
    watcher.start()
    with pytest.raises(Interrupted, match="stopped after step .* of 1000; the same command resumes"):
        fit(tiny_translator(), samples, tiny_config(steps=1000, devices=2), tmp_path)
    watcher.join()
    newest = sorted(checkpoints.iterdir())[-1]
    parts = [flatten(torch.load(newest / f"rank-{rank}.pt", weights_only=True)) for rank in (0, 1)]
    assert parts[0].keys() == parts[1].keys() and int(parts[0]["/step"]) >= 3
    differing = {name for name in parts[0] if not torch.equal(parts[0][name], parts[1][name])}
    assert differing and all(name.startswith("/pools/") for name in differing)
