"""The settings `benchmark` of a pipeline: what else `medaug benchmark` varies beside arms, seeds and folds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from medaug.settings import Section


class BenchmarkConfig(Section):
    """How many labelled patients and how much synthetic data there are, one benchmark group each."""

    labelled: tuple[PositiveInt | Literal["all"], ...] = Field(
        ("all",),
        min_length=1,
        description="how many training patients there are, for the GAN and for every arm; the "
        "subsets are nested, and all of them are scored on the same patients",
    )
    ratios: tuple[Annotated[float, Field(gt=0, le=1)], ...] | None = Field(
        None, min_length=1, description="synthetic ratios of the arms that have one; none: evaluation.synthetic_ratio"
    )
    cluster: dict[str, Any] = Field(
        {}, description="of --executor: submitit parameters such as slurm_partition, gpus_per_node, timeout_min"
    )

    @field_validator("labelled", "ratios")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...] | None, info: ValidationInfo) -> tuple[Any, ...] | None:
        if values is not None and len(set(values)) < len(values):
            raise ValueError(f"benchmark.{info.field_name}: found {list(values)}; expected every value once")
        return values
