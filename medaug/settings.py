"""What the numbers of settings and arguments may be: finite, and of a size that some machine can work with."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What NumPy takes."""
Count = Annotated[int, Field(ge=1, le=10**9)]
Workers = Annotated[int, Field(ge=0, le=1024)]
Samples = Annotated[int, Field(ge=1, le=2**16)]
"""How many a batch may have."""
Width = Annotated[int, Field(ge=1, le=1024)]
"""Channels of a layer, as weights may have them."""
Voxels = Annotated[int, Field(ge=1, le=8192)]
"""Along one axis."""
SpacingMm = Annotated[float, Field(ge=1e-6, le=1e4)]
LabelValue = Annotated[int, Field(ge=-32768, le=32767)]
"""What a label file may hold (see `data.files`)."""


def _each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise PydanticCustomError("each_once", "expected every value once")
    return values


def _least_and_most(values: tuple[float, float]) -> tuple[float, float]:
    if values[0] > values[1]:
        raise PydanticCustomError("least_and_most", "expected [least, most]")
    return values


EachOnce = AfterValidator(_each_once)
LeastAndMost = AfterValidator(_least_and_most)
Values = dict[str, Any]
"""A section of a pipeline file as it was written, before it is checked."""


class Section(BaseModel):
    """A section of settings: unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


METHOD_SETTINGS = ConfigDict(allow_inf_nan=False)
"""Options of the dataclass of a method's settings, which is checked in Python as in a pipeline file."""
PROBLEMS_SHOWN = 20


def problems_in(
    error: ValidationError, section: tuple[str, ...] = (), hint: Callable[[list[str]], str] | None = None
) -> str:
    """What does not fit: the key, what was found, and what is expected.

    Args:
        section: where in a pipeline file the checked values stand.
        hint: the end of the sentence on a key (its parts) that there is not.
    """
    lines = []
    for problem in error.errors()[:PROBLEMS_SHOWN]:
        location = [*section, *(str(part) for part in problem["loc"])]
        where, found = ".".join(location) or "settings", problem["input"]
        if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            lines.append(f"unknown key '{where}'{hint(location) if hint else ''}")
        elif problem["type"] == "value_error":
            lines.append(problem["msg"].removeprefix("Value error, "))
        elif problem["type"] == "literal_error":
            expected = problem["ctx"]["expected"]
            close = difflib.get_close_matches(str(found), re.findall(r"'([^']+)'", expected), n=1)
            meant = f"; did you mean '{close[0]}'?" if close else ""
            lines.append(f"{where}: found {_shortened(found)}; expected {expected}{meant}")
        else:
            lines.append(f"{where}: found {_shortened(found)}; {problem['msg']}")
    return "; ".join(lines)


def _shortened(value: Any) -> str:
    """What was found may be as long as its file."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 200
    return short.repr(value)
