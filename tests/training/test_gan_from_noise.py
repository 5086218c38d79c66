"""The GAN from noise trains through the same loop: resumed exactly, its fakes pooled with their classes, watched."""

import pytest
import torch

from medaug.models.noise.config import DCGANConfig
from medaug.models.noise.dcgan import build_dcgan
from medaug.training import fit
from medaug.training.monitors import read_metrics, warnings_of

from .tiny import DOMAIN, Crops, assert_same_state, crop, states, tiny_config

CONFIG = DCGANConfig(latent_dim=5, width=4, levels=2, discriminator_width=4)


class ClassCrops(Crops):
    """The tiny crops as two classes."""

    def __getitem__(self, index):
        self.before(index)
        sample = crop(index)
        return {"x": sample["ab"[index % 2]], "label": torch.tensor(index % 2), "seed": sample["seed"]}


def tiny_gan(seed=1):
    return build_dcgan(CONFIG, (16, 16), DOMAIN, seed=seed)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, fit(tiny_gan(), ClassCrops(), tiny_config(), folder)


@pytest.mark.parametrize("index", [1, 17])
def test_killed_run_resumes_to_the_same_weights(unbroken, tmp_path, index):
    def stop(i):
        if i == index:
            raise RuntimeError("killed")

    folder, whole = unbroken
    with pytest.raises(RuntimeError, match="killed"):
        fit(tiny_gan(), ClassCrops(stop), tiny_config(), tmp_path)
    resumed = fit(tiny_gan(), ClassCrops(), tiny_config(), tmp_path)
    assert_same_state(tmp_path, folder)
    assert all(torch.equal(x, y) for x, y in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_number_of_workers_does_not_matter(unbroken, tmp_path):
    fit(tiny_gan(), ClassCrops(), tiny_config(workers=2), tmp_path)
    assert_same_state(tmp_path, unbroken[0])


def test_what_is_kept_for_use_is_the_average(unbroken):
    folder, gan = unbroken
    saved = states(folder)
    name = "head.conv.weight"
    assert torch.equal(gan.generators["x"].head.conv.weight, saved[f"/ema/x.{name}"])
    assert not torch.equal(saved[f"/ema/x.{name}"], saved[f"/translator/generators.x.{name}"])


def test_the_pool_keeps_fakes_with_their_class(unbroken):
    pooled = states(unbroken[0])["/pools/x/images"]
    assert pooled.shape == (5, 2, 16, 16) and set(pooled[:, 1].unique().tolist()) == {0.0, 1.0}
    assert all(len(plane.unique()) == 1 for plane in pooled[:, 1])


def test_variety_is_logged_and_a_collapse_is_reported(unbroken):
    rows = read_metrics(unbroken[0] / "metrics.jsonl")
    assert len(rows) == 12 and all(row["variety_x"] > 0 for row in rows)
    collapsed = [row | {"variety_x": 0.01} for row in rows]
    assert warnings_of(collapsed) == ["The fakes of domain x are all alike (mode collapse)."]
