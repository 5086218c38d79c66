"""The downstream network learns, repeats bit for bit, and leaves the global generators alone."""

import logging

import numpy as np
import pytest
import torch

from medaug.errors import ConfigError, DataError, TrainingError
from medaug.evaluation.metrics import score_patient
from medaug.evaluation.networks import SegmentationConfig
from medaug.evaluation.predictions import predict, probability
from medaug.evaluation.updates import train_network

SMALL = SegmentationConfig(channels=(8, 16, 32), updates=40, batch_size=8, learning_rate=1e-2)


class Blobs:
    """Bright rectangles on noise; sample i is always the same. A stand-in for any augmented data set."""

    def __init__(self, size=(32, 32), length=100_000, bad_value=None):
        self.size, self.length, self.bad_value = size, length, bad_value

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        rng = np.random.RandomState(index)
        image = rng.normal(-0.4, 0.2, self.size).astype(np.float32)
        label = np.zeros(self.size, np.uint8)
        label[tuple(slice(a, a + 9) for a in rng.randint(2, [n - 10 for n in self.size]))] = 1
        image[label > 0] += 0.9
        if self.bad_value is not None:
            image[0, 0] = self.bad_value
        return {"image": image.clip(-1, 1)[None], "label": label[None], "case": f"case {index}"}


@pytest.fixture(scope="module", autouse=True)
def quiet():
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)


@pytest.fixture(scope="module")
def trained():
    return train_network(Blobs(), SMALL, seed=0)


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_few_dozen_updates_learn_bright_rectangles(trained):
    held_out = [Blobs()[90_000 + i] for i in range(10)]
    stack = torch.stack([torch.from_numpy(s["image"]) for s in held_out])  # (N, 1, X, Y)
    masks = predict(trained, stack, SMALL)
    pairs = [(m[0].numpy(), s["label"][0] > 0) for m, s in zip(masks, held_out, strict=True)]
    assert score_patient(pairs, (1, 1))["dice"] > 0.9


def test_the_same_seed_gives_the_same_weights_with_and_without_workers(trained):
    assert same_weights(trained, train_network(Blobs(), SMALL, seed=0, workers=1))


def test_training_leaves_the_global_generators_untouched():
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    config = SegmentationConfig(channels=(4, 8, 8), updates=2, batch_size=2)
    predict(train_network(Blobs(), config, seed=3), torch.zeros(1, 20, 20), config)
    assert torch.equal(torch_state, torch.random.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])


def test_a_slice_is_segmented_the_same_alone_and_in_a_stack(trained):
    stack = torch.stack([torch.from_numpy(Blobs()[i]["image"]) for i in range(10)])
    together = probability(trained, stack, SMALL)
    alone = torch.stack([probability(trained, image, SMALL) for image in stack])
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.equal(predict(trained, stack, SMALL), together > 0.5)


def test_three_dimensional_windows_segment_a_volume_larger_than_the_patch():
    config = SegmentationConfig(
        spatial_dims=3, channels=(8, 16, 16), updates=25, batch_size=4, learning_rate=1e-2, patch_size=(16, 16, 16)
    )
    network = train_network(Blobs((16, 16, 16)), config, seed=0)
    sample = Blobs((22, 18, 14))[90_000]
    mask = predict(network, torch.from_numpy(sample["image"]), config)
    assert mask.shape == (1, 22, 18, 14)
    assert score_patient([(mask[0].numpy(), sample["label"][0] > 0)], (1, 1, 1))["dice"] > 0.7


def test_the_best_of_the_means_on_validation_samples_is_kept():
    """Validation samples of another kind make the earliest choice the best; without any, the last mean is kept."""

    class Inverted(Blobs):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return {"image": sample["image"], "label": 1 - sample["label"]}

    def means(validation):
        return train_network(Blobs(), SMALL, seed=0, validation=validation)

    last, same, worst = means(None), means(Blobs(length=16)), means(Inverted(length=16))
    assert same_weights(last, same) and not same_weights(last, worst)


def test_bf16_training_learns_too():
    config = SegmentationConfig(
        channels=(8, 16, 32), updates=40, batch_size=8, learning_rate=1e-2, precision="bf16-mixed"
    )
    losses = []
    train_network(Blobs(), config, seed=0, on_update=lambda update, loss: losses.append(loss))
    assert len(losses) == 40
    assert np.mean(losses[-5:]) < 0.7 * losses[0]


def test_a_loss_that_is_not_finite_stops_training_and_names_the_update():
    with pytest.raises(TrainingError, match="update 1: found loss nan"):
        train_network(Blobs(bad_value=np.nan), SMALL, seed=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_samples_of_several_shapes_are_refused(workers):
    class Mixed(Blobs):
        def __getitem__(self, index):
            return Blobs((32, 32 + 4 * (index % 2)))[index]

    with pytest.raises(DataError, match="Crop or pad"):
        train_network(Mixed(), SMALL, seed=0, workers=workers)


def test_a_size_the_network_cannot_halve_is_padded():
    config = SegmentationConfig(channels=(4, 8, 16), updates=2, batch_size=2)
    network = train_network(Blobs((30, 27)), config, seed=0)
    assert predict(network, torch.zeros(1, 30, 27), config).shape == (1, 30, 27)


def test_too_few_samples_and_sizes_that_do_not_fit_are_refused(trained):
    with pytest.raises(DataError, match="40 updates × 8 = 320"):
        train_network(Blobs(length=319), SMALL, seed=0)
    with pytest.raises(DataError, match="one size for all"):
        train_network(Blobs((32, 32, 16)), SMALL, seed=0)
    with pytest.raises(ConfigError, match="patch_size"):
        SegmentationConfig(patch_size=(40, 40))
    with pytest.raises(DataError, match="channel axis"):
        predict(trained, torch.zeros(2, 32, 32), SMALL)
