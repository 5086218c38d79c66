"""Processes that torchrun starts side by side, as on two machines: one folder, one run, the weights of all."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import medaug
from medaug.config.files import dump_config, load_config
from medaug.data.atomic import read_json
from medaug.errors import ConfigError
from medaug.stages.pipeline import run_pipeline
from medaug.training import TrainingConfig
from medaug.training.config import is_helper, is_launched


def torchrun(node: int, port: int, *arguments: object) -> subprocess.Popen:
    """One process on "machine" `node` of two."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", node, "--nproc-per-node", "1",
        "--master-addr", "127.0.0.1", "--master-port", port, "--no-python",
        Path(sys.executable).with_name("medaug"), *arguments,
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(Path(medaug.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


@pytest.mark.timeout(280)
def test_a_run_on_two_machines_is_one_run_and_both_have_trained(tmp_path, tiny_config):
    (tmp_path / "tiny.yaml").write_text(dump_config(tiny_config("accelerator=cpu")))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ("run", tmp_path / "tiny.yaml", "--out", tmp_path / "run")
    started = [torchrun(node, port, *arguments) for node in (0, 1)]
    said = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert "report: done" in said[0] and "done" not in said[1]
    run = tmp_path / "run"
    newest = sorted((run / "train" / "checkpoints").iterdir())[-1]
    parts = [torch.load(newest / f"rank-{rank}.pt", weights_only=True)["translator"] for rank in (0, 1)]
    assert all(torch.equal(parts[0][name], parts[1][name]) for name in parts[0])
    assert read_json(run / "done" / "train.json") and (run / "report.html").exists()


@pytest.fixture
def second_of_two(monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)


def test_all_but_the_first_process_help(second_of_two, monkeypatch):
    assert is_launched(TrainingConfig()) and is_helper(TrainingConfig())
    monkeypatch.setenv("RANK", "0")
    assert not is_helper(TrainingConfig())
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not is_launched(TrainingConfig())


def test_a_job_of_slurm_with_one_task_is_not_several_processes(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert not is_launched(TrainingConfig()) and is_launched(TrainingConfig(devices=2))


def test_folds_are_refused_in_several_processes(second_of_two, tmp_path):
    with pytest.raises(ConfigError, match=r"processes that torchrun or srun started.*Set split.fold"):
        run_pipeline(load_config(None, ["split.folds=2"]), tmp_path / "run")
