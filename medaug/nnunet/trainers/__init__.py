"""The folder that nnU-Net searches for medaug's trainers, if the variable `nnUNet_extTrainer` names it."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "nnUNet_extTrainer"
FOLDER = Path(__file__).parent


def export_trainers() -> None:
    """Adds this folder to those that nnU-Net searches, in this process and what it starts."""
    known = [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]
    if str(FOLDER) not in known:
        os.environ[VARIABLE] = os.pathsep.join([*known, str(FOLDER)])
