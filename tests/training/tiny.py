"""The smallest training that still has every part: 16² crops, a tiny mask-guided CycleGAN, a few fast steps.

Also runs as a script, `python tiny.py`: it then reads lines `folder workers` and trains each in a forked child that
can be killed, saying `pid <n>`, `message <text>` and `ended <exit code>`.
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from medaug.errors import MedaugError
from medaug.models.base import Translator
from medaug.models.methods import build_translator
from medaug.training import TrainingConfig, fit
from medaug.volumes import Domain, Window

DOMAIN = Domain("any", "CT", Window(0, 1, "HU"))
SETTINGS = {"width": 4, "depth": 1, "discriminator_width": 4, "discriminator_layers": 1}


def tiny_config(**more: Any) -> TrainingConfig:
    settings = {
        "steps": 12, "batch_size": 2, "learning_rate": 1e-3, "pool_size": 5, "checkpoint_every": 3, "log_every": 1,
        "accelerator": "cpu", "workers": 0,
    }  # fmt: skip
    return TrainingConfig(**settings | more)


def tiny_translator(method: str = "mask-guided-cyclegan", **more: Any) -> Translator:
    return build_translator(method, SETTINGS | more, DOMAIN, DOMAIN, 2, seed=1)


def crop(index: int) -> dict[str, Tensor]:
    """The sample with this number: noise crops, a square mask, a bright lesion."""
    rng = torch.Generator().manual_seed(index)
    a, b, reference = (torch.rand(1, 16, 16, generator=rng) - 0.8 for _ in range(3))
    mask = torch.zeros(1, 16, 16)
    mask[:, 5:10, 4 + index % 3 : 11] = 1
    return {
        "a": a, "mask_a": mask, "reference_a": reference + 0.9, "b": b + 0.9 * mask, "mask_b": mask,
        "seed": torch.tensor(index),
    }  # fmt: skip


class Crops(Dataset):
    """Endless crops; `before(index)` may interfere."""

    def __init__(self, before=lambda index: None):
        self.before = before

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        self.before(index)
        return crop(index)


def states(folder: Path) -> dict[str, Tensor]:
    """Every tensor and number of the newest checkpoint, under a flat name."""
    newest = sorted((folder / "checkpoints").glob("step-*"))[-1]
    return flatten(torch.load(newest / "rank-0.pt", weights_only=True))


def flatten(value: Any, name: str = "") -> dict[str, Tensor]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flatten(item, f"{name}/{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for key, item in enumerate(value) for k, v in flatten(item, f"{name}/{key}").items()}
    return {} if value is None else {name: torch.as_tensor(value)}


def assert_same_state(folder: Path, other: Path) -> None:
    """Networks, average, optimizers, pools and step count are equal, bit for bit."""
    first, second = states(folder), states(other)
    assert first.keys() == second.keys() and len(first) > 100
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def _serve() -> None:
    import torch.utils.tensorboard  # noqa: F401 - here once, rather than in every child

    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        folder, workers = line.split()
        pid = os.fork()
        if pid == 0:
            os._exit(_train(Path(folder), int(workers)))
        print("pid", pid, flush=True)
        print("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _train(folder: Path, workers: int) -> int:
    os.setsid()
    try:
        fit(tiny_translator(), Crops(), tiny_config(steps=18, workers=workers), folder)
    except MedaugError as error:
        print("message", error, flush=True)
        return error.exit_code
    except BaseException as error:
        print("message", repr(error), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    _serve()
