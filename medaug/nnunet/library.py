"""nnU-Net itself, imported in one place; and what it needs beside a torch whose torchvision cannot load.

nnU-Net looks for trainers in all of its modules, some of which import timm, and timm imports torchvision. A torchvision
that is linked against CUDA cannot load its extension beside the CPU build of torch, and stops at the two operators that
it expects to be there. Declared, without any code, they are enough: nnU-Net calls neither.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from importlib.util import find_spec
from types import ModuleType

from medaug.errors import ConfigError

WANTED = "2.8"
OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[object] = []
"""The declarations hold as long as something refers to them."""


def check_installed() -> None:
    """Refuses to go on without nnU-Net.

    Raises:
        ConfigError: if it is not installed, or of another version.
    """
    try:
        found = importlib.metadata.version("nnunetv2")
    except importlib.metadata.PackageNotFoundError:
        found = ""
    if not found.startswith(f"{WANTED}."):
        what = f"nnunetv2 {found}" if found else "no nnunetv2 in this environment"
        raise ConfigError(f'nnU-Net: found {what}; expected {WANTED}. Install it: pip install "medaug[nnunet]"')


def nnunet() -> ModuleType:
    """The package `nnunetv2`; errors are those of `check_installed`."""
    check_installed()
    _complete_torchvision()
    return importlib.import_module("nnunetv2")


def _complete_torchvision() -> None:
    """Declares torchvision's operators where its own extension does not load."""
    if _declared or "torchvision" in sys.modules or find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except (ImportError, OSError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # half imported
        from torch.library import Library

        library = Library("torchvision", "DEF")
        for operator in OPERATORS:
            library.define(operator)
        _declared.append(library)
