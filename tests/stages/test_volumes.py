"""Tumors in volumes are looked at across slices, and settings of slices and volumes that do not fit are refused."""

import numpy as np
import pytest

from medaug.data.atomic import read_json
from medaug.errors import ConfigError, DataError
from medaug.models.weights import load_weights
from medaug.stages.pipeline import run_pipeline
from medaug.transforms import TranslateDomain


def test_continuity_across_slices_is_in_the_audit_and_the_report(tiny_run, volume_run):
    for run in (tiny_run, volume_run):
        found = read_json(run.audit / "realism.json")["z_consistency"]
        assert found["ratio"] == pytest.approx(found["synthetic"] / found["real"]) and found["n_synthetic"] >= 1
        assert "Across slices, steps along z" in run.report.read_text()


def test_stacks_of_slices_are_learnt_and_translated(tmp_path, tiny_config):
    config = tiny_config("domain=ct", "data.slices=3", "crop.size=null", "evaluation.task=none")
    run = run_pipeline(config, tmp_path / "run", until="train")
    weights = load_weights(run.weights)
    assert (weights.facts.patch_size, weights.facts.slices) == (None, 3)
    volume = np.random.RandomState(0).random_sample((1, 32, 32, 4)).astype(np.float32)
    assert TranslateDomain(weights, window=(0, 1))(volume).shape == volume.shape
    with pytest.raises(DataError, match="these weights read 3 neighbouring slices"):
        TranslateDomain(weights, window=(0, 1))(volume[..., 0])


def test_crops_that_are_not_given_fit_the_method(tiny_config):
    from medaug.config import PipelineConfig

    def size(**sections):
        return PipelineConfig.model_validate(sections).crop.size

    assert size() == (48, 48) and size(data={"spatial_dims": 3}) == (32, 32, 16)
    ct = {"domain": "ct", "target": {"sequence": "t1"}}
    assert size(**ct) is None and size(**ct, data={"spatial_dims": 3}) == (32, 32, 16)
    assert size(**ct, crop={"size": (32, 32)}) == (32, 32)


CT = ("domain=ct", "target.sequence=t1")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("data.slices=3",), "data.slices: found 3; expected 1 in domain 'tumor'.*or set domain: ct"),
        (("translator.mask_guided=false",), "mask_guided: found false; expected true in domain 'tumor'"),
        ((*CT, "data.slices=2"), "expected an odd number"),
        ((*CT, "data.slices=3", "translator.channels=5"), "data.slices=3 sets it"),
        ((*CT, "data.slices=3", "data.spatial_dims=3", "crop.size=[8,8,8]"), "data.slices=3 is for 2-D methods"),
        (("crop.size=null",), "crop.size: found null, but mask-guided methods edit crops"),
        ((*CT, "data.spatial_dims=3", "crop.size=null"), "no network takes a whole volume"),
    ],
)
def test_settings_that_do_not_fit_volumes_are_refused(tiny_config, settings, words):
    with pytest.raises(ConfigError, match=words):
        tiny_config(*settings)
