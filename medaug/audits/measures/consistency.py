"""Do the sequences of an inserted lesion agree with one another as those of a real one do?

A lesion is one thing seen several times: where T2 has an edge, FLAIR has one. A generator a sequence, or one that edits
its channels independently, paints lesions of which each sequence looks real and no two fit each other. For every pair
of sequences of a lesion:

*Mutual information* (Wells 1996, Med Image Anal 1:35; Maes 1997, IEEE Trans Med Imaging 16:187), I = Σ p(a, b) log
p(a, b) / (p(a) p(b)) in nats, of the lesion and the ring near it: how much one brightness says of the other, whatever
their scales. Bins hold equally many voxels each, so what is brighter or has more contrast does not count; what few
voxels add to the figure by chance is taken off (Miller 1955: (cells − rows − columns + 1) / 2n, of those not empty).

*Edge agreement* (Haber and Modersitzki 2006, MICCAI, LNCS 4191:726: normalised gradient fields), Σ (∇a · ∇b)² /
Σ |∇a|² |∇b|² inside the lesion: the squared cosine between the two gradients, the steepest counting most. It is 1 where
edges run alike, whichever side is the brighter one, and 1/2 (in 3-D 1/3) by chance. The ring is left out: it is real
tissue in every lesion.

Real and inserted lesions are compared as in the other audits of sets: the Wasserstein-1 distance of each figure, in
standard deviations of real lesions, the largest of all pairs and both figures, beside the same of real patients against
real patients. So there is one test, however many pairs there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy import ndimage

from medaug.audits.measures.finding import (
    Finding,
    Limits,
    Question,
    against_halves,
    bootstrap_interval,
    group_size,
    too_few,
)
from medaug.audits.measures.lesions import LesionSet
from medaug.audits.measures.sets import distance, distances

CONSISTENCY = Question("consistency", "Do the sequences of an inserted lesion fit each other as in real ones?")
BINS = 4
"""Of each sequence's brightness: few, for a small lesion has few voxels."""
RING_VOXELS = 3
"""How far the near ring reaches."""
FIGURES = ("mutual information", "edge agreement")


def consistency_audit(
    real: LesionSet, synthetic: LesionSet, limits: Limits, names: Sequence[str], *, seed: int
) -> Finding:
    """Judges how far the agreement of the sequences is from that in real lesions.

    Args:
        limits: in multiples of the floor, the distance that 95 % of random groups of real patients stay below.
        names: of the sequences.
    """
    if len(names) < 2:
        return CONSISTENCY.skipped("an image of one sequence has nothing to agree with")
    if (reason := too_few(real, synthetic)) is not None:
        return CONSISTENCY.skipped(reason)
    rng, group = np.random.RandomState(seed), group_size(real, synthetic)
    ours, theirs = agreements(real), agreements(synthetic)
    spread = ours.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    first, second = ours / scale, theirs / scale
    value = distance(first, second)
    low, high = bootstrap_interval(distance, (first, real.patients), (second, synthetic.origins), rng)
    halves = against_halves(distance, first, second, real.patients, group, rng)
    apart = np.reshape(distances(first, second), (len(FIGURES), -1))
    pairs = pair_names(names)
    figure, pair = np.unravel_index(int(apart.argmax()), apart.shape)
    medians = [np.median(rows, axis=0)[apart.argmax()] for rows in (ours, theirs)]
    sentence = (
        f"{pairs[pair]}: {FIGURES[figure]} is {value:.2f} standard deviations of real lesions apart ({low:.2f} to "
        f"{high:.2f}); random groups of {group} and {len(np.unique(real.patients)) - group} real patients differ by up "
        f"to {halves.floor:.2f} in any. Medians: real {medians[0]:.2f}, synthetic {medians[1]:.2f}."
    )
    return CONSISTENCY.judged(
        sentence,
        value,
        limits.times(halves.floor),
        (low, high),
        unit="standard deviations",
        floor=halves.floor,
        n=real.counts("real") | synthetic.counts("synthetic"),
        details={
            "worst": {"pair": pairs[pair], "figure": FIGURES[figure], "column": int(apart.argmax())},
            **{name: dict(zip(pairs, rows.tolist(), strict=True)) for name, rows in zip(FIGURES, apart, strict=True)},
            "group_patients": group,
            "floors": halves.listed(),
        },
        each=dict(zip(pairs, apart.max(axis=0).tolist(), strict=True)),
    )


def pair_names(names: Sequence[str]) -> list[str]:
    """Every pair of sequences, in the order of the columns of `agreements`."""
    return [f"{first}–{second}" for first, second in combinations(names, 2)]


def agreements(lesions: LesionSet) -> np.ndarray:
    """(N, 2 · pairs): the mutual information of every pair of sequences, then the edge agreement of every pair."""
    rows = []
    for image, mask in zip(lesions.images.astype(np.float64), lesions.masks, strict=True):
        near = ndimage.binary_dilation(mask, iterations=RING_VOXELS)
        gradients = [np.stack(np.gradient(channel))[:, mask] for channel in image]
        information = [mutual_information(a[near], b[near]) for a, b in combinations(image, 2)]
        rows.append([*information, *(edge_agreement(a, b) for a, b in combinations(gradients, 2))])
    return np.array(rows)


def mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """Of two sequences' values (n,) in the same voxels, in nats and without what so few voxels add by chance."""
    inner = np.arange(1, BINS) / BINS
    bins = [np.searchsorted(np.quantile(values, inner), values, side="right") for values in (first, second)]
    counts = np.bincount(bins[0] * BINS + bins[1], minlength=BINS**2).reshape(BINS, BINS)
    joint, n = counts / counts.sum(), len(first)
    apart = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    met = joint > 0
    rows, columns = (int(met.any(axis=axis).sum()) for axis in (1, 0))
    by_chance = (int(met.sum()) - rows - columns + 1) / (2 * n)
    return float((joint[met] * np.log(joint[met] / apart[met])).sum() - by_chance)


def edge_agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Of two sequences' gradients (d, n) in the same voxels, 0 to 1; 0 where one of them is flat everywhere."""
    alike = ((first * second).sum(axis=0) ** 2).sum()
    most = ((first**2).sum(axis=0) * (second**2).sum(axis=0)).sum()
    return float(alike / most) if most > 0 else 0.0
