"""A synthetic case of a run comes out of the online transform again, bit for bit in the source's type."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from medaug.data.atomic import read_json
from medaug.data.files import read_label, read_scan
from medaug.transforms import RandInsertTumor, RandInsertTumord, RemoveTumor

from ..stored import array_of


def parent_of(record, run):
    """The view that a case was made from, as a MONAI dict."""
    entry = next(e for e in read_json(run.datalist)["cases"] if e["case"] == record["parent"]["case"])
    affine, level = torch.tensor(entry["affine"], dtype=torch.float64), record["parent"]["level"]
    arrays = {kind: array_of(run.prepared, entry, kind) for kind in ("image", "label", "organ")}
    views = {key: array if level is None else array[..., level] for key, array in arrays.items()}
    return {k: MetaTensor(torch.from_numpy(v.astype(np.float32))[None], affine=affine) for k, v in views.items()}


@pytest.mark.parametrize("fixture", ["tiny_run", "volume_run"])
def test_an_inserted_case_regenerates_alone(fixture, request):
    run = request.getfixturevalue(fixture)
    records = [r for r in read_json(run.synthetic / "datalist.json")["training"] if r["kind"] == "inserted"]
    assert records
    for record in records[::-1]:
        window = [record["window"][bound] for bound in ("low", "high")]
        online = RandInsertTumord("image", str(run.weights), organ_key="organ", prob=1.0, window=window)
        online.set_random_state(seed=record["seed"])
        case = online(parent_of(record, run))
        image, label = read_scan(run.synthetic / record["image"]), read_label(run.synthetic / record["label"])
        np.testing.assert_array_equal(case["image"].as_tensor(), image.as_tensor())
        np.testing.assert_array_equal(case["label"].as_tensor() > 0, label.as_tensor() > 0)
        assert online.transform.lesions == record["lesions"]


def test_a_removed_case_regenerates_alone(tiny_run, weights):
    records = [r for r in read_json(tiny_run.synthetic / "datalist.json")["training"] if r["kind"] == "removed"]
    assert records
    for record in records:
        case = parent_of(record, tiny_run)
        window = [record["window"][bound] for bound in ("low", "high")]
        image = RemoveTumor(weights, seed=record["seed"], window=window)(case["image"], case["label"])
        np.testing.assert_array_equal(image.as_tensor(), read_scan(tiny_run.synthetic / record["image"]).as_tensor())


def test_array_and_dictionary_transforms_draw_alike(weights, head):
    image, label = RandInsertTumor(weights, prob=1.0).set_random_state(seed=8)(head.slice, head.slice_label)
    case = RandInsertTumord("image", weights, prob=1.0).set_random_state(seed=8)(
        {"image": head.slice, "label": head.slice_label}
    )
    np.testing.assert_array_equal(case["image"], image)
    np.testing.assert_array_equal(case["label"], label)


def test_a_pipeline_step_can_be_replayed_from_its_seed(weights, head):
    step = RandInsertTumord("image", weights, prob=1.0)
    pipeline = Compose([step]).set_random_state(seed=6)
    case = {"image": head.slice, "label": head.slice_label}
    first = pipeline(case)["image"]
    pipeline(case)
    np.testing.assert_array_equal(pipeline.set_random_state(seed=6)(case)["image"], first)
