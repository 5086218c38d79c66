"""Write paired examples: tumors inserted into training scans, and real tumors removed from them.

Reads: `prepared/`, `split.json`, `train/weights`. Writes `synthetic/`: `images/`, `labels/`, `originals/` (the same
view before the edit: the other half of the pair), one record a case in `records/`, and `datalist.json` with parent,
seed, lesions and weights hash. A case depends on its seed alone: any one can be made again, here or online by
`RandInsertTumor` with that random state. A stopped synthesis goes on where it was, and several processes can make a
share of the cases each (see `shards`).

Where the quality gate is asked (see `gate`), a record of an insertion has its `agreement` and how many `draws` it took,
and `datalist.json` the accept rate; with `synthesis.gate` what is rejected is drawn again and not written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, Dataset

from medaug.config import PipelineConfig, SynthesisConfig
from medaug.data.atomic import read_json, write_json
from medaug.data.datalists import own_file
from medaug.data.files import write_scan
from medaug.data.prepared import View, views_of
from medaug.data.records import PreparedCase, prepared_cases
from medaug.data.synthetic import Parent, SyntheticCase
from medaug.errors import DataError, RunError
from medaug.evaluation.samples import ViewFolder
from medaug.experiment.edits import Edited, ViewEditor
from medaug.experiment.gate import DRAWS, QualityGate, gate_figures, gate_of, is_judged
from medaug.progress import track
from medaug.runs.claims import claimed, claims_held
from medaug.runs.folder import RunDir
from medaug.runs.markers import essential, run_stage
from medaug.runs.provenance import refuse_known
from medaug.seeds import rng_of

STAGE = "synthesize"
FILES = ("image", "label", "original")
"""What a record names of its case."""
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
TRIES = 20
"""How many views without room end the search for one that has some."""
REMOVAL_SEED = 0


def synthesize(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do. It waits for another process that does the same in this run.

    Raises:
        LeakageError: if the weights were trained on validation or test patients of this run.
        RunError: if shares of the cases are being made elsewhere (see `shards`).
    """
    with claimed(run, STAGE, wait=True):
        refuse_at_work(run)
        return finish(config, run)


def finish(config: PipelineConfig, run: RunDir) -> bool:
    """Makes the cases that are not there, and writes the datalist of all; for whoever holds the claim to the stage."""
    return run_stage(run, STAGE, inputs_of(config, run), [run.synthetic], lambda: _synthesize(config, run))


def inputs_of(config: PipelineConfig, run: RunDir) -> list[Any]:
    """What decides the cases; refuses weights that were trained on others than the training patients."""
    weights = read_json(run.weights / "model.json")
    split = run.read_split()
    refuse_known(weights, run, split, f"weights {run.weights}")
    inputs = [essential(config.synthesis), weights["sha256"], split.hash]
    if is_judged(config):
        inputs += [essential(config.segmenter), config.evaluation.patch_size]
    return inputs


def refuse_at_work(run: RunDir) -> None:
    """Refuses while processes hold the claim to a share: what they are writing would be taken from them."""
    if held := claims_held(run, f"{STAGE}-"):
        shares = ", ".join(name.removeprefix(f"{STAGE}-").replace("-of-", "/") for name in held)
        raise RunError(
            f"{run.synthetic}: found processes that write shares of the cases (--shard {shares}); expected none. Wait "
            "for them, or end them: what they have written counts."
        )


def _synthesize(config: PipelineConfig, run: RunDir) -> None:
    jobs = synthesis_jobs(config, run)
    records = records_of(config, jobs, range(len(jobs)))
    figures = {"gate": gate_figures(config, records)} if is_judged(config) else {}
    write_json(run.synthetic / "datalist.json", {"training": [record.to_json() for record in records], **figures})


def synthesis_jobs(config: PipelineConfig, run: RunDir) -> SynthesisJobs:
    """All cases of the run, made or not."""
    return SynthesisJobs(
        views_of(_training_entries(run), run.prepared, config.data.spatial_dims), run, config.synthesis
    )


def records_of(config: PipelineConfig, jobs: SynthesisJobs, numbers: Sequence[int]) -> list[SyntheticCase]:
    """The records of these cases, in order; those that are not there are made.

    An error is raised only after its traceback is gone, and with it the loader: its workers have then stopped writing.
    """
    if is_judged(config) and not all(jobs.is_there(number) for number in numbers):
        run = jobs.run
        real = ViewFolder(views_of(_training_entries(run), run.prepared, config.data.spatial_dims), run.prepared)
        jobs.judge = gate_of(config, real)
    workers = config.synthesis.workers
    loader = DataLoader(jobs, batch_size=None, sampler=numbers, num_workers=workers, collate_fn=_as_is)
    try:
        with track(STAGE, len(numbers)) as tracker:
            records = []
            for record in loader:
                records.append(record)
                tracker.advance()
            return records
    except BaseException as error:
        failure = error.with_traceback(None)
    raise failure


def _training_entries(run: RunDir) -> list[PreparedCase]:
    patients = read_json(run.split)["train"]
    return [entry for entry in prepared_cases(run.datalist) if entry.patient in patients]


class SynthesisJobs(Dataset):
    """`jobs[i]` makes case i, writes it, and returns its record; a case that is there already is only read."""

    judge: QualityGate | None = None

    def __init__(self, views: list[View], run: RunDir, settings: SynthesisConfig):
        self.views, self.run, self.settings = views, run, settings
        self.with_tumor = [view for view in views if view.tumor_voxels]
        self.removals = min(settings.removals, len(self.with_tumor))
        self.editor = ViewEditor(run.weights, run.prepared, settings)

    def __len__(self) -> int:
        return self.settings.insertions + self.removals

    def __getitem__(self, index: int) -> SyntheticCase:
        kind, number, path = self._case(index)
        if self.is_there(index):
            return SyntheticCase.from_json(read_json(path))
        record = self._inserted(path.stem, index) if kind == "inserted" else self._removed(path.stem, number)
        write_json(path, record.to_json())
        return record

    def is_there(self, index: int) -> bool:
        """Whether the case was made, and all its files are there."""
        path = self._case(index)[2]
        return path.exists() and all(
            own_file(self.run.synthetic, read_json(path)[kind], must_exist=False).exists() for kind in FILES
        )

    def _case(self, index: int) -> tuple[str, int, Path]:
        """What is done to make it, its number among those, and where its record lies."""
        inserting = index < self.settings.insertions
        kind, number = ("inserted", index) if inserting else ("removed", index - self.settings.insertions)
        return kind, number, self.run.synthetic / "records" / f"{kind}-{number:05d}.json"

    def _inserted(self, name: str, index: int) -> SyntheticCase:
        """A draw that finds no room, or is rejected, moves on to the next view; the record says which was used."""
        rng = rng_of(self.settings.seed, index)
        roomless, draws, least = 0, 0, self.settings.gate
        while roomless < TRIES and draws < DRAWS:
            view, seed = self.views[rng.randint(len(self.views))], int(rng.randint(2**31))
            edited = self.editor.inserted(view, seed)
            if edited is None:
                roomless += 1
                continue
            if self.judge is None:
                return self._write(name, "inserted", view, seed, edited)
            found, draws = self.judge(edited, view), draws + 1
            if least is None or found >= least:
                return replace(self._write(name, "inserted", view, seed, edited), agreement=found, draws=draws)
        if draws:
            raise self._rejected(name, draws)
        raise DataError(f"no room for a lesion in {TRIES} training views; lower data.organ_margin_mm")

    def _rejected(self, name: str, draws: int) -> DataError:
        """What to say when a case was never accepted: with the accept rate of all that was drawn so far."""
        there = [read_json(path) for path in (self.run.synthetic / "records").glob("inserted-*.json")]
        drawn = draws + sum(record["draws"] for record in there)
        return DataError(
            f"synthesis.gate: found {draws} draws of {name} that the frozen segmenter does not see well enough, and an "
            f"accept rate of {len(there)} in {drawn} ({len(there) / drawn:.0%}); expected an agreement of at least "
            f"{self.settings.gate:g} now and then. Lower synthesis.gate, train longer (training.steps), or train the "
            "segmenter longer (segmenter.updates)."
        )

    def _removed(self, name: str, number: int) -> SyntheticCase:
        view = self.with_tumor[number * len(self.with_tumor) // self.removals]
        return self._write(name, "removed", view, REMOVAL_SEED, self.editor.removed(view, REMOVAL_SEED))

    def _write(self, name: str, kind: str, view: View, seed: int, edited: Edited) -> SyntheticCase:
        suffix = Path(view.case.image).suffix.lower()
        suffix = ".png" if suffix in PICTURES else ".nii.gz"
        affine, dtype = view.affine, view.case.source_dtype
        paths = {folder: f"{folder}/{name}{suffix}" for folder in ("images", "labels", "originals")}
        write_scan(self.run.synthetic / paths["images"], edited.image, affine, dtype)
        write_scan(self.run.synthetic / paths["labels"], edited.label, affine, "uint8")
        write_scan(self.run.synthetic / paths["originals"], edited.original, affine, dtype)
        facts = self.editor.weights.facts
        return SyntheticCase(
            case=name,
            patient=view.patient,
            kind=kind,
            image=paths["images"],
            label=paths["labels"],
            original=paths["originals"],
            parent=Parent(case=view.case.case, patient=view.patient, level=view.level),
            window=view.window,
            length_unit=view.case.length_unit,
            seed=seed,
            lesions=tuple(edited.lesions),
            weights=facts["sha256"],
            training_patients=tuple(facts["training_patients"]),
            split_hash=facts["split_hash"],
        )


def _as_is(record: Any) -> Any:
    return record
