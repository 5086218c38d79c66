"""What the shell may offer for an option's value (`medaug --install-completion`); nothing here waits for torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

METHODS = ("cyclegan", "munit", "pix2pix", "regression", "unit")
"""Those of `models.methods.TRANSLATORS`, which would import torch; a test compares the two."""


def models(incomplete: str) -> list[str]:
    """Methods, for `--model`."""
    return [name for name in METHODS if name.startswith(incomplete)]


def domains(incomplete: str) -> list[tuple[str, str]]:
    """Jobs, for `--domain`."""
    known = [("tumor", "insert and remove tumors"), ("ct", "translate between two kinds of image")]
    return [(name, text) for name, text in known if name.startswith(incomplete)]


def formats(incomplete: str) -> list[str]:
    """What `medaug export` writes; `exports.datasets.FORMATS` would import torch, a test compares the two."""
    return [name for name in ("datalist", "msd", "nnunet") if name.startswith(incomplete)]


def audits(incomplete: str) -> list[tuple[str, str]]:
    """Audits, for `--only`, with their figures."""
    from medaug.config.evaluation import LimitsConfig

    known = [(name, field.description or "") for name, field in LimitsConfig.model_fields.items()]
    return [(name, text) for name, text in known if name.startswith(incomplete)]


def layouts(incomplete: str) -> list[tuple[str, str]]:
    """Layouts that are read, with what they look like."""
    from medaug.data.layouts import LAYOUTS

    known = [("auto", "recognised by looking"), *((layout.name, layout.looks_like) for layout in LAYOUTS.values())]
    return [(name, text) for name, text in known if name.startswith(incomplete)]


def written_layouts(incomplete: str) -> list[str]:
    """Layouts that `medaug phantoms` writes; `data.writers.WRITERS` would import torch, a test compares the two."""
    return [name for name in ("brats", "datalist", "images-labels", "kaggle-lgg", "msd") if name.startswith(incomplete)]


def pipelines(incomplete: str) -> list[str]:
    """YAML files and folders here, or below what is typed, and before that those of `pipelines/`."""
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    found = [*folder.glob("*.yaml"), *folder.glob("*.yml")]
    if not incomplete:
        found = [*Path("pipelines").glob("*.yaml"), *found]
    folders = [f"{path}/" for path in folder.glob("*/") if not path.name.startswith(".")]
    return [name for name in [*map(str, sorted(found)), *sorted(folders)] if name.startswith(incomplete)]


def settings(incomplete: str) -> list[tuple[str, str]]:
    """`key=` for `--set`, with the default; sections first, so that what a key is part of can be chosen."""
    from medaug.config.pipeline import PipelineConfig

    return [(f"{key}=", f"default {default}") for key, default in _fields(PipelineConfig) if key.startswith(incomplete)]


def _fields(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of all values of a settings model, sections inside."""
    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation) if get_origin(field.annotation) in (UnionType, Union) else [field.annotation]
        section = next((kind for kind in kinds if hasattr(kind, "model_fields")), None)
        if section is None:
            yield f"{prefix}{name}", field.get_default(call_default_factory=True)
        else:
            yield from _fields(section, f"{prefix}{name}.")
