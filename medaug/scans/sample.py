"""Class-labelled crops of a trained GAN from noise: NIfTI files, and a datalist that says where each comes from.

A crop depends on the weights, its class and its own seed alone: any one can be made again by
`models.noise.latent.sample`. Values are HU for CT; for MR, which has no absolute unit, the window's [-1, 1].
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import torch

from medaug.data.atomic import new_folder, write_json
from medaug.data.files import write_scan
from medaug.errors import ConfigError
from medaug.models.noise.config import CLASSES
from medaug.models.noise.latent import sample
from medaug.models.noise.weights import load_gan
from medaug.progress import track
from medaug.seeds import rng_of
from medaug.volumes import Window, affine_of

BOTH = "both"


def write_samples(
    weights: Path, out: Path, *, label: str, count: int, seed: int, accelerator: str | None = None
) -> Path:
    """Writes `count` crops of the class, or of each; returns the path of the datalist.

    The datalist's `training` entries hold `image`, `label` (0 healthy, 1 tumor), `class`, `seed`, the weights' hash and
    their training patients: crops may only be used to train, and only where those patients train.

    Raises:
        ConfigError: for an unknown class.
        RunError: if the folder holds files already, or cannot be written.
        WeightsError: if the weights are of no GAN from noise.
    """
    if label not in (*CLASSES, BOTH):
        raise ConfigError(f"--label: found '{label}'; expected one of: {', '.join((*CLASSES, BOTH))}")
    loaded = load_gan(weights).on(accelerator)
    new_folder(out)
    labels = range(len(CLASSES)) if label == BOTH else [CLASSES.index(label)]
    facts, domain = loaded.facts, loaded.gan.domain
    records = []
    with track("sample", count * len(labels)) as tracker:
        for number, index in product(labels, range(count)):
            own = int(rng_of(seed, index * len(CLASSES) + number).randint(2**31))
            name = f"{CLASSES[number]}-{index:05d}"
            image = sample(loaded.gan, 1, number, torch.Generator().manual_seed(own)).images[0].cpu()
            if isinstance(domain.window, Window):
                image = domain.window.denormalize(image)
            write_scan(out / "images" / f"{name}.nii.gz", image, affine_of(loaded.spacing_mm), "float32")
            record = {
                "case": name,
                "kind": "generated",
                "image": f"images/{name}.nii.gz",
                "label": number,
                "class": CLASSES[number],
                "unit": domain.unit if isinstance(domain.window, Window) else "normalized",
                "seed": own,
                "weights": facts.sha256,
                "training_patients": facts.training_patients,
                "split_hash": facts.split_hash,
            }
            records.append(record)
            tracker.advance()
    write_json(out / "datalist.json", {"training": records})
    return out / "datalist.json"
