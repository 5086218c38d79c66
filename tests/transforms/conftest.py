"""A head that the weights have never seen: volume, slice, masks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medaug.data.atomic import read_json
from medaug.lesions.prior import LesionExample, LesionPrior
from medaug.models.facts import TranslatorFacts
from medaug.models.methods import build_translator
from medaug.models.weights import Weights
from medaug.runs.folder import RunDir
from medaug.volumes import Domain

from ..stored import array_of

KINDS = ("array", "tensor", "metatensor")


@dataclass(frozen=True)
class Head:
    """A test patient of the tiny run: image 0 to 200 (float32), label 0/1 and organ, each (X, Y, Z)."""

    image: np.ndarray
    label: np.ndarray
    organ: np.ndarray
    affine: np.ndarray
    level: int

    @property
    def slice(self) -> np.ndarray:
        """(1, X, Y), the slice with most of the tumor."""
        return self.image[None, ..., self.level].copy()

    @property
    def slice_label(self) -> np.ndarray:
        return self.label[None, ..., self.level].copy()

    @property
    def slice_organ(self) -> np.ndarray:
        return self.organ[None, ..., self.level].copy()


@pytest.fixture(scope="session")
def head(tiny_run: RunDir) -> Head:
    patients = read_json(tiny_run.split)["test"]
    entry = next(e for e in read_json(tiny_run.datalist)["cases"] if e["patient"] in patients)
    image, label, organ = (array_of(tiny_run.prepared, entry, k) for k in ("image", "label", "organ"))
    image = np.rint(200 * image / image.max()).astype(np.float32)
    level = int(label.sum(axis=(0, 1)).argmax())
    return Head(image, label.astype(np.float32), organ.astype(np.float32), np.asarray(entry["affine"]), level)


@pytest.fixture(scope="session")
def disk(head: Head) -> np.ndarray:
    """(1, X, Y): a disk of 7 voxels across, well inside the head and away from its tumors."""
    x, y = np.mgrid[:32, :32]
    places = [(i, j) for i in range(8, 24) for j in range(8, 24)]
    tumor = head.slice_label[0] > 0
    for i, j in places:
        mask = (x - i) ** 2 + (y - j) ** 2 <= 9.5
        near = (x - i) ** 2 + (y - j) ** 2 <= 50
        if not (near & tumor).any() and (head.slice_organ[0] > 0)[mask].all():
            return mask[None].astype(np.float32)
    raise AssertionError("no place for the disk in this phantom")


@pytest.fixture(scope="session")
def as_kind(head: Head):
    """Turns an array into each kind of input that MONAI passes on."""

    def convert(array: np.ndarray, kind: str):
        if kind == "array":
            return array.copy()
        tensor = torch.from_numpy(array.copy())
        if kind == "tensor":
            return tensor
        return MetaTensor(tensor, affine=torch.from_numpy(head.affine), meta={"filename_or_obj": "head.nii.gz"})

    return convert


@pytest.fixture(scope="session")
def translating():
    """`translating(do, a, b)`: plain weights between two domains whose translator does `do(x, direction, style)`."""

    def make(do, a=None, b=None, dims=2, patch_size=None, slices=1, style_dim=0, spacing_mm=None, **facts) -> Weights:
        domains = a or Domain("t2", "MR"), b or Domain("flair", "MR")
        settings = {"generator": "unet", "width": 2, "depth": 2, "discriminator_width": 2, "discriminator_layers": 1}
        translator = build_translator("cyclegan", settings | {"channels": slices}, *domains, dims)

        class Stub(type(translator)):
            def translate(self, x, direction, *, mask=None, style=None, generator=None):
                self.check_input(x, mask)
                return do(x, direction, style)

        Stub.style_dim = property(lambda self: style_dim)
        translator.__class__ = Stub
        known = {"spacing_mm": list(spacing_mm or [1.0] * dims), "patch_size": patch_size, "slices": slices}
        return Weights(translator, None, TranslatorFacts(**known | facts))

    return make


@pytest.fixture(scope="session")
def untrained():
    """`untrained(dims, sequences, parts)`: weights with a prior of three round lesions, whose parts are shells."""

    def make(dims: int, sequences=("t1", "flair"), parts=("edema", "core", "enhancing"), method="cyclegan") -> Weights:
        first, *others = (Domain(name, "MR") for name in sequences)
        domains = [replace(first, name=name, others=tuple(others)) for name in ("healthy", "tumor")]
        small = {"width": 4, "depth": 2, "discriminator_width": 4, "discriminator_layers": 1}
        settings = small | {"channels": len(sequences), "parts": len(parts) or 1}
        translator = build_translator(f"mask-guided-{method}", settings, *domains, dims, seed=1)
        shape, spacing_mm = (40, 40, 32)[:dims], (2.0,) * dims
        middle = np.reshape(shape, (-1, *[1] * dims)) / 2
        distance = np.sqrt(((np.indices(shape) - middle) ** 2).sum(axis=0))
        examples = []
        for number, radius in enumerate((5, 6, 7)):
            rng, outer = np.random.RandomState(number), distance < radius
            shells = 1 + (len(parts) > 1) * (distance < 0.7 * radius) + (len(parts) > 2) * (distance < 0.4 * radius)
            numbers = np.where(outer, shells, 0).astype(np.uint8)
            image = [-0.2 + (0.5 - k / 10) * outer + rng.normal(0, 0.03, shape) for k in range(len(sequences))]
            organ, of = np.ones(shape, bool), (f"p{number}", f"c{number}")
            examples.append(LesionExample(np.stack(image).astype("float32"), numbers, organ, *of, None, spacing_mm))
        prior = LesionPrior.fit(examples, (24, 24, 20)[:dims], spacing_mm)
        facts = {"parts": {name: (number,) for number, name in enumerate(parts, 1)}} if len(parts) > 1 else {}
        named = {"sequences": sequences} if len(sequences) > 1 else {"sequence": sequences[0]}
        facts = TranslatorFacts(spacing_mm=spacing_mm, **named, **facts)
        return Weights(translator.eval().requires_grad_(False), prior, facts)

    return make
