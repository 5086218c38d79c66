"""Where networks run, and in what arithmetic: one setting for every stage and command.

`accelerator` names a device, `precision` is as Lightning Fabric names it. What is asked for and not there is refused in
words before anything starts; nothing falls back to another device or another precision by itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from medaug.errors import ConfigError
from medaug.settings import Section

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
"""Numbers of 32 bits; or bfloat16 or float16 in convolutions and products, with weights of 32 bits."""
AUTO, EXACT = "auto", "32-true"


def _named(accelerator: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,4})?", accelerator):
        raise PydanticCustomError("accelerator", "expected auto, cpu, cuda, cuda:N (the GPU of that number) or mps")
    return accelerator


Accelerator = Annotated[str, AfterValidator(_named)]


class Compute(Section):
    """What every network runs on, in training and in use: of a pipeline, and of one training."""

    accelerator: Accelerator = Field(
        AUTO, description="auto (a GPU where there is one), cpu, cuda, cuda:N (the GPU of that number) or mps"
    )
    precision: Precision = Field("32-true", description="the mixed ones pay only on hardware that has them")


def device_of(accelerator: str = AUTO, precision: str = EXACT) -> torch.device:
    """The device of this name; "auto" is a CUDA device, Apple's, or the CPU, whichever is there first.

    Raises:
        ConfigError: if there is no such device, or it lacks this precision; it says which there are.
    """
    import torch  # seconds, which a look at the settings need not wait

    there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    there += ["mps"] if torch.backends.mps.is_available() else []
    if accelerator == AUTO:
        kinds = {name.partition(":")[0] for name in there}
        accelerator = next(kind for kind in ("cuda", "mps", "cpu") if kind in kinds)
    if accelerator not in there and not (accelerator == "cuda" and len(there) > 1 and there[1].startswith("cuda")):
        built = "" if torch.version.cuda or torch.version.hip else "; this PyTorch was built without CUDA"
        raise ConfigError(
            f"accelerator: found {accelerator}, which this machine does not have{built}; expected auto or one of: "
            f"{', '.join(there)}. Set --accelerator, or free the device (nvidia-smi; CUDA_VISIBLE_DEVICES)."
        )
    device = torch.device(accelerator)
    if precision != EXACT and precision not in (able := _precisions(device)):
        raise ConfigError(
            f"precision: found {precision}, which {accelerator} does not have; expected {' or '.join(able)} there. "
            "Set --precision, or another --accelerator."
        )
    return device


def autocast(device: torch.device, precision: str) -> Any:
    """The context in which a forward pass computes in this precision."""
    import torch

    kind = torch.float16 if precision.startswith("16") else torch.bfloat16
    return torch.autocast(device.type, kind, enabled=precision.endswith("mixed"))


def check_forked(device: torch.device) -> None:
    """Refuses CUDA in a process that was forked off one that uses it, as DataLoader workers are: it cannot work there.

    Raises:
        ConfigError: with what can be done.
    """
    import torch

    if device.type == "cuda" and torch.cuda._is_in_bad_fork():
        raise ConfigError(
            f"accelerator: found weights on {device} in a forked process, such as a DataLoader's worker; expected them "
            "on the CPU there, for CUDA does not survive a fork. Leave the weights of the transform on the CPU "
            "(load_weights(folder), without .on); or insert after the loader, with medaug.transforms.BatchInsertTumor; "
            "or give the DataLoader multiprocessing_context='spawn'."
        )


def _precisions(device: torch.device) -> tuple[Precision, ...]:
    """What it computes by itself: torch would emulate bfloat16 slowly on older GPUs, and Fabric put it in place of
    float16 on a CPU."""
    import torch

    if device.type == "cuda":
        bf16 = torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)  # from Ampere on
        return ("32-true", "bf16-mixed", "16-mixed") if bf16 else ("32-true", "16-mixed")
    return ("32-true", "bf16-mixed") if device.type == "cpu" else ("32-true",)


def fabric_on(accelerator: str = AUTO, precision: Precision = "32-true", devices: int = 1, **more: Any) -> Fabric:
    """Lightning Fabric on this device, or on several of its kind.

    Args:
        devices: processes on this machine, one device each.
        more: further arguments of `Fabric`.

    Raises:
        ConfigError: as `device_of`; if there are fewer devices, one by its number shall be several, or the GPUs differ
            in kind, for the slowest would hold up all.
    """
    from lightning_fabric import Fabric  # a second

    device = device_of(accelerator, precision)
    if devices > 1 and device.type != "cpu":
        _check_several(device, devices)
    chosen: Any = devices if device.index is None else [device.index]
    return Fabric(accelerator=device.type, devices=chosen, precision=precision, **more)


def _check_several(device: torch.device, devices: int) -> None:
    import torch

    count = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 1
    if devices > count:
        found = f"{count} of {device.type}" if device.index is None else str(device)
        raise ConfigError(
            f"training.devices: found {devices} with {found}; expected a device for each process. Lower --devices, or "
            "set --accelerator cuda, which takes GPUs 0, 1, ..."
        )
    kinds = [torch.cuda.get_device_name(number) for number in range(devices)]
    if len({*kinds}) > 1:
        listed = ", ".join(f"cuda:{number} {kind}" for number, kind in enumerate(kinds))
        raise ConfigError(
            f"training.devices: found GPUs of different kinds ({listed}); expected one kind, because each step waits "
            "for the slowest. Choose some by CUDA_VISIBLE_DEVICES."
        )
