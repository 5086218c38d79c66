"""The training log: `metrics.jsonl`, one row a logged step, and TensorBoard where it is installed."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from medaug.data.opening import read_file

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)

METRICS = "metrics.jsonl"


class MetricsLog:
    """Appends rows; opened at a step, it first drops rows that a killed run wrote after its last checkpoint."""

    def __init__(self, folder: Path, start_step: int = 0):
        self.path = folder / METRICS
        kept = [row for row in read_metrics(self.path) if row["step"] <= start_step]
        self.path.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self._board = _tensorboard(folder / "tensorboard", start_step)

    def write(self, step: int, figures: dict[str, float]) -> None:
        row = {"step": step, **{name: round(value, 6) for name, value in figures.items()}}
        with open(self.path, "a") as file:
            file.write(json.dumps(row) + "\n")
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a `metrics.jsonl`; a last line cut off by a kill is left out."""
    if not path.exists():
        return []
    rows = []
    for line in read_file(path).decode(errors="replace").splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict) and "step" in row:
            rows.append(row)
        else:
            logger.debug("%s: a cut-off line is left out", path)
    return rows


def _tensorboard(folder: Path, purge_step: int) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=purge_step)
