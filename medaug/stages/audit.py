"""What do the weights make of held-out patients? Insertions beside their own tumors, or their translations.

Reads: `prepared/` (and `prepared_b/`), `split.json`, `train/weights`. Writes `audit/`: `pictures.png`, `viewer.json`
(the cases to look around in) and the figures, `realism.json` of insertion and `translation.json` of translation (see
`tasks`). Held-out patients are looked at here and nowhere used for training.
"""

from __future__ import annotations

from medaug.config import PipelineConfig
from medaug.data.atomic import read_json
from medaug.runs.folder import RunDir
from medaug.runs.markers import data_prints, run_stage
from medaug.stages.tasks import task_of


def audit(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do."""
    task = task_of(config)
    made_from = [read_json(run.weights / "model.json")["sha256"], read_json(run.split)["hash"], *data_prints(run)]
    return run_stage(run, "audit", [task.audit_settings, *made_from], [run.audit], lambda: task.audit(run))
