"""The training log, and what tells a training that goes wrong from one that goes right.

`metrics.jsonl` has one row a logged step, and so has TensorBoard where it is installed. Beside the losses
`strength_<domain>` is the mean absolute change from input to fake (an output equal to its input gives 0),
`variety_<domain>` the spread among the batch's fakes over that among its real images (a collapsed generator gives 0).
Methods with styles add `diversity_<domain>`, the mean distance between the outputs of different styles (0 where the
generator leaves the style aside).
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from medaug.data.atomic import read_json
from medaug.data.opening import read_file
from medaug.errors import TrainingError
from medaug.models.base import Batch, Fakes, Losses

logger = logging.getLogger(__name__)

METRICS = "metrics.jsonl"
NO_OP_STRENGTH = 1e-3
COLLAPSED_VARIETY = 0.05
COLLAPSED_DIVERSITY = 0.015
"""In [-1, 1]: below it styles could not be told apart by eye (0.011 to 0.014); styles that can gave 0.04 to 0.24."""
MEASURED = ("strength_", "variety_", "diversity_")
NOT_FITTED = ("step", "adversarial", "discriminator", "kl", "cycle_kl", "mutual_information", *MEASURED)
"""What is logged beside the losses that compare images, which a training that converges brings to rest."""
UNSETTLED = 0.25
"""Limit: a larger change from the third quarter of the log to the last is no rest. 300 steps on phantoms gave
0.05."""
UNSETTLED_ROWS = 8
"""Fewer say nothing of it."""
READ_AFTER = 500
"""Losses that are kept unread at most: those of some 30 to 80 steps."""
BEATEN = 0.02
"""A discriminator's loss; at chance it is 0.25 (least squares) or 2 (hinge). Below, it tells every fake."""


class MetricsLog:
    """Appends rows; opened at a step, it first drops rows that a killed run wrote after its last checkpoint."""

    def __init__(self, folder: Path, start_step: int = 0):
        self.path = folder / METRICS
        kept = [row for row in read_metrics(self.path) if row["step"] <= start_step]
        self.path.write_text("".join(json.dumps(row) + "\n" for row in kept))
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._board = None
        else:
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start_step)

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


class FiniteWatch:
    """The NaN guard: keeps the losses of the last steps where they were computed, and reads all of them at once.

    So a spoiled training goes on for some steps, but none of them is saved: whoever writes asks `check` first.
    """

    def __init__(self) -> None:
        self._names: list[tuple[int, str]] = []
        self._values: list[Tensor] = []

    def add(self, losses: Losses, step: int) -> None:
        """Keeps the losses of a step; after `READ_AFTER` losses it checks by itself."""
        self._names += [(step, name) for name in losses]
        self._values.append(torch.stack([value.detach().float() for value in losses.values()]))
        if len(self._names) >= READ_AFTER:
            self.check()

    def check(self) -> None:
        """Reads what was kept.

        Raises:
            TrainingError: with the first step of which losses are not finite, and their names.
        """
        if not self._values:
            return
        finite = torch.isfinite(torch.cat(self._values)).tolist()
        bad = [name for name, good in zip(self._names, finite, strict=True) if not good]
        self._names, self._values = [], []
        if bad:
            first = bad[0][0]
            raise TrainingError(
                f"step {first}: {', '.join(name for step, name in bad if step == first)} not finite. The last "
                "checkpoint is kept; resume with a lower training.learning_rate, or precision 32-true."
            )


def read_figures(figures: Mapping[str, Tensor]) -> dict[str, float]:
    """The values of numbers on a device, all read at once."""
    return dict(zip(figures, torch.stack([value.detach() for value in figures.values()]).tolist(), strict=True))


@torch.no_grad()
def measure(batch: Batch, fakes: Fakes, starts: Batch) -> dict[str, Tensor]:
    """Strength and variety of the fakes of one batch, each a number on its device.

    Args:
        starts: by domain, what the generator towards it started from, where it starts from an image.
    """
    figures = {}
    for domain in fakes:
        channels = batch[domain].shape[1]
        fake, real = fakes[domain][:, :channels].float(), batch[domain].float()
        if domain in starts:
            figures[f"strength_{domain}"] = (fake - starts[domain].float()).abs().mean()
        if len(fake) > 1:
            figures[f"variety_{domain}"] = fake.std(dim=0).mean() / real.std(dim=0).mean().clamp(min=1e-6)
    return figures


def warnings_in(folder: Path) -> list[str]:
    """A training's warnings: what its log shows, and what was noted beside its weights, such as a warm start."""
    noted = folder / "weights" / "model.json"
    kept: list[str] = read_json(noted)["warnings"] if noted.exists() else []
    return list(dict.fromkeys([*warnings_of(read_metrics(folder / METRICS)), *kept]))


def warnings_of(rows: list[dict[str, float]]) -> list[str]:
    """Sentences for screen and report where the last quarter of the log shows a no-op, a collapse, or no rest."""
    tail = rows[-max(len(rows) // 4, 1) :]
    sentences = []
    domains = {key.partition("_")[2] for row in tail for key in row if key.startswith(MEASURED)}
    for domain in sorted(domains):
        if _mean(tail, f"strength_{domain}") < NO_OP_STRENGTH:
            sentences.append(f"The generator towards domain {domain} leaves its input unchanged (no-op).")
        if _mean(tail, f"variety_{domain}") < COLLAPSED_VARIETY:
            sentences.append(f"The fakes of domain {domain} are all alike (mode collapse).")
        if _mean(tail, f"diversity_{domain}") < COLLAPSED_DIVERSITY:
            sentences.append(f"Every style gives the same fake of domain {domain} (the styles collapsed).")
    if len(rows) < UNSETTLED_ROWS:
        return sentences
    for name in sorted({key for row in tail for key in row if key.startswith("discriminator_")}):
        if (loss := _mean(tail, name)) < BEATEN:
            domain = name.partition("_")[2]
            sentences.append(
                f"The discriminator of domain {domain} tells every fake (loss {loss:.2g}): the adversarial training "
                "did not converge."
            )
    fitted = [key for key in rows[-1] if not key.startswith(NOT_FITTED)]
    before, last = (sum(_mean(part, key) for key in fitted) for part in (rows[-2 * len(tail) : -len(tail)], tail))
    if 0 < before < math.inf and abs(change := last / before - 1) > UNSETTLED:
        moves, remedy = ("rose", "lower training.learning_rate") if change > 0 else ("fell", "set more training.steps")
        sentences.append(
            f"The training did not converge: {', '.join(fitted)} together still {moves} by {abs(change):.0%} in the "
            f"last quarter of the log; {remedy}."
        )
    return sentences


def _mean(rows: list[dict[str, float]], name: str) -> float:
    """The mean of what was logged under `name`; infinite where nothing was."""
    values = [row[name] for row in rows if name in row]
    return sum(values) / len(values) if values else math.inf
