"""Train the GAN on the training patients, and leave weights for use.

Reads: `prepared/`, `split.json`. Writes `train/`: checkpoints, `metrics.jsonl`, previews, and `weights/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import Dataset

from medaug.errors import DataError
from medaug.io.atomic import read_json, write_json
from medaug.io.prepared import View, common_spacing_mm, views_of
from medaug.lesions import LesionExample, LesionPrior
from medaug.progress import track
from medaug.report.preview import Preview
from medaug.splits import Split
from medaug.stages.config import PipelineConfig
from medaug.stages.runs import RunDir, essential, fingerprint, run_stage
from medaug.training import fit
from medaug.training.log import read_metrics
from medaug.training.monitors import warnings_of
from medaug.training.samples import TumorCropSamples, WholeViewSamples, healthy_views
from medaug.translators import build_translator
from medaug.translators.weights import save_translator


def train(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do."""
    sections = [essential(getattr(config, name)) for name in ("data", "split", "translator", "crop", "training")]
    inputs = [sections, fingerprint(read_json(run.datalist)), read_json(run.split)["hash"]]
    return run_stage(run, "train", inputs, [run.train], lambda: _train(config, run))


def _train(config: PipelineConfig, run: RunDir) -> None:
    split = Split.from_dict(read_json(run.split))
    entries = [entry for entry in read_json(run.datalist)["cases"] if entry["patient"] in split.train]
    views = views_of(entries, run.prepared, config.data.spatial_dims)
    spacing_mm = common_spacing_mm(views)
    translator = build_translator(
        config.translator.method, config.translator.settings, config.data.domain("healthy"),
        config.data.domain("tumor"), config.data.spatial_dims, seed=config.training.seed,
    )  # fmt: skip
    prior = _prior(config, run, views, spacing_mm)
    samples = _samples(config, run, views, prior)
    _check_stride(translator.stride, samples)
    fit(translator, samples, config.training, run.train, preview=Preview(samples, run.previews))
    facts = {
        "spacing_mm": list(spacing_mm), "training_patients": list(split.train), "split_hash": split.hash,
        "picture_spacing_mm": config.data.spacing_mm, "sequence": config.data.sequence,
        "steps": config.training.steps, "seed": config.training.seed,
        "warnings": warnings_of(read_metrics(run.train / "metrics.jsonl")),
    }  # fmt: skip
    save_translator(run.weights, translator, prior, facts)
    if prior is not None:
        write_json(run.train / "prior.json", {"references": len(prior.references), "left_out": prior.left_out})


def _prior(config: PipelineConfig, run: RunDir, views: list[View], spacing_mm: tuple[float, ...]) -> LesionPrior | None:
    """The lesion prior of the training fold, for mask-guided methods."""
    if not config.translator.mask_guided:
        return None
    with_tumor = [view for view in views if view.tumor_voxels]
    if not with_tumor:
        raise DataError("no training patient has a tumor; choose another split.seed, or more training patients")

    def examples() -> Iterator[LesionExample]:
        with track("fit lesion prior", len(with_tumor)) as tracker:
            for view in with_tumor:
                arrays = view.read(run.prepared)
                yield LesionExample(
                    image=arrays.image, label=arrays.label, organ=arrays.organ, patient=view.patient,
                    case=view.entry["case"], level=view.level, spacing_mm=spacing_mm,
                )  # fmt: skip
                tracker.advance()

    return LesionPrior.fit(examples(), config.crop.size, spacing_mm, min_diameter_mm=config.crop.min_diameter_mm)


def _samples(config: PipelineConfig, run: RunDir, views: list[View], prior: LesionPrior | None) -> Dataset:
    healthy = healthy_views(views, config.crop.healthy, config.crop.level_tolerance)
    if prior is not None:
        return TumorCropSamples(healthy, run.prepared, prior, seed=config.training.seed)
    free = healthy_views(views, "tumor-free", config.crop.level_tolerance)
    with_tumor = [view for view in views if view.tumor_voxels]
    return WholeViewSamples(free, with_tumor, run.prepared, seed=config.training.seed)


def _check_stride(stride: int, samples: Dataset[Any]) -> None:
    size = tuple(samples[0]["a"].shape[1:])
    if any(s % stride for s in size):
        raise DataError(
            f"the network sees images of {size}; every size must be a multiple of {stride}. Set crop.size "
            "(mask-guided) or data.grid_size (plain) accordingly."
        )
