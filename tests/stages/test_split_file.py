"""A split of one's own: taken as it stands, guarded like one that was drawn, and refused where it does not fit."""

import json

import pytest

from medaug.benchmarks.plan import blocks_of
from medaug.data.atomic import read_json
from medaug.data.writers import write_phantoms
from medaug.errors import ConfigError, DataError, LeakageError
from medaug.runs.folder import open_run
from medaug.splits import Split
from medaug.stages.prepare import prepare

NAMES = tuple(f"phantom-{number:03d}" for number in range(6))
A, B, C, D, E, F = NAMES


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Six patients in nnU-Net's layout."""
    root = tmp_path_factory.mktemp("heads")
    write_phantoms(root, "msd", anatomy="head", patients=6, seed=0, shape=(16, 16, 4), spacing_mm=(8, 8, 10))
    return root


@pytest.fixture
def prepared(heads, tiny_config, tmp_path):
    """`prepared(content, *settings)`: the run, prepared with that split file."""

    def prepared(content, *more):
        (tmp_path / "own.json").write_text(json.dumps(content))
        file = f"split.file={tmp_path / 'own.json'}"
        config = tiny_config(f"data.root={heads}", "data.sequence=flair", file, *more)
        made = open_run(tmp_path / "run", config)
        prepare(config, made)
        return made

    return prepared


def test_patients_train_validate_and_test_as_the_file_says(prepared):
    run = prepared({"train": [C, A, B], "validation": [D], "test": [E], "unused": [F]})
    split = read_json(run.split)
    assert split == json.loads(json.dumps(Split((A, B, C), (D,), (E,), (F,)).to_dict()))
    assert prepared(split).root == run.root, "a run's own split.json is such a file"


def test_fewer_are_labelled_and_validation_may_be_left_out(prepared):
    split = Split.from_dict(read_json(prepared({"train": [A, B, C], "test": [D, E, F]}, "split.labelled=2").split))
    assert (len(split.train), len(split.unused), split.validation, split.test) == (2, 1, (), (D, E, F))


FOLDS = [{"train": [C, D, E, F], "val": [A, B]}, {"train": [A, B, E, F], "val": [C, D]}]


@pytest.mark.parametrize("folds", [(), ("split.folds=2",)])
def test_a_fold_of_nnunet_tests_what_it_validates_there(prepared, folds):
    split = Split.from_dict(read_json(prepared(FOLDS, "split.fold=1", *folds).split))
    assert split == Split((A, B, E, F), (), (C, D))


def test_all_folds_of_nnunet_are_runs_of_their_own(tiny_config, tmp_path):
    config = tiny_config("split.file=splits_final.json", "split.folds=2", "split.train=0.6")
    assert [block.config.split.fold for block in blocks_of(config, open_run(tmp_path / "all", config))] == [0, 1]


@pytest.mark.parametrize(
    ("content", "error", "match"),
    [
        ({"train": [A, "Zoe"], "test": [B, C, D, E, F]}, DataError, r"1 unknown patient.* in .train.: Zoe; .*phantom"),
        ({"train": [A, B], "test": [C, D]}, DataError, r"no part for 2 patient.*004, .*005; .*as .unused"),
        ({"train": [A, B, C], "test": [C, D, E, F]}, LeakageError, f"{C} in more than one part"),
        ({"train": [A, B, A], "test": [C, D, E, F]}, DataError, f'{A} more than once in "train"'),
        ({"train": [], "test": list(NAMES)}, DataError, "nobody to train"),
        ({"train": [A], "valid": [B], "test": [C, D, E, F]}, DataError, "the keys test, train, valid; expected"),
        ({"train": [1], "test": [B]}, DataError, 'something else in "train"'),
        ("train", DataError, "no object"),
        (Split((A,), (B,), (C, D, E, F)).to_dict() | {"train": [B], "validation": [A]}, LeakageError, "hash differs"),
        (FOLDS, ConfigError, "has 2 folds. Set split.fold to one from 0 to 1, or split.folds=2"),
        ([{"train": [A, "case-9"], "val": [B]}], ConfigError, "split.fold: found None"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused_before_anything_is_read(prepared, tmp_path, content, error, match):
    with pytest.raises(error, match=match):
        prepared(content)
    assert not (tmp_path / "run" / "prepared").exists()


@pytest.mark.parametrize(
    ("content", "setting", "match"),
    [
        (FOLDS, "split.fold=2", "found 2; .* has 2 folds"),
        (FOLDS, "split.folds=3", "split.folds: found 3; .* has 2"),
        ({"train": [A, B], "test": [C, D, E, F]}, "split.fold=0", "has one split"),
        ({"train": [A, B], "test": [C, D, E, F]}, "split.folds=3", "has one split"),
    ],
)
def test_folds_that_the_file_has_not_are_refused(prepared, content, setting, match):
    with pytest.raises(ConfigError, match=match):
        prepared(content, setting)


def test_a_case_on_both_sides_of_a_fold_is_refused(prepared):
    with pytest.raises(LeakageError, match=A):
        prepared([{"train": [A, B, C], "val": [A, D, E, F]}], "split.fold=0")
    with pytest.raises(DataError, match=r'1 unknown case\(s\) in "train": Zoe'):
        prepared([{"train": ["Zoe", B, C], "val": [A, D, E, F]}], "split.fold=0")


def test_a_file_that_was_changed_later_is_refused_naming_who_moved(prepared):
    prepared({"train": [A, B, C], "test": [D, E, F]})
    with pytest.raises(LeakageError, match="or split.file was.*phantom-002 changed sides") as error:
        prepared({"train": [A, B], "test": [C, D, E, F]})
    assert error.value.patients == [C]
