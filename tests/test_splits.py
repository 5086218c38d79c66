"""Splits divide patients, never a patient, and say when somebody crosses them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.errors import DataError, LeakageError
from medaug.splits import Split, fold_patients, pseudonym, refuse_leakage, split_patients, with_labelled

NAMES = st.lists(st.text("abcdefg0123-_", min_size=1, max_size=6), min_size=4, max_size=40, unique=True)
SEEDS = st.integers(0, 2**32 - 1)


@settings(deadline=None)
@given(names=NAMES, seed=SEEDS, data=st.data())
def test_parts_are_disjoint_complete_and_as_large_as_asked(names, seed, data):
    train = data.draw(st.integers(1, len(names) - 2))
    validation = data.draw(st.integers(0, len(names) - train - 1))
    split = split_patients(names, train, validation, seed)
    everyone = [*split.train, *split.validation, *split.test]
    assert sorted(everyone) == sorted(names)
    assert (len(split.train), len(split.validation)) == (train, validation) and split.test


@settings(deadline=None)
@given(names=NAMES, seed=SEEDS)
def test_split_depends_on_the_patients_and_the_seed_only(names, seed):
    split = split_patients(names, 0.5, 0.2, seed)
    assert split == split_patients(iter(reversed(names + names)), 0.5, 0.2, seed)
    assert split.hash == split_patients(names, 0.5, 0.2, seed).hash


def test_another_seed_draws_another_split():
    names = [f"patient-{i}" for i in range(30)]
    assert len({split_patients(names, 20, 5, seed).hash for seed in range(8)}) == 8


@pytest.mark.parametrize(
    ("train", "validation", "sizes"),
    [(0.6, 0.2, (6, 2, 2)), (7, 1, (7, 1, 2)), (0.5, 0, (5, 0, 5)), (0.01, 2, (1, 2, 7))],
)
def test_below_one_means_a_fraction_and_from_one_on_a_count(train, validation, sizes):
    split = split_patients(map(str, range(10)), train, validation, 0)
    assert (len(split.train), len(split.validation), len(split.test)) == sizes


@pytest.mark.parametrize(
    ("patients", "train", "validation"), [(0, 1, 0), (1, 1, 0), (3, 2, 1), (10, 10, 0), (5, 0.8, 0.2), (5, 0, 1)]
)
def test_too_few_patients_are_refused_with_what_is_needed(patients, train, validation):
    with pytest.raises(DataError, match=rf"found {patients} patient.*expected at least .*add patients"):
        split_patients([f"p{i}" for i in range(patients)], train, validation, 0)


def test_all_may_train_where_nobody_is_tested():
    assert split_patients("abc", 3, 0, 0, least_tested=0) == Split(("a", "b", "c"), (), ())
    with pytest.raises(DataError, match="at least 2"):
        split_patients("a", 1, 0, 0, least_tested=0)


@given(names=NAMES, seed=SEEDS)
@settings(deadline=None)
def test_split_comes_back_from_its_dictionary(names, seed):
    split = split_patients(names, 0.4, 0.2, seed)
    values = split.to_dict()
    assert Split.from_dict(values) == split
    shuffled = {part: values[part][::-1] for part in ("train", "validation", "test")}
    assert Split.from_dict(shuffled | {"hash": split.hash}) == split


@settings(deadline=None)
@given(names=NAMES, seed=SEEDS, data=st.data())
def test_moving_any_patient_changes_the_hash_and_is_refused(names, seed, data):
    values = split_patients(names, 0.5, 0.2, seed).to_dict()
    moved = data.draw(st.sampled_from(values["train"]))
    changed = values | {
        "train": tuple(name for name in values["train"] if name != moved),
        "test": (*values["test"], moved),
    }
    with pytest.raises(LeakageError, match="hash differs"):
        Split.from_dict(changed)
    changed.pop("hash")
    assert Split.from_dict(changed).hash != values["hash"]


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "validation"), ("validation", "test")])
def test_a_patient_in_two_parts_is_refused_by_name(parts):
    values = {"train": ["ann"], "validation": ["bob"], "test": ["cleo"]}
    for part in parts:
        values[part] = [*values[part], "dora"]
    with pytest.raises(LeakageError, match="dora") as caught:
        Split.from_dict(values)
    assert caught.value.patients == ["dora"]


def test_leaked_patients_are_named_and_training_patients_pass():
    split = Split(("ann", "bob"), ("cleo",), ("dora", "emil"))
    refuse_leakage(["bob", "ann", "somebody else"], split, "weights")
    with pytest.raises(LeakageError, match="weights made from .* cleo, dora") as caught:
        refuse_leakage(["ann", "dora", "cleo"], split, "weights")
    assert caught.value.patients == ["cleo", "dora"] and caught.value.exit_code == 4


@settings(deadline=None)
@given(names=NAMES, seed=SEEDS, data=st.data())
def test_every_patient_is_tested_in_one_fold(names, seed, data):
    folds = data.draw(st.integers(2, len(names)))
    validation = data.draw(st.integers(0, len(names) - -(-len(names) // folds) - 1))
    splits = [fold_patients(names, folds, fold, validation, seed) for fold in range(folds)]
    assert sorted(patient for split in splits for patient in split.test) == sorted(names)
    for split in splits:
        assert sorted([*split.train, *split.validation, *split.test]) == sorted(names)
        assert split.train and len(split.validation) == validation
    assert splits == [fold_patients(reversed(names), folds, fold, validation, seed) for fold in range(folds)]


@pytest.mark.parametrize(("patients", "folds", "validation"), [(3, 4, 0), (4, 2, 2), (1, 2, 0)])
def test_too_few_patients_for_the_folds_are_told(patients, folds, validation):
    with pytest.raises(DataError, match=rf"found {patients} patient\(s\) for {folds} folds .* lower split.folds"):
        fold_patients([f"p{i}" for i in range(patients)], folds, 0, validation, 0)


@settings(deadline=None)
@given(names=NAMES, seed=SEEDS, data=st.data())
def test_fewer_labelled_patients_are_a_subset_and_leave_the_others_unused(names, seed, data):
    split = split_patients(names, 0.5, 0.2, seed)
    more = data.draw(st.integers(1, len(split.train)))
    fewer = data.draw(st.integers(1, more))
    small, large = (with_labelled(split, count, seed) for count in (fewer, more))
    assert set(small.train) <= set(large.train) and (len(small.train), len(large.train)) == (fewer, more)
    for part in (small, large):
        assert (part.validation, part.test) == (split.validation, split.test)
        assert sorted([*part.train, *part.unused]) == list(split.train)
        assert Split.from_dict(part.to_dict()) == part
    assert (small.hash == large.hash) == (fewer == more)


@pytest.mark.parametrize("labelled", [0, 3])
def test_more_labelled_patients_than_train_are_refused(labelled):
    with pytest.raises(DataError, match=r"found 2 training patient.*and \d are asked for. Lower split.labelled"):
        with_labelled(Split(("ann", "bob"), (), ("dora",)), labelled, 0)


def test_a_split_from_before_there_were_unused_patients_still_loads():
    split = Split(("ann", "bob"), ("cleo",), ("dora", "emil"))
    old = {part: values for part, values in split.to_dict().items() if part != "unused"}
    assert Split.from_dict(old) == split
    assert split.hash == "c596c1195ba4d885582eb3780f147d1825a314861761f1c10c834271279c542b"


def test_unused_patients_are_in_the_hash_and_in_no_other_part():
    values = Split(("ann",), ("cleo",), ("dora",), ("bob",)).to_dict()
    with pytest.raises(LeakageError, match="hash differs"):
        Split.from_dict({**values, "unused": ()})
    with pytest.raises(LeakageError, match="more than one part.*bob"):
        Split.from_dict({**values, "test": ("bob", "dora")})


def test_a_patient_behind_a_pseudonym_is_refused_by_name():
    split = Split(("Ada",), ("Grace",), ("Mary",))
    shared = [pseudonym("Mary"), pseudonym("Ada")]
    assert not any("Mary" in name for name in shared) and pseudonym(shared[0]) == shared[0]
    with pytest.raises(LeakageError, match="Mary") as refused:
        refuse_leakage(shared, split, "weights were")
    assert refused.value.patients == ["Mary"]
    refuse_leakage([pseudonym("Ada")], split, "weights were")
