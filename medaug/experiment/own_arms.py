"""A user's own arm: one entry of `evaluation.own_arms`, which names a MONAI dict transform on {"image", "label"}.

Samples are {"image": (1, *S) in [-1, 1], "label": (1, *S) of class numbers}. The transform comes before the standard
augmentation; its random state is set from (seed, sample) alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from os.path import isfile
from pathlib import Path
from typing import Any

from monai.transforms import Transform

from medaug.config import EvaluationConfig
from medaug.config.arms import OwnArmConfig
from medaug.data.atomic import read_json
from medaug.data.weights import METADATA
from medaug.errors import ConfigError
from medaug.models.noise.weights import GanWeights
from medaug.models.weights import Weights
from medaug.runs.folder import RunDir
from medaug.runs.provenance import refuse_known
from medaug.splits import Split


def build_own(name: str, settings: OwnArmConfig) -> Transform:
    """The transform of the own arm `name`.

    Raises:
        ConfigError: naming the arm, if it cannot be imported or built, or is no MONAI transform.
    """
    where = f"evaluation.own_arms.{name}"
    found = _imported(where, settings.transform)
    try:
        built = found(**settings.args)
    except Exception as error:
        given = ", ".join(f"{key}={value!r}" for key, value in settings.args.items()) or "nothing"
        raise ConfigError(
            f"{where}.args: {settings.transform} cannot be built with {given}: {error}. Give what its constructor asks "
            "for, JSON values only; MONAI's ask for keys, such as [image, label], or [image] for intensities."
        ) from error
    if not isinstance(built, Transform):
        raise ConfigError(
            f"{where}.transform: found {settings.transform}, which makes a {type(built).__name__}; expected a MONAI "
            'dict transform on "image" and "label". Derive it from monai.transforms.MapTransform.'
        )
    return built


def refuse_own_arms(settings: EvaluationConfig, run: RunDir, split: Split) -> None:
    """Refuses own arms with weights that know whom this run validates or tests on.

    Looked at are weights that the transform holds, or one inside it, and weights folders that its arguments name.

    Raises:
        LeakageError: naming the arm and the patients.
        ConfigError: if an arm cannot be built.
    """
    for name, own in settings.own_arms.items():
        for facts in _weights_in([build_own(name, own), own.args]):
            refuse_known(facts, run, split, f"evaluation.own_arms.{name}: its weights")


def _weights_in(*parts: Any) -> Iterator[dict[str, Any]]:
    """The metadata of all weights below these values: containers, transforms, weights, and paths of their folders."""
    left, seen = list(parts), set()
    while left:
        part = left.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, Weights | GanWeights):
            yield part.facts
        elif isinstance(part, dict):
            left += part.values()
        elif isinstance(part, list | tuple | set):
            left += part
        elif isinstance(part, Transform):
            left += vars(part).values()
        elif isinstance(part, str | Path) and part and isfile(Path(part) / METADATA):
            yield read_json(Path(part) / METADATA)


def _imported(where: str, path: str) -> Any:
    module, _, attribute = path.rpartition(".")
    remedy = "Install its package, or put its folder on PYTHONPATH."
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, ValueError) as error:  # ValueError: a path without a dot
        raise ConfigError(
            f"{where}.transform: {path} cannot be imported: {error}; expected package.module.Name. {remedy}"
        ) from error
    except AttributeError:
        found = f"found no {attribute} in {module}"
        raise ConfigError(f"{where}.transform: {found}; expected a class that is there. {remedy}") from None
