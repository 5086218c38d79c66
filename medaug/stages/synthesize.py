"""Write paired examples: tumors inserted into training scans, and real tumors removed from them.

Reads: `prepared/`, `split.json`, `train/weights`. Writes `synthetic/`: `images/`, `labels/`, `originals/` (the same
view before the edit: the other half of the pair), one record a case in `records/`, and `datalist.json` with parent,
seed, lesions and weights hash. A case depends on its seed alone: any one can be made again, here or online by
`RandInsertTumor` with that random state. A stopped synthesis goes on where it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch.utils.data import DataLoader, Dataset

from medaug.errors import DataError
from medaug.io.atomic import read_json, write_json
from medaug.io.files import write_scan
from medaug.io.prepared import View, views_of
from medaug.progress import track
from medaug.splits import Split, refuse_leakage
from medaug.stages.config import PipelineConfig, SynthesisConfig
from medaug.stages.runs import RunDir, essential, run_stage
from medaug.transforms import RandInsertTumor, RemoveTumor
from medaug.translators.weights import load_weights

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
TRIES = 20


def synthesize(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do.

    Raises:
        LeakageError: if the weights were trained on validation or test patients of this run.
    """
    weights = read_json(run.weights / "model.json")
    split = Split.from_dict(read_json(run.split))
    refuse_leakage(weights["training_patients"], split, f"weights {run.weights} were")
    inputs = [essential(config.synthesis), weights["sha256"], split.hash]
    return run_stage(run, "synthesize", inputs, [run.synthetic], lambda: _synthesize(config, run, split))


def _synthesize(config: PipelineConfig, run: RunDir, split: Split) -> None:
    settings = config.synthesis
    entries = [entry for entry in read_json(run.datalist)["cases"] if entry["patient"] in split.train]
    jobs = SynthesisJobs(views_of(entries, run.prepared, config.data.view_dims), run, settings)
    write_json(run.synthetic / "datalist.json", {"training": _all_records(jobs, settings.workers)})


def _all_records(jobs: SynthesisJobs, workers: int) -> list[dict[str, Any]]:
    """Every case's record, in order.

    An error is raised only after its traceback is gone, and with it the loader: its workers have then stopped writing.
    """
    loader = DataLoader(jobs, batch_size=None, num_workers=workers, collate_fn=_as_is)
    threads = torch.get_num_threads()
    try:
        with track("synthesize", len(jobs)) as tracker:
            records = []
            for record in loader:
                records.append(record)
                tracker.advance()
            return records
    except BaseException as error:
        failure = error.with_traceback(None)
    finally:
        torch.set_num_threads(threads)  # without workers, a case sets it here
    raise failure


class SynthesisJobs(Dataset):
    """`jobs[i]` makes case i, writes it, and returns its record; a case that is there already is only read."""

    def __init__(self, views: list[View], run: RunDir, settings: SynthesisConfig):
        self.views, self.run, self.settings = views, run, settings
        self.with_tumor = [view for view in views if view.tumor_voxels]
        self.removals = min(settings.removals, len(self.with_tumor))
        self._insert: RandInsertTumor | None = None
        self._remove: RemoveTumor | None = None

    def __len__(self) -> int:
        return self.settings.insertions + self.removals

    def __getitem__(self, index: int) -> dict[str, Any]:
        inserting = index < self.settings.insertions
        number = index if inserting else index - self.settings.insertions
        name = f"{'inserted' if inserting else 'removed'}-{number:05d}"
        record_path = self.run.synthetic / "records" / f"{name}.json"
        if record_path.exists():
            return read_json(record_path)
        self._load()
        record = self._inserted(name, index) if inserting else self._removed(name, number)
        write_json(record_path, record)
        return record

    def _inserted(self, name: str, index: int) -> dict[str, Any]:
        """A draw that finds no room moves on to the next view; the record says which was used."""
        rng = np.random.RandomState((self.settings.seed * 1_000_003 + index) % 2**32)
        for _ in range(TRIES):
            view, seed = self.views[rng.randint(len(self.views))], int(rng.randint(2**31))
            image, label, organ = (self._tensor(view, kind) for kind in ("image", "label", "organ"))
            self._insert.set_random_state(seed=seed)
            edited, truth = self._insert(image, label, organ, window=view.window)
            if self._insert.lesions:
                return self._write(name, "inserted", view, seed, self._insert.lesions, edited, truth, image)
        raise DataError(f"no room for a lesion in {TRIES} training views; lower data.organ_margin_mm")

    def _removed(self, name: str, number: int) -> dict[str, Any]:
        view = self.with_tumor[number * len(self.with_tumor) // self.removals]
        image, label = self._tensor(view, "image"), self._tensor(view, "label")
        edited = self._remove(image, label, window=view.window)
        return self._write(name, "removed", view, self._remove.seed, [], edited, torch.zeros_like(label), image)

    def _load(self) -> None:
        if self._insert is None:
            torch.set_num_threads(1)
            weights, s = load_weights(self.run.weights), self.settings
            self._facts = weights.facts
            self._insert = RandInsertTumor(weights, prob=1.0, count=s.lesions, size_mm=s.size_mm, shape=s.shape)
            self._remove = RemoveTumor(weights)

    def _tensor(self, view: View, kind: str) -> MetaTensor:
        array = torch.from_numpy(np.array(view.raw(self.run.prepared, kind), dtype=np.float32))[None]
        return MetaTensor(array, affine=torch.tensor(view.entry["affine"], dtype=torch.float64))

    def _write(
        self, name: str, kind: str, view: View, seed: int, lesions: list[dict[str, Any]], image: MetaTensor,
        label: MetaTensor, original: MetaTensor,
    ) -> dict[str, Any]:  # fmt: skip
        suffix = Path(view.entry["image"]).suffix.lower()
        suffix = ".png" if suffix in PICTURES else ".nii.gz"
        affine, dtype = np.asarray(view.entry["affine"]), view.entry["source_dtype"]
        paths = {folder: f"{folder}/{name}{suffix}" for folder in ("images", "labels", "originals")}
        write_scan(self.run.synthetic / paths["images"], image, affine, dtype)
        write_scan(self.run.synthetic / paths["labels"], label, affine, "uint8")
        write_scan(self.run.synthetic / paths["originals"], original, affine, dtype)
        return {
            "case": name, "patient": view.patient, "scan": name, "channel": None, "kind": kind,
            "image": paths["images"], "label": paths["labels"], "original": paths["originals"],
            "parent": {"case": view.entry["case"], "patient": view.patient, "level": view.level},
            "window": view.entry["window"], "seed": seed, "lesions": lesions, "weights": self._facts["sha256"],
            "training_patients": self._facts["training_patients"], "split_hash": self._facts["split_hash"],
        }  # fmt: skip


def _as_is(record: dict[str, Any]) -> dict[str, Any]:
    return record
