"""Tiny finished runs on phantoms, made once a session and shared by the tests of transforms, stages and commands."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from medaug.config import PipelineConfig
from medaug.config.files import load_config
from medaug.data.fingerprints import seal
from medaug.models.weights import Weights, load_weights
from medaug.runs.folder import RunDir
from medaug.stages.pipeline import run_pipeline

from .dicom_series import write_dicom_series

os.environ["CUDA_VISIBLE_DEVICES"] = ""
"""Tests, and the processes that they start, see no GPU: what they compare is equal bit for bit, on a CPU. What a GPU
computes is the business of `make gpu-check`."""

settings.register_profile("suite", derandomize=True, database=None, deadline=None)
settings.register_profile("fuzz", database=None, deadline=None, print_blob=True)
settings.load_profile("fuzz" if "MEDAUG_FUZZ" in os.environ else "suite")
"""The suite draws the same examples every time; `make fuzz` draws new ones (tests/robustness/fuzzing.py)."""

TINY = (
    "data.phantoms.patients=8", "data.phantoms.shape=[32,32,8]", "data.phantoms.spacing_mm=[6,6,10]",
    "split.train=4", "split.validation=1", "crop.size=[16,16]",
    "training.steps=3", "training.batch_size=2", "training.log_every=1", "training.workers=0",
    "translator.width=4", "translator.depth=2", "translator.discriminator_width=4", "translator.discriminator_layers=1",
    "gan.latent_dim=6", "gan.width=4", "gan.levels=2", "gan.discriminator_width=4",
    "synthesis.insertions=4", "synthesis.removals=2", "audit.lesions=8",
    "evaluation.seeds=[0]", "evaluation.updates=3", "evaluation.batch_size=2", "evaluation.channels=[4,8,8]",
)  # fmt: skip
TINY_MULTI = ("data.sequences=[flair,t1]", "data.tumor={core: 1, rim: 2}")
TINY_3D = ("data.spatial_dims=3", "crop.size=[16,16,12]", "evaluation.patch_size=[16,16,8]", "audit.lesions=2")


@pytest.fixture(scope="session")
def tiny_settings() -> tuple[str, ...]:
    """`--set` values of a run that takes seconds: 8 head phantoms, 2-D, a network of width 4, 3 steps."""
    return TINY


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., PipelineConfig]:
    """`tiny_config("training.steps=4")`: those settings, with others on top."""
    return lambda *more: load_config(None, [*TINY, *more])


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_config: Callable[..., PipelineConfig]) -> RunDir:
    """A finished run, not to be changed; see `copy_of_run`."""
    return run_pipeline(tiny_config(), tmp_path_factory.mktemp("tiny") / "run")


@pytest.fixture(scope="session")
def volume_run(tmp_path_factory: pytest.TempPathFactory, tiny_config: Callable[..., PipelineConfig]) -> RunDir:
    """The same in 3-D."""
    return run_pipeline(tiny_config(*TINY_3D), tmp_path_factory.mktemp("tiny-3d") / "run")


@pytest.fixture(scope="session")
def multi_run(tmp_path_factory: pytest.TempPathFactory, tiny_config: Callable[..., PipelineConfig]) -> RunDir:
    """Two sequences, flair and t1, and tumors with two parts, core and rim: a run up to its synthetic set."""
    folder = tmp_path_factory.mktemp("tiny-multi") / "run"
    return run_pipeline(tiny_config(*TINY_MULTI), folder, until="synthesize")


@pytest.fixture(scope="session")
def multi_weights(multi_run: RunDir) -> Weights:
    """2-D, mask-guided, reference content; 2 channels and 2 parts."""
    return load_weights(multi_run.weights)


@pytest.fixture(scope="session")
def weights_folder(tiny_run: RunDir) -> Path:
    return tiny_run.weights


@pytest.fixture(scope="session")
def weights(weights_folder: Path) -> Weights:
    """2-D, mask-guided, reference content."""
    return load_weights(weights_folder)


@pytest.fixture
def copy_of_run(tiny_run: RunDir, tmp_path: Path) -> RunDir:
    """A copy of the finished run, to be changed."""
    shutil.copytree(tiny_run.root, tmp_path / "copy")
    return RunDir(tmp_path / "copy")


@pytest.fixture(scope="session")
def dicom_series() -> Callable[..., list[Path]]:
    """`dicom_series(folder, values, ...)` writes a small series; see tests/dicom_series.py."""
    return write_dicom_series


@pytest.fixture
def special(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], Path]:
    """`special("pipe", path)`: a named pipe, a socket, or a link to /dev/zero in place of a file."""

    def make(kind: str, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            monkeypatch.chdir(path.parent)  # a socket's name has 100 letters at the most
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        return path

    return make


DERIVED = {"synthesize": "synthetic", "audit": "audit", "evaluate": "evaluation", "train": "train"}


@pytest.fixture(scope="session")
def forget() -> Callable[..., None]:
    """`forget(run, "evaluate")`: as if that stage had never begun."""

    def forget(run: RunDir, *stages: str) -> None:
        for stage in stages:
            shutil.rmtree(run.root / DERIVED[stage])
            run.done(stage).unlink()

    return forget


@pytest.fixture(scope="session")
def killed_at() -> Callable[[int, Callable[[], object]], None]:
    """`killed_at(n, work)`: does `work` in a process that SIGKILL ends just before its n-th file gets its name."""
    context = multiprocessing.get_context("fork")

    def killed_at(moment: int, work: Callable[[], object]) -> None:
        renames = context.Value("i", 0)

        def child() -> None:
            os.setpgid(0, 0)  # a data loader's workers die too
            torch.set_num_threads(1)
            replace = os.replace

            def counted(source, target) -> None:
                with renames.get_lock():
                    renames.value += 1
                    last = renames.value == moment
                if last:
                    os.killpg(0, signal.SIGKILL)
                replace(source, target)

            os.replace = counted
            work()

        process = context.Process(target=child)
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL, f"not killed: {renames.value} files only"

    return killed_at


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder, but for what a killed process was about to write."""

    def contents(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".tmp-"))
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    return contents


@pytest.fixture(scope="session")
def sealed() -> Callable[[RunDir, str, Path], None]:
    """`sealed(run, "train", path)`: as if that stage had written the file as it is now."""

    def sealed(run: RunDir, stage: str, path: Path) -> None:
        marker = json.loads(run.done(stage).read_text())
        marker["files"][str(path.relative_to(run.root))] = seal(path)
        run.done(stage).write_text(json.dumps(marker))

    return sealed


@pytest.fixture(scope="session")
def edit_json() -> Callable[[Path, Callable[[dict], object]], None]:
    """Changes a JSON file in place."""

    def edit(path: Path, change: Callable[[dict], object]) -> None:
        values = json.loads(path.read_text())
        change(values)
        path.write_text(json.dumps(values))

    return edit
