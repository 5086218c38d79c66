"""Weights say which sequences and parts they know; those of medaug 0.1 know one of each, and do what they did."""

from dataclasses import replace

import numpy as np
import pytest

from medaug.data.weights import read_weights, write_weights
from medaug.errors import WeightsError
from medaug.models.weights import load_weights, save_translator
from medaug.transforms import RandInsertTumor, RemoveTumor


def saved(weights, folder):
    save_translator(folder, weights.translator, weights.prior, weights.facts.model_dump(mode="json"))
    return folder


@pytest.fixture(scope="module")
def image():
    x, y = np.indices((64, 64))
    organ = np.hypot(x - 32, y - 32) < 29
    return np.where(organ, np.random.RandomState(0).uniform(60, 100, (64, 64)), 0)[None].astype(np.float32)


def test_weights_come_back_with_sequences_parts_and_windows(untrained, image, tmp_path):
    made = untrained(2, ("t1", "flair"))
    loaded = load_weights(saved(made, tmp_path / "w"))
    assert loaded.sequences == ("t1", "flair") and loaded.n_parts == 3
    assert loaded.facts.parts == {"edema": (1,), "core": (2,), "enhancing": (3,)}
    assert [channel.name for channel in loaded.translator.domain_a.channels] == ["healthy", "flair"]
    both = np.concatenate([image, image])
    for one, again in zip(
        *(RandInsertTumor(w, 1.0).set_random_state(seed=2)(both) for w in (made, loaded)), strict=True
    ):
        np.testing.assert_array_equal(one, again)


def test_weights_of_the_first_version_do_what_they_did(untrained, image, tmp_path):
    made = untrained(2, ("flair",), parts=())
    tensors, metadata = read_weights(saved(made, tmp_path / "now"))
    metadata["settings"] = {k: v for k, v in metadata["settings"].items() if k not in ("channels", "parts")}
    for row in metadata["prior"]["references"]:
        row |= {key: row[key][0] for key in ("contrast", "surroundings")}
    for key in (
        "sequences",
        "parts",
        "other_labels",
        "target_sequence",
        "target_sequences",
        "training_content",
        "axes",
    ):
        del metadata[key]
    tensors["prior.images"] = tensors["prior.images"][:, 0]
    write_weights(tmp_path / "old", tensors, metadata | {"medaug": "0.1.0"})
    old = load_weights(tmp_path / "old")
    assert old.sequences == ("flair",) and old.n_parts == 1
    before, after = (RandInsertTumor(w, 1.0).set_random_state(seed=2)(image) for w in (made, old))
    assert after[1].any()
    for one, again in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, again)
    emptied = [RemoveTumor(w)(before[0], before[1]) for w in (made, old)]
    np.testing.assert_array_equal(*emptied)


def test_weights_that_disagree_with_themselves_are_refused(untrained, tmp_path):
    made = untrained(2, ("t1", "flair"))
    one = untrained(2, ("t1",)).prior
    lists = {
        "channels: found 2 of its networks, 3 of its sequences": replace(
            made, facts=made.facts.model_copy(update={"sequences": ("t1", "t2", "flair")})
        ),
        "parts: found 3 of its networks, 1 of its names": replace(
            made, facts=made.facts.model_copy(update={"parts": {}})
        ),
        "channels: .* 1 of its reference lesions": replace(made, prior=one),
    }
    for number, (message, wrong) in enumerate(lists.items()):
        with pytest.raises(WeightsError, match=message):
            load_weights(saved(wrong, tmp_path / str(number)))
