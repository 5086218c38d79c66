"""Results do not depend on the order and sense in which a scan's axes are stored."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from typer.testing import CliRunner

from medaug.cli import app
from medaug.data.files import read_scan, write_scan
from medaug.data.records import Case
from medaug.models.weights import Weights
from medaug.orientation import turn_of
from medaug.transforms import FindOrgan, GrowTumor, InsertTumor, RandInsertTumor, RemoveTumor, TranslateDomain

from ..stored import prepare_case

STORED = [((0, 1, 2), ()), ((0, 1, 2), (0, 2)), ((2, 0, 1), (1,)), ((1, 2, 0), (0, 1, 2)), ((2, 1, 0), ())]


def stored(array: np.ndarray, affine: np.ndarray, order, flips) -> tuple[np.ndarray, np.ndarray]:
    """The same scan (X, Y, Z) with its axes in another order and sense."""
    other = affine.copy()
    other[:, :3] = affine[:, list(order)]
    array = array.transpose(order)
    for axis in flips:
        other[:, 3] += (array.shape[axis] - 1) * other[:, axis]
        other[:, axis] *= -1
    return np.ascontiguousarray(np.flip(array, flips)), other


def meta(array, affine) -> MetaTensor:
    return MetaTensor(torch.from_numpy(array[None].astype(np.float32)), affine=torch.from_numpy(affine))


def edits(weights: Weights, plain: Weights):
    """Each takes (image, mask) and returns what it makes, (*S) arrays on the image's grid."""
    return {
        "insert": lambda x, m: InsertTumor(weights, seed=2)(x, m),
        "remove": lambda x, m: [RemoveTumor(weights, seed=2)(x, m)],
        "random": lambda x, m: RandInsertTumor(weights, prob=1.0, count=(2, 2)).set_random_state(seed=1)(x, m),
        "grow": lambda x, m: GrowTumor(weights, steps=2, start_mm=20, mass_effect=0.5).set_random_state(seed=1)(x, m),
        "organ": lambda x, m: [FindOrgan(weights)(x)],
        "translate": lambda x, m: [TranslateDomain(plain)(x)],
    }


@pytest.mark.parametrize("spacing_mm", [(6.0, 6.0, 10.0), (6.0, 6.0, 6.0), (6.0, 10.0, 6.0)])
@pytest.mark.parametrize("name", ["insert", "remove", "random", "grow", "organ", "translate"])
def test_a_result_is_the_same_scan_however_it_is_stored(weights, translating, head, name, spacing_mm):
    plain = translating(lambda x, direction, style: x + 0.2 * torch.tanh(x.roll(1, 2)), spacing_mm=(6.0, 6.0))
    mask = np.zeros_like(head.image)
    mask[12:18, 13:17, 3:6] = 1
    affine = np.diag([*spacing_mm, 1.0])
    edit, first = edits(weights, plain)[name], None
    for order, flips in STORED:
        image, other = stored(head.image, affine, order, flips)
        made = edit(meta(image, other), meta(stored(mask, affine, order, flips)[0], other))
        if name != "grow":
            made = [x if torch.is_tensor(x) else torch.from_numpy(x) for x in made]
        back = [
            np.stack([np.flip(np.asarray(part), flips).transpose(np.argsort(order)) for part in x.as_tensor()])
            for x in made
        ]
        first = back if first is None else first
        for expected, found in zip(first, back, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_slices_are_taken_along_the_thick_axis_or_as_the_weights_were_trained(weights, head):
    coronal = Weights(weights.translator, weights.prior, weights.facts.model_copy(update={"axes": "LSP"}))
    mask = np.zeros_like(head.image)
    mask[12:18, 13:17, 3:5] = 1
    for known, spacing_mm, axis in (
        (weights, (6.0, 6.0, 10.0), 2), (weights, (6.0, 10.0, 6.0), 1), (weights, (10.0, 6.0, 6.0), 0),
        (weights, (6.0, 6.0, 6.5), 2), (weights, (6.0, 6.0, 4.0), 2), (coronal, (6.0, 6.0, 6.0), 1),
    ):  # fmt: skip
        affine = np.diag([*spacing_mm, 1.0])
        affine[:3, 3] = 1
        made = InsertTumor(known)(meta(head.image, affine), mask[None])[0]
        changed = (made.numpy()[0] != head.image).any(axis=tuple({0, 1, 2} - {axis}))
        np.testing.assert_array_equal(changed, mask.any(axis=tuple({0, 1, 2} - {axis})))


def test_a_turn_and_its_inverse_leave_every_voxel_where_it_was():
    array = np.arange(24.0).reshape(2, 3, 4)
    for order, flips in itertools.product(itertools.permutations(range(3)), ((), (0,), (1, 2))):
        image, affine = stored(array, np.diag([1.0, 2.0, 3.0, 1.0]), order, flips)
        turn = turn_of(affine, 3)
        turned = turn.there(image)
        np.testing.assert_array_equal(turned, array[::-1, ::-1])
        np.testing.assert_array_equal(turn.back(turned), image)
        expected = [[-1, 0, 0, 1], [0, -2, 0, 4], [0, 0, 3, 0], [0, 0, 0, 1]]
        np.testing.assert_allclose(turn.affine(affine, image.shape), expected, atol=1e-12)
        assert turn.axes == "LPS"


@pytest.mark.parametrize(("order", "flips"), STORED[1:])
def test_training_slices_and_commands_do_not_depend_on_it_either(
    weights_folder: Path, head, tmp_path: Path, order, flips
):  # fmt: skip
    runs = {}
    for name, how in (("first", STORED[0]), ("second", (order, flips))):
        folder = tmp_path / name
        for kind, array in (("scan", head.image), ("mask", head.label)):
            turned, affine = stored(array, head.affine, *how)
            write_scan(folder / f"{kind}.nii.gz", turned[None].astype(np.float32), affine, "float32")
        image, label = (str(folder / f"{kind}.nii.gz") for kind in ("scan", "mask"))
        case = Case(case="a", patient="a", scan="a", image=image, label=label, channel=None)
        entry = prepare_case(case, folder / "prepared", spatial_dims=2)
        arrays = [np.load(folder / "prepared" / entry.arrays[kind]).squeeze() for kind in ("image", "label")]
        scan, mask = str(folder / "scan.nii.gz"), str(folder / "mask.nii.gz")
        runner = CliRunner()
        for command in (["remove", scan, "--mask", mask], ["anomaly", scan]):
            given = [*command, "--weights", str(weights_folder), "--out", str(folder / "out")]
            result = runner.invoke(app, given)
            assert result.exit_code == 0, result.output
        scores = json.loads(next((folder / "out").glob("*_anomaly.json")).read_text())["slices"]
        written = [read_scan(folder / "out" / f"scan_{kind}.nii.gz") for kind in ("removed", "anomaly")]
        back = [np.flip(x.numpy()[0], how[1]).transpose(np.argsort(how[0])) for x in written]
        runs[name] = (*arrays, np.array(entry.affine), np.array(scores), *back)
    for expected, found in zip(*runs.values(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
