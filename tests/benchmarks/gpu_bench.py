"""What the sections of `gpu_check` have in common: the device, the sizes, a clock, and the rows they give."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from medaug.config import PipelineConfig
from medaug.config.files import load_config
from medaug.devices import device_of, fabric_on
from medaug.models.base import AdversarialModel, Batch, with_noise
from medaug.runs.folder import RunDir, open_run
from medaug.stages.prepare import prepare
from medaug.stages.train import train
from medaug.training import TrainingConfig
from medaug.training.loop import _State, _step
from medaug.volumes import Domain, Window

DOMAIN = Domain("any", "MR", Window(0, 1))
PHANTOMS = (
    "data.phantoms.patients=6", "split.train=4", "split.validation=1", "training.steps=1", "training.workers=0",
)  # fmt: skip
TINY = (
    "data.phantoms.shape=[32,32,12]", "data.phantoms.spacing_mm=[6,6,10]", "crop.size=[16,16]",
    "translator.width=4", "translator.depth=2", "translator.discriminator_width=4", "translator.discriminator_layers=1",
)  # fmt: skip
TINY_3D = (
    *TINY, "data.spatial_dims=3", "crop.size=[16,16,8]", "data.phantoms.shape=[32,32,20]", "crop.min_diameter_mm=2",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A line of the table: what was looked at, what was found, and whether that is as it has to be (None: no limit)."""

    what: str
    found: str
    good: bool | None = None
    value: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Bench:
    """What a section is given.

    Attributes:
        accelerator: as the setting of this name.
        tiny: sizes of seconds, which measure nothing.
        folder: to write into.
    """

    accelerator: str
    tiny: bool
    folder: Path

    @cached_property
    def device(self) -> torch.device:
        return device_of(self.accelerator)

    @property
    def gpu(self) -> bool:
        return self.device.type == "cuda"

    def fabric(self, precision: Any = "32-true") -> Fabric:
        return fabric_on(self.accelerator, precision)

    def training(self, name: str, **settings: Any) -> TrainingConfig:
        """Settings of a training on this device, in float32 unless they say otherwise."""
        return TrainingConfig(**{"accelerator": self.accelerator, "workers": 0, "seed": 0} | settings)

    def wait(self) -> None:
        if self.gpu:
            torch.cuda.synchronize()

    def seconds(self, call: Callable[[], object], rounds: int = 10) -> float:
        """The median of the seconds of one call, the device's work included; three calls before warm it up."""
        for _ in range(1 if self.tiny else 3):
            call()
        taken = []
        for _ in range(2 if self.tiny else rounds):
            self.wait()
            started = time.perf_counter()
            call()
            self.wait()
            taken.append(time.perf_counter() - started)
        return statistics.median(taken)

    def drawn(self, *shape: int, seed: int = 0) -> Tensor:
        """Noise in [-1, 1], the same on every device."""
        return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1).to(self.device)

    def stepping(
        self, model: AdversarialModel, batch: Batch, precision: str, fabric: Fabric | None = None
    ) -> Callable[[], Callable[[], dict[str, float]]]:
        """One call is one step of medaug's training on this batch."""
        fabric = fabric or self.fabric(precision)
        config = self.training("step", steps=10**6, pool_size=0, precision=precision)
        state = _State(fabric, model, config, self.folder / "no-checkpoint")
        batch = fabric.to_device(with_noise(batch, model.noise_shapes(batch)))
        return lambda: _step(fabric, state, batch, config)

    def run(self, *settings: str, dims: int = 2) -> tuple[PipelineConfig, RunDir]:
        """Phantoms prepared, and a network trained on them for one step; made once a number of axes."""
        own = (TINY if dims == 2 else TINY_3D) if self.tiny else (() if dims == 2 else ("data.spatial_dims=3",))
        if dims == 3 and not self.tiny:
            own = (*own, "crop.size=[40,40,24]")
        config = load_config(None, [*PHANTOMS, *own, f"accelerator={self.accelerator}", *settings])
        run = open_run(self.folder / f"run-{dims}", config)
        prepare(config, run)
        train(config, run)
        return config, run


@contextmanager
def exact() -> Iterator[None]:
    """Inside, float32 is float32: no TF32 in products and convolutions."""
    products, convolutions = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = products, convolutions
