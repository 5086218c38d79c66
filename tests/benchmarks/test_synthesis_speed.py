"""Scans a second of insertion and translation, against a plain eager sliding window over the whole scan."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import sliding_window_inference

from medaug.phantoms import abdomen_phantom, head_phantom
from medaug.transforms import RandInsertTumor, TranslateDomain

SHAPE, SPACING_MM = (160, 160, 96), (1.5, 1.5, 2.0)


@pytest.fixture(scope="module")
def head() -> MetaTensor:
    return as_scan(head_phantom(0, shape=SHAPE, spacing_mm=SPACING_MM).images["flair"])


@pytest.fixture(scope="module")
def abdomen() -> MetaTensor:
    """CT with its surroundings of air, as scanners give it."""
    return as_scan(abdomen_phantom(0, shape=(192, 192, 32), spacing_mm=(2.0, 2.0, 5.0)).images["contrast"])


def as_scan(array: np.ndarray) -> MetaTensor:
    affine = torch.diag(torch.tensor([*SPACING_MM, 1.0], dtype=torch.float64))
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(array))[None].float(), affine=affine)


def test_insertion_touches_only_the_tiles_that_change(benchmark, head, volume_weights, seconds_in_turns, tell):
    insert = RandInsertTumor(volume_weights, prob=1.0).set_random_state(seed=0)
    network, patch = volume_weights.translator, volume_weights.facts.patch_size
    whole = {"insert": lambda: insert(head), "plain": lambda: everywhere(network.generators["a2b"], head, patch)}
    seconds = seconds_in_turns(whole, rounds=2)
    ratio = seconds["plain"] / seconds["insert"]
    benchmark.extra_info["times_faster"] = ratio
    benchmark.pedantic(insert, (head,), rounds=1)
    size = "×".join(map(str, SHAPE))
    tell(
        f"insertion in 3-D, {size}: {1 / seconds['insert']:.2f} scans/s; the same generator in a sliding window over "
        f"the scan {1 / seconds['plain']:.3f}: {ratio:.0f} times"
    )


def test_translation_of_slices_against_a_plain_loop(benchmark, abdomen, trained, ct_to_ct, seconds_in_turns, tell):
    weights = trained(*ct_to_ct)
    translate = TranslateDomain(weights, "a2b")
    network = weights.translator.generators["a2b"]

    @torch.no_grad()
    def plain() -> None:
        for level in range(abdomen.shape[-1]):
            network(abdomen.as_tensor()[None, ..., level])

    seconds = seconds_in_turns({"medaug": lambda: translate(abdomen), "plain": plain}, rounds=2)
    ratio = seconds["plain"] / seconds["medaug"]
    benchmark.extra_info["times_faster"] = ratio
    benchmark.pedantic(translate, (abdomen,), rounds=1)
    tell(f"translation, 192×192×32: {1 / seconds['medaug']:.2f} scans/s, {ratio:.2f} of a plain loop over slices")


@torch.no_grad()
def everywhere(generator: torch.nn.Module, scan: MetaTensor, patch: tuple[int, ...]) -> None:
    """The generator over every window of the scan, whatever it would do there."""
    channels = next(p for p in generator.parameters() if p.ndim > 1).shape[1]

    def look(windows: torch.Tensor) -> torch.Tensor:
        return generator(windows.expand(-1, channels, *windows.shape[2:]))

    sliding_window_inference(scan.as_tensor()[None], patch, 4, look, overlap=0.5, mode="gaussian")
