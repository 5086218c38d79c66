"""A benchmark folder as if it had run: scores drawn around planted gains, summarized as a benchmark does."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medaug.config import PipelineConfig
from medaug.evaluation.metrics import METRICS
from medaug.experiment.arms import ARMS
from medaug.experiment.records import Cell
from medaug.experiment.summary import Scoring, summarized
from medaug.runs.folder import RunDir, open_run

PATIENTS = [f"p{number:02d}" for number in range(12)]
GAINS = {"standard": 0.0, "copy-paste": 0.05, "gan": -0.03, "standard+gan": 0.2}


DICE = Scoring("segmentation", {"dice": METRICS["dice"]}, ARMS)


def planted_benchmark(
    root: Path, config: PipelineConfig, gains: dict[str, float] = GAINS, *, labelled: Sequence[int] = (5,),
    ratios: Sequence[float] = (0.5,), seeds: Sequence[int] = (0, 1), noise: float = 0.01,
) -> RunDir:  # fmt: skip
    """Writes cells, results and what else a page reads; more labelled patients score 0.05 more each time."""
    chosen = {
        "evaluation": config.evaluation.model_copy(update={"arms": tuple(gains), "seeds": tuple(seeds)}),
        "benchmark": config.benchmark.model_copy(update={"labelled": tuple(labelled), "ratios": tuple(ratios)}),
    }
    run, rng = open_run(root, config.model_copy(update=chosen)), np.random.RandomState(0)
    base = rng.uniform(0.3, 0.6, len(PATIENTS))
    groups, rows = [], []
    for step, count in enumerate(labelled):
        block = RunDir(root / f"labelled-{count}")
        write(block.split, {"train": [f"t{i}" for i in range(count)], "validation": [], "test": PATIENTS, "hash": "ab"})
        write(block.done("train"), {"fingerprint": "", "seconds": 12.0})
        write(block.weights / "model.json", {"sha256": f"{count:064d}", "warnings": []})
        kept: dict[tuple[str, int, float | None], Cell] = {}
        for arm, gain in gains.items():
            for seed in seeds:
                for ratio in ratios if ARMS[arm].synthetic else (None,):
                    values = base + 0.05 * step + gain * (1 if ratio is None else ratio / max(ratios))
                    scores = dict(zip(PATIENTS, values + rng.normal(0, noise, len(PATIENTS)), strict=True))
                    cell = {"arm": arm, "seed": seed, "ratio": ratio, "losses": [], "made_of": "x", "seconds": 3.0,
                            "scores": {name: {"dice": float(score)} for name, score in scores.items()}}  # fmt: skip
                    kept[arm, seed, ratio] = Cell.from_json(cell)
                    suffix = "" if ratio is None else f"-ratio{ratio:g}"
                    write(block.evaluation / "cells" / f"{arm}-seed{seed}{suffix}.json", cell)
                    rows += [[count, "" if ratio is None else ratio, arm, seed, "", name, round(score, 5)]
                             for name, score in scores.items()]  # fmt: skip
        for ratio in ratios:
            cells = {arm: [kept[arm, seed, ratio if ARMS[arm].synthetic else None] for seed in seeds] for arm in gains}
            groups.append(summarized(cells, PATIENTS, DICE).to_json() | {"labelled": count, "ratio": ratio})
    write(root / "results" / "summary.json",
          {"task": "segmentation", "metrics": groups[0]["metrics"], "groups": groups})  # fmt: skip
    with (root / "results" / "cells.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["labelled", "ratio", "arm", "seed", "fold", "patient", "dice"], *rows])
    return run


def write(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
