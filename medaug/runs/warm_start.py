"""Fine-tuning: a translator starts from the generators of a finished training, of this data or of other."""

from __future__ import annotations

from pathlib import Path

from medaug.data.weights import read_weights
from medaug.errors import WeightsError
from medaug.models.base import Translator
from medaug.models.weights import WeightsFacts, load_weights
from medaug.runs.folder import RunDir
from medaug.runs.provenance import contents_of, refuse_known
from medaug.splits import Split, pseudonym


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
