"""Tiny finished runs on phantoms, made once a session and shared by the tests of transforms, stages and commands."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from medaug.pipeline import run_pipeline
from medaug.stages.config import PipelineConfig
from medaug.stages.config.files import load_config
from medaug.stages.runs import RunDir
from medaug.translators.weights import Weights, load_weights

from .dicom_series import write_dicom_series

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
    "evaluation.seeds=[0]", "evaluation.updates=3", "evaluation.batch_size=2", "evaluation.channels=[4,8]",
)  # fmt: skip
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
