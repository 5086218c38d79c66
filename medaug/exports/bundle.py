"""A weights folder as a MONAI bundle: `python -m monai.bundle run` inserts tumors or translates, with our transforms.

`models/` holds the weights with their training patients' names replaced by hashes, which the leakage check knows;
`configs/inference.json` is a chain of MONAI's and medaug's transforms; `docs/README.md` is the model card.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import medaug
from medaug.data.atomic import atomic_path, check_new, write_json, write_text
from medaug.data.weights import read_weights, write_weights
from medaug.errors import WeightsError
from medaug.exports.model_card import card_library, model_card
from medaug.models.network import DirectionNetwork
from medaug.models.weights import Weights, load_weights
from medaug.splits import pseudonym
from medaug.volumes import Domain, Window

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
LICENCE = """\
configs/ and docs/ of this bundle were written by medaug and are under the Apache License, Version 2.0
(https://www.apache.org/licenses/LICENSE-2.0).

models/ derives from the training data and is under the terms of those: whoever passes the bundle on states them here.
"""


def export_bundle(folder: Path, out: Path) -> Path:
    """Writes the bundle, whole or not at all; returns `out`.

    Raises:
        RunError: if `out` is there already.
        WeightsError: if the weights cannot be used, or need a label beside each image.
        ConfigError: if huggingface_hub, for the card, is not installed.
    """
    check_new(out)
    card_library()  # a missing one is told before anything is read
    weights = load_weights(folder)
    if getattr(weights.translator.config, "label_input", 0):
        raise WeightsError(
            f"{folder}: found weights that read labels beside the image (translator.label_input); expected some that "
            "read images alone, which is what a bundle's inference gets. Use medaug.transforms.TranslateDomaind."
        )
    card = model_card(weights)
    tensors, metadata = read_weights(folder)
    with atomic_path(out) as temporary:
        write_json(temporary / "configs" / "inference.json", inference_config(weights))
        write_json(temporary / "configs" / "metadata.json", _metadata(weights))
        write_weights(temporary / "models", tensors, _shareable(metadata))
        write_text(temporary / "docs" / "README.md", card)
        write_text(temporary / "LICENSE", LICENCE)
    return out


def inference_config(weights: Weights) -> dict[str, Any]:
    """What `monai.bundle run` reads: every NIfTI file of `dataset_dir` is edited and written to `output_dir`."""
    editing, outputs = _editing(weights)
    return {
        "imports": ["$import glob"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/data'",
        "output_dir": "$@bundle_root + '/eval'",
        "weights": "$@bundle_root + '/models'",
        "device": "cpu",
        "seed": 0,
        "network_def": {
            "_target_": "medaug.models.network.direction_network",
            "weights": "@weights",
            "direction": "a2b",
        },
        "transforms": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image", "reader": "NibabelReader"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                editing,
                *(
                    {
                        "_target_": "SaveImaged",
                        "keys": key,
                        "output_dir": "@output_dir",
                        "output_postfix": postfix,
                        "output_dtype": dtype,
                        "separate_folder": False,
                        "resample": False,
                        "print_log": False,
                    }
                    for key, postfix, dtype in outputs
                ),
            ],
        },
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': path} for path in sorted(glob.glob(@dataset_dir + '/*.nii*'))]",
            "transform": "@transforms",
        },
        "initialize": ["$@transforms.set_random_state(seed=@seed)"],
        "run": ["$[None for _ in @dataset]"],
    }


def _editing(weights: Weights) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
    """The transform that does the work, and what is saved: (key, postfix, type on disk)."""
    a, b = weights.translator.domain_a, weights.translator.domain_b
    given = {"keys": "image", "weights": "@weights"}
    if weights.facts.get("domain", "tumor") == "tumor":
        edit = {"_target_": "medaug.transforms.RandInsertTumord", **given, "label_key": "label", "prob": 1.0}
        return edit, [("image", "inserted", "float32"), ("label", "inserted_label", "uint8")]
    if (a.modality == "CT") != (b.modality == "CT"):
        target = b if b.modality == "CT" else a
        edit = {"_target_": "medaug.transforms.SynthesizeCTd", **given}
    else:
        target = b
        edit = {"_target_": "medaug.transforms.TranslateDomaind", **given, "direction": "a2b"}
    return edit, [("image", target.name, "int16" if target.unit == "HU" else "float32")]


def _metadata(weights: Weights) -> dict[str, Any]:
    """After MONAI's bundle specification; the network is that of `network_def`, on crops."""
    network, (a, b) = (
        DirectionNetwork(weights.translator, "a2b"),
        (weights.translator.domain_a, weights.translator.domain_b),
    )
    size = [f"{weights.translator.stride}*n"] * weights.translator.spatial_dims
    described = {
        "type": "image",
        "format": "magnitude",
        "spatial_shape": size,
        "dtype": "float32",
        "is_patch_data": True,
    }
    return {
        "schema": SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": "exported by medaug"},
        "monai_version": packages.version("monai"),
        "pytorch_version": packages.version("torch").split("+")[0],
        "numpy_version": packages.version("numpy"),
        "required_packages_version": {"medaug": medaug.__version__, "nibabel": packages.version("nibabel")},
        "name": f"medaug {weights.translator.name}: {a.name} to {b.name}",
        "task": "Data augmentation: tumor insertion" if weights.prior is not None else "Image translation",
        "description": "Inference writes synthetic images; the network definition is the generator on crops.",
        "authors": "made with medaug",
        "copyright": "see LICENSE",
        "data_source": "see docs/README.md",
        "data_type": "nifti",
        "image_classes": f"one channel, {a.name} ({a.modality})",
        "label_classes": "single channel, 1 is tumor, 0 is everything else" if weights.prior is not None else "none",
        "pred_classes": f"one channel, {b.name} ({b.modality})",
        "intended_use": "Research on data augmentation. Not for diagnosis.",
        "references": [],
        "network_data_format": {
            "inputs": {
                "image": described
                | {
                    "modality": a.modality,
                    "num_channels": len(network.channels),
                    "value_range": [-1, 1],
                    "channel_def": _numbered(network.channels),
                }
            },
            "outputs": {
                "pred": described
                | {
                    "modality": b.modality,
                    "num_channels": network.out_channels,
                    "value_range": [-1, 1],
                    "channel_def": _numbered(network.channels[: network.out_channels]),
                }
            },
        },
        "medaug": {
            "window_a": _window(a),
            "window_b": _window(b),
            "split_hash": weights.facts["split_hash"],
            "weights_sha256": weights.facts["sha256"],
        },
    }


def _numbered(channels: Sequence[str]) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(channels)}


def _window(domain: Domain) -> dict[str, Any]:
    return {"fixed": isinstance(domain.window, Window), **domain.to_dict()["window"]}


def _shareable(metadata: dict[str, Any]) -> dict[str, Any]:
    """What the weights say of themselves, without the names of patients and of their cases."""
    shared = {key: value for key, value in metadata.items() if key != "sha256"}
    for key in ("training_patients", "paired_patients"):
        if key in shared:
            shared[key] = [pseudonym(patient) for patient in shared[key]]
    if shared["prior"] is not None:
        references = [
            row | {"patient": pseudonym(row["patient"]), "case": pseudonym(row["case"])}
            for row in shared["prior"]["references"]
        ]
        shared["prior"] = shared["prior"] | {"references": references}
    return shared
