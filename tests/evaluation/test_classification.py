"""The tumor / no tumor network: learning, repeatability, sizes; and its samples."""

import numpy as np
import pytest
import torch
from monai.transforms import Compose

from medaug.config.data import DataConfig
from medaug.data.atomic import read_json
from medaug.data.prepared import ViewArrays, views_of
from medaug.data.records import prepared_cases
from medaug.errors import ConfigError, DataError
from medaug.evaluation.networks import ClassificationConfig
from medaug.evaluation.predictions import tumor_probability
from medaug.evaluation.samples import ClassificationSamples, ViewFolder, patches_of
from medaug.evaluation.updates import train_network
from medaug.experiment.arms import ARMS

SMALL = ClassificationConfig(width=4, updates=60, batch_size=8, learning_rate=3e-3)


class Squares:
    """Noise, with a bright square in every other sample; sample i is always the same."""

    def __init__(self, size=(32, 32), length=100_000):
        self.size, self.length = size, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        rng = np.random.RandomState(index)
        image = rng.normal(-0.4, 0.2, self.size).astype(np.float32)
        if index % 2:
            image[tuple(slice(a, a + 10) for a in rng.randint(1, [n - 10 for n in self.size]))] += 0.9
        return {"image": image.clip(-1, 1)[None], "label": np.array([index % 2])}


@pytest.fixture(scope="module")
def trained():
    return train_network(Squares(), SMALL, seed=0)


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def held_out(count=20):
    samples = [Squares()[90_000 + i] for i in range(count)]
    return torch.stack([torch.from_numpy(s["image"]) for s in samples]), np.array([s["label"][0] for s in samples])


def test_a_few_dozen_updates_learn_to_see_a_square(trained):
    images, truth = held_out()
    assert ((tumor_probability(trained, images, SMALL).numpy() > 0.5) == truth).mean() >= 0.9


def test_a_slice_is_classified_the_same_alone_and_in_a_stack(trained):
    images, _ = held_out(10)
    together = tumor_probability(trained, images, SMALL)
    alone = torch.cat([tumor_probability(trained, image[None], SMALL) for image in images])
    assert torch.allclose(together, alone, atol=1e-5) and together.shape == (10,)


def test_the_same_seed_gives_the_same_weights_with_and_without_workers(trained):
    assert same_weights(trained, train_network(Squares(), SMALL, seed=0, workers=1))


def test_every_arm_starts_from_the_weights_of_its_seed_whatever_the_global_generator():
    first = SMALL.build(5)
    torch.rand(3)
    assert same_weights(first, SMALL.build(5))
    assert not same_weights(first, SMALL.build(6))


def test_training_leaves_the_global_generators_untouched():
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    train_network(Squares(), ClassificationConfig(width=4, updates=2, batch_size=2), seed=3)
    assert torch.equal(torch_state, torch.random.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])


def test_volumes_of_few_slices_are_classified_too():
    config = ClassificationConfig(spatial_dims=3, width=4, updates=2, batch_size=2)
    network = train_network(Squares((16, 16, 12)), config, seed=0)
    assert tumor_probability(network, torch.zeros(3, 1, 16, 16, 8), config).shape == (3,)


def test_too_few_samples_several_shapes_and_odd_widths_are_refused():
    class Mixed(Squares):
        def __getitem__(self, index):
            return Squares((32, 32 + 4 * (index % 2)))[index]

    with pytest.raises(DataError, match="60 updates × 8 = 480"):
        train_network(Squares(length=479), SMALL, seed=0)
    with pytest.raises(DataError, match=r"evaluation\.patch_size"):
        train_network(Mixed(), SMALL, seed=0)
    with pytest.raises(ConfigError, match="multiple of 4"):
        ClassificationConfig(width=6)


@pytest.fixture(scope="module")
def sources(tiny_run):
    """(real, synthetic, counterparts) of the tiny run; test patients' tumor views stand in for synthetic cases."""
    split, entries = read_json(tiny_run.split), prepared_cases(tiny_run.datalist)
    parts = [
        ViewFolder(views_of([e for e in entries if e.patient in patients], 2), tiny_run.prepared)
        for patients in (split["train"], split["test"], split["validation"])
    ]
    return parts[0], parts[1], ViewFolder([v for v in parts[2].views if not v.tumor_voxels], tiny_run.prepared)


def samples(sources, ratio, *, gan, **options):
    return ClassificationSamples(
        sources[0],
        sources[1] if gan else None,
        sources[2] if gan else None,
        synthetic_ratio=ratio,
        seed=0,
        length=200,
        **options,
    )


def test_half_of_the_samples_hold_a_tumor_in_every_arm(sources):
    labels = {
        gan: np.array([float(samples(sources, 0.5, gan=gan)[i]["label"]) for i in range(200)]) for gan in (False, True)
    }
    assert abs(labels[False].mean() - 0.5) < 0.12
    assert (labels[False] != labels[True]).mean() < 0.1, "a replaced sample is of the same kind"


@pytest.mark.parametrize("arm", ["copy-paste", "carvemix", "cutmix"])
@pytest.mark.parametrize("gan", [False, True])
def test_what_is_pasted_takes_the_place_of_samples_with_a_tumor_and_leaves_their_share(sources, arm, gan):
    plain, pasted = (
        samples(sources, 0.5, gan=gan, augmentation=Compose([]), pasting=pasting)
        for pasting in (None, ARMS[arm].pasting(sources[0], DataConfig()))
    )
    pairs = [(plain[i], pasted[i]) for i in range(60)]
    assert all(torch.equal(before["label"], after["label"]) for before, after in pairs)
    changed = [not torch.equal(before["image"], after["image"]) for before, after in pairs]
    with_tumor = [bool(before["label"]) for before, _ in pairs]
    assert not any(new and not tumor for new, tumor in zip(changed, with_tumor, strict=True))
    assert 0.1 < sum(changed) / sum(with_tumor) < 0.8


def test_arms_differ_in_replaced_samples_only(sources):
    standard, gan = samples(sources, 0.5, gan=False), samples(sources, 0.5, gan=True)
    unlike = [not torch.equal(standard[i]["image"], gan[i]["image"]) for i in range(60)]
    assert 0.3 < np.mean(unlike) < 0.7
    assert torch.equal(samples(sources, 0.0, gan=True)[3]["image"], standard[3]["image"])


def test_patches_of_training_are_labelled_by_what_they_show(sources):
    patches = samples(sources, 0.5, gan=True, patch_size=(16, 16))
    labels = np.array([float(patches[i]["label"]) for i in range(80)])
    assert patches[0]["image"].shape == (1, 16, 16) and 0.3 < labels.mean() < 0.7


def test_views_that_all_hold_a_tumor_are_refused_with_the_remedy_unless_patches_are_classified(sources):
    tumors = ViewFolder([view for view in sources[0].views if view.tumor_voxels], sources[0].folder)
    with pytest.raises(DataError, match=r"0 without a tumor.*evaluation\.patch_size"):
        samples((tumors,), 0.0, gan=False)
    assert samples((tumors,), 0.0, gan=False, patch_size=(12, 12))[0]["image"].shape == (1, 12, 12)


def test_side_by_side_patches_cover_the_organ_and_every_tumor():
    organ, label = np.zeros((20, 26), bool), np.zeros((20, 26), bool)
    organ[4:16, 4:20], label[1, 25] = True, True
    arrays = ViewArrays(np.arange(520.0).reshape(1, 20, 26), label, organ)
    found = list(patches_of(arrays, (8, 8)))
    assert sum(truth.any() for _, truth in found) == 1
    shown = np.unique(np.concatenate([image.ravel() for image, _ in found]))
    assert np.isin(arrays.image[0][organ], shown).mean() > 0.9
    assert [image.shape for image, _ in patches_of(arrays, None)] == [(1, 20, 26)]
    assert {image.shape for image, _ in patches_of(arrays, (32, 8))} == {(1, 32, 8)}
