"""The model card: what it says, and what it must not say."""

import re
import shutil

import pytest
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from medaug.cli import app
from medaug.data.atomic import read_json, write_json
from medaug.errors import ConfigError, RunError
from medaug.exports.model_card import write_model_card


@pytest.fixture(scope="module")
def card(tiny_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("card") / "README.md"
    result = CliRunner().invoke(app, ["model-card", str(tiny_run.weights), str(path), "--run", str(tiny_run.root)])
    assert result.exit_code == 0, result.output
    return path


def test_the_hub_reads_the_card_back(card):
    loaded = ModelCard.load(card)
    assert loaded.data.library_name == "medaug" and loaded.data.license == "other"
    assert "data-augmentation" in loaded.data.tags


def test_it_tells_data_scores_verdict_and_limits(card, tiny_run):
    text, split = card.read_text(), read_json(tiny_run.split)
    summary = read_json(tiny_run.evaluation / "summary.json")
    assert f"| training patients | {len(split['train'])} |" in text and f"`{split['hash']}`" in text
    for arm, scores in summary["arms"].items():
        low, high = scores["dice"]["low"], scores["dice"]["high"]
        assert f"| {arm} | {scores['dice']['mean']:.3f} ({low:.3f} to {high:.3f}) |" in text
    assert summary["comparisons"][0]["verdict"] in text.lower() and "Not for diagnosis" in text


def test_it_names_no_patient_and_no_path(card, tiny_run):
    text = card.read_text()
    assert not any(
        patient in text for part in ("train", "validation", "test") for patient in read_json(tiny_run.split)[part]
    )
    assert str(tiny_run.root) not in text and str(tiny_run.root.parent) not in text


def test_audits_stand_in_it_where_they_were_asked(copy_of_run, tmp_path):
    assert CliRunner().invoke(app, ["audit", str(copy_of_run.root), "--only", "outside"]).exit_code in (0, 8)
    finding = read_json(copy_of_run.audit / "findings.json")["findings"][0]
    text = write_model_card(copy_of_run.weights, tmp_path / "card.md", copy_of_run.root).read_text()
    assert f"| outside | {finding['question']} |" in text and f"| {finding['verdict']} |" in text


def test_without_a_run_it_says_that_nothing_was_measured(ct_weights, tmp_path):
    text = write_model_card(ct_weights, tmp_path / "card.md").read_text()
    assert "Not measured" in text and "| training patients | 2 |" in text and "TranslateDomaind" in text


def test_modality_and_voxel_size_are_those_of_the_data(ct_weights, tmp_path):
    shutil.copytree(ct_weights, tmp_path / "w")
    facts = read_json(tmp_path / "w" / "model.json") | {"length_unit": "px"}
    for domain in ("domain_a", "domain_b"):
        facts[domain] |= {"modality": "US", "window": {"lower": 0.5, "upper": 99.8}}
    write_json(tmp_path / "w" / "model.json", facts)
    text = write_model_card(tmp_path / "w", tmp_path / "card.md").read_text()
    assert text.count(" (US), window percentiles") == 2 and "| voxel size | 6 × 6 px |" in text
    assert not {"MR", "CT", "mm"} & set(re.findall(r"\w+", text.split("## How to load")[0]))


def test_sequences_and_parts_stand_in_it(multi_run, tmp_path):
    text = write_model_card(multi_run.weights, tmp_path / "card.md").read_text()
    assert "| sequences | flair, t1 |" in text and "| parts of a tumor | core [1]; rim [2] |" in text
    assert text.count("| domain A |") == 2


def test_a_run_of_other_weights_and_a_card_that_exists_are_refused(ct_weights, tiny_run, card, tmp_path):
    with pytest.raises(ConfigError, match="found a run with weights"):
        write_model_card(ct_weights, tmp_path / "card.md", tiny_run.root)
    with pytest.raises(RunError, match="exists already"):
        write_model_card(tiny_run.weights, card)


def test_without_huggingface_hub_the_error_names_the_extra(ct_weights, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match=r"medaug\[export\]"):
        write_model_card(ct_weights, tmp_path / "card.md")
