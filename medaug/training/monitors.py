"""What tells a training that goes wrong from one that goes right, step by step.

`strength_<domain>` is the mean absolute change from input to fake (an output equal to its input gives 0),
`variety_<domain>` the spread among the batch's fakes over that among its real images (a collapsed generator gives 0).
Methods with styles add `diversity_<domain>`, the mean distance between the outputs of different styles (0 where the
generator leaves the style aside).
"""

from __future__ import annotations

import math

import torch

from medaug.errors import TrainingError
from medaug.translators.base import Batch, Fakes, Losses

NO_OP_STRENGTH = 1e-3
COLLAPSED_VARIETY = 0.05
COLLAPSED_DIVERSITY = 0.015
"""In [-1, 1]: below it styles could not be told apart by eye (0.011 to 0.014); styles that can gave 0.04 to 0.24."""
MEASURED = ("strength_", "variety_", "diversity_")


def check_finite(losses: Losses, step: int) -> None:
    """The NaN guard.

    Raises:
        TrainingError: naming the losses that are not finite.
    """
    bad = [name for name, value in losses.items() if not math.isfinite(float(value.detach()))]
    if bad:
        raise TrainingError(
            f"step {step}: {', '.join(bad)} not finite. The last checkpoint is kept; resume with a lower "
            "training.learning_rate, or precision 32-true."
        )


@torch.no_grad()
def measure(batch: Batch, fakes: Fakes, starts: Batch) -> dict[str, float]:
    """Strength and variety of the fakes of one batch.

    Args:
        starts: by domain, what the generator towards it started from, where it starts from an image.
    """
    figures = {}
    for domain in fakes:
        channels = batch[domain].shape[1]
        fake, real = fakes[domain][:, :channels].float(), batch[domain].float()
        if domain in starts:
            figures[f"strength_{domain}"] = float((fake - starts[domain].float()).abs().mean())
        if len(fake) > 1:
            figures[f"variety_{domain}"] = float(fake.std(dim=0).mean() / real.std(dim=0).mean().clamp(min=1e-6))
    return figures


def warnings_of(rows: list[dict[str, float]]) -> list[str]:
    """Sentences for the report where the last quarter of the log shows a no-op or a collapse."""
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
    return sentences


def _mean(rows: list[dict[str, float]], name: str) -> float:
    """The mean of what was logged under `name`; infinite where nothing was."""
    values = [row[name] for row in rows if name in row]
    return sum(values) / len(values) if values else math.inf
