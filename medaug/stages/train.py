"""Train the GAN on the training patients, and leave weights for use.

Reads: `prepared/` (and `prepared_b/`), `split.json`. Writes `train/`: checkpoints, `metrics.jsonl`, previews, and
`weights/`.
"""

from __future__ import annotations

from medaug.config import PipelineConfig
from medaug.data.atomic import read_json, write_json
from medaug.data.common_grid import common_axes, common_spacing_mm
from medaug.data.records import prepared_cases
from medaug.data.weights import read_weights
from medaug.errors import DataError
from medaug.figures.previews import Preview
from medaug.models.base import Translator
from medaug.models.facts import WeightsFacts
from medaug.models.methods import build_translator
from medaug.models.weights import save_translator
from medaug.runs.folder import RunDir
from medaug.runs.markers import data_prints, essential
from medaug.runs.provenance import beyond_the_budget, content_of, run_training, start_from
from medaug.splits import Split
from medaug.stages.tasks import task_of
from medaug.training import fit
from medaug.training.config import is_helper, made_once
from medaug.training.monitors import METRICS, read_metrics, warnings_of
from medaug.volumes import length_unit


def train(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do."""
    sections = [essential(getattr(config, name)) for name in task_of(config).trained_by]
    split_hash, warm_start = read_json(run.split)["hash"], config.translator.warm_start
    start = [] if warm_start is None else [read_weights(warm_start)[1]["sha256"]]
    inputs = [sections, config.precision, *data_prints(run), split_hash, *start]
    return run_training(run, run.train.name, inputs, run.train, lambda: _train(config, run), config.training)


def train_seeds(config: PipelineConfig, run: RunDir) -> bool:
    """Trains the GAN anew for each seed of the networks, where `evaluation.gan_seeds` asks for it; as `train`."""
    ran = []
    for seed in config.evaluation.seeds:
        if (own := run.of_seed(config, seed)).train != run.train:
            training = config.training.model_copy(update={"seed": seed})
            ran.append(train(config.model_copy(update={"training": training}), own))
    return any(ran)


def _train(config: PipelineConfig, run: RunDir) -> None:
    split = run.read_split()
    # the prior and the segmenter are fitted by one process for all
    data = made_once(config.fit_config, lambda: task_of(config).training_data(run, split))
    spacing_mm = common_spacing_mm(data.views)
    channels = config.data.slices if config.data.slices > 1 else config.data.channels
    shape = {**({"channels": channels} if channels > 1 else {}), **data.settings}
    translator = build_translator(
        config.translator.method,
        config.translator.settings | shape,
        *data.domains,
        config.data.spatial_dims,
        seed=config.training.seed,
    )
    start = config.translator.warm_start
    known = WeightsFacts() if start is None else start_from(start, translator, run, split)
    beyond = beyond_the_budget(known, run, split)
    if data.segmenter is not None:
        translator.attach_segmenter(data.segmenter)
    _check_size(translator, tuple(data.samples[0]["a"].shape[1:]))
    preview = Preview(data.samples, run.previews, config.data.sequence_names)
    fit(translator, data.samples, config.fit_config, run.train, preview=preview)
    if is_helper(config.training):
        return
    facts = {
        "domain": config.domain,
        "spacing_mm": list(spacing_mm),
        "split_hash": split.hash,
        "length_unit": length_unit(*(view.case for view in data.views)),
        "training_patients": sorted({*split.learnt_from, *known.training_patients}),
        "training_content": sorted({*content_of(run, split), *known.training_content}),
        "picture_spacing_mm": config.data.spacing_mm,
        "sequence": config.data.sequence,
        "sequences": list(map(str, config.data.sequences or ())),
        "axes": common_axes(data.views),
        "steps": config.training.total_steps,
        "seed": config.training.seed,
        "patch_size": config.crop.size,
        "slices": config.data.slices,
        "overlap": config.crop.overlap,
        "warnings": [*beyond, *warnings_of(read_metrics(run.train / METRICS))],
        **data.facts,
        **_nnunet_fold(config, run, split),
    }
    save_translator(run.weights, translator, data.prior, facts)
    if (prior := data.prior) is not None:
        write_json(run.train / "prior.json", {"references": len(prior.references), "left_out": prior.left_out})


def _nnunet_fold(config: PipelineConfig, run: RunDir, split: Split) -> dict[str, object]:
    """What weights say of the nnU-Net data set that they were trained on (`split.nnunet`)."""
    if config.split.nnunet is None:
        return {}
    dataset, _, fold = config.split.nnunet.rpartition("/fold_")
    learnt = sorted(entry.case for entry in prepared_cases(run.datalist) if entry.patient in split.learnt_from)
    organ = list(config.data.organ) if isinstance(config.data.organ, tuple) else []
    return {"nnunet": {"dataset": dataset, "fold": fold, "training_cases": learnt, "organ": organ}}


def _check_size(translator: Translator, size: tuple[int, ...]) -> None:
    """Refuses images (*S) that the networks cannot halve as often as they do, or that their discriminators outgrow."""
    stride, least = translator.stride, translator.least_size
    remedy = "Set crop.size (or data.grid_size, where whole images are read) accordingly"
    if any(s % stride for s in size):
        raise DataError(f"the network sees images of {size}; every size must be a multiple of {stride}. {remedy}.")
    if min(size) < least:
        layers = getattr(translator.config, "discriminator_layers", 0)
        needs = (
            f"its discriminators of {layers} layers need" if layers else f"its {translator.config.depth} levels need"
        )
        fewer = "translator.discriminator_layers" if layers else "translator.depth"
        raise DataError(f"the network sees images of {size}; {needs} {least} at least. {remedy}, or {fewer} to fewer.")
