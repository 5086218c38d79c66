"""A batch gets what its samples would get one by one, in one pass of the generator."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate

from medaug.devices import check_forked
from medaug.errors import ConfigError, DataError
from medaug.models.weights import Weights, load_weights
from medaug.transforms import BatchInsertTumor, RandInsertTumord, RemoveTumor

ROUNDING = 1e-5
"""Of the window, which spans 2."""


def samples(head, count, keys=("image",)):
    """Slices around the tumor, as a loader's worker makes them."""
    affine = torch.from_numpy(head.affine)
    made = []
    for number in range(count):
        level = head.level - number % 2
        sample = {key: head.image[None, ..., level] * (1 + 0.1 * k) for k, key in enumerate(keys)}
        sample |= {"label": head.label[None, ..., level], "organ": head.organ[None, ..., level]}
        made.append({key: MetaTensor(torch.from_numpy(value.copy()), affine=affine) for key, value in sample.items()})
    return made


def check_same(batch, alone, before, keys):
    """The images agree but for rounding, the labels exactly; what is not labelled anew keeps its bits."""
    for number, sample in enumerate(alone):
        np.testing.assert_array_equal(np.asarray(batch["label"][number]), np.asarray(sample["label"]))
        new = np.asarray(sample["label"])[0] != np.asarray(before[number]["label"])[0]
        for key in keys:
            made, one, was = (np.asarray(x)[0] for x in (batch[key][number], sample[key], before[number][key]))
            np.testing.assert_allclose(made, one, atol=ROUNDING * np.ptp(was))
            np.testing.assert_array_equal(made[~new], was[~new])


@pytest.mark.parametrize("organ", ["organ", None])
def test_a_batch_gets_the_tumors_that_its_samples_get_with_these_seeds(tiny_run, head, organ):
    made, options = samples(head, 5), {"weights": tiny_run.weights, "organ_key": organ, "prob": 1.0, "count": (1, 2)}
    alone = [RandInsertTumord("image", **options).set_random_state(seed=n)(s) for n, s in enumerate(made)]
    batch = list_data_collate(made)
    given = batch["image"].clone()
    after = BatchInsertTumor("image", **options)(batch, seeds=range(5))
    check_same(after, alone, made, ["image"])
    assert sum(bool((a["image"] != s["image"]).any()) for a, s in zip(alone, made, strict=True)) >= 4
    assert torch.equal(batch["image"], given) and after["image"].shape == given.shape
    assert torch.equal(after["image"].affine, batch["image"].affine)


def test_without_seeds_it_draws_as_the_transform_does_call_after_call(tiny_run, head):
    made = samples(head, 6)
    transform = RandInsertTumord("image", weights=tiny_run.weights, prob=0.5).set_random_state(seed=3)
    alone = [transform(sample) for sample in made]
    batch = BatchInsertTumor("image", weights=tiny_run.weights, prob=0.5).set_random_state(seed=3)
    after = batch(list_data_collate(made))
    check_same(after, alone, made, ["image"])
    acted = [bool((a["image"] != s["image"]).any()) for a, s in zip(alone, made, strict=True)]
    assert 0 < sum(acted) < 6


@pytest.mark.parametrize("dims", [2, 3])
def test_sequences_under_keys_of_their_own_and_parts_go_along(untrained, head, dims):
    weights = untrained(dims, ("t1", "flair"), ("edema", "core"))
    shape, keys = (48, 48, 40)[:dims], ["t1", "flair"]
    rng, made = np.random.RandomState(0), []
    for _ in range(3):
        images = {key: torch.from_numpy(rng.uniform(50, 100, (1, *shape)).astype("float32")) for key in keys}
        made.append(images | {"label": torch.zeros(1, *shape), "organ": torch.ones(1, *shape)})
    options = {"weights": weights, "organ_key": "organ", "prob": 1.0}
    alone = [RandInsertTumord(keys, **options).set_random_state(seed=n)(s) for n, s in enumerate(made)]
    after = BatchInsertTumor(keys, **options)(list_data_collate(made), seeds=range(3))
    check_same(after, alone, made, keys)
    assert set(np.unique(after["label"])) == {0, 1, 2}


def test_what_is_no_batch_is_refused(tiny_run, head):
    insert, one = BatchInsertTumor("image", weights=tiny_run.weights), samples(head, 1)
    with pytest.raises(DataError, match="image: found a shape of .1, 32, 32.; expected a batch.*RandInsertTumord"):
        insert(one[0])
    with pytest.raises(DataError, match="seeds: found 2; expected one for each of 1 samples. Give"):
        insert(list_data_collate(one), seeds=[1, 2])


def test_cuda_in_a_forked_worker_is_refused_with_what_can_be_done(monkeypatch):
    check_forked(torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)  # as torch says it in such a worker
    check_forked(torch.device("cpu"))
    with pytest.raises(ConfigError, match="accelerator: found weights on cuda in a forked.*expected.*BatchInsertTumor"):
        check_forked(torch.device("cuda"))


class Elsewhere(Weights):
    """Weights that say that they are not on a CPU, and translate there all the same; `seen` is how many at once."""

    device = torch.device("meta")
    seen: ClassVar[list[int]] = []

    def translate(self, x, direction, **more):
        self.seen.append(len(x))
        return self.translator.translate(x, direction, **more)


def test_slices_of_a_volume_go_through_together_where_a_gpu_would(tiny_run, head):
    weights = load_weights(tiny_run.weights)
    image, label = torch.from_numpy(head.image[None].copy()), torch.from_numpy(head.label[None].copy())
    elsewhere = Elsewhere(weights.translator, weights.prior, weights.facts)
    alone, together = (RemoveTumor(each)(image, label) for each in (weights, elsewhere))
    np.testing.assert_allclose(together, alone, atol=ROUNDING * np.ptp(head.image))
    assert max(elsewhere.seen) > 2 and not torch.equal(alone, image)
