"""Does it help? Networks trained with and without what the GAN makes, scored on held-out patients.

Reads: `prepared/` (and `prepared_b/`), `split.json`, `synthetic/datalist.json`, `train/weights`. Writes `evaluation/`:
`cells/<arm>-seed<k>.json` (one a trained network, so a stopped evaluation goes on where it was), tables of scores, and
`summary.json`. What is trained and scored is the task's.
"""

from __future__ import annotations

from medaug.config import PipelineConfig
from medaug.experiment.cells import made_of
from medaug.runs.folder import RunDir
from medaug.runs.markers import data_prints, essential, run_stage
from medaug.stages.tasks import task_of


def evaluate(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do.

    Raises:
        ConfigError: if the settings ask for what cannot be evaluated.
        DataError: if there are too few patients to score, or too few labels.
        LeakageError: if the synthetic cases or the weights were made from validation or test patients.
    """
    task = task_of(config)
    task.check_settings()
    made_from = [*data_prints(run), *task.evaluated_from(run)]
    source = made_of(config.evaluation, config.precision, *made_from)
    inputs = [essential(config.evaluation), config.precision, *made_from]
    return run_stage(run, "evaluate", inputs, [run.evaluation], lambda: task.evaluate(run, source), keep=True)
