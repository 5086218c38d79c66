"""One transform in many threads: every result is that of its own image."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medaug import transforms
from medaug.transforms import baselines
from medaug.volumes import Domain, Window


def scan(number: int) -> dict[str, MetaTensor]:
    """A disk of its own size and place with a tumor in it, of its own voxel size; image in [-1, 1]."""
    rng = np.random.RandomState(number)
    x, y = np.mgrid[:24, : 24 + number % 5]
    cx, cy, radius = *rng.uniform(10, 14, 2), rng.uniform(7, 9)
    body = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
    tumor = (x - cx) ** 2 + (y - cy) ** 2 < 4
    image = np.where(body, 0.2 + 0.1 * rng.standard_normal(body.shape), -1) + 0.3 * tumor
    affine = torch.diag(torch.tensor([5.0 + number % 5, 6.0, 10.0, 1.0], dtype=torch.float64))
    parts = {"image": image.clip(-1, 1), "label": tumor, "organ": body}
    return {
        key: MetaTensor(torch.from_numpy(part[None].astype(np.float32)), affine=affine) for key, part in parts.items()
    }


@pytest.fixture(scope="module")
def scans():
    return [scan(number) for number in range(12)]


def of_name(name, weights, translating, bank):
    """A public dictionary transform that always acts."""
    kind = getattr(transforms, f"{name}d", None) or getattr(baselines, f"{name}d")
    always = {"prob": 1.0} if name.startswith("Rand") else {}
    if kind.__module__.startswith("medaug.transforms.baselines"):
        given = {"RandConvolutions": [], "RandHistogramMatch": [[item["image"] for item in bank]]}.get(name, [bank])
        return kind("image", *given, **always)
    if "Translate" in name or "Synthesize" in name:

        def stub(x, direction, style):
            return (x + 0.1 * x.mean()).clip(-1, 1)

        domains = Domain("mr", "MR"), Domain("ct", "CT", Window(-160, 240, "HU"))
        return kind("image", translating(stub, *domains, spacing_mm=(6.0, 6.0)), **always)
    more = {"InsertTumor": {"mask_key": "label"}, "RandInsertTumor": {"organ_key": "organ"},
            "GrowTumor": {"organ_key": "organ", "steps": 2, "start_mm": 12, "doubling_days": 20}}  # fmt: skip
    return kind("image", weights, **more.get(name, {}), **always)


NAMES = sorted(
    name for module in (transforms, baselines) for name in module.__all__ if f"{name}d" in module.__all__
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_threads_get_what_one_thread_gets(name, weights, translating, scans):
    same = [item for item in scans if item["image"].shape == scans[0]["image"].shape]
    items = same * 4 if "Mix" in name else scans
    transform = of_name(name, weights, translating, same)
    alone = [transform(item) for item in items]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(transform, items))
    for item, expected, found in zip(items, alone, together, strict=True):
        assert found.keys() == expected.keys()
        if not hasattr(transform, "set_random_state"):
            for key in found:
                np.testing.assert_array_equal(found[key], expected[key])
        elif "Mix" not in name:  # another draw, of this very scan
            before, after = item["image"][0].numpy(), np.asarray(found["image"])[0]
            assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.5
            if "label" in found and "Grow" not in name:
                marked = np.asarray(found["label"])[0] > 0
                assert not (marked & ~(item["organ"][0].numpy() > 0)).any()
                np.testing.assert_array_equal(np.asarray(found["label"]).shape, item["label"].shape)
