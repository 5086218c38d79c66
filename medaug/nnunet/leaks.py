"""Whom weights know, against the fold that nnU-Net trains: its validation cases must be strangers to them.

By name, and by content: of the validation cases whose raw images are there, the fingerprints are compared, so that a
copy under another name is found. A split that has changed since the weights were trained is told.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from medaug.data.files import read_scan
from medaug.data.fingerprints import fingerprints_of
from medaug.data.visits import patient_in
from medaug.errors import LeakageError, WeightsError
from medaug.models.facts import TranslatorFacts
from medaug.nnunet.datasets import ALL, RAW, NnunetDataset
from medaug.orientation import turn_of
from medaug.splits import known_among, pseudonym

logger = logging.getLogger(__name__)


def check_fold(
    facts: TranslatorFacts,
    weights: Path,
    dataset: str,
    fold: str,
    train: Sequence[str],
    val: Sequence[str],
    tell: Callable[[str], object],
) -> None:
    """Refuses weights that know a validation case of this fold, and tells a split that is not the one they know.

    Args:
        weights: their folder, for messages.
        dataset: nnU-Net's name of the data set.
        tell: says a sentence to the user.

    Raises:
        LeakageError: naming the cases.
        WeightsError: if the weights do not say whom they know.
    """
    if "training_patients" not in facts.model_fields_set:
        raise WeightsError(
            f"{weights}: found no training_patients in their model.json; expected whom they were trained on. Copy the "
            "weights again."
        )
    if fold == ALL:
        tell("medaug: fold all trains on every case; nobody is held out of whom the weights could know too much.")
        return
    own = set() if facts.nnunet is None else set(map(pseudonym, facts.nnunet.training_cases))
    learnt, now = own | set(map(pseudonym, facts.training_patients)), set(map(pseudonym, train))
    leaked = {case for case in val if not learnt.isdisjoint(map(pseudonym, (case, patient_in(case))))}
    copies = set() if leaked else known_among(facts.training_content, val, _contents(dataset, val))[1]
    remedy = f"Train them on this fold: medaug train-cycle --domain tumor --nnunet {dataset} --fold {fold}"
    if leaked | copies:
        listed = ", ".join(
            f"{c} (the same images under another name)" if c in copies else c for c in sorted(leaked | copies)
        )
        source = "" if facts.nnunet is None else f" ({facts.nnunet.dataset}, fold {facts.nnunet.fold})"
        raise LeakageError(
            f"{weights}: weights{source} that know validation cases of fold {fold}: {listed}. What nnU-Net scores on "
            f"them would be inflated. {remedy}",
            sorted(leaked | copies),
        )
    if facts.nnunet is None:
        return
    if facts.nnunet.dataset == dataset and own != now:
        tell(
            f"medaug: the split of fold {fold} has changed since {weights} were trained: {len(own - now)} case(s) "
            f"that they know do not train any more, {len(now - own)} that train now they do not know. None of the "
            f"validation cases is among those they know. {remedy}"
        )
    elif facts.nnunet.dataset != dataset:
        tell(f"medaug: {weights} were trained on {facts.nnunet.dataset}, and are used on {dataset}.")


def _contents(dataset: str, cases: Iterable[str]) -> dict[str, set[str]]:
    """The fingerprints of the first channel of those cases whose raw images are there."""
    base = os.environ.get(RAW)
    if base is None or not (Path(base) / dataset / "dataset.json").exists():
        return {}
    found: dict[str, set[str]] = {}
    raw = NnunetDataset(dataset, Path(base) / dataset)
    for case in cases:
        if (path := raw.image(case)).exists():
            scan = read_scan(path)
            image = np.asarray(scan.as_tensor()[0])
            found[case] = set(fingerprints_of(turn_of(scan.affine.numpy(), image.ndim).there(image)))
    return found
