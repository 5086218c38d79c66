"""The settings of a user's own arm."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from medaug.settings import Section

Synthetic = Literal["online", "written", "removed", "accepted"]
"""Where the synthetic samples of an arm come from (see `downstream.arms.Arm`)."""
ArmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9+_.-]*$")]
"""Files are named by it."""


class OwnArmConfig(Section):
    """One transform: before the standard augmentation, on real samples and a share of synthetic ones."""

    transform: str = Field(description="package.module.Name of a MONAI dict transform on image and label")
    args: dict[str, Any] = Field({}, description="of its constructor; MONAI's ask for keys")
    standard: bool = Field(True, description="whether the standard augmentation follows")
    synthetic: Synthetic | None = Field(None, description="where a share of the samples comes from; null: none is")
