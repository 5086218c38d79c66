"""How near is a translated image to the real one? Held-out registered patients, against two trivial translations.

Reads: `prepared/`, `prepared_b/`, `split.json`, `train/weights`. Writes `evaluation/`: `cells/<arm>-seed<k>.json`,
`scores.csv`, `summary.json` `pictures.png` and `viewer.json`. The arms are the
trained method, `mean` and, where training patients have registered pairs, `intensity` (see `audits.scans`).
Metrics are those of `measures.similarity`, inside the real image's body, of several sequences of the target the mean
over them; in HU the cells also hold errors by tissue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from medaug.audits.measures.hounsfield import bone_dice, tissue_errors
from medaug.audits.measures.similarity import HOUNSFIELD, ImagePair, Scale, similarity
from medaug.audits.scans import IntensityRegression, MeanImage, read_case, read_target, registered, scale_of, translated
from medaug.config import PipelineConfig
from medaug.data.atomic import atomic_path
from medaug.data.prepared import Prepared, View
from medaug.errors import DataError
from medaug.experiment.cells import cell_path, cells_of, is_kept, keep_cell
from medaug.experiment.records import Cell, Json, Scores, TranslationFacts
from medaug.experiment.summary import write_translation_summary
from medaug.models.weights import load_weights
from medaug.progress import track
from medaug.report.translation import pair_case, translation_grid
from medaug.report.viewer import EncodedCase, encode, write_cases
from medaug.report.viewing import SHOWN
from medaug.runs.folder import RunDir
from medaug.runs.provenance import refuse_known
from medaug.splits import Split
from medaug.transforms import TranslateDomain

PICTURES = 6
MEAN, INTENSITY = "mean", "intensity"
Translation = Callable[[View, np.ndarray], np.ndarray]
"""A source's view and its image (C, *S) in [-1, 1] → its translation (C', *S) in the target's scale."""


@dataclass(frozen=True)
class _Held:
    """The patients to score, with their registered views, and in what they are compared."""

    run: RunDir
    pairs: dict[str, list[tuple[View, View]]]
    scale: Scale

    def score(self, arm: str, seed: int, translation: Translation) -> Cell:
        """Each patient's metrics and, in HU, the errors by tissue."""
        scores: Scores = {}
        tissues: Json = {}
        with track(f"score {arm}", len(self.pairs)) as tracker:
            for patient, views in self.pairs.items():
                by_channel = list(zip(*(self.compared(pair, translation) for pair in views), strict=True))
                figures = [similarity(compared, self.scale) for compared in by_channel]
                scores[patient] = {name: float(np.mean([each[name] for each in figures])) for name in figures[0]}
                if self.scale == HOUNSFIELD:
                    pairs = [pair for compared in by_channel for pair in compared]
                    tissues[patient] = {"bone_dice": bone_dice(pairs), "tissues": tissue_errors(pairs)}
                tracker.advance()
        return Cell(arm=arm, seed=seed, scores=scores, hounsfield=tissues)

    def compared(self, views: tuple[View, View], translation: Translation) -> list[ImagePair]:
        """A pair for every sequence of the target."""
        case = read_case(self.run, views, self.scale)
        made = translation(views[0], case.source)
        return [ImagePair(real, fake, case.body) for real, fake in zip(case.target, made, strict=True)]


def evaluate(config: PipelineConfig, run: RunDir, made_of: str) -> None:
    """Scores the method and the trivial translations that are missing.

    Raises:
        DataError: if fewer than two of the patients to score have registered images in both domains.
        LeakageError: if the weights were made from one of them.
    """
    weights = load_weights(run.weights).on(config.accelerator, config.precision)
    split = run.read_split()
    refuse_known(weights.facts, run, split, f"weights {run.weights}")
    scale = scale_of(run, weights.translator.domain_b)
    wanted = split.test if config.evaluation.patients == "test" else split.validation
    found = registered(run, wanted)
    if len(found.pairs) < 2:
        reasons = "; ".join(found.left_out.values()) or f"there are {len(wanted)} {config.evaluation.patients} patients"
        raise DataError(
            f"found {len(found.pairs)} {config.evaluation.patients} patient(s) with registered images in data and "
            f"target; expected at least 2 for an interval ({reasons}). Add patients, or register their images."
        )
    held = _Held(run, found.pairs, scale)
    translate, method = TranslateDomain(weights, "a2b"), weights.translator.name
    trained_on = registered(run, split.train).pairs
    arms: dict[str, Translation] = {method: lambda view, source: translated(run, view, translate, scale)}
    arms |= _baselines(run, split, trained_on, scale)
    seed = config.training.seed
    for arm, translation in arms.items():
        cell = cell_path(run, arm, seed)
        if not is_kept(cell, made_of):
            keep_cell(cell, made_of, held.score(arm, seed, translation))
    facts = TranslationFacts(
        unit=scale.unit,
        scale=(scale.low, scale.high),
        left_out=found.left_out,
        source=weights.translator.domain_a.name,
        target=weights.translator.domain_b.name,
        registered_training_patients=list(trained_on),
    )
    write_translation_summary(run, cells_of(run, list(arms), [seed]), facts)
    _write_pictures(held, arms, method)


def _baselines(
    run: RunDir, split: Split, pairs: dict[str, list[tuple[View, View]]], scale: Scale
) -> dict[str, Translation]:
    """The trivial translations that the training patients allow."""
    targets = Prepared(run.datalist_b).whole_views(split.train)
    mean = MeanImage(read_target(run, view, scale) for view in targets)
    found: dict[str, Translation] = {MEAN: lambda view, source: mean(source)}
    if pairs:
        examples = (read_case(run, pair, scale) for views in pairs.values() for pair in views)
        intensity = IntensityRegression(examples)
        found[INTENSITY] = lambda view, source: intensity(source)
    return found


def _write_pictures(held: _Held, arms: dict[str, Translation], method: str) -> None:
    """The middle case of the first patients, in the first sequence of either domain."""
    rival = INTENSITY if INTENSITY in arms else MEAN
    rows: dict[str, tuple[np.ndarray, ImagePair, np.ndarray]] = {}
    cases: list[EncodedCase] = []
    for patient, views in list(held.pairs.items())[:PICTURES]:
        middle = views[len(views) // 2]
        source = middle[0].normalized(held.run.prepared)
        rows[patient] = (source[0], held.compared(middle, arms[method])[0], arms[rival](middle[0], source)[0])
        if len(cases) < SHOWN:
            cases.append(encode(pair_case(middle[1], rows[patient][1], held.scale)))
    with atomic_path(held.run.evaluation / "pictures.png") as temporary:
        temporary.write_bytes(translation_grid(rows, held.scale, rival=rival))
    write_cases(held.run.evaluation / "viewer.json", cases)
