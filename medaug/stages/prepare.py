"""Find the cases, decode them once, give each its window and its organ or body mask, and split the patients.

Reads: the data folder (or makes phantoms). Writes: `prepared/` with `datalist.json`, and `split.json`. With a target
domain its scans go to `prepared_b/`, and one split is drawn over the patients of both: nobody is on two sides. A fold
or a block of a benchmark writes its datalist and split alone: the scans lie in the run around it, prepared once.
Synthetic cases of a data set are in no split: those train that nobody else than training patients had a part in.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medaug.config import PipelineConfig
from medaug.data.atomic import write_json
from medaug.data.cache import FORMAT, Unreadable, completed, open_array, prepare_cases, seals_of, with_array
from medaug.data.cases import source_stamps
from medaug.data.fingerprints import Seal, seal
from medaug.data.opening import read_file
from medaug.data.prepared import View, without_labels
from medaug.data.records import Case, PreparedCase, prepared_cases
from medaug.data.synthetic import is_synthetic
from medaug.data.visits import REMEDY, doubts_between
from medaug.errors import DataError
from medaug.lesions.anatomy import body_of, find_organ
from medaug.processes import LARGE_VOXELS, cores, worked_out
from medaug.progress import track
from medaug.runs.checks import check_grid, check_organs, check_pool, check_tumors, tumors_of_source
from medaug.runs.folder import RunDir
from medaug.runs.markers import claimed, essential, run_stage
from medaug.runs.provenance import by_patient, refuse_copies, synthetic_to_train
from medaug.runs.sources import Source, find_sources
from medaug.runs.splitting import keep_split, split_for, split_of_file
from medaug.splits import Split
from medaug.stages.tasks import task_of
from medaug.volumes import Window

logger = logging.getLogger(__name__)


def prepare(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do.

    Raises:
        DataError: for unusable input, naming the file, what was found, what was expected and the remedy.
        LeakageError: if `split.json` was edited since, or two parts of the split share an image; naming the patients.
    """
    shared = nullcontext() if run.outer is None else claimed(RunDir(run.outer), "prepare", wait=True)
    with shared:  # another fold or block may be at the same scans
        return _prepared(config, run)


def _prepared(config: PipelineConfig, run: RunDir) -> bool:
    sources = find_sources(config, run)
    if len(sources) > 1:
        for doubt in doubts_between(*({case.patient for case in source.cases} for source in sources)):
            logger.warning("data and target: %s. If they are of one patient, %s.", doubt, REMEDY)
    if config.split.file is not None:  # not after an hour of reading
        cases = [case for source in sources for case in source.cases]
        split_of_file(config.split, cases, labelled=task_of(config).needs_labels)
    inputs = [essential(config.split), *(_inputs(source) for source in sources)]
    datalists = (run.datalist, run.datalist_b)[: len(sources)]

    def seals() -> dict[Path, Seal]:
        found = {datalist: seal(datalist) for datalist in datalists}
        for source, datalist in zip(sources, datalists, strict=True):
            for entry in prepared_cases(datalist):
                found |= {source.folder / name: sealed for name, sealed in seals_of(entry, source.folder).items()}
        return found

    if run_stage(run, "prepare", inputs, [], lambda: _prepare(config, run, sources), sealed=seals):
        return True
    made = _split(config, sources, [entry for datalist in datalists for entry in prepared_cases(datalist)])
    return keep_split(run, made, from_file=config.split.file is not None)


def _inputs(source: Source) -> list[Any]:
    stamps = [[case.case, case.patient, *source_stamps(case)] for case in source.cases]
    return [FORMAT, essential(source.data), source.data.skip_unreadable, stamps]


def _prepare(config: PipelineConfig, run: RunDir, sources: list[Source]) -> None:
    needs_labels = task_of(config).needs_labels
    prepared = [_read(source, with_labels=needs_labels) for source in sources]
    split = _split(config, sources, [entry for entries, _ in prepared for entry in entries])
    check_pool(config, sources[0], split, prepared[0][0])
    contents = by_patient(entry for entries, _ in prepared for entry in entries)
    for source, (entries, unreadable) in zip(sources, prepared, strict=True):
        usable = [case for case in source.cases if case.label is not None or not needs_labels]
        if made := synthetic_to_train(usable, split, contents):
            tumors = tumors_of_source(source).values if needs_labels else source.data.tumor_labels
            more, left_out = _decoded(source, made, tumors)
            entries += more
            unreadable += left_out
    refuse_copies([entry for entries, _ in prepared for entry in entries], split)
    check_grid(config, [e for entries, _ in prepared for e in entries if e.patient in split.learnt_from])
    datalists = (run.datalist, run.datalist_b)
    for source, datalist, (entries, unreadable) in zip(sources, datalists, prepared, strict=False):
        entries = _completed(source, entries, whole_body=not needs_labels)
        if needs_labels and source.data.organ is not None:
            check_organs(config, source, [entry for entry in entries if entry.patient in split.learnt_from])
        folder = Path(os.path.relpath(source.folder, datalist.parent)).as_posix()  # "." but for a fold or block
        listed = [entry.shared_from(folder).to_json() for entry in entries]
        write_json(datalist, {"cases": listed, "unreadable": [asdict(item) for item in unreadable]})
    if not split.test:
        logger.warning("split.train is %g: all patients train or validate, none is left to test", config.split.train)
    write_json(run.split, split.to_dict())


def _read(source: Source, *, with_labels: bool) -> tuple[list[PreparedCase], list[Unreadable]]:
    """The decoded cases; with `with_labels` only labelled ones, of which one must hold a tumor."""
    data, cases = source.data, [case for case in source.cases if not is_synthetic(case)]
    pool = [case for case in cases if case.healthy]
    if with_labels:
        cases = [case for case in cases if not case.healthy]
    if not cases:
        raise DataError.about(
            source.root,
            f"{len(source.cases)} synthetic cases and no other",
            "real scans to train and to test on",
            "Add those that they were made from.",
        )
    if with_labels:
        cases = [case for case in cases if case.label is not None]
        if not cases:
            raise DataError.about(
                source.root,
                f"{len(source.cases)} images and no label",
                "a label beside every training image",
                "Add the labels; docs/tutorials/own-data.md lists the layouts.",
            )
    entries, unreadable = _decoded(source, cases, tumors_of_source(source).values if with_labels else data.tumor_labels)
    if with_labels:
        check_tumors(source, entries)
        healthy, left_out = _decoded_pool(source, pool) if pool else ([], [])
        entries, unreadable = [*entries, *healthy], [*unreadable, *left_out]
    return entries, unreadable


def _decoded_pool(source: Source, pool: list[Case]) -> tuple[list[PreparedCase], list[Unreadable]]:
    """The healthy pool, without labels.

    Raises:
        DataError: if a label beside one of its scans marks something.
    """
    entries, unreadable = _decoded(source, pool, tumors_of_source(source).values)
    for entry in entries:
        if any(map(sum, entry.class_voxels)):
            raise DataError.about(
                str(entry.label),
                "something labelled in the healthy pool (data.healthy)",
                "scans without a tumor",
                "Move the scan to the labelled data, or take it away.",
            )
    return without_labels(entries), unreadable


def _decoded(
    source: Source, cases: list[Case], tumor_labels: tuple[int, ...] | None
) -> tuple[list[PreparedCase], list[Unreadable]]:
    """These cases of the source; what cannot be read is told, where it may be."""
    data = source.data
    with track("read scans", len(cases)) as tracker:
        entries, unreadable = prepare_cases(
            cases,
            source.folder,
            skip_unreadable=data.skip_unreadable,
            progress=lambda done, total: tracker.advance(),
            spatial_dims=data.spatial_dims,
            tumor_labels=tumor_labels,
            classes=data.class_values,
            known_labels=data.allowed_labels,
            organ_labels=data.organ if isinstance(data.organ, tuple) else None,
            grid_size=data.grid_size,
            resample_mm=data.resample_mm,
            spacing_mm=data.spacing_mm,
        )
    for left_out in unreadable:
        logger.warning("left out %s", left_out.reason)
    return entries, unreadable


def _split(config: PipelineConfig, sources: list[Source], entries: list[PreparedCase]) -> Split:
    cases = [case for source in sources for case in source.cases]
    patients = {entry.patient for entry in entries if not entry.healthy}
    try:
        return split_for(config.split, cases, patients, labelled=task_of(config).needs_labels)
    except DataError as error:
        raise DataError(f"{sources[0].root}: {error}") from None


def _completed(source: Source, entries: list[PreparedCase], *, whole_body: bool) -> list[PreparedCase]:
    """The cases with their windows, what of them is organ or body, and a hash of their arrays.

    Each scan is looked at once, whatever the splits it is in: what was found is kept beside its arrays.
    """
    scans: dict[str, list[PreparedCase]] = defaultdict(list)
    for entry in entries:
        scans[entry.scan].append(entry)
    alone = source._replace(cases=[])  # all that a process needs
    tasks = [partial(_complete, alone, members, whole_body=whole_body) for members in scans.values()]
    large = len(tasks) > 1 and any(math.prod(entry.shape) >= LARGE_VOXELS for entry in entries)
    workers = cores() if source.data.workers is None else source.data.workers
    found: dict[str, PreparedCase] = {}
    with track("find bodies" if whole_body else "find organs", len(scans)) as tracker:
        for kept in worked_out(tasks, workers if large else 0, setting=f"{source.name}.workers"):
            found |= {entry.case: entry for entry in kept}
            tracker.advance()
    return [found[entry.case] for entry in entries]


def _complete(source: Source, members: Sequence[PreparedCase], *, whole_body: bool) -> list[PreparedCase]:
    """The cases of one scan, completed."""

    def complete(members: Sequence[PreparedCase]) -> list[PreparedCase]:
        windows = _windows(source, members)
        return [_with_tissue(source, replace(entry, windows=windows), whole_body=whole_body) for entry in members]

    return completed(members, source.folder, [essential(source.data), whole_body], complete)


def _windows(source: Source, members: Sequence[PreparedCase]) -> tuple[Window, ...]:
    """A window a channel of a scan: its slices share it."""
    images = [open_array(source.folder, entry.arrays["image"]) for entry in members]
    found = []
    for channel, domain in enumerate(source.data.domain("any").channels):
        held = [number for number, entry in enumerate(members) if entry.sequences[channel].image]
        if not held:  # zeros stand in for it
            found.append(Window(0.0, 1.0, domain.unit))
            continue
        first = members[held[0]]
        path = first.sequences[channel].image
        values = [np.asarray(images[number][channel]).reshape(-1) for number in held]
        found.append(domain.window_of(np.concatenate(values), path))
        said = first.source_modalities[channel] if first.source_modalities else None
        lowest = min(float(part.min()) for part in values)
        source.data.check_modality(source.name, path, lowest, said, channel)
    return tuple(found)


def _with_tissue(source: Source, entry: PreparedCase, *, whole_body: bool) -> PreparedCase:
    """With where lesions may lie, or with `whole_body` what is translated (skin and skull too), and the hash.

    It is found in the first channel that the case has, unless files say where the organ is.
    """
    if whole_body or "organ" not in entry.arrays:
        view = View(entry, None, 0)
        first = next(number for number, file in enumerate(entry.sequences) if file.image)
        image = np.asarray(view.raw(source.folder, "image")[first], dtype=np.float32)
        window, spacing_mm = view.windows[first], view.spacing_mm
        mask = (
            body_of(image, window, spacing_mm)
            if whole_body
            else find_organ(window.normalize(image), spacing_mm, margin_mm=source.data.organ_margin_mm)
        )
        entry = with_array(entry, source.folder, "body" if whole_body else "organ", mask)
    digest = hashlib.sha256()
    for kind in sorted(entry.arrays):
        digest.update(read_file(source.folder / entry.arrays[kind]))
    return replace(entry, content=digest.hexdigest()[:16])
