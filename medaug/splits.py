"""Splits by patient, and the refusal of anything that crosses them.

A split is hashed; the hash travels with the weights and the synthetic cases, so that an evaluation can tell whether
they were made from the patients it may use.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, KFold

from medaug.errors import DataError, LeakageError

PARTS = ("train", "validation", "test", "unused", "healthy")
OPTIONAL = ("unused", "healthy")
"""Parts that older files do not have."""
HASHED = "sha256:"


@dataclass(frozen=True)
class Split:
    """Patients by part, each sorted.

    Those `unused` could train, and are left out to see what fewer do. Those `healthy` train without a label: of them
    nothing is used but scans and slices that show no tumor.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    unused: tuple[str, ...] = ()
    healthy: tuple[str, ...] = ()

    @property
    def learnt_from(self) -> tuple[str, ...]:
        """All patients that a GAN and the networks may see: those who train, and the healthy pool."""
        return tuple(sorted({*self.train, *self.healthy}))

    @property
    def hash(self) -> str:
        """SHA-256 over the parts, without those of `OPTIONAL` that are empty: as it was before there were these."""
        parts = {part: patients for part, patients in asdict(self).items() if part not in OPTIONAL or patients}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, object]:
        return {**asdict(self), "hash": self.hash}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Split:
        """The inverse of `to_dict`.

        Raises:
            DataError: if it is no split.
            LeakageError: if a patient is in two parts, or the parts do not match the stored hash.
        """
        parts = checked_parts(values)
        split = cls(*(tuple(sorted(parts[part])) for part in PARTS))
        counts = Counter(patient for part in PARTS for patient in set(getattr(split, part)))
        twice = sorted(patient for patient, parts_of_one in counts.items() if parts_of_one > 1)
        if twice:
            raise LeakageError(f"patients in more than one part of the split: {', '.join(twice)}", twice)
        if values.get("hash", split.hash) != split.hash:
            raise LeakageError("the split was changed after it was made (its hash differs); make a new run", [])
        return split


def checked_parts(values: Any) -> dict[str, Sequence[str]]:
    """A stored split as it was read; a file from before there were unused or healthy patients has none.

    Raises:
        DataError: if a part is missing, or is no list of names.
    """
    parts = {**dict.fromkeys(OPTIONAL, []), **(values if isinstance(values, dict) else {})}
    for part in PARTS:
        patients = parts.get(part)
        if not (isinstance(patients, list | tuple) and all(isinstance(name, str) for name in patients)):
            raise DataError.about(
                "split.json",
                f'no list of patients "{part}"',
                "the split as it was written",
                "Put the file back as it was, or make a new run.",
            )
    return parts


def split_patients(
    patients: Iterable[str], train: int | float, validation: int | float, seed: int, least_tested: int = 1
) -> Split:
    """Draws a split; counts at or above 1 are patients, below 1 fractions; the rest is the test part.

    Args:
        least_tested: 0 where nothing is tested, and all may train.

    Raises:
        DataError: if there are too few patients for at least one to train and these to test.
    """
    names = sorted(set(patients))
    counts = [_count(part, len(names)) for part in (train, validation)]
    needed = max(sum(counts) + least_tested, 2)
    if len(names) < needed or counts[0] < 1:
        raise DataError(
            f"found {len(names)} patient(s); expected at least {needed}: {counts[0]} to train, {counts[1]} to "
            f"validate, and at least {least_tested} to test. A split never divides a patient: add patients, "
            "or lower split.train and split.validation."
        )
    rest, validating = _draw(names, counts[1], seed)
    testing, training = ([], rest) if len(rest) == counts[0] else _draw(rest, counts[0], seed)
    return Split(tuple(training), tuple(validating), tuple(testing))


def fold_patients(patients: Iterable[str], folds: int, fold: int, validation: int | float, seed: int) -> Split:
    """Fold `fold` (from 0) of `folds`: every patient is tested in one of them; of the others some validate.

    Args:
        validation: how many, or a fraction below 1 of all patients.
        seed: of the folds, and of who validates.

    Raises:
        DataError: if there are too few patients for at least one in each of train and test.
    """
    names = sorted(set(patients))
    count = _count(validation, len(names))
    if len(names) < folds or len(names) - -(-len(names) // folds) - count < 1:
        raise DataError(
            f"found {len(names)} patient(s) for {folds} folds with {count} to validate; expected at least one to test "
            "and one to train in each. Add patients, or lower split.folds or split.validation."
        )
    rest, tested = list(KFold(folds, shuffle=True, random_state=seed).split(names))[fold]
    training, validating = _draw([names[i] for i in rest], count, seed)
    return Split(tuple(training), tuple(validating), tuple(sorted(names[i] for i in tested)))


def with_labelled(split: Split, labelled: int, seed: int) -> Split:
    """The same split with the labels of only `labelled` training patients; the others are unused.

    Subsets of one seed are nested: who is among two is also among five.

    Raises:
        DataError: if fewer patients train.
    """
    if not 1 <= labelled <= len(split.train):
        raise DataError(
            f"found {len(split.train)} training patient(s); expected at least 1 and at most as many to be labelled, "
            f"and {labelled} are asked for. Lower split.labelled (benchmark.labelled), or raise split.train."
        )
    order = np.random.RandomState(seed).permutation(sorted(split.train)).tolist()
    unused = (*split.unused, *order[labelled:])
    return replace(split, train=tuple(sorted(order[:labelled])), unused=tuple(sorted(unused)))


def with_healthy(split: Split, count: int, seed: int) -> Split:
    """The same split with `count` patients in the healthy pool: of those unused, then of those who would test.

    Raises:
        DataError: if fewer than two would be left to test.
    """
    rng = np.random.RandomState(seed)
    ordered = [rng.permutation(sorted(part)).tolist() for part in (split.unused, split.test)]
    available = [*ordered[0], *ordered[1][: max(0, len(split.test) - 2)]]
    if count > len(available):
        raise DataError(
            f"split.healthy: found {count}; expected at most {len(available)} of the {len(split.unused)} unused and "
            f"{len(split.test)} test patients, of whom 2 have to be left to test. Lower split.healthy or split.train."
        )
    pool = set(available[:count])
    left = {part: tuple(who for who in getattr(split, part) if who not in pool) for part in ("unused", "test")}
    return replace(split, **left, healthy=tuple(sorted({*split.healthy, *pool})))


def pseudonym(patient: str) -> str:
    """A patient's name as a hash, for weights that are passed on; `refuse_leakage` knows the patient by it.

    It hides a name from readers, not from somebody who tries all names of a list.
    """
    if patient.startswith(HASHED):
        return patient
    return f"{HASHED}{hashlib.sha256(patient.encode()).hexdigest()[:32]}"


def refuse_leakage(
    made_from: Iterable[str], split: Split, what: str, contents: Mapping[str, Collection[str]] | None = None
) -> None:
    """Refuses weights or cases made from patients that this split validates or tests on.

    Args:
        made_from: names of patients, or pseudonyms of them, and fingerprints of images (`data.fingerprints`).
        contents: by patient the fingerprints of the images, for patients that go by another name.

    Raises:
        LeakageError: naming the patients.
    """
    named, copied = known_among(made_from, {*split.validation, *split.test}, contents or {})
    if leaked := sorted(named | copied):
        listed = ", ".join(f"{who} (the same images under another name)" if who in copied else who for who in leaked)
        raise LeakageError(
            f"{what} made from validation or test patients: {listed}. Results on them would be inflated; "
            "train and synthesize again with this run's split.",
            leaked,
        )


def known_among(
    made_from: Iterable[str], patients: Collection[str], contents: Mapping[str, Collection[str]]
) -> tuple[set[str], set[str]]:
    """Which of these patients something was made from: those it names, and others by their images alone.

    Args:
        made_from, contents: as in `refuse_leakage`.
    """
    known = set(made_from)
    named = {patient for patient in patients if patient in known or pseudonym(patient) in known}
    return named, {who for who in patients if who not in named and not known.isdisjoint(contents.get(who, ()))}


def _draw(names: list[str], count: int, seed: int) -> tuple[list[str], list[str]]:
    """(the others, `count` drawn)."""
    if count == 0:
        return names, []
    splitter = GroupShuffleSplit(1, test_size=count, random_state=seed)
    others, drawn = next(splitter.split(names, groups=names))
    return sorted(names[i] for i in others), sorted(names[i] for i in drawn)


def _count(part: int | float, total: int) -> int:
    return int(part) if part >= 1 or part == 0 else max(1, round(part * total))
