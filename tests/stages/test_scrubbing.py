"""Paths leave the texts that are passed on, and nothing else does."""

from pathlib import Path

import pytest

from medaug.report.scrubbing import without_paths


@pytest.mark.parametrize(
    "text",
    ["/home/jane/lgg", "data.root=/home/jane/lgg/x.yaml", "~/scans", "see '../shared/data' there", "C:\\Users\\jane"],
)
def test_a_path_is_replaced(text):
    cleaned = without_paths(text)
    assert "<path>" in cleaned and "jane" not in cleaned and "scans" not in cleaned and "shared" not in cleaned


@pytest.mark.parametrize("text", ["standard+gan", "and/or", "a / b", "0.5", "p03/left", "10 mm/day", "1e-3", "dice"])
def test_what_is_no_path_stays(text):
    assert without_paths(text) == text


def test_a_known_path_may_hold_blanks_and_be_relative():
    assert without_paths("--set data.root=my scans/lgg", [Path("my scans/lgg")]) == "--set data.root=<path>"


def test_a_folder_named_by_one_word_takes_no_words_away():
    assert without_paths("name: lgg, arm gan", [Path("lgg"), Path(".")]) == "name: lgg, arm gan"


def test_texts_are_found_in_nested_values():
    assert without_paths({"a": ["/x/y", {"b": "/z/w"}], "n": 1}) == {"a": ["<path>", {"b": "<path>"}], "n": 1}
