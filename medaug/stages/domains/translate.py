"""Write the labelled training scans as the other domain would show them: same labels, other appearance.

Reads: `prepared/`, `split.json`, `train/weights`. Writes `synthetic/`: `images/` (the translation, in the target's
unit), `labels/` (class numbers, as in the source), and `datalist.json` with parent, seed and weights hash. A scan is
there `synthesis.styles` times where the method knows styles, once otherwise. A stopped stage goes on where it was.
"""

from __future__ import annotations

import numpy as np

from medaug.audits.registered import translated_entry
from medaug.config import PipelineConfig
from medaug.data.atomic import read_json, write_json
from medaug.data.cache import file_name
from medaug.data.datalists import own_file
from medaug.data.files import write_scan
from medaug.data.prepared import View
from medaug.data.records import PreparedCase, prepared_cases
from medaug.data.synthetic import Parent, SyntheticCase
from medaug.errors import DataError
from medaug.models.weights import Weights, load_weights
from medaug.progress import track
from medaug.runs.folder import RunDir
from medaug.runs.markers import data_print, essential, run_stage
from medaug.runs.provenance import refuse_known
from medaug.splits import Split
from medaug.transforms import TranslateDomain


def translate(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do.

    Raises:
        DataError: if no training patient has a label.
        LeakageError: if the weights were trained on validation or test patients of this run.
    """
    facts, split = read_json(run.weights / "model.json"), run.read_split()
    refuse_known(facts, run, split, f"weights {run.weights}")
    inputs = [essential(config.synthesis), facts["sha256"], split.hash, data_print(run.datalist)]
    return run_stage(run, "translate", inputs, [run.synthetic], lambda: _translate(config, run, split))


def _translate(config: PipelineConfig, run: RunDir, split: Split) -> None:
    entries = [entry for entry in prepared_cases(run.datalist) if entry.patient in split.train and entry.labelled]
    if not entries:
        raise DataError("no training patient of data has a label; expected some, to train the network of the test on")
    weights = load_weights(run.weights)
    styles = config.synthesis.styles if weights.translator.style_dim else 1
    records: list[SyntheticCase] = []
    with track("translate", len(entries) * styles) as tracker:
        for entry in entries:
            for number in range(styles):
                records.append(_record(entry, number, config.synthesis.seed + number, weights, run))
                tracker.advance()
    write_json(run.synthetic / "datalist.json", {"training": [record.to_json() for record in records]})


def _record(entry: PreparedCase, number: int, seed: int, weights: Weights, run: RunDir) -> SyntheticCase:
    """Translates one scan and writes it, or returns what is there."""
    name = file_name(f"translated-{number:02d}-{entry.case}")
    path = run.synthetic / "records" / f"{name}.json"
    if path.exists():
        record = SyntheticCase.from_json(read_json(path))
        if all(own_file(run.synthetic, file, must_exist=False).exists() for file in (record.image, record.label)):
            return record
    image, window = translated_entry(entry, run.prepared, TranslateDomain(weights, "a2b", seed=seed))
    paths = {kind: f"{kind}s/{name}.nii.gz" for kind in ("image", "label")}
    affine = np.asarray(entry.affine)
    write_scan(run.synthetic / paths["image"], image[None], affine, str(image.dtype))
    write_scan(run.synthetic / paths["label"], View(entry, None, 0).classes(run.prepared)[None], affine, "uint8")
    record = SyntheticCase(
        case=name,
        patient=entry.patient,
        kind="translated",
        image=paths["image"],
        label=paths["label"],
        parent=Parent(case=entry.case, patient=entry.patient, level=None),
        window=window,
        length_unit=entry.length_unit,
        seed=seed,
        lesions=(),
        weights=weights.facts["sha256"],
        training_patients=tuple(weights.facts["training_patients"]),
        split_hash=weights.facts["split_hash"],
    )
    write_json(path, record.to_json())
    return record
