"""What a benchmark consists of: blocks, and the jobs in each.

A block is a number of labelled patients and a fold: an ordinary run folder with one split, one preparation and one GAN.
Its jobs are `prepare`, `gan` (only where an arm has synthetic samples), and one a cell: arm × seed, and for arms with
synthetic samples × ratio.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medaug.config import PipelineConfig
from medaug.errors import ConfigError
from medaug.experiment.arms import arms_of, check_arms
from medaug.experiment.cells import cell_path
from medaug.experiment.downstream import check_network
from medaug.runs.folder import RunDir


@dataclass(frozen=True)
class Block:
    """One run folder of a benchmark, and the settings of that run."""

    labelled: int | Literal["all"]
    fold: int | None
    config: PipelineConfig
    run: RunDir

    @property
    def name(self) -> str:
        return f"labelled-{self.labelled}" + ("" if self.fold is None else f"/fold-{self.fold}")


@dataclass(frozen=True)
class Job:
    """One piece of work of a block; `arm`, `seed` and `ratio` are a cell's (`ratio` of arms with synthetic samples)."""

    block: Block
    kind: Literal["prepare", "gan", "cell"]
    arm: str = ""
    seed: int = 0
    ratio: float | None = None

    @property
    def name(self) -> str:
        return f"{self.block.name}/{self.path.stem if self.kind == 'cell' else self.kind}"

    @property
    def path(self) -> Path:
        """Of the cell."""
        return cell_path(self.block.run, self.arm, self.seed, self.ratio)

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the jobs that come first."""
        kinds = {"prepare": (), "gan": ("prepare",), "cell": ("prepare", "gan") if self.ratio else ("prepare",)}
        return tuple(f"{self.block.name}/{kind}" for kind in kinds[self.kind])

    @property
    def config(self) -> PipelineConfig:
        """The block's settings, with the cell's own ratio."""
        return self.block.config if self.ratio is None else _with(self.block.config, synthetic_ratio=self.ratio)


def check_benchmark(config: PipelineConfig) -> None:
    """Refuses what a benchmark cannot run, before anything is written.

    Raises:
        ConfigError: naming the setting.
    """
    if config.domain != "tumor":
        raise ConfigError(
            f"domain: found {config.domain}; a benchmark expects tumor. Compare arms between two kinds of image with "
            "`medaug run` (evaluation.arms, split.folds)."
        )
    check_arms(config)
    check_network(config)
    if config.split.labelled is not None:
        raise ConfigError(
            f"split.labelled: found {config.split.labelled}; a benchmark sets it itself: leave it out, and set "
            f"benchmark.labelled=[{config.split.labelled}]"
        )
    if _folds(config) != (None,) and config.evaluation.patients != "test":
        raise ConfigError(
            "evaluation.patients: found validation with split.folds; expected test, the patients of whom each is in "
            "one fold. Set split.fold to look at the validation patients of one."
        )
    for key, values in (("arms", config.evaluation.arms), ("seeds", config.evaluation.seeds)):
        if not values or len(set(values)) < len(values):
            raise ConfigError(f"evaluation.{key}: found {list(values)}; expected at least one, and every one once")


def blocks_of(config: PipelineConfig, root: RunDir) -> list[Block]:
    """Labelled patients × folds; without `split.folds`, or with one `split.fold`, there is one split."""
    blocks = []
    for labelled in config.benchmark.labelled:
        for fold in _folds(config):
            split: dict[str, Any] = {"labelled": None if labelled == "all" else labelled}
            split |= {} if fold is None else {"fold": fold}
            run = root.labelled(labelled) if fold is None else root.labelled(labelled).fold(fold)
            of_block = {"split": config.split.model_copy(update=split), "name": f"{config.name}, labelled {labelled}"}
            blocks.append(Block(labelled, fold, config.model_copy(update=of_block), run))
    return blocks


def jobs_of(config: PipelineConfig, root: RunDir) -> list[Job]:
    """All jobs, those that others wait for first."""
    blocks = blocks_of(config, root)
    first: tuple[Literal["prepare", "gan"], ...] = ("prepare", "gan") if gan_arms(config) else ("prepare",)
    return [Job(block, kind) for kind in first for block in blocks] + [
        Job(block, "cell", arm, seed, ratio)
        for block in blocks
        for seed in config.evaluation.seeds
        for arm in config.evaluation.arms
        for ratio in (ratios_of(config) if arm in gan_arms(config) else (None,))
    ]


def gan_arms(config: PipelineConfig) -> tuple[str, ...]:
    """The arms with synthetic samples."""
    arms = arms_of(config.evaluation)
    return tuple(arm for arm in config.evaluation.arms if arms[arm].synthetic)


def ratios_of(config: PipelineConfig) -> tuple[float, ...]:
    """The synthetic ratios: one where no arm has any, because there is nothing to vary."""
    ratios = config.benchmark.ratios or (config.evaluation.synthetic_ratio,)
    return ratios if gan_arms(config) else ratios[:1]


def _folds(config: PipelineConfig) -> tuple[int | None, ...]:
    split = config.split
    return (None,) if split.folds is None or split.fold is not None else tuple(range(split.folds))


def _with(config: PipelineConfig, **evaluation: Any) -> PipelineConfig:
    return config.model_copy(update={"evaluation": config.evaluation.model_copy(update=evaluation)})
