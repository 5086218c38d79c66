"""The run folder: every path a run writes, what it was made with, and which stages are done.

config.yaml environment.json split.json   what was asked for, with what, and who trains
prepared/   decoded scans on the working grid, with their datalist; prepared_b/ those of the target domain
train/      checkpoints, metrics.jsonl, previews, weights/
train-gan/  the same of a GAN from noise, and pictures of its latent space
synthetic/  paired examples and their datalist.json
audit/  evaluation/  report.html
fold-0/ ...  of a run with folds: one run a fold; evaluation/ and report.html beside them pool all
labelled-5/ ...  of a benchmark: one run a number of labelled patients (and below it one a fold), its results/ beside
them, failed/ and jobs.jsonl
claims/     locks of the processes that work on it, where there may be several
anomaly/   of `medaug anomaly`: held-out slices scored by removal
done/       a marker a finished stage, with the fingerprint of its inputs
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import medaug
from medaug.errors import ConfigError, RunError
from medaug.io.atomic import read_json, write_error, write_json, write_text
from medaug.stages.config import PipelineConfig
from medaug.stages.config.files import dump_config, load_config

IDENTITY = ("domain", "data", "target", "pairing", "segmenter", "split", "translator", "gan", "crop", "training")
"""Sections that make a run what it is: with one of them changed, a folder holds a different run."""
INCIDENTAL = {"workers", "log_every", "preview_every", "checkpoint_every", "skip_unreadable"}
"""Keys that do not change results, and so may change when a run is resumed."""

INNER_RUNS = ("fold-*", "labelled-*", "labelled-*/fold-*")
"""Run folders inside one with folds, or of a benchmark."""

TIMED = (
    "prepare", "train", "synthesize", "translate", "audit", "audit_domains", "evaluate", "evaluate_domains",
    "score_translation",
)  # fmt: skip
"""Stages that a page gives the seconds of, in order."""


@dataclass(frozen=True)
class RunDir:
    """Paths inside one run folder."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def environment(self) -> Path:
        return self.root / "environment.json"

    @property
    def split(self) -> Path:
        return self.root / "split.json"

    @property
    def phantoms(self) -> Path:
        return self.root / "phantoms"

    @property
    def prepared(self) -> Path:
        return self.root / "prepared"

    @property
    def datalist(self) -> Path:
        return self.prepared / "datalist.json"

    @property
    def prepared_b(self) -> Path:
        return self.root / "prepared_b"

    @property
    def datalist_b(self) -> Path:
        return self.prepared_b / "datalist.json"

    @property
    def train(self) -> Path:
        return self.root / "train"

    @property
    def weights(self) -> Path:
        return self.train / "weights"

    @property
    def previews(self) -> Path:
        return self.train / "previews"

    @property
    def train_gan(self) -> Path:
        return self.root / "train-gan"

    @property
    def gan_weights(self) -> Path:
        return self.train_gan / "weights"

    @property
    def synthetic(self) -> Path:
        return self.root / "synthetic"

    @property
    def audit(self) -> Path:
        return self.root / "audit"

    @property
    def anomaly(self) -> Path:
        return self.root / "anomaly"

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation"

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    def fold(self, number: int) -> RunDir:
        """The run of one fold, where there are several."""
        return RunDir(self.root / f"fold-{number}")

    def labelled(self, number: int | str) -> RunDir:
        """The run with so many labelled patients (or "all"), where there are several."""
        return RunDir(self.root / f"labelled-{number}")

    @property
    def lock(self) -> Path:
        """Held by the process that works in this folder."""
        return self.root / "done" / "run.lock"

    def done(self, stage: str) -> Path:
        return self.root / "done" / f"{stage}.json"

    def begun(self, stage: str) -> Path:
        return self.root / "done" / f"{stage}.begun.json"


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
        elif root.is_dir() and any(
            not (path.name.startswith(".tmp-") or path.name == "done") for path in root.iterdir()
        ):
            raise RunError(f"{root}: holds files that are not a medaug run. Choose an empty or new folder as --out.")
    except OSError as error:
        raise write_error(root, error) from None


def open_run(root: Path, config: PipelineConfig, command: list[str] | None = None) -> RunDir:
    """Makes a run folder, or opens the one that holds this very run.

    Raises:
        RunError: if the folder cannot be written, holds something else, or a different run (naming what differs).
    """
    run = RunDir(root)
    check_is_run(root)
    try:
        if run.config.exists():
            _check_same(run, config)
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(root, error) from None
    write_text(run.config, dump_config(config))
    write_json(run.environment, environment(command))
    return run


def environment(command: list[str] | None) -> dict[str, Any]:
    """What a run was made with: versions, machine kind, command."""
    packages = ("torch", "monai", "numpy", "scipy", "scikit-learn", "lightning-fabric", "nibabel")
    return {
        "medaug": medaug.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": {name: metadata.version(name) for name in packages},
        "command": command or [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def run_stage(
    run: RunDir, stage: str, inputs: Any, outputs: list[Path], work: Callable[[], None], *, keep: bool = False,
    helper: bool = False,
) -> bool:  # fmt: skip
    """Runs `work` unless this stage is done with the same `inputs`; says whether it ran.

    A stage that was done with other inputs starts afresh: its `outputs` are removed first. An unfinished one goes on
    where it was if its inputs are the same. One whose outputs somebody removed runs again. With `keep` outputs stay
    whatever the inputs: of work that knows by itself what of them still holds. A `helper` takes part in the work of
    another process, which sees to outputs and markers.
    """
    marker, begun = run.done(stage), run.begun(stage)
    if is_done(run, stage, inputs) and all(path.exists() for path in outputs):
        return False
    if helper:
        work()
        return True
    spent = begin_stage(run, stage, inputs, outputs, keep=keep)
    print_of = read_json(begun)["fingerprint"]
    started = time.monotonic()
    _clear_half_written(outputs)
    try:
        work()
    except BaseException:
        _clear_half_written(outputs)
        raise
    finally:
        seconds = spent + time.monotonic() - started
        if begun.parent.is_dir():
            write_json(begun, {"fingerprint": print_of, "seconds": round(seconds, 1)})
    write_json(marker, {"fingerprint": print_of, "seconds": round(seconds, 1)})
    begun.unlink(missing_ok=True)
    return True


def begin_stage(run: RunDir, stage: str, inputs: Any, outputs: list[Path], *, keep: bool = False) -> float:
    """Makes ready for the work of `run_stage`, and returns the seconds spent on it before, by whom it may have been."""
    begun = run.begun(stage)
    run.done(stage).unlink(missing_ok=True)
    if not is_begun(run, stage, inputs):
        begun.unlink(missing_ok=True)  # a kill from here on must not leave a marker beside half of the outputs
        for path in [] if keep else outputs:
            shutil.rmtree(path, ignore_errors=True)
    spent = read_json(begun).get("seconds", 0.0) if begun.exists() and outputs and outputs[0].exists() else 0.0
    write_json(begun, {"fingerprint": _fingerprint_of(stage, inputs), "seconds": spent})
    return spent


def add_seconds(run: RunDir, stage: str, seconds: float) -> None:
    """Adds work of another process to the time of a stage that is begun."""
    values = read_json(run.begun(stage))
    write_json(run.begun(stage), values | {"seconds": round(values["seconds"] + seconds, 1)})


def _clear_half_written(outputs: list[Path]) -> None:
    """Temporary files of writers that were stopped (see `io.atomic`)."""
    for folder in outputs:
        for path in folder.rglob(".tmp-*"):
            path.unlink(missing_ok=True)


def is_done(run: RunDir, stage: str, inputs: Any) -> bool:
    """Whether the stage is finished with these inputs."""
    return _bears(run.done(stage), stage, inputs)


def is_begun(run: RunDir, stage: str, inputs: Any) -> bool:
    """Whether the stage was begun with these inputs and not finished."""
    return _bears(run.begun(stage), stage, inputs)


def _bears(marker: Path, stage: str, inputs: Any) -> bool:
    return marker.exists() and read_json(marker).get("fingerprint") == _fingerprint_of(stage, inputs)


def _fingerprint_of(stage: str, inputs: Any) -> str:
    return fingerprint([stage, medaug.__version__, inputs])


def seconds_by_stage(run: RunDir) -> dict[str, float]:
    """How long each finished stage took."""
    return {stage: read_json(run.done(stage))["seconds"] for stage in TIMED if run.done(stage).exists()}


def fingerprint(value: Any) -> str:
    """SHA-256 of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def essential(section: Any) -> dict[str, Any]:
    """A config section without the keys that do not change results."""
    return {key: value for key, value in section.model_dump(mode="json").items() if key not in INCIDENTAL}


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
        if section == "segmenter" and config.domain == "tumor":
            continue  # no translator looks through it there: the synthesis and what follows runs again
        for key, old, new in _differences(made[section], asked[section], section):
            if key.rsplit(".", 1)[-1] in INCIDENTAL:
                continue
            inner = [path for pattern in INNER_RUNS for path in run.root.glob(pattern)]
            trained = (folder / name for folder in (run.root, *inner) for name in ("train", "train-gan", "evaluation"))
            if not any(path.exists() for path in trained):
                for path in (run.prepared, run.prepared_b, run.phantoms, *inner):
                    shutil.rmtree(path, ignore_errors=True)
                for marker in (run.root / "done").glob("*.json"):
                    marker.unlink()
                return
            raise RunError(
                f"{run.root}: holds a different run ({key} is {old!r} there and {new!r} here). "
                "Choose another --out, or the settings it was made with to resume it."
            )


def _differences(old: Any, new: Any, key: str) -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(set(old) | set(new))
        return [row for k in keys for row in _differences(old.get(k), new.get(k), f"{key}.{k}")]
    return [] if old == new else [(key, old, new)]
