"""Tumors inserted into a batch, after the loader: on a GPU all of them go through the generator together.

`RandInsertTumord` inserts sample by sample, on the CPU, in the loader's workers: CUDA does not survive their fork.
Where a GPU trains, the loader can give batches of plain samples, and this comes after it. Which tumor, and where it
lies, is drawn and measured on the CPU; the generator runs on the batch's device.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from torch import Tensor

from medaug.errors import DataError
from medaug.transforms.dictionary import RandInsertTumord
from medaug.transforms.engine import CROPS_AT_ONCE, together
from medaug.transforms.twins import Data, entry, stacked, unstacked


class BatchInsertTumor(RandInsertTumord):
    """`RandInsertTumord` of a batch: with probability `prob` each, inserts tumors into its samples, in one pass.

    Sample after sample gets what `RandInsertTumord` in the same random state would give it, one call after the other,
    within 1e-5 of the window in float32. Voxels outside the label of an insertion keep their bits. The weights move to
    the device of the first batch, and stay there.

    Args:
        keys: the images (B, C, *S), or the sequences (B, 1, *S), tensors on any one device; the label (B, 1, *S), or of
            another form, and the organ stand beside them. All other arguments are as of `RandInsertTumord`.

    Example:
        >>> insert = BatchInsertTumor("image", weights="out/quickstart/train/weights", prob=0.5)   # doctest: +SKIP
        >>> for batch in loader:                                                                   # doctest: +SKIP
        ...     batch = insert({key: value.to(device) for key, value in batch.items()})
    """

    def __call__(self, data: Data, seeds: Sequence[int] | None = None) -> dict[Hashable, Any]:
        """The batch with tumors, on the device that it was on; inputs are not changed.

        Args:
            seeds: one a sample, which then is as `RandInsertTumord` would make it after `set_random_state(seed)`; None:
                they follow from the transform's own random state.

        Raises:
            DataError: for entries that are no tensors of one batch, or as many seeds as samples.
            ConfigError: if the batch is on a GPU and the process was forked (see `devices.check_forked`).
        """
        d = dict(data)
        there = tuple(self.key_iterator(d))
        if not there:
            return d
        device, size = self._checked(d, there), len(d[there[0]])
        if seeds is not None and len(seeds) != size:
            raise DataError(f"seeds: found {len(seeds)}; expected one for each of {size} samples. Give as many.")
        weights = self.transform.weights
        if weights.device != device:
            name = device.type if device.type == "mps" else str(device)
            self.transform.weights = weights = weights.on(name, weights.precision)
        here = {key: d[key].cpu() for key in (*there, self.label_key, self.organ_key) if key in d}
        samples = [{key: value[number] for key, value in here.items()} for number in range(size)]
        stacks = [self._image(sample, there) for sample in samples]
        edits = []
        for number, (sample, stack) in enumerate(zip(samples, stacks, strict=True)):
            if seeds is not None:
                self.set_random_state(seed=int(seeds[number]))
            self.randomize(None)
            if self._do_transform:
                self.transform.randomize()
            self.transform._do_transform = self._do_transform
            edits.append(self.transform.insertion(stack, sample.get(self.label_key), entry(sample, self.organ_key)))
        made = together(edits, weights, at_once=CROPS_AT_ONCE)
        changed: dict[Hashable, list[Any]] = {key: [] for key in (*there, self.label_key)}
        for edited, stack, sample in zip(made, stacks, samples, strict=True):
            changed[self.label_key].append(edited.label)
            images = {there[0]: edited.image}
            if len(there) > 1:
                images = unstacked(edited.image, stack, {key: sample[key] for key in there})
            for key, image in images.items():
                changed[key].append(image)
        return d | {key: self._batch(values, d.get(key), device) for key, values in changed.items()}

    def _checked(self, d: dict[Hashable, Any], there: Sequence[Hashable]) -> torch.device:
        """The device of the batch."""
        dims, first = self.transform.weights.translator.spatial_dims, d[there[0]]
        for key in there:
            value = d[key]
            found = f"a {type(value).__name__}" if not isinstance(value, Tensor) else f"a shape of {tuple(value.shape)}"
            if not isinstance(value, Tensor) or value.ndim not in (dims + 2, 5) or len(value) != len(first):
                raise DataError(
                    f"{key}: found {found}; expected a batch, a tensor (B, C, X, Y) or (B, C, X, Y, Z) for "
                    f"{dims}-D weights. Give what the loader collates; for one sample use RandInsertTumord."
                )
        return first.device

    def _image(self, sample: dict[Hashable, Any], there: Sequence[Hashable]) -> Any:
        return sample[there[0]] if len(there) == 1 else stacked({key: sample[key] for key in there})

    def _batch(self, values: list[Any], like: Any, device: torch.device) -> Tensor:
        """Samples as a batch again, with the meta that it had."""
        whole = torch.stack([torch.as_tensor(value).as_subclass(Tensor) for value in values]).to(device)
        return MetaTensor(whole).copy_meta_from(like) if isinstance(like, MetaTensor) else whole
