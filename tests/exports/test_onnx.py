"""A generator as ONNX: the same image from onnxruntime as from torch."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from medaug.cli import app
from medaug.data.atomic import read_json
from medaug.errors import ConfigError, RunError, WeightsError
from medaug.exports import onnx as stage
from medaug.models.weights import load_weights, save_translator


@pytest.fixture(scope="module")
def model(flat_weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "insert.onnx"
    result = CliRunner().invoke(app, ["export-onnx", str(flat_weights), str(path)])
    assert result.exit_code == 0, result.output
    assert "image flair, image t1, mask core, mask rim, noise" in result.output and "tolerance" in result.output
    return path


@pytest.mark.parametrize(("batch", "shape"), [(1, (16, 16)), (3, (24, 40))])
def test_onnxruntime_gives_the_image_of_torch_for_any_batch_and_size(model, flat_weights, batch, shape):
    chance = torch.Generator().manual_seed(7)
    image, noise = (torch.rand(batch, count, *shape, generator=chance) * 2 - 1 for count in (2, 1))
    mask = torch.zeros(batch, 2, *shape)
    mask[:, 0, 5:8, 6:12] = mask[:, 1, 8:10, 6:12] = 1
    with torch.inference_mode():
        expected = load_weights(flat_weights).translator.edit(image, mask, "a2b", noise).numpy()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found = session.run(["image"], {"input": torch.cat([image, mask, noise], 1).numpy()})[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    outside = np.broadcast_to(mask.numpy().max(1, keepdims=True) == 0, found.shape)
    np.testing.assert_array_equal(found[outside], image.numpy()[outside])
    assert np.abs(found - image.numpy())[~outside].mean() > 1e-3


def test_the_file_holds_no_path_and_no_trace_of_how_it_was_made(model):
    content = model.read_bytes()
    for word in (b".py", b"stack_trace", b"site-packages", b"medaug/", str(model.parent).encode()):
        assert word not in content


def test_the_file_says_what_it_is_and_what_it_is_not_for(model, flat_weights):
    loaded = onnx.load(model)
    onnx.checker.check_model(loaded, full_check=True)
    props = {prop.key: prop.value for prop in loaded.metadata_props}
    facts = read_json(flat_weights / "model.json")
    assert json.loads(props["channels"]) == ["image flair", "image t1", "mask core", "mask rim", "noise"]
    assert json.loads(props["outputs"]) == ["image flair", "image t1"]
    assert props["direction"] == "a2b" and json.loads(props["stride"]) == 1
    assert json.loads(props["domain_a"]) == facts["domain_a"] and json.loads(props["crop_size"]) == [16, 16]
    assert props["weights_sha256"] == facts["sha256"] and "not for diagnosis" in props["intended_use"]
    assert b"Ada" not in model.read_bytes()


def test_a_model_that_gives_another_image_than_torch_is_refused_and_not_written(
    model, flat_weights, tmp_path, monkeypatch
):
    weights = load_weights(flat_weights)
    with torch.no_grad():
        for parameter in weights.translator.generators.parameters():
            parameter.add_(0.1)
    save_translator(tmp_path / "other", weights.translator, weights.prior, weights.facts.model_dump())
    monkeypatch.setattr(stage, "_converted", lambda network, size: onnx.load(model))
    with pytest.raises(WeightsError, match="found a difference of .* between onnxruntime and torch"):
        stage.export_onnx(tmp_path / "other", tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


def test_a_direction_there_is_not_and_a_file_that_exists_are_refused(flat_weights, model):
    with pytest.raises(ConfigError, match="expected one of a2b, b2a"):
        stage.export_onnx(flat_weights, model, "a2c")
    with pytest.raises(RunError, match="exists already"):
        stage.export_onnx(flat_weights, model)


def test_without_the_libraries_the_error_names_the_extra(flat_weights, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"medaug\[export\]"):
        stage.export_onnx(flat_weights, tmp_path / "x.onnx")
