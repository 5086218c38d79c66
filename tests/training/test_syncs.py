"""A step makes the host and the device wait for each other once at most, whatever the method.

Counted without a GPU: the device is torch's `meta`, whose tensors have sizes but no values. Whatever needs a value (a
float, a list, a choice of voxels by a mask) or brings one (noise drawn on the host, a constant written in Python) has
to cross from one to the other, and is seen.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators import CPUAccelerator
from lightning_fabric.strategies import SingleDeviceStrategy
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import medaug
from medaug.models.base import AdversarialModel, Batch, Translator, with_noise
from medaug.models.methods import TRANSLATORS, build_translator
from medaug.training.loop import _State, _step

from ..models.conformance import HEALTHY, TUMOR, BrightIsLabelled, make_batch, small
from ..models.noise.toy import batch_of, tiny_gan
from .tiny import tiny_config

META = torch.device("meta")
BLOCKS = {"munit": 1, "unit": 1, "mask-guided-munit": 1}
LABELS = {"label_input": 1, "label_discriminator": True, "round_trip_weight": 1.0}
SIMILARITY = {"paired_weight": 1.0, "gradient_weight": 1.0, "mutual_information_weight": 1.0, "change_weight": 1.0}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((method, {"blocks": BLOCKS[method]} if method in BLOCKS else {}) for method in TRANSLATORS),
    ("cyclegan", {"generator": "unet", **LABELS}),
    ("cyclegan", {"segmentation_weight": 1.0, **SIMILARITY}),
    ("mask-guided-cyclegan", {"identity_weight": 1.0, "generator": "resnet"}),
]


class Crossings(TorchDispatchMode):
    """Notes every transfer of values between the host and `meta`, and from where in medaug it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []
        self.sent: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        first = args[0] if args else None
        if func is torch.ops.aten._local_scalar_dense.default and first.is_meta:
            self.read.append(asked_from())
            return 1.0
        if func is torch.ops.aten._to_copy.default and first.is_meta and kwargs.get("device", META).type == "cpu":
            self.read.append(asked_from())
            return torch.ones(first.shape, dtype=kwargs.get("dtype", first.dtype))
        result = func(*args, **kwargs)
        # a single number of the host goes along with a kernel's arguments
        sized = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor) and leaf.ndim]
        if len({tensor.is_meta for tensor in sized}) == 2:
            self.sent.append(asked_from())
        return result


class Constants(TorchFunctionMode):
    """Notes tensors on `meta` that are made of Python's numbers, which no dispatch mode sees."""

    def __init__(self, crossings: Crossings):
        super().__init__()
        self.crossings = crossings

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.tensor, torch.as_tensor, torch.asarray, torch.Tensor.new_tensor) and result.is_meta:
            self.crossings.sent.append(asked_from())
        return result


class MetaAccelerator(CPUAccelerator):
    def setup_device(self, device: torch.device) -> None:
        """There is nothing to set up."""


class MetaFabric(Fabric):
    def __init__(self) -> None:
        super().__init__(strategy=SingleDeviceStrategy(META, accelerator=MetaAccelerator()))

    def _validate_setup_optimizers(self, optimizers: Any) -> None:
        """Fabric's own refuses weights that have no values."""


def asked_from() -> str:
    package = str(Path(medaug.__file__).parent)
    return next((f"{f.filename}:{f.lineno}" for f in reversed(traceback.extract_stack()) if package in f.filename), "")


def crossings_of(work: Callable[[], object]) -> Crossings:
    with Crossings() as crossings, Constants(crossings):
        work()
    return crossings


def steps_on_meta(model: AdversarialModel, batch: Batch, folder: Path) -> tuple[Crossings, Crossings]:
    """The crossings of a step with a full pool, and of the row that it gives the log."""
    model.check_batch(batch)
    batch = {key: value.to(META) for key, value in with_noise(batch, model.noise_shapes(batch)).items()}
    config = tiny_config(pool_size=1, steps=100)
    fabric = MetaFabric()
    state = _State(fabric, model, config, folder)
    figures = [_step(fabric, state, batch, config)]
    step = crossings_of(lambda: figures.append(_step(fabric, state, batch, config)))
    return step, crossings_of(figures[-1])


@pytest.mark.parametrize("dims", [2, 3], ids=["2d", "3d"])
@pytest.mark.parametrize(("method", "settings"), VARIANTS)
def test_a_step_neither_reads_from_the_device_nor_sends_to_it(method, settings, dims, tmp_path):
    translator: Translator = build_translator(method, small(method) | settings, HEALTHY, TUMOR, dims)
    if "label_input" in settings or "segmentation_weight" in settings:
        translator.attach_segmenter(BrightIsLabelled())
    batch = make_batch(dims) | {"paired": torch.ones(3)}
    step, row = steps_on_meta(translator, batch, tmp_path)
    assert (step.read, step.sent) == ([], []) and len(row.read) == 1


@pytest.mark.parametrize("size", [(16, 12), (8, 8, 12)], ids=["2d", "3d"])
def test_a_step_of_the_gan_from_noise_neither_reads_nor_sends(size, tmp_path):
    step, row = steps_on_meta(tiny_gan(size), batch_of(0, 4, size), tmp_path)
    assert (step.read, step.sent) == ([], []) and len(row.read) == 1


def test_the_count_sees_whatever_crosses():
    x = torch.empty(3, device=META)
    assert len(crossings_of(lambda: float(x.sum())).read) == 1 == len(crossings_of(lambda: bool((x > 0).all())).read)
    for send in (
        lambda: x.new_tensor([1.0, 2.0]),
        lambda: torch.tensor([1.0], device=META),
        lambda: torch.randn(3).to(x),
        lambda: x.copy_(torch.ones(3)),
        lambda: x[torch.tensor([True, False, True])],
    ):
        assert len(crossings_of(send).sent) == 1
    with pytest.raises(NotImplementedError):
        crossings_of(lambda: x[x > 0])
    silent = crossings_of(lambda: torch.where(x > 0, 2 * x, torch.zeros_like(x)) + torch.arange(3, device=META))
    assert not silent.read and not silent.sent
