"""A fair fight: what the arms are told and shown is the same, and two twins differ in nothing but what the GAN made."""

from dataclasses import replace

import numpy as np
import pytest
from monai.transforms import Compose

from medaug.config.evaluation import rival_of
from medaug.data.atomic import read_json
from medaug.data.prepared import Prepared
from medaug.data.synthetic import synthetic_cases
from medaug.evaluation.samples import SegmentationSamples, ViewFolder
from medaug.experiment.arms import ARMS
from medaug.experiment.edits import online_edits
from medaug.experiment.held_out import synthetic_source
from medaug.lesions.geometry import CropBox, components, equivalent_diameter_mm
from medaug.stages.evaluate import evaluate
from medaug.volumes import spacing_of

SPACING_MM = (6.0, 6.0, 10.0)
PASTING = ("copy-paste", "carvemix", "cutmix")
FIGHTING = [name for name, arm in ARMS.items() if not arm.target]
TWINS = [name for name in FIGHTING if rival_of(name) != name]
RUNS = [
    ("tiny_run", (), 2, None),
    ("volume_run", ("data.spatial_dims=3", "crop.size=[16,16,12]"), 3, (16, 16, 8)),
    ("multi_run", ("data.sequences=[flair,t1]", "data.tumor={core: 1, rim: 2}"), 2, None),
]


@pytest.fixture(params=RUNS, ids=["2-D", "3-D", "two channels, two parts"], scope="module")
def fight(request, tiny_config):
    """`fight(arm, count)`: what the first samples of an arm are like before the augmentation of images alone."""
    name, settings, dims, patch = request.param
    run, config = request.getfixturevalue(name), tiny_config(*settings)
    split, prepared = run.read_split(), Prepared(run.datalist)
    split = replace(split, test=split.test[:-1], healthy=split.test[-1:])
    real = ViewFolder(prepared.training_views(split, dims), run.prepared)
    records = [r for r in synthetic_cases(run.synthetic / "datalist.json") if r.kind == "inserted"]
    written = synthetic_source(records, run, config.data)
    outlined = tiny_config(*settings, "data.organ=[9]")  # as if the organ that is stored were of the labels

    class Fight:
        pool = [view for view in real.views if view.patient in split.healthy]
        channels, parts = config.data.channels, len(config.data.class_names)
        views, folder, voxels_mm = real.views, run.prepared, SPACING_MM[:dims]
        insert = online_edits(config, run)[0]["online"]
        bank = ARMS["copy-paste"].pasting(real, config.data).transforms[0].transform.bank

        def __call__(self, arm, count=24, patch_size=patch, *, ratio=0.6, strictly_inside=False):
            kind, seen, told = ARMS[arm], [], outlined if strictly_inside else config
            source = online_edits(told, run)[0].get(kind.synthetic, written if kind.synthetic else None)
            samples = SegmentationSamples(
                real, source, synthetic_ratio=ratio, seed=1, length=count, patch_size=patch_size,
                pasting=kind.pasting(real, told.data),
                augmentation=Compose([lambda sample: seen.append(sample) or sample]),
            )  # fmt: skip
            for index in range(count):
                samples[index]
            return seen

        def new_tumors(self, sample):
            """Where a sample that is a whole view has a tumor that the view had not (bool, *S)."""
            (view,) = {
                view.name: view for view in self.views
                if np.array_equal(view.affine, sample["image"].affine)
                and np.array_equal(view.organ(self.folder), sample["organ"][0].numpy() > 0)
            }.values()  # fmt: skip
            return (sample["label"][0].numpy() > 0) & (view.classes(self.folder) == 0)

    return Fight()


@pytest.mark.parametrize("arm", FIGHTING)
def test_every_arm_is_given_voxel_sizes_and_the_organ_of_each_place(fight, arm):
    for sample in fight(arm, 4):
        affine, shape = sample["image"].affine.numpy(), sample["image"].shape[1:]
        np.testing.assert_allclose(spacing_of(affine, len(shape)), fight.voxels_mm)
        here = sample["organ"][0].numpy() > 0
        starts = [np.linalg.solve(view.affine, affine)[: len(shape), 3].round().astype(int) for view in fight.views]
        organs = [
            view.marks(fight.folder, "organ", CropBox(tuple(start), tuple(shape)))
            for view, start in zip(fight.views, starts, strict=True)
        ]
        assert any(np.array_equal(organ, here) for organ in organs)
        assert all(sample[key].affine.equal(sample["image"].affine) for key in ("label", "organ"))


def test_insertion_and_copy_paste_put_lesions_into_the_same_organ(fight):
    plain, pasted = fight("standard", patch_size=None), fight("copy-paste", patch_size=None)
    new = [(p["label"] > 0) & ~(s["label"] > 0) for s, p in zip(plain, pasted, strict=True)]
    assert sum(bool(mark.any()) for mark in new) > 4, "it pastes into about half of the samples"
    assert not any((mark & ~(s["organ"] > 0)).any() for mark, s in zip(new, plain, strict=True))
    for seed, view in enumerate(fight.views[:6]):
        if (example := fight.insert(view, seed)) is not None:
            inserted = (example.label > 0) & (view.classes(fight.folder) == 0)
            assert inserted.any() and not (inserted & ~view.organ(fight.folder)).any()


@pytest.mark.parametrize("arm", [*PASTING, "gan", "gan+copy-paste", "gan+carvemix", "gan+cutmix"])
def test_no_arm_puts_a_voxel_of_a_tumor_outside_of_an_organ_that_labels_outline(fight, arm):
    samples = fight(arm, patch_size=None, strictly_inside=True)
    new = [fight.new_tumors(sample) for sample in samples]
    assert not any((mark & ~(sample["organ"][0].numpy() > 0)).any() for mark, sample in zip(new, samples, strict=True))
    assert sum(mark.any() for mark in new) > 4


def test_the_real_samples_of_a_seed_are_the_same_views_and_places_in_every_arm(fight):
    patch = (16, 16, 8)[: len(fight.voxels_mm)]
    first = fight("none", 12, patch, ratio=0)
    for arm in FIGHTING:
        for ours, theirs in zip(first, fight(arm, 12, patch, ratio=0), strict=True):
            assert ours["organ"].equal(theirs["organ"]) and ours["image"].affine.equal(theirs["image"].affine), arm


def test_twins_differ_in_nothing_but_the_samples_that_the_gan_made_and_these_are_the_same_ones(fight):
    made, rivals = {}, {arm: fight(arm, 12) for arm in FIGHTING if rival_of(arm) == arm}
    for twin in TWINS:
        pairs = zip(rivals[rival_of(twin)], fight(twin, 12), strict=True)
        changed = {number for number, (rival, own) in enumerate(pairs) if not rival["image"].equal(own["image"])}
        made.setdefault(ARMS[twin].synthetic, {})[twin] = changed
    assert len(made) == 4
    for by_twin in made.values():
        assert 3 < len(max(by_twin.values(), key=len)) < 12
        # a box of another view may cover all that the GAN made
        assert len({frozenset(changed) for twin, changed in by_twin.items() if "cutmix" not in twin}) == 1


def test_every_arm_has_all_channels_and_what_is_new_in_it_all_parts(fight):
    plain, parts = fight("standard", patch_size=None), set(range(1, fight.parts + 1))
    for arm in (*PASTING, "strong", "histogram-match", "standard+gan", "standard+gan-offline"):
        new: set[int] = set()
        for before, after in zip(plain, fight(arm, patch_size=None), strict=True):
            assert after["image"].shape[0] == fight.channels and float(after["image"].abs().max()) <= 1.001
            changed = (before["label"] != after["label"]) & (after["label"] > 0)
            new |= set(after["label"][changed].int().tolist())
        assert new <= parts
        assert new == parts or arm not in ("copy-paste", "carvemix", "standard+gan")


def test_the_healthy_pool_is_a_background_in_every_arm(fight):
    """In 3-D no scan of these patients is free of tumors."""
    shown = [view.normalized(fight.folder) for view in fight.pool]
    assert bool(shown) == (len(fight.voxels_mm) == 2) and not any(view.tumor_voxels for view in fight.pool)
    plain = fight("standard", 50)
    for arm in (*PASTING, "standard+gan") if shown else ():
        tumors = 0
        for before, after in zip(plain, fight(arm, 50), strict=True):
            if any(np.array_equal(before["image"], image) for image in shown):
                assert not before["label"].any()
                tumors += bool(after["label"].any())
        assert tumors > 0, arm


def test_new_tumors_have_the_size_in_mm_of_the_lesions_they_come_from_in_every_arm(fight):
    """Voxels of 6 × 6 (× 10) mm: in voxels the organ's margin and the sizes would be other ones."""
    sizes = []
    for number in range(len(fight.bank)):
        item = fight.bank[number]
        assert spacing_of(item["image"].affine, item["image"].ndim - 1) == fight.voxels_mm and item["organ"].any()
        parts = components(item["label"][0].numpy() > 0)
        sizes += [equivalent_diameter_mm(part, fight.voxels_mm) for part in parts]
    for arm in ("copy-paste", "carvemix", "standard+gan", "standard+gan-offline"):
        new = [lesion for sample in fight(arm, patch_size=None) for lesion in components(fight.new_tumors(sample))]
        diameters = [equivalent_diameter_mm(lesion, fight.voxels_mm) for lesion in new]
        assert max(diameters) < 2 * max(sizes), arm
        # CarveMix may take the core of a lesion alone, or lay one over another
        assert arm == "carvemix" or min(diameters) > 0.5 * min(sizes), arm


@pytest.mark.parametrize("arm", PASTING)
def test_arms_that_paste_replace_no_draw_of_a_real_view(fight, arm):
    """Whatever is pasted, the image away from it is that of the same sample in the arm `standard`."""
    for before, after in zip(fight("standard", patch_size=None), fight(arm, patch_size=None), strict=True):
        assert before["image"].affine.equal(after["image"].affine)
        if arm == "copy-paste":
            assert (before["image"] == after["image"]).float().mean() > 0.5


def test_every_arm_gets_the_same_number_of_updates(copy_of_run, tiny_config):
    arms = ("none", "strong", "carvemix", "gan+carvemix", "removal")
    config = tiny_config(f"evaluation.arms={list(arms)}", "evaluation.updates=10", "evaluation.workers=0")
    assert evaluate(config, copy_of_run)
    losses = [read_json(copy_of_run.evaluation / "cells" / f"{arm}-seed0.json")["losses"] for arm in arms]
    assert {tuple(update for update, _ in of_arm) for of_arm in losses} == {(10,)}
