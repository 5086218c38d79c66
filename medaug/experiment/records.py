"""What an evaluation leaves, as typed records: a `Cell` is one trained network, a `Summary` is of one test set.

Both are JSON on the disk: `evaluation/cells/<arm>-seed<k>.json`, and `evaluation/summary.json` (see `Evaluation`) or a
benchmark's `results/summary.json`. `from_json` checks what it reads, and knows what earlier versions did not write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self, TypeVar

from pydantic import TypeAdapter, ValidationError
from scipy.special import stdtrit

from medaug.config.evaluation import GANS, REFERENCE, rival_of, with_gan
from medaug.data.atomic import WRITE_AGAIN, read_json
from medaug.errors import DataError
from medaug.evaluation.detection import Counts
from medaug.evaluation.intervals import Interval
from medaug.evaluation.statistics import Comparison
from medaug.experiment.arms import gan_arms, is_ceiling
from medaug.runs.folder import RunDir

V = TypeVar("V")
Json = dict[str, Any]
ONE_KIND = "tumor"
"""What lesions are of in files of earlier versions, which did not say it."""
Scores = dict[str, dict[str, float | None]]
"""Patient → metric → score; None where a metric is not defined for a patient alone."""


class _Stored:
    """A record that is read from a file of JSON."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; keys that are no fields are not read.

        Raises:
            DataError: naming the file that the values are of, and what does not fit.
        """
        try:
            return TypeAdapter(cls).validate_python(cls._completed(values))
        except ValidationError as error:
            first = error.errors()[0]
            path = getattr(values, "source", f"a {cls.__name__}")
            found = f"'{'.'.join(map(str, first['loc']))}': {first['msg']}"
            raise DataError.about(path, found, "what was once written there", WRITE_AGAIN) from None

    @classmethod
    def _completed(cls, values: Mapping[str, Any]) -> Json:
        """The values of all fields, also of what earlier versions did not write."""
        return dict(values)


@dataclass(frozen=True)
class SliceScores:
    """A patient's slices (or patches): the probability of a tumor in each, and whether there is one."""

    probability: list[float]
    tumor: list[bool]


@dataclass(frozen=True, kw_only=True)
class PatientScores:
    """What one network scored on the patients of a test set.

    By patient stand the lesions counted (see `evaluation.detection`) of a segmentation, by what is scored (the tumor,
    its regions or parts, classes), and the slices of a classification.
    """

    scores: Scores = field(default_factory=dict)
    detection: dict[str, dict[str, Counts]] = field(default_factory=dict)
    slices: dict[str, SliceScores] = field(default_factory=dict)

    @classmethod
    def joined(cls, parts: Sequence[PatientScores]) -> PatientScores:
        """The patients of all parts, each of whom is in one."""
        names = [f.name for f in fields(PatientScores)]
        return PatientScores(**{name: _united(getattr(part, name) for part in parts) for name in names})


@dataclass(frozen=True, kw_only=True)
class Cell(PatientScores, _Stored):
    """One trained network, and what it scored.

    Attributes:
        losses: (update, loss) now and then.
        tests: by name what it scored on each of several test sets; empty where there is one, whose scores are its own.
        length_unit: of its lengths, "px" where no voxel size is known.
        without_room: views that had no room for a tumor, of an arm that inserts online.
        lesions: by kind of image and patient, what a translation lost and gained, as a ceiling's network sees it.
        hounsfield: by patient the errors by tissue, of a translation in HU.
        ratio, seconds: in a benchmark, the synthetic part of its arm (None of one without), and what it took.
    """

    arm: str
    seed: int
    losses: list[tuple[int, float]] = field(default_factory=list)
    tests: dict[str, PatientScores] = field(default_factory=dict)
    length_unit: str = "mm"
    without_room: int | None = None
    lesions: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    hounsfield: Json = field(default_factory=dict)
    ratio: float | None = None
    seconds: float | None = None

    @classmethod
    def _completed(cls, values: Mapping[str, Any]) -> Json:
        tests = {name: parts | _counted(parts) for name, parts in values.get("tests", {}).items()}
        return {**values, **_counted(values), "tests": tests}

    def to_json(self) -> Json:
        """Its fields, those left out that say nothing."""
        values = {name: value for name, value in asdict(self).items() if value not in (None, {})}
        for test, parts in values.get("tests", {}).items():
            values["tests"][test] = {name: scores for name, scores in parts.items() if scores}
        return values

    def on_test(self, name: str) -> Cell:
        """The cell with the scores of one of its test sets; "" is the only one."""
        return replace(self, **vars(self.tests[name])) if name else self

    @classmethod
    def of_folds(cls, parts: Sequence[Cell]) -> Cell:
        """Joins an arm and seed of several folds: every patient was tested in one of them."""
        first = parts[0]
        return replace(
            first,
            **vars(PatientScores.joined(parts)),
            losses=[],
            tests={name: PatientScores.joined([part.tests[name] for part in parts]) for name in first.tests},
            lesions={kind: _united(part.lesions[kind] for part in parts) for kind in first.lesions},
            hounsfield=_united(part.hounsfield for part in parts),
        )


@dataclass(frozen=True)
class MetricFacts:
    """How a score is called, its unit (None: that of the images), and whether more is better."""

    title: str
    unit: str | None
    higher_is_better: bool

    @property
    def heading(self) -> str:
        """The title, with the unit where there is one."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True)
class RateFacts:
    """A rate of detection as in `evaluation.rates`; `count` is how much there is to find, or to leave alone."""

    title: str
    short: str
    of: str
    count: int
    patients: int
    higher_is_better: bool
    diameters_mm: tuple[float, float | None] | None


@dataclass(frozen=True)
class RateDifference:
    """A rate of one arm minus that of another; None in fewer than two patients, which are no sample."""

    arm: str
    reference: str
    rate: str
    difference: Interval | None


@dataclass(frozen=True)
class Detection:
    """The lesions found, by arm and rate; None in fewer than two patients. `dimensions` are 2 or 3, of their parts."""

    dimensions: list[int]
    rates: dict[str, RateFacts]
    arms: dict[str, dict[str, Interval | None]]
    differences: list[RateDifference]


@dataclass(frozen=True, kw_only=True)
class TranslationFacts:
    """What translated images were compared with and in what: `scale` is the range of their `unit`.

    `hounsfield` is, of images in HU and by arm, `bone_dice` and the errors by tissue (`audits.measures.hounsfield`),
    each as mean, low, high and patients.
    """

    unit: str
    scale: tuple[float, float]
    source: str
    target: str
    left_out: dict[str, str] = field(default_factory=dict)
    registered_training_patients: list[str] = field(default_factory=list)
    hounsfield: Json = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Summary(_Stored):
    """The figures of one test set, or of one setting of a benchmark.

    Attributes:
        metrics: the main one first.
        arms: by arm and metric the mean over patients and seeds.
        gan_arms: the one of main interest first.
        comparisons: of every arm with the reference.
        rivals: of every GAN arm with every other arm that needs no GAN.
        detection: by what is scored; empty where no lesions were counted.
        translation: where images were scored rather than networks.
        labelled, ratio: a benchmark's setting, the training patients and the synthetic part of a batch.
        primary: the comparison that was named beforehand.
        gan_seeds: whether each seed had a GAN training of its own.
    """

    task: str
    patients: list[str]
    seeds: list[int]
    metrics: dict[str, MetricFacts]
    arms: dict[str, dict[str, Interval]]
    gan_arms: list[str]
    comparisons: list[Comparison]
    rivals: list[Comparison]
    detection: dict[str, Detection] = field(default_factory=dict)
    translation: TranslationFacts | None = None
    labelled: int | None = None
    ratio: float | None = None
    primary: Comparison | None = None
    gan_seeds: bool = False

    @property
    def main(self) -> str:
        """The metric that decides."""
        return next(iter(self.metrics))

    @property
    def title(self) -> str:
        """The title of that metric."""
        return self.metrics[self.main].title

    @property
    def main_comparisons(self) -> list[Comparison]:
        """The comparisons with the reference by the main metric."""
        return [c for c in self.comparisons if c.metric == self.main]

    @property
    def plain_arms(self) -> list[str]:
        """The rivals: arms without a GAN, but ceilings."""
        return [arm for arm in self.arms if arm not in self.gan_arms and not is_ceiling(arm)]

    @property
    def best(self) -> str:
        """The rival with the best mean of the main metric; the reference where none was trained."""
        sign = 1 if self.metrics[self.main].higher_is_better else -1
        return max(self.plain_arms, key=lambda arm: sign * self.arms[arm][self.main].mean, default=REFERENCE)

    @property
    def best_with_gan(self) -> str:
        """The arm that is the best rival and a GAN, whether it was trained or not; of a translation the method."""
        if self.task == "translation":
            return self.gan_arms[0]
        twins = (arm for arm in self.gan_arms if rival_of(arm) == self.best)
        of_first = (gan for gan in GANS if gan in "".join(self.gan_arms[:1]).split("+"))
        return next(twins, with_gan(self.best, next(of_first, "gan")))

    @property
    def answer(self) -> list[Comparison]:
        """What a page says first: the best rival with a GAN against that rival, if it was trained; then the GAN arm of
        main interest against the best rival and against the reference.
        """
        asked = [*self.rivals, *self.main_comparisons]
        first = [c for c in asked if (c.arm, c.reference) == (self.best_with_gan, self.best)]
        main = [c for c in asked if c.arm in self.gan_arms[:1] and c.reference in (self.best, REFERENCE)]
        return [*first, *(c for c in main if c not in first)]

    @property
    def with_and_without(self) -> list[Comparison]:
        """By the main metric, every arm with a GAN against the same arm without one, that of the best rival first."""
        pairs = [c for c in [*self.main_comparisons, *self.rivals] if rival_of(c.arm) == c.reference]
        return sorted(pairs, key=lambda c: c.reference != self.best)

    @property
    def best_rivals(self) -> list[Comparison]:
        """Every GAN arm with the best arm without one; none where that is the reference."""
        return [c for c in self.rivals if c.reference == self.best]

    @classmethod
    def _completed(cls, values: Mapping[str, Any]) -> Json:
        known: Json = {"gan_arms": gan_arms(values["arms"]), **values}
        for kind in ("comparisons", "rivals"):
            known[kind] = [_with_estimate(c) for c in values[kind]]
        known["translation"] = values if "scale" in values else None
        counted = values.get("detection", {})
        known["detection"] = {ONE_KIND: counted} if "rates" in counted else counted
        return known

    def to_json(self) -> Json:
        """Its fields; a rival says whether it is the best, and the facts of a translation stand beside the others."""
        values = {name: value for name, value in asdict(self).items() if value is not None and value != {}}
        translation = values.pop("translation", {})
        values["rivals"] = [rival | {"best": rival["reference"] == self.best} for rival in values["rivals"]]
        return values | translation


@dataclass(frozen=True)
class Evaluation:
    """`evaluation/summary.json`: by test set ("" where there is one) its summary.

    `lesions`: by kind of image, what a translation lost and gained, all patients and cells together.
    """

    tests: dict[str, Summary]
    lesions: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def main(self) -> Summary:
        """The one test set, or the target domain's."""
        return self.tests.get("") or self.tests["target"]

    @classmethod
    def of_run(cls, run: RunDir) -> Evaluation | None:
        """What a run found; None where nothing was evaluated.

        Raises:
            DataError: naming the file, and what does not fit.
        """
        path = run.evaluation / "summary.json"
        if not path.exists():
            return None
        values = read_json(path)
        tests = values.get("tests", {"": values})
        return cls({name: Summary.from_json(found) for name, found in tests.items()}, values.get("lesions", {}))

    def to_json(self) -> Json:
        """A single test set by itself, or several by name."""
        if "" in self.tests:
            return self.tests[""].to_json()
        tests = {name: found.to_json() for name, found in self.tests.items()}
        return {"task": "segmentation", "tests": tests} | ({"lesions": self.lesions} if self.lesions else {})


def _with_estimate(values: Json) -> Json:
    """A comparison with its errors; in those of earlier versions all of it was the patients'."""
    d, freedom = values["difference"], values["n_patients"] - 1
    half_width = (d["high"] - d["low"]) / 2
    error = half_width / float(stdtrit(freedom, (1 + d["level"]) / 2))
    estimate = {"mean": d["mean"], "of_patients": error, "patients_freedom": freedom}
    return {"estimate": estimate, "p_interval": values["p_value"]} | values


def _counted(values: Mapping[str, Any]) -> Json:
    """The counts of lesions in a cell, by patient and what they are of."""
    counted = values.get("detection", {})
    return {"detection": {patient: {ONE_KIND: of} if "lesions" in of else of for patient, of in counted.items()}}


def _united(parts: Iterable[dict[str, V]]) -> dict[str, V]:
    return {patient: value for part in parts for patient, value in part.items()}
