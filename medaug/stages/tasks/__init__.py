"""The two jobs, insertion and translation, and all that is different between them."""

from medaug.config import PipelineConfig
from medaug.stages.tasks.insertion import Insertion
from medaug.stages.tasks.task import Task
from medaug.stages.tasks.translation import Translation


def task_of(config: PipelineConfig) -> Task:
    """The job that the settings ask for: the only place where `domain` is looked at."""
    return Insertion(config) if config.domain == "tumor" else Translation(config)
