"""A weights folder as a MONAI bundle: `python -m monai.bundle run` inserts tumors or translates, with our transforms.

`models/` holds the weights with their training patients' names replaced by hashes, which the leakage check knows;
`configs/inference.json` is a chain of MONAI's and medaug's transforms: every NIfTI file of `dataset_dir` is edited and
written to `output_dir`; `configs/metadata.json` follows MONAI's bundle specification; `docs/README.md` is the model
card. What is the same in every bundle stands in the JSON files beside this module.
"""

from __future__ import annotations

from dataclasses import asdict
from importlib import metadata as packages
from pathlib import Path

import medaug
from medaug.data.atomic import JsonObject, atomic_path, check_new, read_json, write_json, write_text
from medaug.data.weights import read_weights, write_weights
from medaug.errors import WeightsError
from medaug.exports.model_card import card_library, model_card
from medaug.models.network import DirectionNetwork
from medaug.models.weights import Weights, load_weights
from medaug.splits import pseudonym
from medaug.volumes import Domain, Window

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
    shared = {key: value for key, value in metadata.items() if key != "sha256"}
    for key in {"training_patients", "paired_patients"} & shared.keys():
        shared[key] = [pseudonym(patient) for patient in shared[key]]
    if fold := shared.get("nnunet"):
        shared["nnunet"] = fold | {"training_cases": [pseudonym(case) for case in fold["training_cases"]]}
    if shared["prior"] is not None:
        references = [
            row | {"patient": pseudonym(row["patient"]), "case": pseudonym(row["case"])}
            for row in shared["prior"]["references"]
        ]
        shared["prior"] = shared["prior"] | {"references": references}
    with atomic_path(out) as temporary:
        write_json(temporary / "configs" / "inference.json", _inference(weights))
        write_json(temporary / "configs" / "metadata.json", _metadata(weights))
        write_weights(temporary / "models", tensors, shared)
        write_text(temporary / "docs" / "README.md", card)
        write_text(temporary / "LICENSE", LICENCE)
    return out


def _inference(weights: Weights) -> JsonObject:
    a, b = weights.translator.domain_a, weights.translator.domain_b
    edit: dict[str, object] = {"keys": "image", "weights": "@weights"}
    target = a if a.modality == "CT" != b.modality else b
    outputs = [("image", target.name, "int16" if target.unit == "HU" else "float32")]
    if weights.facts.domain == "tumor":
        edit |= {"_target_": "medaug.transforms.RandInsertTumord", "label_key": "label", "prob": 1.0}
        outputs = [("image", "inserted", "float32"), ("label", "inserted_label", "uint8")]
    elif (a.modality == "CT") != (b.modality == "CT"):
        edit |= {"_target_": "medaug.transforms.SynthesizeCTd"}
    else:
        edit |= {"_target_": "medaug.transforms.TranslateDomaind", "direction": "a2b"}
    config: JsonObject = read_json(Path(__file__).with_name("bundle_inference.json"))
    saving = {"output_dir": "@output_dir", "separate_folder": False, "resample": False, "print_log": False}
    config["transforms"]["transforms"] += [
        edit,
        *(
            {"_target_": "SaveImaged", "keys": key, "output_postfix": postfix, "output_dtype": dtype} | saving
            for key, postfix, dtype in outputs
        ),
    ]
    return config


def _metadata(weights: Weights) -> JsonObject:
    """What MONAI's specification asks for; the network is that of `network_def`, on crops."""
    translator, a, b = weights.translator, weights.translator.domain_a, weights.translator.domain_b
    network, inserts = DirectionNetwork(translator, "a2b", weights.facts), weights.prior is not None
    parts = weights.facts.parts or {"tumor": (1,)}
    metadata: JsonObject = read_json(Path(__file__).with_name("bundle_metadata.json"))
    metadata |= {
        "monai_version": packages.version("monai"),
        "pytorch_version": packages.version("torch").split("+")[0],
        "numpy_version": packages.version("numpy"),
        "required_packages_version": {"medaug": medaug.__version__, "nibabel": packages.version("nibabel")},
        "name": f"medaug {translator.name}: {a.name} to {b.name}",
        "task": "Data augmentation: tumor insertion" if inserts else "Image translation",
        "image_classes": _classes(network.inputs, a),
        "label_classes": f"single channel, {', '.join(f'{values[0]} is {name}' for name, values in parts.items())}, "
        "0 is everything else"
        if inserts
        else "none",
        "pred_classes": _classes(network.outputs, b),
        "network_data_format": {
            "inputs": {"image": _described(network, a, network.channels)},
            "outputs": {"pred": _described(network, b, network.outputs)},
        },
        "medaug": {
            "window_a": _windows(a),
            "window_b": _windows(b),
            "split_hash": weights.facts.split_hash,
            "weights_sha256": weights.facts.sha256,
        },
    }
    return metadata


def _described(network: DirectionNetwork, domain: Domain, channels: tuple[str, ...]) -> dict[str, object]:
    """One side of the network: crops in [-1, 1] whose sizes are multiples of its stride."""
    return {
        "type": "image",
        "format": "magnitude",
        "spatial_shape": [f"{network.translator.stride}*n"] * network.translator.spatial_dims,
        "dtype": "float32",
        "is_patch_data": True,
        "modality": _modality(domain),
        "num_channels": len(channels),
        "value_range": [-1, 1],
        "channel_def": {str(number): name for number, name in enumerate(channels)},
    }


def _classes(images: tuple[str, ...], domain: Domain) -> str:
    channels = "one channel" if len(images) == 1 else f"{len(images)} channels ({', '.join(images)})"
    return f"{channels}, {domain.name} ({_modality(domain)})"


def _modality(domain: Domain) -> str:
    return ", ".join(dict.fromkeys(channel.modality for channel in domain.channels))


def _windows(domain: Domain) -> object:
    """The window as JSON, of several channels a list."""
    windows = [{"fixed": isinstance(channel.window, Window), **asdict(channel.window)} for channel in domain.channels]
    return windows[0] if len(windows) == 1 else windows
