"""Train the GAN on the training patients, and leave weights for use.

Reads: `prepared/` (and `prepared_b/`), `split.json`. Writes `train/`: checkpoints, `metrics.jsonl`, previews, and
`weights/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import Dataset

from medaug.config import PipelineConfig
from medaug.config.synthesis import segmenter_terms
from medaug.data.atomic import read_json, write_json
from medaug.data.prepared import View, common_axes, common_spacing_mm, views_of
from medaug.data.records import prepared_cases
from medaug.errors import DataError
from medaug.figures.previews import Preview
from medaug.lesions.prior import LesionExample, LesionPrior
from medaug.models.base import Translator
from medaug.models.methods import build_translator
from medaug.models.weights import save_translator
from medaug.progress import track
from medaug.runs.folder import RunDir
from medaug.runs.markers import data_print, essential
from medaug.runs.provenance import content_of
from medaug.runs.trained import run_training
from medaug.runs.warm_start import beyond_the_budget, start_from, weights_hash
from medaug.splits import Split
from medaug.stages.domains.material import Material, domain_material, domain_segmenter, needs_segmenter
from medaug.training import fit
from medaug.training.log import METRICS, read_metrics
from medaug.training.monitors import warnings_of
from medaug.training.processes import is_helper
from medaug.training.samples import TumorCropSamples, healthy_views
from medaug.volumes import length_unit


def train(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do."""
    names = ["data", "split", "translator", "crop", "training"]
    datalists = [data_print(run.datalist)]
    if config.target is not None:
        names += ["target", "pairing", "segmenter"]
        datalists.append(data_print(run.datalist_b))
    sections = [essential(getattr(config, name)) for name in names]
    inputs = [sections, *datalists, read_json(run.split)["hash"], *weights_hash(config.translator.warm_start)]
    return run_training(run, "train", inputs, run.train, lambda: _train(config, run), config.training)


def _train(config: PipelineConfig, run: RunDir) -> None:
    split = run.read_split()
    segmenter = domain_segmenter(config, run, split) if needs_segmenter(config) else None
    tumors = config.target is None
    material = _tumor_material(config, run, split) if tumors else domain_material(config, run, split, segmenter)
    spacing_mm = common_spacing_mm(material.views)
    channels = {"channels": config.data.slices} if config.data.slices > 1 else {}
    translator = build_translator(
        config.translator.method,
        config.translator.settings | channels,
        *material.domains,
        config.data.spatial_dims,
        seed=config.training.seed,
    )
    start = config.translator.warm_start
    known = {} if start is None else start_from(start, translator, run, split)
    beyond = beyond_the_budget(known, run, split)
    if segmenter_terms(config.translator.settings):
        assert segmenter is not None  # such terms are what it was trained for
        translator.attach_segmenter(segmenter)
    samples = material.samples
    _check_size(translator, samples)
    fit(translator, samples, config.training, run.train, preview=Preview(samples, run.previews))
    if is_helper(config.training):
        return
    facts = {
        "domain": config.domain,
        "spacing_mm": list(spacing_mm),
        "split_hash": split.hash,
        "length_unit": length_unit(*(view.entry for view in material.views)),
        "training_patients": sorted({*split.train, *known.get("training_patients", [])}),
        "training_content": sorted({*content_of(run, split), *known.get("training_content", [])}),
        "picture_spacing_mm": config.data.spacing_mm,
        "sequence": config.data.sequence,
        "axes": common_axes(material.views),
        "steps": config.training.steps,
        "seed": config.training.seed,
        "patch_size": config.crop.size,
        "slices": config.data.slices,
        "overlap": config.crop.overlap,
        "warnings": [*beyond, *warnings_of(read_metrics(run.train / METRICS))],
        **material.facts,
    }
    save_translator(run.weights, translator, material.prior, facts)
    if material.prior is not None:
        prior = material.prior
        write_json(run.train / "prior.json", {"references": len(prior.references), "left_out": prior.left_out})


def _tumor_material(config: PipelineConfig, run: RunDir, split: Split) -> Material:
    """Domain A healthy, B with tumors, both from the same scans."""
    entries = [entry for entry in prepared_cases(run.datalist) if entry["patient"] in split.train]
    views = views_of(entries, run.prepared, config.data.spatial_dims)
    prior = _prior(config, run, views, common_spacing_mm(views))
    domains = config.data.domain("healthy"), config.data.domain("tumor")
    marked = {value for entry in entries for value in entry.label_values if value}
    tumor = {value for entry in entries for value in entry.tumor_values if value}
    facts = {"tumor_labels": sorted(tumor), "other_labels": sorted(marked - tumor)}  # what transforms write, and leave
    healthy = healthy_views(views, config.crop.healthy, config.crop.level_tolerance)
    samples = TumorCropSamples(healthy, run.prepared, prior, seed=config.training.seed)
    return Material(domains, views, samples, prior, facts)


def _prior(config: PipelineConfig, run: RunDir, views: list[View], spacing_mm: tuple[float, ...]) -> LesionPrior:
    """The lesion prior of the training fold."""
    with_tumor = [view for view in views if view.tumor_voxels]
    if not with_tumor:
        raise DataError("no training patient has a tumor; choose another split.seed, or more training patients")

    def examples() -> Iterator[LesionExample]:
        with track("fit lesion prior", len(with_tumor)) as tracker:
            for view in with_tumor:
                arrays = view.read(run.prepared)
                yield LesionExample(
                    image=arrays.image,
                    label=arrays.label,
                    organ=arrays.organ,
                    patient=view.patient,
                    case=view.entry["case"],
                    level=view.level,
                    spacing_mm=spacing_mm,
                )
                tracker.advance()

    assert config.crop.size is not None  # the settings of domain tumor have it
    unit = length_unit(*(view.entry for view in views))
    return LesionPrior.fit(
        examples(), config.crop.size, spacing_mm, min_diameter_mm=config.crop.min_diameter_mm, length_unit=unit
    )


def _check_size(translator: Translator, samples: Dataset[Any]) -> None:
    size, stride, least = tuple(samples[0]["a"].shape[1:]), translator.stride, translator.least_size
    remedy = "Set crop.size (or data.grid_size, where whole images are read) accordingly"
    if any(s % stride for s in size):
        raise DataError(f"the network sees images of {size}; every size must be a multiple of {stride}. {remedy}.")
    if min(size) < least:
        raise DataError(
            f"the network sees images of {size}; its discriminators of {translator.config.discriminator_layers} layers "
            f"need {least} at least. {remedy}, or translator.discriminator_layers to fewer."
        )
