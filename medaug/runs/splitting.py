"""Who trains, validates and tests in a run: drawn as the settings say, or read from a file, and kept as it was made.

A split of one's own (`split.file`) has patients by part, or is a fold of nnU-Net's `splits_final.json`. By part:
{"train": [patient, ...], "validation": [...], "test": [...], "unused": [...], "healthy": [...]}, of which
`unused` is for patients to leave out, and `healthy` for those of whom nothing but tumor-free scans and slices is used;
a run's own `split.json` is such a file. nnU-Net's is a list of {"train": [case, ...], "val":
[case, ...]}, perhaps with a list of those "unused": its `val` is what a fold is scored on, and so the test part here;
nobody validates.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medaug.config.data import SplitConfig
from medaug.data.atomic import read_json, write_json
from medaug.data.records import Case
from medaug.data.synthetic import is_synthetic
from medaug.errors import ConfigError, DataError, LeakageError
from medaug.runs.folder import RunDir
from medaug.splits import PARTS, Split, checked_parts, fold_patients, split_patients, with_healthy, with_labelled

logger = logging.getLogger(__name__)

LOOKS = '{"train": [patient, ...], "validation": [...], "test": [...]}, or the list of folds of nnU-Net'
NAMED = 5


def split_for(settings: SplitConfig, cases: Sequence[Case], patients: Collection[str], *, labelled: bool) -> Split:
    """The split that the settings draw of these patients, or read from a file, with the healthy pool.

    Args:
        cases: of all sources, synthetic ones and the healthy pool too.
        patients: who can train or test.
        labelled: whether only cases with a label are of use.

    Raises:
        DataError: if they are too few, or not those of the file.
        MedaugError: whatever else is refused of the file (see `split_of_file`).
    """
    if settings.file is not None:
        split = _among(split_of_file(settings, cases, labelled=labelled), patients, settings)
    elif settings.folds is not None:
        split = fold_patients(patients, settings.folds, settings.fold or 0, settings.validation, settings.seed)
    else:  # who asks for so many, to train only; what tests says so (see `stages.pipeline`)
        least_tested = 0 if settings.train >= 1 else 1
        split = split_patients(patients, settings.train, settings.validation, settings.seed, least_tested)
    if settings.labelled is not None:
        split = with_labelled(split, settings.labelled, settings.seed)
    if settings.healthy is not None:
        split = with_healthy(split, settings.healthy, settings.seed)
    pool = {case.patient for case in cases if case.healthy}
    return replace(split, healthy=tuple(sorted({*split.healthy, *pool})))


def split_of_file(settings: SplitConfig, cases: Sequence[Case], *, labelled: bool) -> Split:
    """The split in `split.file`, which everybody with a real scan (and a label, if that is needed) has to be in.

    Args:
        cases, labelled: as in `split_for`.

    Raises:
        DataError: if it is no split of these patients: somebody is unknown, missing, or there twice.
        LeakageError: if somebody is in two parts, or a hash in it is of another split.
        ConfigError: if `split.fold` or `split.folds` do not fit the file.
    """
    assert settings.file is not None  # who asks has looked
    cases = [case for case in cases if not case.healthy]
    wanted = {case.patient for case in cases if not is_synthetic(case) and (case.label or not labelled)}
    content = read_json(settings.file, object)
    if isinstance(content, list):
        lists, of_cases = _fold(settings, content), {case.case: case.patient for case in cases}
    else:
        lists, of_cases = _parts(settings, content), {}
    known = {case.patient: case.patient for case in cases} | of_cases
    what = "case" if of_cases else "patient"
    for part, names in lists.items():
        if twice := _repeated(names):
            raise _wrong(settings.file, f'{_listed(twice)} more than once in "{part}"', f"each {what} once")
        if unknown := sorted(set(names) - known.keys()):
            expected = f"{what}s of the data, such as {_listed(sorted(of_cases or known))}"
            raise _wrong(settings.file, f'{len(unknown)} unknown {what}(s) in "{part}": {_listed(unknown)}', expected)
    patients = {part: tuple(sorted({known[name] for name in names})) for part, names in lists.items()}
    everybody = [who for names in patients.values() for who in names]
    if twice := _repeated(everybody):
        raise LeakageError(
            f"{settings.file}: found {_listed(twice)} in more than one part; expected every patient, with all scans, "
            "on one side. Take them out of all parts but one.",
            twice,
        )
    if missing := sorted(wanted - set(everybody)):
        remedy = "Add them, or leave their files out of the data" + ("." if of_cases else ', or list them as "unused".')
        raise _wrong(
            settings.file, f"no part for {len(missing)} patient(s): {_listed(missing)}", "all patients", remedy
        )
    if not patients["train"]:
        raise _wrong(settings.file, "nobody to train", "at least one patient")
    return Split(**patients)


def keep_split(run: RunDir, made: Split, *, from_file: bool) -> bool:
    """Writes the split again where the run's is missing or damaged; says whether it had to.

    Raises:
        LeakageError: if patients of the run's have changed sides, naming them.
    """
    try:
        found = checked_parts(read_json(run.split))
    except DataError as error:
        logger.warning("%s; the split is drawn again, the same", error)
        write_json(run.split, made.to_dict())
        return True
    moved = sorted({p for part in PARTS for p in set(getattr(made, part)) ^ set(found[part])})
    if moved:
        raise LeakageError(
            f"{run.split}: edited after it was made{' (or split.file was)' if from_file else ''}: "
            f"{', '.join(moved)} changed sides. What was trained with the other split would leak into the results; "
            "make a new run with another split.seed or --out.",
            moved,
        )
    if found.get("hash") != made.hash:
        logger.warning("%s: changed since it was written; the split is drawn again, the same", run.split)
        write_json(run.split, made.to_dict())
        return True
    return False


def _among(split: Split, patients: Collection[str], settings: SplitConfig) -> Split:
    """The same split of these patients alone; those who are left out are told, and settings that do not count."""
    if (settings.train, settings.validation) != (SplitConfig().train, SplitConfig().validation):
        logger.warning("%s says who trains and validates; split.train and split.validation are not used", settings.file)
    parts = {part: getattr(split, part) for part in PARTS}
    if gone := sorted(who for names in parts.values() for who in names if who not in patients):
        logger.warning("split.file: %d patient(s) have no case that can be used: %s", len(gone), _listed(gone))
    return Split(**{part: tuple(who for who in names if who in patients) for part, names in parts.items()})


def _fold(settings: SplitConfig, content: list[Any]) -> dict[str, list[str]]:
    """The fold that `split.fold` names."""
    count = len(content)
    all_of_them = f", or split.folds={count} to test all of them" if count > 1 else ""
    if settings.folds not in (None, count):
        raise ConfigError(
            f"split.folds: found {settings.folds}; {settings.file} has {count}. Set split.fold for one{all_of_them}."
        )
    if settings.fold is None or settings.fold >= count:
        raise ConfigError(
            f"split.fold: found {settings.fold}; {settings.file} has {count} folds. Set split.fold to one from 0 to "
            f"{count - 1}{all_of_them}."
        )
    fold = content[settings.fold]
    parts = fold.keys() - {"unused"} if isinstance(fold, dict) else None
    if parts != {"train", "val"} or not all(map(_is_names, fold.values())):
        raise _wrong(
            settings.file, f"another kind of fold {settings.fold}", '{"train": [case, ...], "val": [case, ...]}'
        )
    unused = fold.get("unused", [])
    return {"train": fold["train"], "test": fold["val"], "validation": [], "unused": unused, "healthy": []}


def _parts(settings: SplitConfig, content: Any) -> dict[str, list[str]]:
    if settings.fold is not None or settings.folds is not None:
        raise ConfigError(
            f"split.fold, split.folds: found {settings.fold}, {settings.folds}; {settings.file} has one split. Leave "
            "them out, or give a file with folds, as nnU-Net's splits_final.json."
        )
    keys = sorted(content) if isinstance(content, dict) else []
    lists: dict[str, list[str]] = {"validation": [], "unused": [], "healthy": []}
    lists |= {key: content[key] for key in keys if key != "hash"}
    if lists.keys() != set(PARTS):
        raise _wrong(settings.file, f"the keys {_listed(keys) or 'of no object'}", LOOKS)
    if wrong := [part for part, names in lists.items() if not _is_names(names)]:
        raise _wrong(settings.file, f'something else in "{wrong[0]}"', "a list of patients' names, each a text")
    if "hash" in content:
        Split.from_dict(lists | {"hash": content["hash"]})
    return lists


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _wrong(path: Path | None, found: str, expected: str, remedy: str = "Correct the file.") -> DataError:
    return DataError.about(path or "split.file", found, expected, remedy)


def _listed(names: Iterable[Any]) -> str:
    shown = [f"{name:.100}" for name in map(str, names)]
    return ", ".join(shown[:NAMED]) + (f" and {len(shown) - NAMED} more" if len(shown) > NAMED else "")
