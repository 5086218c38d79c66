"""What the two jobs, insertion and translation, do differently: a stage asks its task, and does the rest itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from torch import nn
from torch.utils.data import Dataset

from medaug.audits.findings import Answer, AuditedRun
from medaug.config import PipelineConfig
from medaug.data.atomic import read_json, write_json
from medaug.data.datalists import own_file
from medaug.data.files import write_scan
from medaug.data.prepared import View
from medaug.data.synthetic import Parent, SyntheticCase
from medaug.lesions.prior import LesionPrior
from medaug.models.weights import Weights
from medaug.report.run_page import Findings, Results
from medaug.runs.folder import RunDir
from medaug.splits import Split
from medaug.volumes import Domain, Window

STAGES = ("prepare", "train", "synthesize", "audit", "evaluate", "report")


class TrainingData(NamedTuple):
    """What a translator is trained on.

    Attributes:
        domains: A and B.
        views: all that the training may look at.
        samples: what it draws from.
        prior: of insertion.
        facts: what the weights keep of it.
        settings: of the method, that follow from the data.
        segmenter: a frozen network that losses look through.
    """

    domains: tuple[Domain, Domain]
    views: list[View]
    samples: Dataset[Any]
    facts: Mapping[str, object]
    settings: Mapping[str, object] = {}
    prior: LesionPrior | None = None
    segmenter: nn.Module | None = None


class Cases(Dataset[SyntheticCase], ABC):
    """The synthetic cases of a run: `cases[i]` makes case i, writes it, and returns its record, or reads what is there.

    A case depends on its number and the settings alone, so that several processes can make a share each.
    """

    run: RunDir
    workers: int = 0
    """Processes that make cases side by side; 0: this one, with all its threads."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def name(self, index: int) -> str:
        """The name of a case, which is that of its files."""

    @abstractmethod
    def make(self, index: int) -> SyntheticCase:
        """Makes one case, writes its images, and returns its record."""

    def get_ready(self) -> None:
        """Makes what all cases share, in the process that starts the workers; only where a case is missing."""

    def figures(self, records: Sequence[SyntheticCase]) -> dict[str, object]:
        """What the datalist says of all cases together."""
        return {}

    def __getitem__(self, index: int) -> SyntheticCase:
        if self.is_there(index):
            return SyntheticCase.from_json(read_json(self._record(index)))
        made = self.make(index)
        write_json(self._record(index), made.to_json())
        return made

    def is_there(self, index: int) -> bool:
        """Whether the case was made, and all its files are there."""
        path = self._record(index)
        if not path.exists():
            return False
        made = SyntheticCase.from_json(read_json(path))
        return all(
            own_file(self.run.synthetic, file, must_exist=False).exists()
            for file in (*made.images, made.label, *made.originals)
        )

    def _record(self, index: int) -> Path:
        return self.run.synthetic / "records" / f"{self.name(index)}.json"

    def written(
        self,
        name: str,
        kind: str,
        view: View,
        images: Mapping[str, tuple[Any, Sequence[str]]],
        weights: Weights,
        *,
        seed: int,
        suffix: str = ".nii.gz",
        windows: tuple[Window, ...] | None = None,
    ) -> SyntheticCase:
        """Writes a case made from `view`, and says what it is.

        Args:
            kind: what was done: "inserted", "removed", "translated".
            images: by kind of image, what is written (C, *S), a file a channel, and as which types.
            windows: of the image's channels; None: those of the view.
        """
        paths: dict[str, tuple[str, ...]] = {}
        for which, (image, dtypes) in images.items():
            numbers = [""] if len(dtypes) == 1 else [f"_{channel:04d}" for channel in range(len(dtypes))]
            paths[which] = tuple(f"{which}s/{name}{number}{suffix}" for number in numbers)
            for channel, (path, dtype) in enumerate(zip(paths[which], dtypes, strict=True)):
                write_scan(self.run.synthetic / path, image[channel : channel + 1], view.affine, dtype)
        return SyntheticCase(
            case=name,
            patient=view.patient,
            kind=kind,
            images=paths["image"],
            label=paths["label"][0],
            originals=paths.get("original", ()),
            parent=Parent(case=view.case.case, patient=view.patient, level=view.level),
            windows=view.windows if windows is None else windows,
            length_unit=view.case.length_unit,
            seed=seed,
            lesions=(),
            weights=weights.facts.sha256,
            training_patients=weights.facts.training_patients,
            split_hash=weights.facts.split_hash,
        )


@dataclass(frozen=True)
class Task(ABC):
    """One of the two jobs, with the settings of a run."""

    config: PipelineConfig

    needs_labels: ClassVar[bool]
    """Whether scans without a label are of no use."""
    trained_by: ClassVar[tuple[str, ...]]
    """Sections of the settings that decide what is trained."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the stages, in order."""
        return STAGES

    @abstractmethod
    def check_settings(self) -> None:
        """Refuses an evaluation that cannot be made, before anything is read.

        Raises:
            ConfigError: saying which setting does not fit.
        """

    @abstractmethod
    def check_prepared(self, run: RunDir) -> None:
        """Refuses patients who cannot be evaluated on: after the reading, not after an hour of training.

        Raises:
            DataError: if they are too few, or the networks cannot be trained or scored on them.
            LeakageError: if the weights of an own arm were made from one of them.
        """

    @abstractmethod
    def scored_patients(self, run: RunDir, patients: set[str]) -> set[str]:
        """Those of the patients to score whom a prepared run has something to score of."""

    @abstractmethod
    def training_data(self, run: RunDir, split: Split) -> TrainingData:
        """What the translator is trained on: scans of training patients.

        Raises:
            DataError: if they do not hold what the settings need.
        """

    @abstractmethod
    def cases(self, run: RunDir) -> Cases:
        """The synthetic cases that the settings ask for, made or not.

        Raises:
            DataError: if there is no scan to make them from.
        """

    @property
    @abstractmethod
    def audit_settings(self) -> dict[str, object]:
        """Those settings that decide what `audit` finds."""

    @abstractmethod
    def audit(self, run: RunDir) -> None:
        """Looks at what the weights make of held-out patients, and writes it to `audit/`."""

    @abstractmethod
    def audits(self, run: RunDir) -> tuple[AuditedRun, Mapping[str, Callable[[Any], Answer]]]:
        """What the audits of `medaug audit` are given, and which there are."""

    @abstractmethod
    def evaluated_from(self, run: RunDir) -> list[Any]:
        """What decides the scores, beside the settings of the evaluation and the prepared data."""

    @abstractmethod
    def evaluate(self, run: RunDir, made_of: str) -> None:
        """Trains and scores the cells that are missing, and writes them and their summary to `evaluation/`.

        Args:
            made_of: the fingerprint of all that decides a cell.

        Raises:
            LeakageError: if the synthetic cases or the weights were made from validation or test patients.
        """

    @abstractmethod
    def pool_audits(self, run: RunDir, folds: Sequence[RunDir]) -> None:
        """Joins what the folds' audits found, where patients stand side by side in it."""

    @abstractmethod
    def results(self, run: RunDir) -> Results:
        """What a page says of the evaluation."""

    @abstractmethod
    def findings(self, run: RunDir) -> Findings:
        """What else the page of a run says that is different for the two jobs."""
