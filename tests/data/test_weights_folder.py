"""A weights folder is complete and its own, or refused."""

import json

import pytest
import torch

from medaug.data.weights import read_weights, write_weights
from medaug.errors import RunError, WeightsError


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    weight = torch.arange(6.0).reshape(2, 3)
    return {"a2b.weight": weight, "a2b.shared": weight, "turned": weight.T, "half": torch.ones(2, dtype=torch.bfloat16)}


def test_tensors_and_metadata_come_back(tmp_path, tensors):
    digest = write_weights(tmp_path / "w", tensors, {"method": "cyclegan", "sizes": (1, 2)})
    loaded, metadata = read_weights(tmp_path / "w")
    assert metadata == {"method": "cyclegan", "sizes": [1, 2], "sha256": digest}
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype and torch.equal(loaded[name], tensor)
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == ["model.json", "model.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_equal_tensors_have_equal_hashes_and_others_do_not(tmp_path, tensors):
    digests = [write_weights(tmp_path / name, tensors, {"note": name}) for name in "ab"]
    assert digests[0] == digests[1] != write_weights(tmp_path / "c", {"x": torch.zeros(1)}, {})


def test_existing_weights_are_replaced_and_other_files_stay(tmp_path, tensors):
    write_weights(tmp_path, tensors, {"step": 1})
    (tmp_path / "notes.txt").write_text("mine")
    write_weights(tmp_path, {"x": torch.ones(1)}, {"step": 2})
    loaded, metadata = read_weights(tmp_path)
    assert list(loaded) == ["x"] and metadata["step"] == 2 and (tmp_path / "notes.txt").exists()


def test_a_failed_write_keeps_the_earlier_weights_or_leaves_nothing(tmp_path, tensors, monkeypatch):
    write_weights(tmp_path / "old", tensors, {"step": 1})
    with pytest.raises(TypeError):
        write_weights(tmp_path / "old", {"x": torch.ones(1)}, {"step": object()})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    for name in ("old", "new"):
        with pytest.raises(RunError, match="No space left"):
            write_weights(tmp_path / name, {"x": torch.ones(1)}, {"step": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert read_weights(tmp_path / "old")[1]["step"] == 1
    assert len(list((tmp_path / "old").iterdir())) == 2


@pytest.mark.parametrize("missing", ["model.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path, tensors, missing):
    write_weights(tmp_path, tensors, {})
    (tmp_path / missing).unlink()
    with pytest.raises(WeightsError, match=f"{missing}: missing"):
        read_weights(tmp_path)
    with pytest.raises(WeightsError, match="nowhere: missing"):
        read_weights(tmp_path / "nowhere")


def test_altered_tensors_and_metadata_without_hash_are_refused(tmp_path, tensors):
    write_weights(tmp_path, tensors, {})
    path = tmp_path / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(WeightsError, match="found sha256"):
        read_weights(tmp_path)
    for damaged in ("[]", "{"):
        (tmp_path / "model.json").write_text(damaged)
        with pytest.raises(WeightsError, match="cannot be read"):
            read_weights(tmp_path)


def test_a_pickle_is_never_loaded(tmp_path):
    import hashlib

    torch.save({"x": torch.ones(1)}, tmp_path / "model.safetensors")
    digest = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    (tmp_path / "model.json").write_text(json.dumps({"sha256": digest}))
    with pytest.raises(WeightsError, match="not a safetensors file"):
        read_weights(tmp_path)
