"""The run folder: every path a run writes, and what it was made with.

config.yaml environment.json split.json   what was asked for, with what, and who trains
plan.json   of the downstream network
prepared/   decoded scans on the working grid, with their datalist; prepared_b/ those of the target domain (a fold's
or block's holds a datalist alone: the scans of all of them lie in the folder of the run around them)
nnunet/     the training views as nnU-Net keeps them, where it trains the networks
train/      checkpoints, metrics.jsonl, previews, weights/
train-seed-1/ ...  the same of a GAN that is trained anew for one seed of the networks
train-gan/  the same of a GAN from noise, and pictures of its latent space
synthetic/  paired examples and their datalist.json
audit/  evaluation/  report.html
fold-0/ ...  of a run with folds: one run a fold; evaluation/ and report.html beside them pool all
labelled-5/ ...  of a benchmark: one run a number of labelled patients (and below it one a fold), its results/ beside
them, failed/ and jobs.jsonl
claims/     locks of the processes that work on it, where there may be several
anomaly/   of `medaug anomaly`: held-out slices scored by removal
done/       a marker a finished stage, with the fingerprint of its inputs (`runs.markers`)
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import medaug
from medaug.config import PipelineConfig
from medaug.config.files import dump_config, load_config
from medaug.data.atomic import read_json, write_error, write_json, write_text
from medaug.errors import ConfigError, RunError
from medaug.splits import Split

IDENTITY = (
    "domain",
    "precision",
    "data",
    "target",
    "pairing",
    "segmenter",
    "split",
    "translator",
    "gan",
    "crop",
    "training",
)
"""Settings that make a run what it is: with one of them changed, a folder holds a different run."""
INCIDENTAL = {
    "accelerator",
    "workers",
    "extend",
    "checkpointing",
    "log_every",
    "preview_every",
    "checkpoint_every",
    "skip_unreadable",
}
"""Keys that do not change results, and so may change when a run is resumed; `extend` adds to a training's."""

INNER_RUNS = ("fold-*", "labelled-*", "labelled-*/fold-*")
"""Run folders inside one with folds, or of a benchmark."""


@dataclass(unsafe_hash=True)
class RunDir:
    """Paths inside one run folder; `lock` is held by the process that works in it.

    Attributes:
        outer: the folder of the run with folds, or of the benchmark, that this is one run of. Phantoms and decoded
            scans (`scans`, `scans_b`) lie there, once for all of them.
    """

    root: Path
    outer: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        root, shared = self.root, self.outer or self.root
        self.config, self.environment, self.split = (
            root / name for name in ("config.yaml", "environment.json", "split.json")
        )
        self.phantoms, self.phantoms_healthy = shared / "phantoms", shared / "phantoms-healthy"
        self.scans, self.scans_b = shared / "prepared", shared / "prepared_b"
        self.prepared, self.prepared_b = root / "prepared", root / "prepared_b"
        self.datalist, self.datalist_b = self.prepared / "datalist.json", self.prepared_b / "datalist.json"
        self.nnunet = root / "nnunet"
        self.train, self.train_gan = root / "train", root / "train-gan"
        self.gan_weights, self.synthetic = self.train_gan / "weights", root / "synthetic"
        self.audit, self.anomaly = root / "audit", root / "anomaly"
        self.evaluation, self.results = root / "evaluation", root / "results"
        self.report, self.plan = root / "report.html", root / "plan.json"
        self.claims, self.lock = root / "claims", root / "done" / "run.lock"

    def fold(self, number: int) -> RunDir:
        """The run of one fold, where there are several."""
        return RunDir(self.root / f"fold-{number}", self.outer or self.root)

    def labelled(self, number: int | str) -> RunDir:
        """The run with so many labelled patients (or "all"), where there are several."""
        return RunDir(self.root / f"labelled-{number}", self.root)

    @property
    def weights(self) -> Path:
        """Of the finished training."""
        return self.train / "weights"

    @property
    def previews(self) -> Path:
        """Pictures of the training."""
        return self.train / "previews"

    def of_seed(self, config: PipelineConfig, seed: int) -> RunDir:
        """The same run, as networks of this seed see it: with a GAN of their own, if `evaluation.gan_seeds` says so."""
        run = RunDir(self.root, self.outer)
        if config.evaluation.gan_seeds and seed != config.training.seed:
            run.train = self.root / f"train-seed-{seed}"
        return run

    def done(self, stage: str) -> Path:
        """The marker of a finished stage."""
        return self.root / "done" / f"{stage}.json"

    def begun(self, stage: str) -> Path:
        """The marker of a stage that was begun and not finished."""
        return self.root / "done" / f"{stage}.begun.json"

    def read_split(self) -> Split:
        """Who trains, validates and tests.

        Raises:
            DataError: if the file is damaged.
            LeakageError: if it was edited by hand.
        """
        return Split.from_dict(read_json(self.split))


def check_is_run(root: Path) -> None:
    """Refuses a folder that holds something else.

    Raises:
        RunError: if it does, or is a file.
    """
    try:
        if root.exists() and not root.is_dir():
            raise RunError(f"{root}: found a file; expected a folder to write to. Choose another --out.")
        if RunDir(root).config.exists():
            _config_of(RunDir(root))
        elif root.is_dir() and any(not path.name.startswith(".tmp-") for path in root.iterdir() if path.name != "done"):
            raise RunError(f"{root}: holds files that are not a medaug run. Choose an empty or new folder as --out.")
    except OSError as error:
        raise write_error(root, error) from None


def open_run(root: Path, config: PipelineConfig, command: list[str] | None = None, outer: Path | None = None) -> RunDir:
    """Makes a run folder, or opens the one that holds this very run.

    Args:
        outer: as of `RunDir`; a fold or block that was made in one keeps it.

    Raises:
        RunError: if the folder cannot be written, holds something else, or a different run (naming what differs).
    """
    check_is_run(root)
    run = RunDir(root, outer or _outer_of(RunDir(root)))
    try:
        if run.config.exists():
            _check_same(run, config)
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(root, error) from None
    write_text(run.config, dump_config(config))
    packages = ("torch", "monai", "numpy", "scipy", "scikit-learn", "lightning-fabric", "nibabel")
    made_with = {
        "medaug": medaug.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": {name: metadata.version(name) for name in packages},
        "command": command or [Path(sys.argv[0]).name, *sys.argv[1:]],
    }
    if run.outer is not None:
        made_with["outer"] = os.path.relpath(run.outer, root)
    write_json(run.environment, made_with)
    return run


def _outer_of(run: RunDir) -> Path | None:
    """The run around this one, if that is where it was."""
    said = read_json(run.environment).get("outer") if run.environment.exists() else None
    return run.root / said if said in ("..", "../..") and RunDir(run.root / said).config.exists() else None


def _config_of(run: RunDir) -> PipelineConfig:
    try:
        return load_config(run.config, [])
    except ConfigError as error:
        raise RunError(
            f"{run.root}: holds a config.yaml that this version of medaug cannot read ({error}). Choose another --out."
        ) from None


def _check_same(run: RunDir, config: PipelineConfig) -> None:
    """Refuses a folder in which something was trained with other settings; before that, the run starts afresh."""
    made, asked = _config_of(run).model_dump(mode="json"), config.model_dump(mode="json")
    for section in IDENTITY:
        if section == "segmenter" and config.target is None:
            continue  # no translator looks through it there: the synthesis and what follows runs again
        for key, old, new in _differences(made[section], asked[section], section):
            if key.rsplit(".", 1)[-1] in INCIDENTAL:
                continue
            inner = [path for pattern in INNER_RUNS for path in run.root.glob(pattern)]
            trained = (folder / name for folder in (run.root, *inner) for name in ("train", "train-gan", "evaluation"))
            if any(path.exists() for path in trained):
                raise RunError(
                    f"{run.root}: holds a different run ({key} is {old!r} there and {new!r} here). "
                    "Choose another --out, or the settings it was made with to resume it."
                )
            for path in (run.prepared, run.prepared_b, run.nnunet, run.phantoms, run.phantoms_healthy, *inner):
                shutil.rmtree(path, ignore_errors=True)
            for marker in (run.root / "done").glob("*.json"):
                marker.unlink()
            return


def _differences(old: Any, new: Any, key: str) -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(set(old) | set(new))
        return [row for k in keys for row in _differences(old.get(k), new.get(k), f"{key}.{k}")]
    return [] if old == new else [(key, old, new)]
