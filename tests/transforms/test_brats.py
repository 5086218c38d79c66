"""A real scan of four sequences: tumors inserted, removed and replaced in whole volumes, with BraTS' own labels."""

import os
from pathlib import Path

import numpy as np
import pytest
from monai.transforms import Compose, LoadImaged
from scipy import ndimage

from medaug.transforms import RandInsertTumord, RandReplaceTumord, RemoveTumord

DATA = Path(os.environ.get("MEDAUG_DATA", Path(__file__).parents[3] / "shared" / "data")) / "brats"
SEQUENCES = ("t1", "t1ce", "t2", "flair")
VALUES = {"edema": 2, "core": 1, "enhancing": 4}


@pytest.fixture(scope="module")
def scan():
    if not DATA.exists():
        pytest.skip("no BraTS scans; set MEDAUG_DATA to a folder with brats/")
    folder = sorted(DATA.iterdir())[0]
    files = {key: folder / f"{folder.name}_{key}.nii.gz" for key in (*SEQUENCES, "seg")}
    loaded = Compose([LoadImaged(list(files), ensure_channel_first=True, dtype=np.int16)])(files)
    brain = np.any([np.asarray(loaded[key][0]) > 0 for key in SEQUENCES], axis=0)
    return loaded | {"brain": ndimage.binary_fill_holes(brain)[None].astype(np.uint8)}


@pytest.mark.parametrize(("kind", "dims"), [(RandInsertTumord, 3), (RemoveTumord, 3), (RandReplaceTumord, 2)])
def test_a_whole_scan_is_edited_in_every_sequence_and_nowhere_else(untrained, scan, kind, dims):
    options = {"label_key": "seg", "tumor_labels": VALUES}
    if kind is not RemoveTumord:
        options |= {"prob": 1.0, "organ_key": "brain", "size_mm": (20.0, 26.0)}
    transform = kind(SEQUENCES, untrained(dims, SEQUENCES), **options)
    if kind is not RemoveTumord:
        transform.set_random_state(seed=3)  # a place that all show: the FLAIR of this patient ends above the others
    made = transform(scan)
    old, new, brain = np.asarray(scan["seg"][0]), np.asarray(made["seg"][0]), scan["brain"][0] > 0
    relabelled = old != new
    assert relabelled.any() and not relabelled[~brain].any() and made["seg"].dtype == scan["seg"].dtype
    if kind is RemoveTumord:
        assert not new[brain].any()
    else:
        assert set(np.unique(new[relabelled & (new > 0)])) == {*VALUES.values()}
    reached = relabelled
    if kind is RandInsertTumord:
        assert not old[relabelled].any()
    else:  # a removal reaches less than three voxels of 2 mm beyond its mask
        reached = ndimage.distance_transform_edt(~((old > 0) | (new > 0))) < 6
    for key in SEQUENCES:
        before, after = scan[key], made[key]
        assert after.dtype == before.dtype and (after.affine == before.affine).all()
        differs = np.asarray(after[0]) != np.asarray(before[0])
        assert differs.any() and not differs[~reached].any() and not differs[~brain].any()
        assert after.min() >= before.min() and after.max() <= before.max()
