"""Material of the tiny run whose weights, or segmenter, are somebody else's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from medaug.audits.insertion_audits import AUDITS
from medaug.audits.insertions import InsertionRun
from medaug.models.weights import Weights, load_weights
from medaug.runs.folder import RunDir
from medaug.stages.pipeline import run_pipeline

from . import planted

FINER = (
    "data.phantoms.patients=10", "data.phantoms.shape=[64,64,6]", "data.phantoms.spacing_mm=[3,3,12]",
    "crop.size=[32,32]", "crop.min_diameter_mm=18", "audit.lesions=24",
)  # fmt: skip
"""Voxels small enough that a lesion has an edge and a texture."""


@pytest.fixture(scope="module", autouse=True)
def quicker() -> Iterator[None]:
    """What makes intervals and pictures finer takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medaug.audits.pictures.ROWS", 1)
        patch.setattr("medaug.audits.pictures.TILE", 60)
        patch.setattr("medaug.audits.measures.probe.REPEATS", 1)
        patch.setattr("medaug.audits.measures.probe.RESAMPLES", 100)
        patch.setattr("medaug.audits.measures.finding.RESAMPLES", 100)
        yield


@pytest.fixture(scope="session")
def finer_config(tiny_config):
    return tiny_config(*FINER)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, finer_config) -> RunDir:
    """A run that has trained and no more."""
    return run_pipeline(finer_config, tmp_path_factory.mktemp("finer") / "run", until="train")


@pytest.fixture(scope="session")
def finer_weights(trained) -> Weights:
    return load_weights(trained.weights)


@pytest.fixture(scope="session")
def ask(trained, finer_config) -> Callable:
    """`ask("seams", weights)`: what an audit says of these weights, whose insertions are made once."""
    made: dict[int, InsertionRun] = {}

    def ask(name: str, weights: Weights):
        kind = type("Planted", (InsertionRun,), {"weights": weights, "segment": staticmethod(planted.bright)})
        material = made.setdefault(id(weights), kind(finer_config, trained))
        finding, picture = AUDITS[name](material)
        assert finding.name == name and finding.sentence
        assert finding.verdict == "skipped" or not finding.n["patients"] or picture[:4] == b"\x89PNG"
        return finding

    return ask
