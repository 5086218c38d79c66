"""Audits of images of two sequences with tumors of two parts: what each sequence and part says stands by its name."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from medaug.audits.insertion_audits import AUDITS
from medaug.audits.insertions import InsertionRun
from medaug.cli import app
from medaug.config.files import load_config
from medaug.data.atomic import read_json
from medaug.report.sections import audits_section
from medaug.runs.folder import RunDir
from medaug.stages.pipeline import run_pipeline

NAMES = ["flair", "t1"]
BY_SEQUENCE = ("outside", "unchanged", "steganography", "seams", "checkerboard", "lesion_contrast")


@pytest.fixture(scope="module")
def audited(tmp_path_factory, multi_run):
    """A copy with the stage `audit` and all audits, and what was printed of them as JSON."""
    run = RunDir(shutil.copytree(multi_run.root, tmp_path_factory.mktemp("two") / "run"))
    config = load_config(run.config, ["audit.lesions=24", "segmenter.updates=2", "segmenter.channels=[4,8,8]"])
    run_pipeline(config, run.root, until="audit")
    runner = CliRunner(env={"COLUMNS": "160", "NO_COLOR": "1", "TERM": "dumb"})
    settings = ["--set", "segmenter.updates=2", "--set", "segmenter.channels=[4,8,8]"]
    printed = runner.invoke(app, ["audit", str(run.root), "--json", *settings])
    assert printed.exit_code in (0, 8), printed.output
    return run, {row["name"]: row for row in json.loads(printed.stdout)}, runner.invoke(
        app, ["audit", str(run.root), *settings]
    )  # fmt: skip


def test_every_audit_answers_and_lists_its_sequences_parts_or_pairs(audited):
    run, found, _ = audited
    assert list(found) == list(AUDITS)
    for name in BY_SEQUENCE:
        assert list(found[name]["each"]) == NAMES, name
    for name in ("null_shortcut", "shortcut"):
        assert list(found[name]["each"]) == ["all together", *NAMES] and found[name]["verdict"] != "skipped"
    assert list(found["lesion_parts"]["each"]) == ["core", "rim"]
    assert list(found["consistency"]["each"]) == ["flair–t1"]
    kept = {row["name"]: row for row in read_json(run.audit / "findings.json")["findings"]}
    assert all(kept[name]["each"] == row["each"] for name, row in found.items())
    assert all((run.audit / f"{name}.png").exists() for name, row in found.items() if row["verdict"] != "skipped")


def test_the_worst_of_the_sequences_is_judged_and_named(audited):
    found = audited[1]
    for name in ("steganography", "seams", "checkerboard"):
        row = found[name]
        worst = max(row["each"], key=row["each"].get)
        assert row["value"] == row["each"][worst] and row["sentence"].startswith(f"{worst}: ")
    assert found["shortcut"]["value"] == max(found["shortcut"]["each"].values())
    assert found["outside"]["value"] == 0 and found["unchanged"]["value"] <= min(found["unchanged"]["each"].values())
    assert found["lesion_parts"]["value"] == max(found["lesion_parts"]["each"].values())


def test_the_command_and_the_page_show_them_by_name(audited):
    run, found, printed = audited
    (section,) = audits_section(run)
    figures = {row[0]: row[2] for row in section.tables[0].rows}
    each = ", ".join(f"{name} {value:.3g}" for name, value in found["seams"]["each"].items())
    assert each in figures["seams"] and "flair–t1" in figures["consistency"]
    assert "core" in printed.stdout and "flair–t1" in printed.stdout


def test_realism_has_every_sequence(audited):
    realism = read_json(audited[0].audit / "realism.json")
    assert [name for name in realism["real"] if name.startswith("contrast")] == ["contrast, flair", "contrast, t1"]
    assert list(realism["probe_by_sequence"]) == NAMES
    each = audited[1]["shortcut"]["each"]
    assert each["all together"] == realism["probe"]["auc"]
    assert [each[name] for name in NAMES] == [realism["probe_by_sequence"][name]["auc"] for name in NAMES]


def test_insertions_have_parts_and_keep_every_sequence_outside_of_them(audited):
    run = audited[0]
    material = InsertionRun(load_config(run.config, []), run)
    assert {part for made in material.insertions for part in np.unique(made.parts)} == {0, 1, 2}
    for made, real in zip(material.insertions, material.real_lesions, strict=True):
        assert made.image.shape == made.changed.shape == (2, *made.mask.shape)
        assert not made.changed[:, ~made.mask].any() and not (made.mask & made.label).any()
        assert real.mask.any() and not (real.mask & ~made.label).any()
    assert material.synthetic.shares.sum(axis=1) == pytest.approx(1.0)
