"""Plain methods on volumes end to end: patches in 3-D, stacks of slices in 2.5-D; and the settings that do not fit."""

import pytest

from medaug.data.atomic import read_json
from medaug.errors import ConfigError
from medaug.models.weights import load_weights
from medaug.stages.pipeline import run_pipeline

PLAIN = ("translator.mask_guided=false", "translator.generator=unet", "synthesis.insertions=1", "synthesis.removals=1",
         "audit.volumes=2", "audit.lesions=2", "evaluation.patch_size=null")  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        (("data.spatial_dims=3", "crop.size=[8,8,8]", "evaluation.patch_size=[16,16,8]"), ([8, 8, 8], 1)),
        (("data.slices=3", "crop.size=null"), (None, 3)),
    ],
)
def test_plain_methods_run_on_volumes(tmp_path, tiny_config, settings, facts):
    run = run_pipeline(tiny_config(*PLAIN, *settings), tmp_path / "run")
    weights = load_weights(run.weights)
    assert (weights.facts["patch_size"], weights.facts["slices"]) == facts
    records = read_json(run.synthetic / "datalist.json")["training"]
    assert [record["kind"] for record in records] == ["inserted", "removed"]
    assert all(record["parent"]["level"] is None for record in records), "whole volumes"
    assert run.report.exists()


def test_continuity_across_slices_is_in_the_audit_and_the_report(tiny_run, volume_run):
    for run in (tiny_run, volume_run):
        found = read_json(run.audit / "realism.json")["z_consistency"]
        assert found["ratio"] == pytest.approx(found["synthetic"] / found["real"]) and found["n_synthetic"] >= 1
        assert "Across slices, steps along z" in run.report.read_text()


def test_crops_that_are_not_given_fit_the_method(tiny_config):
    from medaug.config import PipelineConfig

    def size(**sections):
        return PipelineConfig.model_validate(sections).crop.size

    assert size() == (48, 48) and size(data={"spatial_dims": 3}) == (32, 32, 16)
    plain = {"mask_guided": False}
    assert size(translator=plain) is None and size(translator=plain, data={"spatial_dims": 3}) == (32, 32, 16)
    assert size(translator=plain, crop={"size": (32, 32)}) == (32, 32)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("data.slices=3",), "data.slices=3 is for plain 2-D methods; set data.spatial_dims=3"),
        (("translator.mask_guided=false", "data.slices=2"), "expected an odd number"),
        (("translator.mask_guided=false", "data.slices=3", "translator.channels=5"), "data.slices=3 sets it"),
        (("crop.size=null",), "crop.size: found null, but mask-guided methods edit crops"),
        (("translator.mask_guided=false", "data.spatial_dims=3", "crop.size=null"), "no network takes a whole volume"),
    ],
)
def test_settings_that_do_not_fit_volumes_are_refused(tiny_config, settings, words):
    with pytest.raises(ConfigError, match=words):
        tiny_config(*settings)
