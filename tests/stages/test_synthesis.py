"""Synthetic cases as paired examples: the original, the edit, the label, and where they came from."""

import numpy as np
import pytest
from scipy import ndimage

import medaug
from medaug.data.atomic import read_json
from medaug.data.files import read_label, read_scan, write_scan
from medaug.errors import DataError
from medaug.stages.pipeline import run_pipeline

from ..stored import array_of

REACH_VOXELS = 2
REMOVAL_REACH_VOXELS = 4
"""A tumor too large for the crop is looked at more coarsely, and the mask's growth is then as much larger."""


@pytest.fixture(params=["tiny_run", "volume_run"])
def run(request):
    return request.getfixturevalue(request.param)


def cases(run, kind):
    """(record, image, label, original, the parent's image, the parent's label), arrays without channel."""
    entries = {entry["case"]: entry for entry in read_json(run.datalist)["cases"]}
    for record in read_json(run.synthetic / "datalist.json")["training"]:
        if record["kind"] == kind:
            scans = [read_scan(run.synthetic / record[key]).as_tensor()[0].numpy() for key in ("image", "original")]
            label = read_label(run.synthetic / record["label"]).as_tensor()[0].numpy()
            entry = entries[record["parent"]["case"]]
            parent = [array_of(run.prepared, entry, kind) for kind in ("image", "label")]
            level = record["parent"]["level"]
            parent = parent if level is None else [array[..., level] for array in parent]
            yield record, scans[0], label, scans[1], *parent


def grown(mask, voxels=REACH_VOXELS):
    return ndimage.binary_dilation(mask, np.ones((3,) * mask.ndim), iterations=voxels)


def test_originals_are_the_parents(run):
    for kind in ("inserted", "removed"):
        for _, _, _, original, parent, _ in cases(run, kind):
            np.testing.assert_array_equal(original, parent)


def test_an_inserted_case_differs_from_its_original_where_its_label_does_and_nowhere_else(run):
    pairs = list(cases(run, "inserted"))
    assert len(pairs) == 4
    for record, image, label, original, _, truth in pairs:
        new, changed = (label > 0) & (truth == 0), image != original
        assert new.any() and not changed[~grown(new)].any()
        assert changed[new].mean() > 0.9
        np.testing.assert_array_equal(label[truth > 0], truth[truth > 0])
        assert len(record["lesions"]) == 1


def test_a_removed_case_has_no_label_and_differs_only_where_the_tumor_was(run):
    pairs = list(cases(run, "removed"))
    assert len(pairs) == 2
    for _, image, label, original, _, truth in pairs:
        changed = image != original
        assert not label.any() and changed[truth > 0].any()
        assert not changed[~grown(truth > 0, REMOVAL_REACH_VOXELS)].any()


def test_scans_keep_their_grid_and_type(run):
    for record, *_ in cases(run, "inserted"):
        scans = [read_scan(run.synthetic / record[key]) for key in ("image", "original")]
        entry = next(e for e in read_json(run.datalist)["cases"] if e["case"] == record["parent"]["case"])
        place = np.array(entry["affine"])
        place[:3, 3] += place[:3, 2] * (record["parent"]["level"] or 0)
        for scan in scans:
            np.testing.assert_allclose(scan.affine, place, atol=1e-4)
            assert [scan.meta["dtype"]] == entry["source_dtypes"]


def test_records_say_where_a_case_comes_from(run):
    weights, split = read_json(run.weights / "model.json"), read_json(run.split)
    seeds = set()
    for record, *_ in cases(run, "inserted"):
        assert record["weights"] == weights["sha256"] and record["split_hash"] == split["hash"]
        seeds.add(record["seed"])
    assert len(seeds) == 4


def test_the_number_of_workers_does_not_change_a_case(copy_of_run, tiny_config, tiny_run, forget, contents):
    forget(copy_of_run, "synthesize")
    run_pipeline(tiny_config("synthesis.workers=0"), copy_of_run.root, until="synthesize")
    assert contents(copy_of_run.synthetic) == contents(tiny_run.synthetic)


def test_more_cases_begin_with_the_same_ones(copy_of_run, tiny_config, tiny_run):
    run_pipeline(tiny_config("synthesis.insertions=5"), copy_of_run.root, until="synthesize")
    for number in range(4):
        name = f"images/inserted-{number:05d}.nii.gz"
        assert (copy_of_run.synthetic / name).read_bytes() == (tiny_run.synthetic / name).read_bytes()


def test_a_scan_without_room_is_an_error_with_a_remedy(tiny_run, weights_folder, tmp_path):
    scan = next((tiny_run.phantoms / "imagesTr").glob("*_0000.nii.gz"))
    mask = next((tiny_run.phantoms / "labelsTr").glob(f"{scan.name.split('_')[0]}.nii.gz"))
    empty = tmp_path / "empty.nii.gz"
    write_scan(empty, read_label(mask) * 0)
    with pytest.raises(DataError, match="no room for a tumor.*--organ-mask"):
        medaug.insert(scan, weights=weights_folder, out=tmp_path / "out", organ_mask=empty)
    assert not (tmp_path / "out").exists()
