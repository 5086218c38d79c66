"""What medaug sees of preprocessed arrays is what it saw of the files."""

import json

import nibabel
import numpy as np
import pytest

from medaug.data.prepared import View
from medaug.data.records import prepared_cases
from medaug.errors import ConfigError
from medaug.models.weights import load_weights
from medaug.nnunet.looks import Look, Plans
from medaug.volumes import Domain, Percentiles, Window

FACES = [np.diag([-1, -1, 1]), np.diag([1, -1, -1]), np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]])]


def plans(configuration="3d_fullres", scheme="z-score", masked=False, **more):
    spacing = (6.0, 6.0) if configuration == "2d" else (10.0, 6.0, 6.0)
    ct = {"mean": 80.0, "std": 40.0, "percentile_00_5": -60.0, "percentile_99_5": 200.0}
    return Plans(spacing, more.get("transpose", (0, 1, 2)), (scheme,), (masked,), (ct,))


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_a_preprocessed_case_is_seen_as_the_prepared_one(trainer, gan, configuration):
    made = trainer("nnUNetTrainerMedaug", configuration)
    cases = made.looked_at(*_training(made))
    prepared = gan.parents[1] / "prepared"
    entry = next(e for e in prepared_cases(prepared / "datalist.json") if e.case == cases.identifiers[0])
    view = View(entry, None, 0)
    data, seg, _ = cases.read(cases.identifiers[0])
    look = cases.look_at(cases.identifiers[0])
    values, labels = np.asarray(data[:]), np.asarray(seg[:])
    seen = np.stack([w.normalize(channel) for w, channel in zip(look.windows, values, strict=True)])
    if configuration == "2d":
        level = values.shape[1] // 2
        seen, labels = look.there(seen[:, level]), look.there(labels[:, level])
        wanted, classes = view.normalized(prepared)[..., level], view.classes(prepared)[..., level]
    else:
        seen, labels = look.there(seen), look.there(labels)
        wanted, classes = view.normalized(prepared), view.classes(prepared)
    assert np.abs(seen - wanted).max() < 0.02 and np.array_equal(np.maximum(labels[0], 0), classes)
    assert look.affine[:3, :3] == pytest.approx(np.diag(np.diag(look.affine)[:3]))


def _training(made):
    (training, _), known = made.get_tr_and_val_datasets(), made.configuration_manager.configuration
    return training, Plans.of(made.plans_manager.plans, known)


@pytest.mark.parametrize("directions", FACES, ids=["LPS", "RPI", "sagittal"])
@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
def test_a_patch_comes_back_as_it_went(directions, transpose):
    properties = {
        "spacing": (6.0, 6.0, 6.0),
        "sitk_stuff": {"direction": tuple(np.ravel(np.diag([-1, -1, 1]) @ directions))},
    }
    look = plans(transpose=transpose).look(properties, (Window(0, 1),))
    patch = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    there = look.there(patch)
    assert isinstance(look, Look) and np.array_equal(look.back(there), patch)
    assert "".join(nibabel.aff2axcodes(look.affine)) == look.turn.axes and {*look.turn.axes} == {*"LPS"}
    assert there.shape[-1] == 3 and np.linalg.norm(look.affine[:3, 2]) == 10.0  # d0, which has the thick slices


def test_slices_of_the_2d_configuration_have_to_be_those_that_are_looked_at():
    properties = {"spacing": (1.0, 6.0, 6.0), "sitk_stuff": {"direction": tuple(np.ravel(FACES[2]))}}
    with pytest.raises(ConfigError, match="3d_fullres"):
        plans("2d").look(properties, ())


def test_a_window_in_hu_goes_through_the_plans():
    window = plans(scheme="CT").window(0, Domain("ct", "CT", Window(-40, 200, "HU")), "ct")
    assert (window.low, window.high) == (-3.0, 3.0)


@pytest.mark.parametrize(
    ("window", "scheme", "words"),
    [
        (Window(-160, 240, "HU"), "CT", "data.window_hu=\\[-60, 200\\]"),
        (Percentiles(), "CT", "data.modality=CT"),
        (Window(0, 255), "z-score", "no data.window"),
        (Window(-60, 200, "HU"), "z-score", "no data.window"),
    ],
)
def test_windows_that_cannot_be_had_are_refused(window, scheme, words):
    with pytest.raises(ConfigError, match=words):
        plans(scheme=scheme).window(0, Domain("x", "CT", window), "x")


def test_what_was_cropped_away_counts_as_background():
    from medaug.nnunet.looks import windows_of

    rng = np.random.RandomState(0)
    raw = np.zeros((1, 20, 40, 40), dtype=np.float32)
    raw[:, 5:15, 10:30, 10:30] = rng.uniform(50, 300, size=(1, 10, 20, 20))
    wanted = Percentiles().window_of(raw[0])
    inside = raw[:, 5:15, 10:30, 10:30]
    mean, std = inside.mean(), inside.std()
    sizes = {"shape_before_cropping": (20, 40, 40), "shape_after_cropping_and_before_resampling": (10, 20, 20)}
    seg, domain = np.zeros((1, 10, 20, 20), dtype=np.int8), [Domain("mr", "MR")]
    (found,) = windows_of(plans(), domain, ["mr"], (inside - mean) / std, seg, sizes)
    assert found.high == pytest.approx((wanted.high - mean) / std, abs=0.02)
    assert found.low == pytest.approx((inside.min() - mean) / std, abs=0.02)


def test_the_outside_of_the_mask_is_no_voxel_where_only_the_inside_is_scaled():
    from medaug.nnunet.looks import windows_of

    data = np.zeros((1, 6, 20, 20), dtype=np.float32)
    seg = np.full((1, 6, 20, 20), -1, dtype=np.int8)
    data[:, :, 5:15, 5:15] = np.random.RandomState(0).normal(size=(1, 6, 10, 10))
    seg[:, :, 5:15, 5:15] = 0
    sizes = {"shape_before_cropping": (6, 20, 20), "shape_after_cropping_and_before_resampling": (6, 20, 20)}
    (found,) = windows_of(plans(masked=True), [Domain("mr", "MR")], ["mr"], data, seg, sizes)
    assert found.low == pytest.approx(float(data[seg == 0].min()), abs=1e-5) and found.high > 2


def test_plans_are_read_from_their_json(folders):
    content = json.loads((folders / "nnUNet_preprocessed/Dataset501_Heads/nnUNetPlans.json").read_text())
    found = Plans.of(content, content["configurations"]["2d"])
    assert found.flat and found.schemes == ("z-score", "z-score") and found.voxel_mm(10.0) == (6.0, 6.0, 10.0)


def test_weights_know_the_fold_they_learnt_from(gan):
    facts = load_weights(gan).facts
    assert facts.nnunet.dataset == "Dataset501_Heads" and facts.nnunet.fold == "0"
    assert list(facts.nnunet.training_cases) == ["phantom-000", "phantom-001", "phantom-002", "phantom-004"]
    assert facts.parts == {"edema": (1,), "core": (2,)} and facts.spacing_mm == (6.0, 6.0)
