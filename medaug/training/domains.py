"""What translation between two kinds of image trains on: views of domain A and of domain B, some of them pairs.

A registered pair is one place of one patient in both domains, on one grid; it is cut and flipped as one. All other
samples put any view of A beside any view of B. Sample i depends on (seed, i) alone.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from medaug.data.prepared import View, filled_up
from medaug.errors import DataError
from medaug.orientation import check_same_grid
from medaug.seeds import rng_of

log = logging.getLogger(__name__)

Pair = tuple[View, View]
NOT_REGISTERED = "Register the two and resample one onto the other's grid, or train without pairs (pairing.paired=0)."


class Side(NamedTuple):
    """One domain: its training views, the folder their arrays lie in, and whether each shows something labelled.

    `shows` is by view: in A what its label says, in B what a network sees that was trained on A; None: not asked.
    """

    views: list[View]
    folder: Path
    shows: Sequence[bool] | None = None


class DomainSamples(Dataset):
    """`a` and `b` (slices, *S) in [-1, 1], `paired` (1 for a registered pair, else 0) and `seed`; see `CycleGAN`.

    Args:
        pairs: as from `registered_pairs`; may be empty.
        share: part of the samples that are pairs, if there are any.
        tumor_share: part of the unpaired images of either domain that show something labelled (see `Side.shows`); None
            draws all views alike, so that one domain may show more of them than the other.
        crop_size: patches around a random voxel of the body, filled up with the window's floor at the far ends where a
            view is smaller; None takes whole views, which must have one size.
        slices: neighbouring slices as channels (2.5-D).
        classes: of A's labels; samples then also hold `label_a`, (classes, *S) of 0 and 1. 0: no labels.
        body: whether samples also hold `body_a` and `body_b`, (1, *S) of 0 and 1.

    Raises:
        DataError: if a domain has no views, or whole views do not have one size.
    """

    def __init__(
        self,
        a: Side,
        b: Side,
        pairs: list[Pair],
        *,
        share: float,
        crop_size: tuple[int, ...] | None,
        seed: int,
        classes: int = 0,
        slices: int = 1,
        tumor_share: float | None = None,
        body: bool = False,
    ):
        for name, side in (("data", a), ("target", b)):
            if not side.views:
                raise DataError(f"{name}: no training patient has a usable image; add patients, or change split.seed")
        if crop_size is None:
            check_one_size([*a.views, *b.views])
        else:
            views = [*a.views, *b.views]
            small = [view for view in views if any(n > have for n, have in zip(crop_size, view.shape, strict=True))]
            if small:
                log.warning(
                    "%d of %d training images are smaller than crop.size %s, such as %s: filled up with the window's "
                    "lowest value at the far ends",
                    len(small),
                    len(views),
                    crop_size,
                    small[0].case.path,
                )
        self.a, self.b, self.pairs, self.share = a, b, pairs, share
        self.crop_size, self.seed, self.classes, self.slices, self.body = crop_size, seed, classes, slices, body
        self._kinds_a, self._kinds_b = (_kinds(name, s, tumor_share) for name, s in (("data", a), ("target", b)))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = rng_of(self.seed, index)
        kind, first, second, flip_a, flip_b = rng.random_sample(5)
        paired = bool(self.pairs) and kind < self.share
        if paired:
            view_a, view_b = self.pairs[int(first * len(self.pairs))]
        else:
            view_a, view_b = _drawn(self._kinds_a, first), _drawn(self._kinds_b, second)
        box_a = self._box(view_a, self.a.folder, rng)
        box_b = box_a if paired else self._box(view_b, self.b.folder, rng)
        flip_a, flip_b = flip_a < 0.5, (flip_a if paired else flip_b) < 0.5
        sample = {
            "a": self._tensor(view_a.normalized(self.a.folder, box_a, self.slices), flip_a),
            "b": self._tensor(view_b.normalized(self.b.folder, box_b, self.slices), flip_b),
            "paired": torch.tensor(float(paired)),
            "seed": torch.tensor(int(rng.randint(2**31))),
        }
        if self.classes:
            numbers = np.arange(1, self.classes + 1).reshape(-1, *[1] * len(view_a.shape))
            sample["label_a"] = self._tensor(view_a.part(self.a.folder, "label", box_a) == numbers, flip_a, 0)
        if self.body:
            sample["body_a"] = self._tensor(view_a.body(self.a.folder)[box_a][None], flip_a, 0)
            sample["body_b"] = self._tensor(view_b.body(self.b.folder)[box_b][None], flip_b, 0)
        return sample

    def _box(self, view: View, folder: Path, rng: np.random.RandomState) -> tuple[slice, ...]:
        """The box to cut: around a voxel of the body, so that no patch is all air."""
        if self.crop_size is None:
            return (slice(None),) * len(view.shape)
        center = self._center(view, folder, rng)
        starts = [
            int(np.clip(c - n // 2, 0, max(0, size - n)))
            for c, n, size in zip(center, self.crop_size, view.shape, strict=True)
        ]
        return tuple(slice(start, start + n) for start, n in zip(starts, self.crop_size, strict=True))

    def _center(self, view: View, folder: Path, rng: np.random.RandomState) -> np.ndarray:
        """A voxel of the body; any where the case has none, or it is empty."""
        inside = view.tissue(folder, "body") if "body" in view.case.arrays else ()
        if len(inside):
            drawn: np.ndarray = inside[rng.randint(len(inside))]
            return drawn
        return np.array(np.unravel_index(rng.randint(math.prod(view.shape)), view.shape))

    def _tensor(self, array: np.ndarray, flip: bool, fill: float = -1.0) -> Tensor:
        """(C, *S) as float32, filled up to the crop, mirrored along the first axis of the image on request."""
        array = filled_up(array, (0, *self.crop_size) if self.crop_size else None, fill)
        return torch.from_numpy(np.ascontiguousarray(np.flip(array, 1) if flip else array, dtype=np.float32))


def registered_pairs(a: list[View], b: list[View], patients: Collection[str]) -> list[Pair]:
    """The views that these patients have in both domains, place by place.

    Cases are matched by name; a patient with one case in each domain needs no equal names. Slices that are left out as
    empty in one domain have no partner.

    Raises:
        DataError: for a patient whose cases cannot be matched, and for cases that do not lie on one grid, naming both
            files.
    """
    cases_a, cases_b = (_by_case(views, patients) for views in (a, b))
    pairs: list[Pair] = []
    for patient in sorted(patients):
        for name_a, name_b in _matched(patient, sorted(cases_a[patient]), sorted(cases_b[patient])):
            views_a, views_b = cases_a[patient][name_a], cases_b[patient][name_b]
            first, second = views_a[0].case, views_b[0].case
            affines = np.array(first.affine), np.array(second.affine)
            check_same_grid(first.shape, second.shape, *affines, first.image, second.image, NOT_REGISTERED)
            partners = {view.level: view for view in views_b}
            pairs += [(view, partners[view.level]) for view in views_a if view.level in partners]
    return pairs


def _kinds(name: str, side: Side, tumor_share: float | None) -> list[tuple[float, list[View]]]:
    """Views that are drawn alike, and the share of each kind of them."""
    if tumor_share is None or side.shows is None:
        return [(1.0, side.views)]
    kinds = [
        [v for v, shows in zip(side.views, side.shows, strict=True) if shows == wanted] for wanted in (True, False)
    ]
    if not all(kinds):
        raise DataError(
            f"{name}: found {len(kinds[0])} training images with and {len(kinds[1])} without a tumor; expected some of "
            "both, to show as many in either domain. Leave pairing.tumor_share out, or change split.seed."
        )
    return [(tumor_share, kinds[0]), (1 - tumor_share, kinds[1])]


def _drawn(kinds: list[tuple[float, list[View]]], draw: float) -> View:
    """The view that a draw in [0, 1) means: each kind has its share of the range."""
    for share, views in kinds[:-1]:
        if draw < share:
            return views[int(draw / share * len(views))]
        draw = (draw - share) / (1 - share)
    views = kinds[-1][1]
    return views[min(int(draw * len(views)), len(views) - 1)]


def _by_case(views: list[View], patients: Collection[str]) -> dict[str, dict[str, list[View]]]:
    cases: dict[str, dict[str, list[View]]] = {patient: defaultdict(list) for patient in patients}
    for view in views:
        if view.patient in cases:
            cases[view.patient][view.case.case].append(view)
    return cases


def _matched(patient: str, a: list[str], b: list[str]) -> list[tuple[str, str]]:
    if len(a) == len(b) == 1:
        return [(a[0], b[0])]
    if not a or a != b:
        lone = sorted(set(a) ^ set(b))
        raise DataError(
            f"patient {patient}: found cases {', '.join(lone) or 'none'} in one domain only; expected the same case "
            "names in data and target for a registered pair. Rename or add the files, or lower pairing.paired."
        )
    return list(zip(a, b, strict=True))


def check_one_size(views: Sequence[View]) -> None:
    """Refuses whole views that no batch could hold together.

    Raises:
        DataError: naming one that differs from the first.
    """
    first = views[0]
    odd = next((view for view in views if view.shape != first.shape), None)
    if odd is not None:
        raise DataError.about(
            odd.case.path,
            f"an image of {odd.shape}",
            f"the size {first.shape} of {first.case.path}",
            "Set crop.size to train on patches.",
        )
