"""Train the GAN from noise on crops of the training patients, and leave weights and pictures of its latent space.

Reads: `prepared/`, `split.json`. Writes `train-gan/`: checkpoints, `metrics.jsonl`, previews, `samples.png`,
`interpolation.png`, `attributes.png`, and `weights/`.
"""

from __future__ import annotations

from medaug.config import PipelineConfig
from medaug.data.atomic import read_json
from medaug.data.common_grid import common_axes, common_spacing_mm
from medaug.data.prepared import Prepared, View
from medaug.errors import ConfigError
from medaug.figures.previews import GanPreview, draw_latent_space
from medaug.models.noise.dcgan import build_dcgan
from medaug.models.noise.weights import save_gan
from medaug.runs.folder import RunDir
from medaug.runs.markers import data_prints, essential
from medaug.runs.provenance import content_of, run_training
from medaug.training import fit
from medaug.training.config import is_helper
from medaug.training.monitors import METRICS, read_metrics, warnings_of
from medaug.training.samples import ClassCropSamples, healthy_views
from medaug.volumes import length_unit


def train_gan(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do."""
    sections = [essential(getattr(config, name)) for name in ("data", "split", "gan", "crop", "training")]
    inputs = [sections, config.precision, *data_prints(run), read_json(run.split)["hash"]]
    return run_training(run, "train-gan", inputs, run.train_gan, lambda: _train(config, run), config.training)


def _train(config: PipelineConfig, run: RunDir) -> None:
    gan = build_dcgan(config.gan, _size(config), config.data.domain("crops"), seed=config.training.seed)
    split = run.read_split()
    views = Prepared(run.datalist).views(split.train, config.data.spatial_dims)
    spacing_mm = common_spacing_mm(views)
    fit(gan, _samples(config, run, views), config.fit_config, run.train_gan, preview=GanPreview(run.train_gan))
    if is_helper(config.training):
        return
    draw_latent_space(gan, run.train_gan)
    facts = {
        "spacing_mm": list(spacing_mm),
        "length_unit": length_unit(*(view.case for view in views)),
        "training_patients": list(split.train),
        "split_hash": split.hash,
        "training_content": content_of(run, split),
        "axes": common_axes(views),
        "sequence": config.data.sequence,
        "steps": config.training.total_steps,
        "seed": config.training.seed,
        "warnings": warnings_of(read_metrics(run.train_gan / METRICS)),
    }
    save_gan(run.gan_weights, gan, facts)


def _size(config: PipelineConfig) -> tuple[int, ...]:
    size = config.crop.size or ()
    if len(size) != config.data.spatial_dims:
        raise ConfigError(
            f"crop.size has {len(size)} axes, data.spatial_dims is {config.data.spatial_dims}; give one size an axis"
        )
    return size


def _samples(config: PipelineConfig, run: RunDir, views: list[View]) -> ClassCropSamples:
    return ClassCropSamples(
        healthy_views(views, config.crop.healthy, config.crop.level_tolerance),
        [view for view in views if view.tumor_voxels],
        run.prepared,
        size=_size(config),
        min_diameter_mm=config.crop.min_diameter_mm,
        seed=config.training.seed,
    )
