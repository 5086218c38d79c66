"""nnU-Net's plans of a run: its own planner, with the patch, batch and widths of `evaluation.budget`.

`full` is nnU-Net's own plan; `small` and `medium` have it plan for the patch, the batch and the widths that the other
backend has (`evaluation.plan`). `evaluation.patch_size`, `batch_size` and `channels` have the last word.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from medaug.config import EvaluationConfig
from medaug.errors import ConfigError
from medaug.evaluation.plan import Plan
from medaug.experiment.backends.dataset import NAME, NnunetData

BYTES_A_VALUE = {"cpu": 16, "cuda": 8}
"""Memory that a value of a network's feature maps takes in training, with its gradient and what autograd keeps.
nnU-Net's own reference is 8 GB for 560 million values at batch 2, in half precision."""


class Planner(ExperimentPlanner):
    """nnU-Net's planner; 2-D work is on axial slices, whatever the voxel size.

    Args:
        patch_size: by axis (X, Y[, Z]), instead of what nnU-Net finds.
        widths: of the first and of the widest level, instead of nnU-Net's.
        name: of the plans.
    """

    def __init__(
        self,
        data: NnunetData,
        patch_size: tuple[int, ...] | None = None,
        widths: tuple[int, int] | None = None,
        name: str = "nnUNetPlans",
    ):
        super().__init__(NAME, plans_name=name, suppress_transpose=data.configuration == "2d")
        self.configuration, self.patch_size = data.configuration, patch_size
        if widths is not None:
            self.UNet_base_num_features, self.UNet_max_features_2d = widths
            self.UNet_max_features_3d = widths[1]

    def get_plans_for_configuration(
        self, spacing: Any, median_shape: Any, data_identifier: str, approximate_n_voxels_dataset: float, _cache: Any
    ) -> dict[str, object]:
        """A patch that is asked for stands in for the median shape, which nnU-Net's patches do not exceed."""
        asked = median_shape
        if self.patch_size is not None and data_identifier.endswith(self.configuration):
            asked = list(self.patch_size[::-1])
            if len(asked) == 3:
                asked = [asked[axis] for axis in self.determine_transpose()[0]]
        plan: dict[str, object] = super().get_plans_for_configuration(
            spacing, asked, data_identifier, approximate_n_voxels_dataset, _cache
        )
        return plan | {"median_image_size_in_voxels": median_shape}


def plans_of(settings: EvaluationConfig, plan: Plan, data: NnunetData, device: torch.device) -> dict[str, Any]:
    """nnU-Net's plans, as its JSON file holds them.

    Args:
        plan: of the other backend, for the same settings and images.

    Raises:
        ConfigError: for a patch that its network cannot take, or a plan too large for the memory there is.
    """
    own, asked = plan.budget == "full", settings.patch_size
    widths = (plan.channels[0], max(plan.channels))
    with data.at_work():
        planner = Planner(
            data,
            asked or (None if own else plan.window_size),
            None if own and settings.channels is None else widths,
            f"nnUNetPlans_{plan.budget}",
        )
        plans: dict[str, Any] = planner.plan_experiment()
    chosen = plans["configurations"][data.configuration]
    chosen["data_identifier"] = data.arrays.name
    if not own or settings.batch_size is not None:
        chosen["batch_size"] = plan.batch_size
    axes = [axis + 1 for axis in plans["transpose_backward"]] if len(chosen["patch_size"]) == 3 else [1, 2]
    found = tuple(int([0, *chosen["patch_size"]][axis]) for axis in axes[::-1])
    if asked is not None and found != tuple(asked):
        raise ConfigError(
            f"evaluation.patch_size: found {tuple(asked)}; expected a size that nnU-Net's network halves to the end, "
            f"such as {found}. Choose that, or leave it to evaluation.budget."
        )
    _check_memory(PlansManager(plans), data, device, plan)
    return plans


def _check_memory(plans: PlansManager, data: NnunetData, device: torch.device, plan: Plan) -> None:
    manager, described = plans.get_configuration(data.configuration), data.dataset_json
    values = ExperimentPlanner.static_estimate_VRAM_usage(
        manager.patch_size,
        len(described["channel_names"]),
        len(described["labels"]),
        manager.network_arch_class_name,
        manager.network_arch_init_kwargs,
        manager.network_arch_init_kwargs_req_import,
    )
    needed = float(values) * manager.batch_size * BYTES_A_VALUE[device.type] / 2**30
    if device.type == "cuda":
        there = torch.cuda.mem_get_info(device)[0] / 2**30
    else:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    if needed > there:
        raise ConfigError(
            f"evaluation.budget {plan.budget}: found nnU-Net's plan of {manager.batch_size} patches of "
            f"{' × '.join(map(str, manager.patch_size))}, which needs about {needed:.1f} GiB in training; expected one "
            f"that fits the {there:.1f} GiB of {device.type}. Lower evaluation.batch_size, patch_size or channels, or "
            "take a smaller evaluation.budget."
        )
