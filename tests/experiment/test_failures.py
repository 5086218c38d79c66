"""The worst patients of a cell, kept with slice, truth and prediction."""

from dataclasses import fields

import numpy as np
import pytest

from medaug.data.atomic import read_json
from medaug.errors import RunError
from medaug.experiment.cells import failures_path, read_failures
from medaug.stages.tasks.insertion import downstream_of, evaluated_cell
from medaug.volumes import Window

from ..stored import array_of


@pytest.fixture(scope="module")
def kept(tiny_run, tiny_config, tmp_path_factory):
    """(cell, its failures)."""
    path = tmp_path_factory.mktemp("evaluation") / "cells" / "standard-seed0.json"
    downstream = downstream_of(tiny_config(), tiny_run, with_synthetic=False)
    cell = evaluated_cell(downstream, "standard", 0, path)
    return cell, read_failures(failures_path(path))


def test_the_worst_come_first_with_their_own_score(kept):
    cell, failures = kept
    scores = {patient: values["dice"] for patient, values in cell.scores.items()}
    assert [f.score for f in failures] == sorted(scores.values())[:6]
    assert all(scores[f.patient] == f.score for f in failures)


def test_a_slice_is_of_the_scan_with_its_own_truth(kept, tiny_run):
    entries = {entry["patient"]: entry for entry in read_json(tiny_run.datalist)["cases"]}
    for failure in kept[1]:
        entry = entries[failure.patient]
        image, truth = (array_of(tiny_run.prepared, entry, k) for k in ("image", "label"))
        levels = [z for z in range(image.shape[-1]) if (truth[..., z] == failure.truth).all()]
        normalized = Window(**entry["windows"][0]).normalize(image.astype(np.float32))
        assert min(np.abs(normalized[..., z] - failure.image).max() for z in levels) < 2 / 255
        assert failure.prediction.shape == failure.image.shape


def test_the_cell_is_the_same_as_without_keeping(kept, tiny_run):
    alone = read_json(tiny_run.evaluation / "cells" / "standard-seed0.json")
    assert kept[0].scores == alone["scores"]


def test_a_cell_without_kept_failures_has_none(tmp_path):
    assert read_failures(failures_path(tmp_path / "cells" / "gan-seed0.json")) == []


def test_a_cell_whose_loader_loses_a_process_is_refused_in_words_in_a_benchmark_too(tiny_run, tiny_config, tmp_path):
    whole = downstream_of(tiny_config(), tiny_run, with_synthetic=False)

    class Killed(type(whole)):
        def fitted(self, name, seed):
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    killed = Killed(**{field.name: getattr(whole, field.name) for field in fields(whole)})
    with pytest.raises(RunError, match=r"prepares samples ended.*lower evaluation\.workers\. The cells.*are kept"):
        evaluated_cell(killed, "standard", 0, tmp_path / "cells" / "standard-seed0.json")
