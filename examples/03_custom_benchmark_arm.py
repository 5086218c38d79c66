"""An augmentation of your own as an arm of the benchmark: does it help, as `standard` and `standard+gan` are asked?

python examples/03_custom_benchmark_arm.py --out out/own-arm        # about as long as the phantom benchmark
"""

from __future__ import annotations

import argparse
from pathlib import Path

from monai.transforms import MapTransform, RandomizableTransform

import medaug

PIPELINE = """
name: own-arm
data: {phantoms: {patients: 16, shape: [64, 64, 20], spacing_mm: [3, 3, 5]}}
split: {train: 4, validation: 2}
crop: {size: [32, 32]}
evaluation:
  arms: [standard]
  own_arms:
    darker: {transform: 03_custom_benchmark_arm.RandDarkerd, args: {keys: [image], most: 0.3}}
  seeds: [0, 1, 2]
  updates: 150
  channels: [8, 16, 32]
"""


class RandDarkerd(RandomizableTransform, MapTransform):
    """Darkens the image by up to `most`; draws from `self.R` alone, so a sample depends on its seed."""

    def __init__(self, keys, most=0.2, prob=0.5):
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.most = most

    def __call__(self, data):
        self.randomize(None)
        by = self.R.uniform(0, self.most)
        if not self._do_transform:
            return dict(data)
        return dict(data) | {key: (data[key] - by).clip(-1, 1) for key in self.keys}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/own-arm"))
    parser.add_argument("--set", action="append", default=[], help="key=value over the settings; repeatable")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    pipeline = args.out.with_suffix(".yaml")
    pipeline.write_text(PIPELINE)
    print(medaug.benchmark(pipeline, out=args.out, set_=args.set).text())
