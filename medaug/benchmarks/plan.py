"""What a benchmark consists of: blocks, the jobs in each, and which of them are done.

A block is a number of labelled patients and a fold: an ordinary run folder with one split, one preparation and one GAN.
Its jobs are `prepare`, `gan` (only where an arm has synthetic samples), and one a cell: arm × seed, and for arms with
synthetic samples × ratio.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from medaug.config import PipelineConfig
from medaug.data.atomic import read_json
from medaug.errors import ConfigError
from medaug.experiment.arms import arms_of, check_arms
from medaug.experiment.backends import downstream_kind
from medaug.experiment.cells import cell_path, is_kept, made_of, of_arm, read_cell
from medaug.report.terminal import Table, table_text
from medaug.runs.folder import RunDir
from medaug.runs.markers import essential, fingerprint, seconds_by_stage
from medaug.stages.outlook import expected_patients, outlook


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
        """The file of the cell."""
        return cell_path(self.block.run, self.arm, self.seed, self.ratio)

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the jobs that come first."""
        kinds = {"prepare": (), "gan": ("prepare",), "cell": ("prepare", "gan") if self.ratio else ("prepare",)}
        return tuple(f"{self.block.name}/{kind}" for kind in kinds[self.kind])

    @property
    def config(self) -> PipelineConfig:
        """The block's settings, with the cell's own ratio."""
        config = self.block.config
        if self.ratio is None:
            return config
        evaluation = config.evaluation.model_copy(update={"synthetic_ratio": self.ratio})
        return config.model_copy(update={"evaluation": evaluation})

    def source(self) -> str | None:
        """What a cell is made of: settings, patients and their images, and of arms with a GAN its settings and cases.

        None while that is not there. It is the same wherever the folder lies.
        """
        run, config = self.block.run, self.config
        synthetic, weights = run.synthetic / "datalist.json", run.weights / "model.json"
        needed = [run.datalist, run.split] + ([synthetic, weights] if self.ratio else [])
        if not all(path.exists() for path in needed):
            return None
        keys, settings = ("case", "patient", "content", "windows"), config.evaluation
        cases = [[case[key] for key in keys] for case in read_json(run.datalist)["cases"]]
        inputs: list[Any] = [read_json(run.split)["hash"], fingerprint(cases)]
        if self.ratio is None:
            settings = settings.model_copy(update={"synthetic_ratio": 0.0, "gan_seeds": False})
        else:
            made = fingerprint(read_json(synthetic)["training"])
            inputs += [essential(config.synthesis), read_json(weights)["sha256"], made]
        return of_arm(made_of(settings, config.precision, *inputs), config.evaluation, self.arm)

    def is_done(self) -> bool:
        """Whether the files say so; preparing takes no time worth a figure."""
        if self.kind == "gan":
            return self.block.run.done("synthesize").exists()
        source = self.source() if self.kind == "cell" else None
        return source is not None and is_kept(self.path, source)


@dataclass(frozen=True)
class PlannedCell:
    """One cell of a benchmark; a field is None where the benchmark does not vary it."""

    labelled: int | str
    fold: int | None
    arm: str
    seed: int
    ratio: float | None
    done: bool


@dataclass(frozen=True)
class Plan:
    """Every cell of a benchmark and whether it is done, and in words how long the others may take.

    `outlook` says why no verdict will be possible; None where one is, as far as it is known.
    """

    cells: list[PlannedCell]
    eta: str
    outlook: str | None = None

    def text(self) -> str:
        """For the terminal."""
        table = Table("labelled", "fold", "arm", "seed", "ratio", "state")
        for cell in self.cells:
            facts = (cell.labelled, cell.fold, cell.arm, cell.seed, cell.ratio)
            table.add_row(*("" if fact is None else str(fact) for fact in facts), "done" if cell.done else "missing")
        finished = sum(cell.done for cell in self.cells)
        lines = [table_text(table), f"{finished} of {len(self.cells)} cells done", self.eta]
        return "\n".join([*lines, *([self.outlook] if self.outlook else [])])


def check_benchmark(config: PipelineConfig) -> None:
    """Refuses what a benchmark cannot run, before anything is written.

    Raises:
        ConfigError: naming the setting.
    """
    if config.target is not None:
        raise ConfigError(
            f"domain: found {config.domain}; a benchmark expects tumor. Compare arms between two kinds of image with "
            "`medaug run` (evaluation.arms, split.folds)."
        )
    check_arms(config)
    downstream_kind(config.evaluation).check_settings(config)
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
            split = {"labelled": None if labelled == "all" else labelled} | ({} if fold is None else {"fold": fold})
            run = root.labelled(labelled) if fold is None else root.labelled(labelled).fold(fold)
            of_block = {"split": config.split.model_copy(update=split), "name": f"{config.name}, labelled {labelled}"}
            blocks.append(Block(labelled, fold, config.model_copy(update=of_block), run))
    return blocks


def jobs_of(config: PipelineConfig, root: RunDir) -> list[Job]:
    """All jobs, those that others wait for first."""
    blocks, with_gan = blocks_of(config, root), arms_with_gan(config)
    first: tuple[Literal["prepare", "gan"], ...] = ("prepare", "gan") if with_gan else ("prepare",)
    return [Job(block, kind) for kind in first for block in blocks] + [
        Job(block, "cell", arm, seed, ratio)
        for block in blocks
        for seed in config.evaluation.seeds
        for arm in config.evaluation.arms
        for ratio in (ratios_of(config) if arm in with_gan else (None,))
    ]


def arms_with_gan(config: PipelineConfig) -> tuple[str, ...]:
    """The arms with synthetic samples."""
    arms = arms_of(config.evaluation)
    return tuple(arm for arm in config.evaluation.arms if arms[arm].synthetic)


def ratios_of(config: PipelineConfig) -> tuple[float, ...]:
    """The synthetic ratios: one where no arm has any, because there is nothing to vary."""
    ratios = config.benchmark.ratios or (config.evaluation.synthetic_ratio,)
    return ratios if arms_with_gan(config) else ratios[:1]


def groups_of(config: PipelineConfig) -> int:
    """In how many settings (labelled patients × ratios) arms with a GAN are trained."""
    return len(config.benchmark.labelled) * len(ratios_of(config))


def plan_of(config: PipelineConfig, out: Path, jobs: int) -> Plan:
    """What there is to do of a benchmark in the folder `out`; nothing is written.

    Raises:
        ConfigError: if the config asks for what cannot be run.
    """
    check_benchmark(config)
    every = jobs_of(config, RunDir(out))
    done = {job.name for job in every if job.is_done()}
    cells = [
        PlannedCell(job.block.labelled, job.block.fold, job.arm, job.seed, job.ratio, job.name in done)
        for job in every
        if job.kind == "cell"
    ]
    return Plan(cells, _eta(every, done, jobs), outlook(config, expected_patients(config), groups_of(config)))


def _eta(every: Sequence[Job], done: set[str], jobs: int) -> str:
    """The jobs of the same arm (a GAN: of the same benchmark) tell how long the others take, by `jobs` processes."""
    took: dict[str, list[float]] = defaultdict(list)
    left: Counter[str] = Counter()
    for job in (job for job in every if job.kind != "prepare"):
        kind = job.arm or "training the GAN"
        if job.name not in done:
            left[kind] += 1
        elif job.kind == "cell":
            took[kind].append(read_cell(job.path).seconds or 0.0)
        else:
            stages = seconds_by_stage(job.block.run)
            took[kind].append(stages["train"] + stages["synthesize"])
    if not left:
        return "ETA: nothing left to do"
    seconds = sum(count * mean(took[kind]) for kind, count in left.items() if kind in took)
    unknown = [f"{kind} ({count})" for kind, count in left.items() if kind not in took]
    if len(unknown) == len(left):
        return "ETA: unknown, for nothing like what is left has been done yet"
    eta = f"ETA: {timedelta(seconds=round(seconds / jobs))} with {jobs} process{'es' * (jobs != 1)}"
    return eta + (f", and an unknown time for {', '.join(unknown)}" if unknown else "")


def _folds(config: PipelineConfig) -> tuple[int | None, ...]:
    split = config.split
    return (None,) if split.folds is None or split.fold is not None else tuple(range(split.folds))
