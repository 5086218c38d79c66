"""The two downstream tasks of an evaluation: what a cell trains and scores, and what its scores are by patient.

The same network for every arm of a task; a segmentation is scored scan by scan, a classification slice by slice, or
patch by patch where `evaluation.patch_size` is given.
"""

from __future__ import annotations

from medaug.config import PipelineConfig
from medaug.experiment.tasks.base import Task
from medaug.experiment.tasks.classification import Classification
from medaug.experiment.tasks.segmentation import CLASS_SEPARATOR, Segmentation, network_config_of

__all__ = ["CLASS_SEPARATOR", "TASKS", "Classification", "Segmentation", "Task", "check_network"]

TASKS: dict[str, type[Task]] = {task.name: task for task in (Segmentation, Classification)}


def check_network(config: PipelineConfig) -> None:
    """Refuses a network that cannot be built, before hours of training a GAN.

    Raises:
        ConfigError: saying which of its settings does not fit.
    """
    if config.evaluation.task == Segmentation.name:
        network_config_of(config)
