"""Pipeline files and `--set` values in, a checked `PipelineConfig` out, and back to YAML.

Every error names the file or key, what was found, and the nearest valid name.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from importlib.resources import files
from importlib.resources.abc import Traversable
from io import StringIO
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from medaug.config.pipeline import PipelineConfig
from medaug.data.opening import check_regular
from medaug.errors import ConfigError
from medaug.settings import Values, problems_in

LARGEST_BYTES = 200_000
"""A pipeline file, and the values in it, may have so many: the longest in `pipelines/` has a hundredth of that."""

LARGEST_SETTING = 1024
"""Widths, depths and weights of losses that a method may have; weights folders hold no larger ones."""


def load_config(path: Path | None, overrides: list[str], options: Mapping[str, Any] | None = None) -> PipelineConfig:
    """A pipeline file (or the defaults) with options and then `key.subkey=value` overrides on top, checked.

    Args:
        path: a file, or the name of a pipeline that comes with medaug (`quickstart`).
        options: values by dotted key, as they are (a path named `2024` stays a path).
        overrides: the value of a setting that is text is what was typed (a `#`, leading zeros; nothing at all is null),
            of any other it is YAML.

    Raises:
        ConfigError: naming the file or override, the key, what was found, and the nearest valid name.
    """
    values: Values = _read_yaml(path) if path is not None else {}
    for key, value in (options or {}).items():
        _put(values, key, value)
    for override in overrides:
        _apply(values, override)
    try:
        config = PipelineConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path or 'settings'}: {problems_in(error, hint=_nearest)}") from None
    _check_method(config)
    return config


def dump_config(config: PipelineConfig) -> str:
    """The resolved config as YAML."""
    stream = StringIO()
    _plain_yaml().dump(config.model_dump(mode="json"), stream)
    return stream.getvalue()


def _plain_yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # declared as None
    return yaml


def _pipeline_file(path: Path) -> Path | Traversable:
    """The file at this path, or the pipeline of this name that comes with medaug."""
    if path.exists() and not path.is_dir():
        return check_regular(path)
    shipped = {file.name.removesuffix(".yaml"): file for file in files("medaug").joinpath("pipelines").iterdir()}
    name = path.stem if path.parts[:-1] == ("pipelines",) else str(path)  # as the README writes it, in a clone or not
    if name not in shipped:
        raise ConfigError(
            f"{path}: no such pipeline file. Give the path of a YAML file, or the name of a pipeline that comes with "
            f"medaug: {', '.join(sorted(shipped))}."
        )
    return shipped[name]


def _read_yaml(path: Path) -> Values:
    try:
        with _pipeline_file(path).open("rb") as file:
            text = file.read(LARGEST_BYTES + 1)
        if len(text) > LARGEST_BYTES:
            raise ValueError(f"more than {LARGEST_BYTES:,} bytes, which no pipeline has")
        values = _loaded(text.decode())
    except (YAMLError, ValueError, OSError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: found a {type(values).__name__}; expected sections such as 'data:' and 'training:'")
    return values


def _loaded(text: str) -> Any:
    """The values of a YAML text.

    Raises:
        YAMLError, ValueError: if it is malformed, nested without end, or its aliases stand for more than a few values.
    """
    try:
        values = _plain_yaml().load(text)
        if _count(values) > LARGEST_BYTES:
            raise ValueError("aliases (*) that stand for more values than a pipeline has")
    except RecursionError:
        raise ValueError("sections nested in each other without end") from None
    return values


def _count(value: Any) -> int:
    """How many values there are with every alias written out; an alias inside itself never ends (RecursionError)."""
    counted: dict[int, int] = {}

    def count(part: Any) -> int:
        if not isinstance(part, dict | list):
            return 1
        if id(part) not in counted:
            counted[id(part)] = 1 + sum(map(count, part.values() if isinstance(part, dict) else part))
        return counted[id(part)]

    return count(value)


def _apply(values: Values, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override}: expected key=value, for example --set training.steps=500")
    kinds = _kinds_of(key.strip().split("."))
    if kinds and kinds <= {str, Path, NoneType}:
        value: Any = None if not text and NoneType in kinds else text
    else:
        try:
            value = _loaded(text)
        except (YAMLError, ValueError) as error:
            if str not in kinds:
                raise ConfigError(f"--set {override}: the value is not readable as YAML: {error}") from None
            value = text
        as_typed = type(value) in kinds and (value is None or str(value) == text.strip())
        as_typed |= isinstance(value, dict) and any(get_origin(kind) is dict for kind in kinds)
        if str in kinds and not as_typed:
            value = text  # 0012 and 2024-01-05 are names here, and 3 is a number
    _put(values, key.strip(), value)


def _kinds_of(location: list[str]) -> set[Any]:
    """What a setting may be; empty where this is not declared, as a translator's own settings are not."""
    kinds: set[Any] = {PipelineConfig}
    for part in location:
        model = next((kind for kind in kinds if part in getattr(kind, "model_fields", {})), None)
        named = next((kind for kind in kinds if get_origin(kind) is dict), None)  # by a name that the user chose
        if model is not None:
            kinds = _kinds(model.model_fields[part].annotation)
        else:
            kinds = set() if named is None else _kinds(get_args(named)[1])
    return kinds


def _kinds(annotation: Any) -> set[Any]:
    """The types that an annotation is made of; of a Literal those of its values."""
    if get_origin(annotation) is Literal:
        return {type(value) for value in get_args(annotation)}
    if get_origin(annotation) in (Union, UnionType):
        return set().union(*map(_kinds, get_args(annotation)))
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    return {annotation}


def _put(values: Values, key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{key}: '{parent}' is a value, not a section")
    values[last] = value


def _nearest(location: list[str]) -> str:
    """The nearest of the keys that there are in a section, or all of them."""
    known = list(next((kind.model_fields for kind in _kinds_of(location[:-1]) if hasattr(kind, "model_fields")), {}))
    close = difflib.get_close_matches(location[-1], known, n=1)
    return f"; did you mean '{'.'.join([*location[:-1], close[0]])}'?" if close else f"; valid are: {', '.join(known)}"


def _check_method(config: PipelineConfig) -> None:
    """Checks what only the method can tell: its settings, and whether it has the pairs and labels that it asks for."""
    from medaug.models.methods import TRANSLATORS

    translator = config.translator
    if translator.method not in TRANSLATORS:
        types = sorted({name.removeprefix("mask-guided-") for name in TRANSLATORS})
        raise ConfigError(f"translator.type: found '{translator.type}'; expected one of: {', '.join(types)}")
    method, settings_class = TRANSLATORS[translator.method]
    known, settings = [field.name for field in fields(settings_class)], translator.settings
    for key, value in settings.items():
        if key not in known:
            close = difflib.get_close_matches(key, [*known, "type", "mask_guided"], n=1)
            hint = f"did you mean 'translator.{close[0]}'?" if close else f"valid are: {', '.join(known)}"
            raise ConfigError(f"unknown key 'translator.{key}'; {hint}")
        if isinstance(value, int | float) and not -LARGEST_SETTING <= value <= LARGEST_SETTING:
            raise ConfigError(f"translator.{key}: found {value}; expected a number up to {LARGEST_SETTING}")
    try:
        settings_class(**settings)
    except ValidationError as error:
        raise ConfigError(f"settings: {problems_in(error, ('translator',))}") from None
    if config.target is not None:
        _check_pairs(config, method.needs_pairs)
    classes, label_input = config.data.class_names, settings.get("label_input", 0)
    if label_input not in (0, len(classes)):
        expected = f"{len(classes)} (classes: {', '.join(classes)}), or 0"
        raise ConfigError(f"translator.label_input: found {label_input}; expected {expected}")
    if settings.get("label_discriminator") and not label_input:  # it must know the same classes
        raise ConfigError(f"translator.label_discriminator needs translator.label_input={len(classes)}")


def _check_pairs(config: PipelineConfig, needs_pairs: bool) -> None:
    """Registered pairs of two domains that are needed must be there, and those that are there must be used."""
    method, paired = config.translator.type, config.pairing.paired
    weighted = config.translator.settings.get("paired_weight", 0) > 0
    if needs_pairs and paired not in (None, "all"):
        raise ConfigError(
            f"pairing.paired: found {paired}; '{method}' learns from pairs only, expected all. For some pairs among "
            "unpaired images train translator.type=cyclegan with translator.paired_weight=10."
        )
    if weighted and not paired:
        raise ConfigError("translator.paired_weight needs registered pairs: set pairing.paired to a count or to all")
    if paired and not (weighted or needs_pairs):
        raise ConfigError(
            f"pairing.paired: found {paired}, which '{method}' does not use; set translator.paired_weight=10 with "
            "translator.type=cyclegan, or leave pairing.paired out"
        )
