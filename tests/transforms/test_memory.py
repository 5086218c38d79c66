"""Large volumes and large lesions stay within the memory of a few crops, however large they are."""

import subprocess
import sys

import pytest

LIMIT_MB = 1500
SCRIPT = """
import numpy as np
import torch
torch.set_num_threads(1)
from medaug.lesions.prior import LesionExample, LesionPrior
from medaug.transforms import RemoveTumor, TranslateDomain
from medaug.models.methods import build_translator
from medaug.models.facts import TranslatorFacts
from medaug.models.weights import Weights
from medaug.volumes import Domain

domains = Domain("healthy", "MR"), Domain("tumor", "MR")
shape = (256, 256, 160)
image = np.random.RandomState(0).random_sample(shape).astype(np.float32)[None]
image[:, :, 200:] = 0
settings = {"generator": "unet", "width": 4, "depth": 2, "discriminator_width": 4, "discriminator_layers": 1}
seen = []

def weights(method, prior, **facts):
    translator = build_translator(method, settings, *domains, 3).eval().requires_grad_(False)
    for generator in translator.generators.values():
        generator.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[2:].numel()))
    return Weights(translator, prior, TranslatorFacts(spacing_mm=[1.0] * 3, **facts))

def guided():
    part, mask = np.zeros((48, 48, 40), np.float32), np.zeros((48, 48, 40), bool)
    mask[18:30, 18:30, 14:26] = True
    example = LesionExample((part + 0.3 * mask)[None], mask, np.ones_like(mask), "p", "c", None, (1.0, 1.0, 1.0))
    prior = LesionPrior.fit([example], (32, 32, 24), (1.0, 1.0, 1.0))
    label = np.zeros(image.shape, np.uint8)
    label[0, 40:210, 40:200, 20:120] = 1
    label[0, :128:4, 220, 10] = 1  # and 32 specks: a mask for each would be 10 MB
    edited = RemoveTumor(weights("mask-guided-cyclegan", prior), window=(0.0, 1.0))(image, label)
    assert (edited[label > 0] != image[label > 0]).mean() > 0.9 and (edited[..., 150:] == image[..., 150:]).all()

def plain():
    loaded = weights("cyclegan", None, patch_size=(32, 32, 24), overlap=0.0)
    edited = TranslateDomain(loaded, window=(0.0, 1.0), body=False)(image)
    assert (edited != image)[:, :, :190].mean() > 0.9 and (edited == image)[:, :, 230:].all()

guided()
plain()
assert max(seen) <= 32 * 32 * 24, max(seen)
status = open("/proc/self/status").read()  # the rusage of a process begins with the peak of the one that started it
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
def test_a_large_volume_is_edited_in_bounded_memory():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < LIMIT_MB
