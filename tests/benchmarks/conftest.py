"""Weights of the default networks, and a clock that is fair on a shared machine."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from medaug.config.files import load_config
from medaug.models.weights import Weights, load_weights
from medaug.runs.folder import open_run
from medaug.stages.prepare import prepare
from medaug.stages.train import train

FEW = (
    "data.phantoms.patients=6", "split.train=4", "split.validation=1",
    "training.steps=1", "training.batch_size=2", "training.workers=0",
)  # fmt: skip
VOLUMES = ("data.spatial_dims=3", "crop.size=[40,40,24]")


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`trained_folder("data.spatial_dims=3")`: weights of the default networks after one step; how long a network takes
    does not depend on what it has learnt."""

    def of(*settings: str) -> Path:
        config = load_config(None, [*FEW, *settings])
        run = open_run(tmp_path_factory.mktemp("trained") / "run", config)
        prepare(config, run)
        train(config, run)
        return run.weights

    return of


@pytest.fixture(scope="session")
def trained(trained_folder: Callable[..., Path]) -> Callable[..., Weights]:
    """The same, loaded."""
    return lambda *settings: load_weights(trained_folder(*settings))


@pytest.fixture(scope="session")
def ct_to_ct() -> tuple[str, ...]:
    """Settings of a translation from CT without to CT with contrast agent, on phantoms."""
    return ("domain=ct", "data.phantoms.anatomy=abdomen", "data.sequence=noncontrast", "data.modality=CT")


@pytest.fixture(scope="session")
def slice_weights(trained: Callable[..., Weights]) -> Weights:
    """2-D, mask-guided."""
    return trained()


@pytest.fixture(scope="session")
def volume_weights(trained: Callable[..., Weights]) -> Weights:
    """3-D, mask-guided."""
    return trained(*VOLUMES)


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints a line past pytest's capture."""

    def line(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return line


@pytest.fixture
def seconds_in_turns() -> Callable[..., dict[str, float]]:
    """`seconds_in_turns({"a": f, "b": g}, rounds=5)`: the least seconds of each, one after the other in every round, so
    that a slow spell of the machine slows all of them. The first round warms up."""

    def measure(functions: Mapping[str, Callable[[], object]], rounds: int = 5) -> dict[str, float]:
        seconds = dict.fromkeys(functions, math.inf)
        for number, (name, function) in itertools.product(range(rounds + 1), functions.items()):
            start = time.perf_counter()
            function()
            if number:
                seconds[name] = min(seconds[name], time.perf_counter() - start)
        return seconds

    return measure


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")
