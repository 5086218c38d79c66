"""What a run's page lets one look around in: the very files and edits of the run."""

import base64
import gzip
import json
import re
import shutil

import nibabel
import numpy as np
import pytest

from medaug.data.atomic import read_json, write_json
from medaug.data.files import read_scan
from medaug.report.viewing import SHOWN, part_cases
from medaug.runs.folder import RunDir


def shown_in(run: RunDir) -> dict:
    return json.loads(re.search(r'class="viewer-data">(.*?)</script>', run.report.read_text(), re.S)[1])


def image_of(data: dict, name: str) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(data["volumes"][name])))


@pytest.mark.parametrize(("fixture", "dims"), [("tiny_run", 2), ("volume_run", 3)])
def test_the_page_of_a_run_shows_edits_of_held_out_patients_and_the_synthetic_set(fixture, dims, request):
    run = request.getfixturevalue(fixture)
    data = shown_in(run)
    groups = [case["group"] for case in data["cases"]]
    assert {name.partition(",")[0] for name in groups} == {"Held-out patients", "Synthetic set"}
    assert all(case["dims"] == dims and case["oriented"] for case in data["cases"])
    unlabelled = {case["group"] for case in data["cases"] if case["label"] is None}
    assert unlabelled == {"Synthetic set, tumors removed"}, "nothing is left to mark there"
    assert max(groups.count(name) for name in groups) <= SHOWN
    held_out = {*read_json(run.split)["test"], *read_json(run.split)["validation"]}
    assert all(
        any(case["title"].startswith(patient) for patient in held_out)
        for case in data["cases"] if case["group"].startswith("Held-out")
    )  # fmt: skip


def test_a_synthetic_case_is_shown_as_the_file_that_networks_train_on(volume_run):
    data = shown_in(volume_run)
    case = next(case for case in data["cases"] if case["title"].startswith("inserted-00000"))
    for key, folder in (("after", "images"), ("before", "originals")):
        scan, shown = (
            read_scan(volume_run.synthetic / folder / "inserted-00000.nii.gz"),
            image_of(data, case[key]["volume"]),
        )
        array, file = np.asarray(shown.dataobj), scan.numpy()[0]
        first = np.linalg.solve(scan.affine.numpy(), shown.affine[:, 3])[:3].round().astype(int)
        part = file[tuple(slice(a, a + n) for a, n in zip(first, array.shape, strict=True))]
        np.testing.assert_allclose(array, part, atol=np.ptp(file) / 4000)


def test_a_run_from_before_there_were_viewers_still_gets_its_page(copy_of_run):
    from medaug.config.files import load_config
    from medaug.stages.report import report

    (copy_of_run.audit / "viewer.json").unlink()
    realism = read_json(copy_of_run.audit / "realism.json")
    write_json(
        copy_of_run.audit / "realism.json", realism | {"length_unit": "px"}
    )  # as of pictures without a voxel size
    report(load_config(copy_of_run.config, []), copy_of_run)
    assert all(case["group"].startswith("Synthetic set") for case in shown_in(copy_of_run)["cases"])
    page = copy_of_run.report.read_text()
    assert realism["length_unit"] == "mm" and "diameter (px)" in page and "edge gradient per px" in page


def test_a_page_of_parts_shows_the_first_case_of_every_heading_of_each(tiny_run, volume_run):
    cases = part_cases({"one": tiny_run, "two": volume_run})
    groups = [case.facts["group"] for case in cases]
    assert len(groups) == len(set(groups)), "one case a heading"
    assert groups == [f"one: {name}" for name in headings(tiny_run)] + [f"two: {name}" for name in headings(volume_run)]


def test_synthetic_cases_that_were_deleted_are_not_shown(copy_of_run):
    shutil.rmtree(copy_of_run.synthetic / "originals")
    assert all("Held-out" in case.facts["group"] for case in part_cases({"": copy_of_run}))


def test_synthetic_cases_of_several_sequences_show_them_all_with_the_parts_by_name(multi_run):
    cases = part_cases({"": multi_run})
    assert cases and all([channel["name"] for channel in case.facts["channels"]] == ["flair", "t1"] for case in cases)
    for case in cases:
        first, second = case.facts["channels"]
        assert first["after"]["high"] != second["after"]["high"], "each has its own window"
        assert {first["after"]["volume"], second["after"]["volume"]} <= set(case.volumes)
    named = {(c["value"], c["name"]) for case in cases for c in case.facts["classes"]}
    assert named and named <= {(1, "core"), (2, "rim")}


def headings(run: RunDir) -> list[str]:
    return list(dict.fromkeys(case["group"] for case in shown_in(run)["cases"]))
