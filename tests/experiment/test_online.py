"""GAN arms that insert and remove while the network trains: what they show it, and that nothing else changes."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.utils.data import DataLoader

from medaug.data.atomic import read_json
from medaug.data.prepared import views_of
from medaug.data.records import prepared_cases
from medaug.errors import LeakageError, WeightsError
from medaug.evaluation.samples import SegmentationSamples, ViewFolder
from medaug.experiment import downstream
from medaug.experiment.edits import online_edits
from medaug.lesions.geometry import CropBox, extract
from medaug.stages.evaluate import evaluate
from medaug.stages.synthesize import synthesize

ONLINE = "evaluation.arms=[standard, gan, standard+gan, gan+copy-paste, removal]"
OFFLINE = "evaluation.arms=[standard, gan-offline, standard+gan-offline]"


def real_of(run):
    patients = read_json(run.split)["train"]
    entries = [entry for entry in prepared_cases(run.datalist) if entry.patient in patients]
    return ViewFolder(views_of(entries, 2), run.prepared)


def samples(run, config, kind, *, ratio=1.0, length=24):
    edit = online_edits(config, run)[0][kind] if kind else None
    return SegmentationSamples(real_of(run), edit, synthetic_ratio=ratio, seed=0, length=length), edit


def batches(dataset, workers):
    loader = DataLoader(dataset, 4, num_workers=workers, generator=torch.Generator().manual_seed(0))
    return [{key: batch[key].clone() for key in batch} for batch in loader]


def grown(mask, voxels):
    return ndimage.binary_dilation(mask, np.ones((3, 3)), iterations=voxels)


def test_an_online_insertion_changes_image_and_label_in_one_place(tiny_run, tiny_config):
    insert = online_edits(tiny_config(), tiny_run)[0]["online"]
    views, seen = real_of(tiny_run).views, set()
    for number, view in enumerate(views[:8]):
        before, truth = view.normalized(tiny_run.prepared), view.classes(tiny_run.prepared)
        example = insert(view, number)
        new, changed = (example.label > 0) & (truth == 0), (example.image != before).any(axis=0)
        assert new.any() and (example.label[truth > 0] > 0).all()
        assert changed[new].any() and not changed[~grown(new, 2)].any()
        assert example.image.dtype == np.float32 and np.abs(example.image).max() <= 1
        assert np.array_equal(example.image, insert(view, number).image)
        assert not np.array_equal(example.image, insert(view, number + 100).image)
        seen.add(example.image.tobytes())
    assert len(seen) == 8 and insert.without_room == 0


def test_insertions_follow_the_settings_of_the_synthesis(tiny_run, tiny_config):
    view = next(view for view in real_of(tiny_run).views if not view.tumor_voxels)
    areas = []
    for size in ((12, 13), (24, 25)):
        insert = online_edits(tiny_config(f"synthesis.size_mm={list(size)}"), tiny_run)[0]["online"]
        areas.append(np.mean([insert(view, seed).label.sum() for seed in range(4)]))
    assert areas[1] > 2 * areas[0]


def test_a_removal_empties_the_label_and_changes_the_image_where_the_tumor_was(tiny_run, tiny_config):
    remove = online_edits(tiny_config(), tiny_run)[0]["removed"]
    view = next(view for view in real_of(tiny_run).views if view.tumor_voxels)
    truth = view.classes(tiny_run.prepared) > 0
    example = remove(view, 5)
    changed = (example.image != view.normalized(tiny_run.prepared)).any(axis=0)
    assert not example.label.any()
    assert changed[truth].any() and not changed[~grown(truth, 4)].any()


@pytest.mark.parametrize("start", [(4, 2), (-3, 10), (8, 14)])
def test_a_patch_is_edited_as_it_lies_in_its_view(tiny_run, tiny_config, start):
    edits, size = online_edits(tiny_config("synthesis.size_mm=[12,14]"), tiny_run)[0], (24, 22)
    views, inserted = real_of(tiny_run).views, 0
    for seed, view in enumerate(views[:12]):
        before = view.patch(tiny_run.prepared, start, size)
        if (example := edits["online"](view, seed, start, size)) is not None:
            new = (example.label > 0) & ~before.label
            assert example.image.shape == (1, *size) and new.any() and (example.label[before.label] > 0).all()
            changed = (example.image != before.image).any(axis=0)
            assert changed[new].any() and not changed[~grown(new, 2)].any()
            assert np.array_equal(example.image, edits["online"](view, seed, start, size).image)
            inserted += 1
        if view.tumor_voxels:
            whole, part = edits["removed"](view, 5), edits["removed"](view, 5, start, size)
            assert not part.label.any() and before.label.any()
            cut = [extract(channel, CropBox(start, size), -1.0) for channel in whole.image]
            here = grown(before.label, 3)
            assert np.array_equal(part.image[:, ~here], before.image[:, ~here])
            np.testing.assert_allclose(part.image, cut, atol=0.4)  # a fill starts from what is around: less in a patch
    assert inserted >= 4 and edits["online"].without_room == 12 - inserted
    assert edits["online"](views[0], 0, (400, 0), size) is None


@pytest.mark.parametrize("kind", ["online", "removed"])
def test_the_same_samples_come_whatever_the_number_of_workers(tiny_run, tiny_config, kind):
    alone, two = (batches(samples(tiny_run, tiny_config(), kind, ratio=0.6)[0], workers) for workers in (0, 2))
    standard = batches(samples(tiny_run, tiny_config(), None)[0], 0)
    assert all(torch.equal(a[key], b[key]) for a, b in zip(alone, two, strict=True) for key in a)
    assert any(not torch.equal(a["image"], b["image"]) for a, b in zip(alone, standard, strict=True))


@pytest.fixture
def roomless(copy_of_run):
    """A run whose organs are empty."""
    for entry in read_json(copy_of_run.datalist)["cases"]:
        path = copy_of_run.prepared / entry["arrays"]["organ"]
        empty = np.zeros_like(np.load(path))
        path.unlink()
        np.save(path, np.asfortranarray(empty))
    return copy_of_run


@pytest.mark.parametrize("workers", [0, 2])
def test_insertions_without_room_leave_the_real_sample_and_are_counted(roomless, tiny_config, workers):
    dataset, edit = samples(roomless, tiny_config(), "online")
    real = batches(samples(roomless, tiny_config(), None)[0], 0)
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(batches(dataset, workers), real, strict=True))
    assert edit.without_room == 24


def test_insertions_without_room_stand_in_the_cell(roomless, tiny_config, forget):
    forget(roomless, "evaluate")
    evaluate(tiny_config("evaluation.arms=[standard, standard+gan]", "evaluation.synthetic_ratio=1.0"), roomless)
    cells = roomless.evaluation / "cells"
    standard, gan = (read_json(cells / f"{arm}-seed0.json") for arm in ("standard", "standard+gan"))
    assert "without_room" not in standard and gan["without_room"] == 6
    assert gan["scores"] == standard["scores"], "without an insertion the two arms are one"


def test_arms_train_on_what_they_say(copy_of_run, tiny_config, monkeypatch):
    seen, train = {}, downstream.train_network

    def spy(samples, config, *, seed, **options):
        seen[len(seen)] = samples
        return train(samples, config, seed=seed, **options)

    monkeypatch.setattr(downstream, "train_network", spy)
    for arms in (ONLINE, OFFLINE):
        evaluate(tiny_config(arms, "evaluation.seeds=[1]"), copy_of_run)
    _, gan, standard_gan, pasting, removal, offline, standard_offline = seen.values()
    kinds = [type(samples.synthetic).__name__ for samples in seen.values()]
    assert kinds == ["NoneType", *["OnlineInsertion"] * 3, "OnlineRemoval", "ViewFolder", "ViewFolder"]
    steps = [len(samples.augmentation.transforms) for samples in (gan, standard_gan, pasting, removal, offline)]
    assert steps == [0, 1, 1, 1, 0] and len(standard_offline.augmentation.transforms) == 1
    assert [samples.pasting is not None for samples in seen.values()] == [False] * 3 + [True] + [False] * 3
    assert {view.case.case[:8] for view in offline.synthetic.views} == {"inserted"}


def test_an_online_arm_needs_no_written_case(copy_of_run, tiny_config):
    config = tiny_config("synthesis.insertions=0", "synthesis.removals=0")
    assert synthesize(config, copy_of_run) and evaluate(config, copy_of_run)
    assert set(read_json(copy_of_run.evaluation / "summary.json")["arms"]) == {"standard", "standard+gan"}


def test_online_arms_refuse_weights_that_were_trained_on_a_test_patient(copy_of_run, tiny_config, edit_json):
    leaked = read_json(copy_of_run.split)["test"][0]
    edit_json(copy_of_run.weights / "model.json", lambda facts: facts["training_patients"].append(leaked))
    with pytest.raises(LeakageError, match=leaked):
        evaluate(tiny_config("evaluation.arms=[standard, gan]"), copy_of_run)


def test_other_weights_or_lesions_train_online_arms_again(copy_of_run, tiny_config, edit_json):
    assert not evaluate(tiny_config(), copy_of_run)
    assert evaluate(tiny_config("synthesis.size_mm=[14,20]"), copy_of_run)
    edit_json(copy_of_run.weights / "model.json", lambda facts: facts.update(sha256="0" * 64))
    with pytest.raises(WeightsError, match="expected 000000000000"):
        evaluate(tiny_config("synthesis.size_mm=[14,20]"), copy_of_run)
