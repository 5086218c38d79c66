"""Doing one job of a benchmark, and what decides a cell: the fingerprint that it is kept under.

Preparing and training a GAN are stages, which know by themselves whether they have anything left to do. A cell is
trained unless it is there, made of the same.
"""

from __future__ import annotations

import time
from glob import escape
from typing import Any

from medaug.benchmarks.plan import Block, Job
from medaug.data.atomic import read_json
from medaug.errors import ConfigError, RunError
from medaug.experiment.cells import keep_cell, made_of, of_arm
from medaug.experiment.held_out import synthetic_source
from medaug.runs.folder import RunDir, open_run
from medaug.runs.markers import essential, fingerprint
from medaug.stages.evaluate import check_patients, evaluated_cell
from medaug.stages.prepare import prepare
from medaug.stages.synthesize import synthesize
from medaug.stages.train import train


def do(job: Job, root: RunDir) -> bool:
    """Does a job whose needs are met; says whether there was anything to do.

    Raises:
        MedaugError: whatever a stage refuses.
    """
    if job.kind == "prepare":
        return _prepare(job.block, root)
    if job.kind == "gan":
        return _train_gan(job.block)
    source, started = source_of(job), time.monotonic()
    if source is None:
        raise RunError(f"{job.block.run.root}: what {job.name} is made of was removed. Run the same command again.")
    cell = evaluated_cell(job.config, job.block.run, job.arm, job.seed, job.path)
    cell |= {"ratio": job.ratio, "seconds": round(time.monotonic() - started, 2)}
    for half_written in job.path.parent.glob(f".tmp-*-{escape(job.path.name)}"):  # by somebody who was killed
        half_written.unlink(missing_ok=True)
    keep_cell(job.path, source, cell)
    return True


def source_of(job: Job) -> str | None:
    """What a cell is made of: settings, patients and their images, and of arms with a GAN what it was to make and made.

    None while that is not there. It is the same wherever the folder lies.
    """
    run, config = job.block.run, job.config
    synthetic, weights = run.synthetic / "datalist.json", run.weights / "model.json"
    needed = [run.datalist, run.split] + ([synthetic, weights] if job.ratio else [])
    if not all(path.exists() for path in needed):
        return None
    cases = [[e[key] for key in ("case", "patient", "content", "window")] for e in read_json(run.datalist)["cases"]]
    inputs: list[Any] = [read_json(run.split)["hash"], fingerprint(cases)]
    if job.ratio is None:
        source = made_of(config.evaluation.model_copy(update={"synthetic_ratio": 0.0}), *inputs)
        return of_arm(source, config.evaluation, job.arm)
    made = [read_json(weights)["sha256"], fingerprint(read_json(synthetic)["training"])]
    source = made_of(config.evaluation, *inputs, essential(config.synthesis), *made)
    return of_arm(source, config.evaluation, job.arm)


def _prepare(block: Block, root: RunDir) -> bool:
    run = open_run(block.run.root, block.config, read_json(root.environment)["command"])
    ran = prepare(block.config, run)
    check_patients(block.config, run)
    split = read_json(run.split)
    if block.labelled != "all" and "all" in block.config.benchmark.labelled and not split["unused"]:
        raise ConfigError(
            f"benchmark.labelled: found {block.labelled} and all, which is the same: {len(split['train'])} patients "
            "train. Leave one of them out."
        )
    return ran


def _train_gan(block: Block) -> bool:
    """Also decodes the synthetic cases, which every cell would do again."""
    config, run = block.config, block.run
    ran = [train(config, run), synthesize(config, run)]
    synthetic_source(read_json(run.synthetic / "datalist.json")["training"], run, config.data.spatial_dims)
    return any(ran)
