"""What the stage `train` needs for a translation between two kinds of image: samples, pairs, and the frozen segmenter.

Reads: `prepared/`, `prepared_b/`. Everything comes from training patients.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from medaug.audits.segmenter import frozen_segmenter
from medaug.config import PipelineConfig
from medaug.config.synthesis import SEGMENTER_TERMS, segmenter_terms
from medaug.data.prepared import View, views_of, without_labels
from medaug.data.records import PreparedCase, prepared_cases
from medaug.errors import DataError
from medaug.evaluation.detection import LEAST_VOXELS
from medaug.evaluation.samples import ViewFolder
from medaug.lesions.prior import LesionPrior
from medaug.models.methods import TRANSLATORS
from medaug.runs.folder import RunDir
from medaug.splits import Split
from medaug.training.domains import DomainSamples, Side, registered_pairs
from medaug.volumes import Domain


class Material(NamedTuple):
    """What a training starts from; `views` are all it may look at, `facts` go into the weights."""

    domains: tuple[Domain, Domain]
    views: list[View]
    samples: Dataset
    prior: LesionPrior | None
    facts: dict[str, Any]


def domain_material(config: PipelineConfig, run: RunDir, split: Split, segmenter: nn.Module | None) -> Material:
    """Domain A from `data`, B from `target`, whose labels are not looked at.

    Args:
        segmenter: of `domain_segmenter`; what `pairing.tumor_share` looks at B's images with.

    Raises:
        DataError: if the pairs asked for are not there, or do not lie on one grid.
    """
    dims = config.data.spatial_dims
    a = _side(run.datalist, run.prepared, split, dims)
    b = _side(run.datalist_b, run.prepared_b, split, dims, labelled=False)
    needs_pairs = TRANSLATORS[config.translator.method][0].needs_pairs
    assert config.target is not None  # the settings of two domains have it
    if config.pairing.tumor_share is not None:
        assert segmenter is not None  # `domain_segmenter` is asked for one then
        a = a._replace(shows=[view.tumor_voxels > 0 for view in a.views])
        b = b._replace(shows=[_shows_tumor(view, b.folder, segmenter) for view in b.views])
    paired = _paired_patients(config, a, b, needs_pairs)
    samples = DomainSamples(
        a,
        b,
        registered_pairs(a.views, b.views, paired),
        share=1.0 if needs_pairs else config.pairing.share,
        crop_size=config.crop.size,
        seed=config.training.seed,
        classes=_classes(config, a),
        slices=config.data.slices,
        tumor_share=config.pairing.tumor_share,
    )
    facts = {"target_sequence": config.target.sequence, "paired_patients": paired, "body": "auto"}
    name_a, name_b = config.domain_names
    domains = config.data.domain(name_a), config.target.domain(name_b)
    return Material(domains, [*a.views, *b.views], samples, None, facts)


def domain_segmenter(config: PipelineConfig, run: RunDir, split: Split) -> nn.Module:
    """The frozen network of segmentation terms, label input and `tumor_share`, trained on A's training labels.

    Raises:
        DataError: if none of them has a labelled tumor, or an image lacks the label that `label_input` reads.
    """
    _check_label_input(config, prepared_cases(run.datalist))
    side = _side(run.datalist, run.prepared, split, config.data.spatial_dims)
    labelled = [view for view in side.views if "label" in view.entry["arrays"]]
    if not any(view.tumor_voxels for view in labelled):
        raise DataError(
            f"translator.{', '.join(SEGMENTER_TERMS)}, pairing.tumor_share: no training patient of data has a label "
            "with anything in it; expected labels to train the segmenter on. Add them, check data.tumor_labels and "
            "data.classes, or leave these out."
        )
    return frozen_segmenter(config, ViewFolder(labelled, side.folder), config.crop.size)


def _side(datalist: Path, folder: Path, split: Split, spatial_dims: int, *, labelled: bool = True) -> Side:
    entries = [entry for entry in prepared_cases(datalist) if entry["patient"] in split.train]
    return Side(views_of(entries if labelled else without_labels(entries), folder, spatial_dims), folder)


@torch.inference_mode()
def _shows_tumor(view: View, folder: Path, segmenter: nn.Module) -> bool:
    image = torch.from_numpy(view.normalized(folder).astype(np.float32))[None]
    return int((segmenter(image) > 0).sum()) >= LEAST_VOXELS


def _paired_patients(config: PipelineConfig, a: Side, b: Side, needs_pairs: bool) -> list[str]:
    """The training patients that count as registered, drawn by seed among those in both domains."""
    in_a, in_b = ({view.patient for view in side.views} for side in (a, b))
    both, wanted = sorted(in_a & in_b), config.pairing.paired
    if needs_pairs and in_a ^ in_b:
        raise DataError(
            f"translator.type '{config.translator.type}' learns from pairs only; found training patients in one domain "
            f"alone: {', '.join(sorted(in_a ^ in_b))}. Add their other image, move them away, or train "
            "translator.type=cyclegan."
        )
    if wanted is None:
        wanted = "all" if needs_pairs else 0
    count = len(both) if wanted == "all" else wanted
    if count > len(both) or (wanted == "all" and not both):
        raise DataError(
            f"pairing.paired is {wanted}; found {len(both)} training patient(s) with the same name in data and target. "
            "Lower pairing.paired, or give the two domains' files of a patient one patient name."
        )
    order = np.random.RandomState(config.pairing.seed).permutation(len(both))
    return sorted(both[i] for i in order[:count])


def needs_segmenter(config: PipelineConfig) -> bool:
    """Whether any setting looks through a frozen segmenter."""
    terms = segmenter_terms(config.translator.settings)
    return config.target is not None and (bool(terms) or config.pairing.tumor_share is not None)


def _classes(config: PipelineConfig, a: Side) -> int:
    """How many classes samples carry labels of; 0 where no term reads them, or not every image of A has one."""
    wanted = segmenter_terms(config.translator.settings)
    return len(config.data.class_names) if wanted and all("label" in v.entry["arrays"] for v in a.views) else 0


def _check_label_input(config: PipelineConfig, entries: list[PreparedCase]) -> None:
    """A translator that reads labels needs one for each image of A, held-out ones too: the audit translates them."""
    unlabelled = [entry for entry in entries if "label" not in entry["arrays"]]
    if config.translator.settings.get("label_input", 0) and unlabelled:
        raise DataError.about(
            unlabelled[0]["image"],
            "an image without a label",
            "one for every image of data, because translator.label_input reads it",
            "Add the label, move the image away, or set translator.label_input to 0.",
        )
