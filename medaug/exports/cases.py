"""What a run has to export: real cases and synthetic ones, each with the patients it was made from.

Reads: `config.yaml`, `split.json`, `prepared/` (and `prepared_b/`), `synthetic/`. Every case is a NIfTI volume on the
run's own grid, with class numbers as label; a picture or a synthetic slice is a volume of one slice, at its place in
its parent's grid. Patients have running numbers: their names stay in the run.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from medaug.config import PipelineConfig
from medaug.config.files import load_config
from medaug.data.atomic import read_json
from medaug.data.cache import file_name
from medaug.data.cases import natural_key
from medaug.data.datalists import own_file
from medaug.data.files import read_label, read_scan, write_scan
from medaug.data.prepared import View
from medaug.errors import DataError, RunError
from medaug.experiment.held_out import check_provenance
from medaug.runs.folder import RunDir
from medaug.runs.provenance import refuse_known
from medaug.splits import Split

logger = logging.getLogger(__name__)

Part = Literal["train", "validation", "test"]


class Scan(NamedTuple):
    """Image (X, Y, Z) in its own unit, class numbers (X, Y, Z) or None, affine (4, 4) in mm, and the type on disk."""

    image: np.ndarray
    label: np.ndarray | None
    affine: np.ndarray
    dtype: str


@dataclass(frozen=True)
class ExportCase:
    """One case of the set.

    Attributes:
        name: unique, fit for a file.
        patient: running number of the patient, of a synthetic case that of its parent.
        kind: "real", or what the synthesis did: "inserted", "removed", "translated".
        sources: numbers of all patients it was made from: the parent's, and those whose lesions were pasted.
        facts: of a synthetic case what it was made of; empty for a real one.
        read: reads the scan from the run.
    """

    name: str
    patient: str
    part: Part
    kind: str
    labelled: bool
    sources: frozenset[str]
    facts: dict[str, Any]
    read: Callable[[], Scan]

    @property
    def is_real(self) -> bool:
        return self.kind == "real"

    def write(self, image: Path, label: Path | None) -> None:
        """Writes the image, and the label where the case has one and `label` says where to."""
        scan = self.read()
        write_scan(image, scan.image[None], scan.affine, scan.dtype)
        if scan.label is not None and label is not None:
            write_scan(label, scan.label[None], scan.affine, "uint8")


@dataclass(frozen=True)
class ExportSet:
    """All cases of a run, in order: real ones, then synthetic ones.

    Attributes:
        channel: what the one channel shows; "CT" means HU (nnU-Net normalises by this name).
        classes: name by class number, from 1.
        split_hash, weights: what the synthetic cases were made with.
    """

    name: str
    channel: str
    classes: tuple[str, ...]
    split_hash: str
    weights: str
    cases: tuple[ExportCase, ...]

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
        counts = Counter(case.kind for case in self.training)
        listed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        return (
            f"Training cases: {listed}; {len(self.held_out)} real cases of held-out patients. Synthetic cases were "
            "made by medaug from training patients. For research, not for diagnosis."
        )


def export_set(folder: Path) -> ExportSet:
    """The cases of a run's folder.

    Raises:
        RunError: if it is no run, or one without a synthetic set.
        LeakageError: if a synthetic case, or the weights behind it, were made from a held-out patient.
    """
    run = RunDir(folder)
    _check_synthesized(run)
    config, split = load_config(run.config, []), Split.from_dict(read_json(run.split))
    records = read_json(run.synthetic / "datalist.json")["training"]
    check_provenance(records, split)
    refuse_known(read_json(run.weights / "model.json"), run, split, f"weights {run.weights}")
    everyone = sorted([*split.train, *split.validation, *split.test], key=natural_key)
    numbers = {patient: f"{number:03d}" for number, patient in enumerate(everyone, start=1)}
    cases = [*_real_cases(run, split, numbers), *_synthetic_cases(run, records, numbers)]
    _check_unique(cases, run)
    return ExportSet(
        config.name,
        _channel(config),
        config.data.class_names,
        split.hash,
        read_json(run.weights / "model.json")["sha256"],
        tuple(cases),
    )


def _check_synthesized(run: RunDir) -> None:
    folds = sorted(path.name for path in run.root.glob("*") if path.name.startswith(("fold-", "labelled-")))
    if folds:
        raise RunError(f"{run.root}: holds several runs; give the folder of one of them, such as {run.root / folds[0]}")
    needed = (run.config, run.split, run.datalist, run.synthetic / "datalist.json", run.weights / "model.json")
    missing = [str(path.relative_to(run.root)) for path in needed if not path.exists()]
    if missing == [str(needed[3].relative_to(run.root))]:
        inserts = load_config(run.config, []).domain == "tumor"
        following = (
            f"medaug synthesize {run.root}" if inserts else "medaug run, with the settings and --out of this one"
        )
        raise RunError(f"{run.root}: trained, and no synthetic cases yet; expected some. Write them first: {following}")
    if missing:
        raise RunError(
            f"{run.root}: no run with synthetic cases; missing: {', '.join(missing)}. Give the folder of a finished "
            "`medaug run`."
        )


def _real_cases(run: RunDir, split: Split, numbers: dict[str, str]) -> Iterator[ExportCase]:
    """Of the source domain all patients, of a target domain those held out: its training images have no labels."""
    parts: dict[str, Part] = dict.fromkeys(split.train, "train")
    parts.update(dict.fromkeys(split.validation, "validation"))
    parts.update(dict.fromkeys(split.test, "test"))
    for prefix, datalist, folder in (("", run.datalist, run.prepared), ("target-", run.datalist_b, run.prepared_b)):
        entries = read_json(datalist)["cases"] if datalist.exists() else []
        unused = [entry["case"] for entry in entries if entry["patient"] not in parts]
        unlabelled = 0
        for entry in entries:
            patient, labelled = entry["patient"], "label" in entry["arrays"]
            if patient not in parts or (prefix and parts[patient] == "train"):
                continue
            unlabelled += not labelled and parts[patient] == "train"
            number = numbers[patient]
            yield ExportCase(
                file_name(f"{prefix}{entry['case']}"),
                number,
                parts[patient],
                "real",
                labelled,
                frozenset({number}),
                {},
                _reader(entry, folder),
            )
        for count, what in ((len(unused), "of patients that the split leaves unused"), (unlabelled, "without a label")):
            if count:
                logger.warning("%s: %d case(s) %s are not training cases", datalist, count, what)


def _synthetic_cases(run: RunDir, records: list[dict[str, Any]], numbers: dict[str, str]) -> Iterator[ExportCase]:
    entries = {entry["case"]: entry for entry in read_json(run.datalist)["cases"]}
    for record in records:
        parent, lesions = record["parent"], record["lesions"]
        patients = {parent["patient"], *(lesion["patient"] for lesion in lesions)} - {None}
        sources = {numbers[patient] for patient in patients}
        scans = {
            text
            for entry in entries.values()
            if entry["patient"] in patients
            for text in entry.get("fingerprints", [])[:1]
        }
        facts = {
            "kind": record["kind"],
            "parent": file_name(parent["case"]),
            "level": parent["level"],
            "made_from_patients": sorted(sources),
            "made_from_content": sorted(scans),
            "seed": record["seed"],
            "trained_on_patients": sorted(numbers[who] for who in record["training_patients"] if who in numbers),
            "lesions": [lesion | {"patient": numbers.get(lesion["patient"])} for lesion in lesions],
            "weights": record["weights"],
            "split_hash": record["split_hash"],
        }
        yield ExportCase(
            file_name(f"synthetic-{record['case']}"),
            numbers[parent["patient"]],
            "train",
            record["kind"],
            True,
            frozenset(sources),
            facts,
            _synthetic_reader(run, record, entries[parent["case"]]),
        )


def _reader(entry: dict[str, Any], folder: Path) -> Callable[[], Scan]:
    def read() -> Scan:
        view = View(entry, None, 0)
        label = view.classes(folder) if "label" in entry["arrays"] else None
        return _volume(np.asarray(view.raw(folder, "image")), label, entry, None, entry["source_dtype"])

    return read


def _synthetic_reader(run: RunDir, record: dict[str, Any], entry: dict[str, Any]) -> Callable[[], Scan]:
    def read() -> Scan:
        image = read_scan(own_file(run.synthetic, record["image"]))
        label = read_label(own_file(run.synthetic, record["label"])).as_tensor()[0].numpy()
        level = record["parent"]["level"]
        return _volume(image.as_tensor()[0].numpy(), label, entry, level, image.meta["dtype"])

    return read


def _volume(image: np.ndarray, label: np.ndarray | None, entry: dict[str, Any], level: int | None, dtype: str) -> Scan:
    """What lies on an entry's grid, or on its slice `level`, with a third axis."""
    affine = np.array(entry["affine"], dtype=np.float64)
    if level is not None:
        affine[:3, 3] += level * affine[:3, 2]
    shape = image.shape if image.ndim == 3 else (*image.shape, 1)
    return Scan(image.reshape(shape), None if label is None else label.reshape(shape), affine, dtype)


def _channel(config: PipelineConfig) -> str:
    if config.data.domain("any").unit == "HU":
        return "CT"
    kind = config.data.kind
    return kind if kind.lower() != "ct" else "ct-grey-levels"


def _check_unique(cases: list[ExportCase], run: RunDir) -> None:
    twice = [name for name, count in Counter(case.name.lower() for case in cases).items() if count > 1]
    if twice:
        raise DataError.about(
            run.root,
            f"two cases that would be files named {twice[0]}",
            "names that differ in more than case",
            "Rename one of them in the data, and run again.",
        )
