"""What the numbers of settings and arguments may be: finite, and of a size that some machine can work with."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

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


class Section(BaseModel):
    """A section of settings: unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
