"""What the two stages that train share: files come back from a checkpoint, logs warn, and a training may start warm.

Fine-tuning is a translator that starts from the generators of a finished training, of this data or of other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from medaug.data.weights import read_weights
from medaug.errors import WeightsError
from medaug.models.base import Translator
from medaug.models.weights import WeightsFacts, load_weights
from medaug.progress import say
from medaug.runs.folder import RunDir
from medaug.runs.markers import run_stage
from medaug.runs.provenance import contents_of, refuse_known
from medaug.splits import Split, pseudonym
from medaug.training.checkpoint import has_checkpoint
from medaug.training.config import TrainingConfig
from medaug.training.log import METRICS
from medaug.training.monitors import warnings_in
from medaug.training.processes import is_helper


def run_training(
    run: RunDir, stage: str, inputs: Any, folder: Path, work: Callable[[], None], settings: TrainingConfig
) -> bool:
    """`run_stage` of a training in this folder; what its log warns of is said, also where nothing was left to do.

    What was changed there since is made again from the last checkpoint, all but the log itself.
    """
    helper = is_helper(settings)
    ran = run_stage(
        run,
        stage,
        inputs,
        [folder],
        work,
        helper=helper,
        remade=lambda path: path.name != METRICS and has_checkpoint(folder),
    )
    for warning in [] if helper else warnings_in(folder):
        say(f"warning: {warning}")
    return ran


def weights_hash(folder: Path | None) -> list[str]:
    """The SHA-256 of the weights, as a part of what a training is made of; nothing without them.

    Raises:
        WeightsError: if they are missing or altered.
    """
    return [] if folder is None else [read_weights(folder)[1]["sha256"]]


def start_from(folder: Path, translator: Translator, run: RunDir, split: Split) -> WeightsFacts:
    """Puts the generators of a weights folder into `translator`, and returns what they say of their training.

    Raises:
        WeightsError: if they are of another method, content or size.
        LeakageError: if they were trained on a patient that this split validates or tests on, by whatever name.
    """
    weights = load_weights(folder)
    refuse_known(weights.facts, run, split, f"translator.warm_start: weights {folder}")
    found, wanted = _kind(weights.translator), _kind(translator)
    if found != wanted:
        raise WeightsError(
            f"translator.warm_start: {folder}: found {found}; expected {wanted}, as the settings say. Set the same, or "
            "leave warm_start out."
        )
    try:
        translator.generators.load_state_dict(weights.translator.generators.state_dict())
    except RuntimeError as error:
        raise WeightsError(
            f"translator.warm_start: {folder}: found generators of other sizes; expected those of {translator.config}. "
            "Set translator.* as in the first training (its config.yaml), or leave warm_start out."
        ) from error
    return weights.facts


def beyond_the_budget(facts: WeightsFacts, run: RunDir, split: Split) -> list[str]:
    """A warning where weights know patients that do not train in this run: no other arm has had their labels.

    Args:
        facts: of the weights, empty without any.
    """
    known = {*facts.training_patients, *facts.training_content}
    contents = contents_of(run)
    own, unused = (
        sum(not known.isdisjoint({patient, pseudonym(patient), *contents.get(patient, ())}) for patient in part)
        for part in (split.train, split.unused)
    )
    others = len(facts.training_patients) - own
    if others <= 0:
        return []
    budget = f" ({unused} of them left out here by split.labelled)" if unused else ""
    return [
        f"The translator started from weights (translator.warm_start) of {others} patients beyond the "
        f"{len(split.train)} that train here{budget}: arms with a GAN had more labelled patients than the others."
    ]


def _kind(translator: Translator) -> str:
    content = getattr(translator.config, "content", None)
    return translator.name + (f" with {content} content" if content else "")
