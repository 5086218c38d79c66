"""What weights and synthetic cases were made from, by name and by content, against who is held out in a run; and
trainings, which start from nothing or from the generators of a finished training (fine-tuning).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from medaug.data.atomic import read_json
from medaug.data.fingerprints import holders_of
from medaug.data.records import Case, PreparedCase, prepared_cases
from medaug.data.synthetic import is_synthetic
from medaug.data.weights import METADATA
from medaug.errors import DataError, LeakageError, RunError, WeightsError
from medaug.models.base import Translator
from medaug.models.facts import WeightsFacts
from medaug.models.weights import load_weights
from medaug.progress import say
from medaug.runs.folder import RunDir
from medaug.runs.markers import bears, run_stage
from medaug.splits import Split, known_among, pseudonym, refuse_leakage
from medaug.training.checkpoint import CHECKPOINTS, last_step
from medaug.training.config import TrainingSection, beyond, is_helper
from medaug.training.monitors import METRICS, warnings_in

logger = logging.getLogger(__name__)

NAMED = 5
"""Pairs of patients that a message names at most."""


def refuse_copies(entries: Sequence[PreparedCase], split: Split) -> None:
    """Refuses prepared cases of two patients in two parts of the split that share an image, or a slice of one.

    Two patients in one part who share one are told, and go on; so is one who is unused, but not beside the healthy
    pool: somebody has labelled what passes for tumor-free there.

    Raises:
        LeakageError: naming the patients and files.
    """
    part_of = {patient: part for part in ("train", "validation", "test", "healthy") for patient in getattr(split, part)}
    across: dict[tuple[str, str], str] = {}
    within: dict[tuple[str, str], str] = {}
    for numbers in holders_of(entry.fingerprints for entry in entries):
        by_patient = {entries[number].patient: entries[number].path for number in reversed(numbers)}
        first_of = {part_of.get(patient, "unused"): patient for patient in reversed(by_patient)}
        for one, other in product(first_of.values(), by_patient):
            sides = [part_of.get(patient, "unused") for patient in (one, other)]
            apart = sides[0] != sides[1] and ("unused" not in sides or "healthy" in sides)
            found = across if apart else within
            if one != other and (other, one) not in found:
                shown = [f"{who} ({side}: {by_patient[who]})" for who, side in zip((one, other), sides, strict=True)]
                found.setdefault((one, other), " and ".join(shown))
    if within:
        logger.warning("the same image, or a slice of it, under the names of two patients: %s", _listed(within))
    if across:
        raise LeakageError(
            "found the same image, or a slice of it, under the names of two patients in two parts of the split: "
            f"{_listed(across)}; expected every image on one side. Give the copies one patient name (patients.json, or "
            '"patient" in a datalist), or remove one.',
            sorted({patient for pair in across for patient in pair}),
        )


def refuse_known(facts: WeightsFacts, run: RunDir, split: Split, what: str) -> None:
    """Refuses weights that know a validation or test patient of this run, or a scan or slice of one by another name.

    Args:
        facts: what they say of their training; those of medaug 0.1 hold no content, and are compared by name alone.

    Raises:
        LeakageError: naming the patients.
        WeightsError: if they do not say whom they know.
    """
    if "training_patients" not in facts.model_fields_set:
        raise WeightsError(
            f"{what}: found no training_patients in their model.json; expected whom they were trained on. Copy the "
            "weights again."
        )
    refuse_leakage([*facts.training_patients, *facts.training_content], split, f"{what} were", contents_of(run))


def contents_of(run: RunDir) -> dict[str, set[str]]:
    """The fingerprints of each patient's scans and slices, in both domains where there are two."""
    paths = [path for path in (run.datalist, run.datalist_b) if path.exists()]
    return by_patient(entry for path in paths for entry in prepared_cases(path))


def by_patient(entries: Iterable[PreparedCase]) -> dict[str, set[str]]:
    """The fingerprints of these prepared cases, of each patient's together."""
    found: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        found[entry.patient].update(entry.fingerprints)
    return dict(found)


def synthetic_to_train(cases: Iterable[Case], split: Split, contents: Mapping[str, set[str]]) -> list[Case]:
    """Those synthetic cases of a data set that may train beside the real ones; the others are told and kept out.

    Kept out is what is known to be made from anybody who does not train (the parent, whose lesion was pasted, or from
    whom the generator learnt), and what is known to be made from nobody.

    Args:
        contents: the fingerprints of the real scans, by patient.
    """
    kept: list[Case] = []
    out: dict[str, int] = defaultdict(int)
    others = {*split.validation, *split.test, *split.unused}
    for case in filter(is_synthetic, cases):
        made_from, trained_on = ((case.synthetic or {}).get(key, []) for key in ("made_from", "trained_on"))
        parents, learnt = (set().union(*known_among(who, others, contents)) for who in (made_from, trained_on))
        if not made_from or case.patient not in {*split.learnt_from, *others}:
            out["nothing in the data says from which of its patients"] += 1
        elif parents:
            out[f"made from patients who do not train ({', '.join(sorted(parents))})"] += 1
        elif learnt:
            out[f"their generator learnt from patients who do not train ({', '.join(sorted(learnt))})"] += 1
        else:
            kept.append(case)
    if kept or out:
        reasons = "".join(f"; {count} kept out: {why}" for why, count in out.items())
        logger.warning("synthetic cases in the data: %d train, none is tested%s", len(kept), reasons)
    return kept


def content_of(run: RunDir, split: Split) -> list[str]:
    """What weights keep of their training scans: fingerprints, which name nobody and show nothing."""
    contents = contents_of(run)
    return sorted(set().union(*(contents.get(patient, set()) for patient in split.learnt_from)))


def _listed(pairs: dict[tuple[str, str], str]) -> str:
    rest = f"; and {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
    return "; ".join(list(pairs.values())[:NAMED]) + rest


def run_training(
    run: RunDir, stage: str, inputs: Any, folder: Path, work: Callable[[], None], settings: TrainingSection
) -> bool:
    """`run_stage` of a training in this folder; what its log warns of is said, also where nothing was left to do.

    What was changed there since is made again from the last checkpoint, all but the log itself. A finished training of
    fewer steps than `settings` ask for goes on from there.
    """
    helper = is_helper(settings)
    extends = _extends(run, stage, inputs, folder, settings)
    if extends and helper:
        work()
        return True
    if extends:
        run.done(stage).unlink()
    ran = run_stage(
        run,
        stage,
        inputs,
        [folder],
        work,
        helper=helper,
        keep=extends,
        remade=lambda path: path.name != METRICS and last_step(folder) > 0,
    )
    for warning in [] if helper else warnings_in(folder):
        say(f"warning: {warning}")
    return ran


def _extends(run: RunDir, stage: str, inputs: Any, folder: Path, settings: TrainingSection) -> bool:
    """Whether the training is done and has fewer steps than are asked for.

    Raises:
        RunError: if it has more, or left no checkpoint to go on from.
    """
    metadata = folder / "weights" / METADATA
    if not bears(run.done(stage), stage, inputs) or not metadata.exists():
        return False
    try:
        trained = read_json(metadata).get("steps")
    except DataError:
        trained = None
    if not isinstance(trained, int):  # spoilt: the stage makes it again
        return False
    if trained > settings.total_steps:
        raise beyond(folder, trained, settings)
    if trained < settings.total_steps and not last_step(folder):
        raise RunError(
            f"{folder}: found a training of {trained} steps without a checkpoint; expected {CHECKPOINTS}/, to go on to "
            f"{settings.total_steps}. Put it back, or leave training.extend out."
        )
    return trained < settings.total_steps


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
