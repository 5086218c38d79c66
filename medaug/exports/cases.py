"""What a run has to export: real cases and synthetic ones, each with the patients it was made from.

Reads: `config.yaml`, `split.json`, `prepared/` (and `prepared_b/`), `synthetic/`. Every case is a NIfTI volume on the
run's own grid, with class numbers as label; a picture or a synthetic slice is a volume of one slice, at its place in
its parent's grid. Patients have running numbers: their names stay in the run.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from medaug.config.files import load_config
from medaug.data.atomic import read_json
from medaug.data.cache import file_name
from medaug.data.cases import natural_key
from medaug.data.datalists import own_file
from medaug.data.files import read_label, read_scan
from medaug.data.prepared import View
from medaug.data.records import PreparedCase, prepared_cases
from medaug.data.synthetic import SyntheticCase, synthetic_cases
from medaug.errors import DataError, RunError
from medaug.experiment.backends.layout import Volume, channel_names
from medaug.experiment.held_out import check_provenance
from medaug.models.weights import read_facts
from medaug.runs.folder import RunDir
from medaug.runs.provenance import refuse_known
from medaug.splits import Split

logger = logging.getLogger(__name__)

Part = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Origin:
    """What a synthetic case was made of, as an export tells it; patients go by their numbers.

    Attributes:
        level: the parent's slice, None for a whole volume.
        made_from_patients: the parent's, and those whose lesions were pasted.
        made_from_content: fingerprints of their scans.
        trained_on_patients: those from whom the generator learnt.
    """

    kind: str
    parent: str
    level: int | None
    made_from_patients: list[str]
    made_from_content: list[str]
    seed: int
    trained_on_patients: list[str]
    lesions: list[Mapping[str, Any]]
    weights: str
    split_hash: str


@dataclass(frozen=True)
class ExportCase:
    """One case of the set.

    Attributes:
        name: unique, fit for a file.
        patient: running number of the patient, of a synthetic case that of its parent.
        origin: what a synthetic case was made of; None for a real one.
        read: reads the volume from the run.
    """

    name: str
    patient: str
    part: Part
    labelled: bool
    origin: Origin | None
    read: Callable[[], Volume]

    @property
    def is_real(self) -> bool:
        return self.origin is None

    @property
    def sources(self) -> set[str]:
        """The numbers of all patients it was made from."""
        return {self.patient} if self.origin is None else set(self.origin.made_from_patients)

    @property
    def provenance(self) -> dict[str, object]:
        """What an entry of a list adds for a synthetic case."""
        return {} if self.origin is None else {"synthetic": asdict(self.origin)}

    def write(self, images: Sequence[Path], label: Path) -> None:
        """Writes the image, and the label where the case has one.

        Args:
            images: a file a channel; or one for all of them, 4-D, of a type that holds all channels' types.
        """
        self.read().write(images, label)


@dataclass(frozen=True)
class ExportSet:
    """All cases of a run, in order: real ones, then synthetic ones.

    Attributes:
        channels: what each channel shows; "CT" means HU (nnU-Net normalises by this name).
        classes: name by class number, from 1: the parts of a tumor, numbered as the run's settings name them, whatever
            values the source's labels have.
        regions: class numbers by name, of a run that outlines regions (`evaluation.regions`); else empty.
    """

    name: str
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    cases: tuple[ExportCase, ...]
    regions: Mapping[str, tuple[int, ...]]

    @property
    def training(self) -> list[ExportCase]:
        """The labelled cases of training patients, and the synthetic ones."""
        return [case for case in self.cases if case.part == "train" and case.labelled]

    @property
    def held_out(self) -> list[ExportCase]:
        """The cases of validation and test patients, all real."""
        return [case for case in self.cases if case.part != "train"]

    @property
    def description(self) -> str:
        counts = Counter("real" if case.origin is None else case.origin.kind for case in self.training)
        listed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        numbered = ", ".join(f"{number} {name}" for number, name in enumerate(self.classes, start=1))
        values = f" Label values are the run's own: {numbered}." if len(self.classes) > 1 else ""
        return (
            f"Training cases: {listed}; {len(self.held_out)} real cases of held-out patients.{values} Synthetic cases "
            "were made by medaug from training patients. For research, not for diagnosis."
        )


def export_set(folder: Path) -> ExportSet:
    """The cases of a run's folder.

    Raises:
        RunError: if it is no run, or one without a synthetic set.
        DataError: if two cases would be files of one name.
        LeakageError: if a synthetic case, or the weights behind it, were made from a held-out patient.
    """
    run = RunDir(folder)
    folds = sorted(path.name for path in run.root.glob("*") if path.name.startswith(("fold-", "labelled-")))
    if folds:
        raise RunError(f"{run.root}: holds several runs; give the folder of one of them, such as {run.root / folds[0]}")
    listed = run.synthetic / "datalist.json"
    needed = (run.config, run.split, run.datalist, listed, run.weights / "model.json")
    missing = [str(path.relative_to(run.root)) for path in needed if not path.exists()]
    if missing == [str(listed.relative_to(run.root))]:
        inserts = read_json(run.weights / "model.json").get("domain", "tumor") == "tumor"
        again = f"medaug synthesize {run.root}" if inserts else "medaug run, with the settings and --out of this one"
        raise RunError(f"{run.root}: trained, and no synthetic cases yet; expected some. Write them first: {again}")
    if missing:
        raise RunError(
            f"{run.root}: no run with synthetic cases; missing: {', '.join(missing)}. Give the folder of a finished "
            "`medaug run`."
        )
    config, split = load_config(run.config, []), run.read_split()
    records = synthetic_cases(listed)
    check_provenance(records, split)
    refuse_known(read_facts(run.weights), run, split, f"weights {run.weights}")
    everyone = sorted([*split.learnt_from, *split.validation, *split.test], key=natural_key)
    numbers = {patient: f"{number:03d}" for number, patient in enumerate(everyone, start=1)}
    cases = (*_real_cases(run, split, numbers), *_synthetic_cases(run, records, numbers))
    twice = [name for name, count in Counter(case.name.lower() for case in cases).items() if count > 1]
    if twice:
        raise DataError.about(
            run.root,
            f"two cases that would be files named {twice[0]}",
            "names that differ in more than case",
            "Rename one of them in the data, and run again.",
        )
    regions = config.scored if config.evaluation.regions else {}
    return ExportSet(config.name, channel_names(config), config.data.class_names, cases, regions)


def _real_cases(run: RunDir, split: Split, numbers: dict[str, str]) -> Iterator[ExportCase]:
    """The patients to export: all of the source domain; in a target domain only those held out have labels."""
    parts: dict[str, Part] = {patient: part for part in get_args(Part) for patient in getattr(split, part)}
    for prefix, datalist, folder in (("", run.datalist, run.prepared), ("target-", run.datalist_b, run.prepared_b)):
        unused = unlabelled = pool = 0
        for entry in prepared_cases(datalist) if datalist.exists() else []:
            part, labelled = parts.get(entry.patient), entry.labelled
            pool += entry.patient in split.healthy
            unused += part is None and entry.patient not in split.healthy
            if part is None or (prefix and part == "train"):
                continue
            unlabelled += not labelled and part == "train"
            name, read = file_name(f"{prefix}{entry.case}"), partial(_read_prepared, entry, folder)
            yield ExportCase(name, numbers[entry.patient], part, labelled, None, read)
        for count, what in (
            (unused, "of patients that the split leaves unused are not training cases"),
            (unlabelled, "without a label are not training cases"),
            (pool, "of the healthy pool, which have no label to learn from, are left out"),
        ):
            if count:
                logger.warning("%s: %d case(s) %s", datalist, count, what)


def _synthetic_cases(run: RunDir, records: list[SyntheticCase], numbers: dict[str, str]) -> Iterator[ExportCase]:
    entries = {entry.case: entry for entry in prepared_cases(run.datalist)}
    for record in records:
        scans = [entry.fingerprints[:1] for entry in entries.values() if entry.patient in record.made_from]
        origin = Origin(
            record.kind,
            file_name(record.parent.case),
            record.parent.level,
            sorted(numbers[patient] for patient in record.made_from),
            sorted({text for fingerprint in scans for text in fingerprint}),
            record.seed,
            sorted(numbers[who] for who in record.training_patients if who in numbers),
            [{**lesion, "patient": numbers.get(lesion["patient"])} for lesion in record.lesions],
            record.weights,
            record.split_hash,
        )
        name, read = f"synthetic-{record.case}", partial(_read_synthetic, run, record, entries[record.parent.case])
        yield ExportCase(file_name(name), numbers[record.parent.patient], "train", True, origin, read)


def _read_prepared(entry: PreparedCase, folder: Path) -> Volume:
    view = View(entry, None, 0)
    label = view.classes(folder) if entry.labelled else None
    return Volume.of(np.asarray(view.raw(folder, "image")), label, view, entry.source_dtypes)


def _read_synthetic(run: RunDir, record: SyntheticCase, entry: PreparedCase) -> Volume:
    """A synthetic case lies on the grid of its parent's entry, or on that of one slice of it."""
    channels = [read_scan(own_file(run.synthetic, file)) for file in record.images]
    label = read_label(own_file(run.synthetic, record.label)).as_tensor()[0].numpy()
    image = np.concatenate([channel.as_tensor().numpy() for channel in channels])
    dtypes = tuple(channel.meta["dtype"] for channel in channels)
    return Volume.of(image, label, View(entry, record.parent.level, 0), dtypes)
