"""How a label shows a tumor's parts: as a class map, or with a channel a class, part or region, as MONAI makes them.

Transforms work on class maps (*S). Other labels are read as one, and written back in the form that they came in:

| form | channels |
|---|---|
| "classes" | one, of label values |
| "one-hot" | one a label value, 0 (background) first, of which each voxel has one: `AsDiscreted(to_onehot=...)` |
| "parts" | one a part of the weights' tumors, in their order; a voxel has one or none |
| "regions" | tumor core, whole tumor, enhancing tumor: `ConvertToMultiChannelBasedOnBratsClassesd`, for the parts \
edema, core and enhancing |

Which form it is follows from the channels. Where two are possible (no tumor in the label, or one part alone), it has to
be said: `tumor_labels="regions"`, or "parts".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from medaug.errors import DataError

Form = Literal["classes", "one-hot", "parts", "regions"]
ENCODED = ("parts", "regions")
"""Forms that `tumor_labels` can name."""
REGIONS = {"TC": {"core", "enhancing"}, "WT": {"core", "enhancing", "edema"}, "ET": {"enhancing"}}
"""Channels of MONAI's transform, in its order, and the parts in each."""
ORDER = (
    "Put the transform before the one that makes channels of the label (ConvertToMultiChannelBasedOnBratsClassesd, "
    "AsDiscreted)."
)


@dataclass(frozen=True)
class LabelForms:
    """The forms that labels may have beside weights.

    Attributes:
        names: the parts of the weights' tumors; none of one part.
        values: by part, the label value of a new tumor; none where the label says it.
        said: the form, where the user names it.
    """

    names: tuple[str, ...] = ()
    values: tuple[int, ...] = ()
    said: Form | None = None

    def form_of(self, label: np.ndarray) -> Form:
        """The form of a label (K, *S).

        Raises:
            DataError: if it has none, or more than one could be meant.
        """
        count = len(label)
        if count == 1 and self.said is None:
            return "classes"
        taken = (label == 1).sum(axis=0)
        possible: list[Form] = []
        if count > 1 and ((label == 0) | (label == 1)).all():
            if count > max(self.values, default=1) and (taken == 1).all():
                possible.append("one-hot")
            if count == len(self.names) and (taken <= 1).all():
                possible.append("parts")
            if count == len(REGIONS) and set(self.names) == REGIONS["WT"]:
                core, whole, enhancing = label > 0
                if not ((core & ~whole) | (enhancing & ~core)).any():
                    possible.append("regions")
        if self.said in possible:
            return self.said
        if len(possible) == 1 and self.said is None:
            return possible[0]
        found = f"label: found {count} channel(s) of shape {label.shape[1:]}"
        if self.said is None and possible:
            raise DataError(
                f"{found}, which are {' or '.join(possible)} alike; expected to know which. Say "
                f"tumor_labels={possible[-1]!r}, or {possible[0]!r}."
            )
        known = {"parts": f"a channel each of {', '.join(self.names)}", "regions": f"the regions {', '.join(REGIONS)}"}
        wanted = known[self.said] if self.said else "one, of label values, or what can be told to be classes or parts"
        raise DataError(f"{found}; expected {wanted}. {ORDER}")

    def classes(self, label: np.ndarray) -> np.ndarray:
        """A label (K, *S) as label values (*S); those of a class map as they are."""
        form = self.form_of(label)
        if form == "classes":
            return label[0]
        if form == "one-hot":
            return label.argmax(axis=0)
        parts = label > 0
        if form == "regions":
            core, whole, enhancing = parts
            by_name = {"enhancing": enhancing, "core": core & ~enhancing, "edema": whole & ~core}
            parts = np.stack([by_name[name] for name in self.names])
        return np.einsum("k...,k->...", parts, np.array(self.values))

    def channels(self, classes: np.ndarray, label: np.ndarray) -> np.ndarray:
        """Label values (*S) in the form and dtype of `label` (K, *S).

        Raises:
            DataError: for a value without a channel.
        """
        form, count = self.form_of(label), len(label)
        if form == "classes":
            return classes[None].astype(label.dtype)
        if form == "one-hot":
            if classes.max() >= count:
                raise DataError(
                    f"label: found {count} channels, of the label values 0 to {count - 1}; expected one for "
                    f"{classes.max()}, a new tumor's value, too. {ORDER}"
                )
            return (classes == np.arange(count).reshape(-1, *[1] * classes.ndim)).astype(label.dtype)
        parts = {name: classes == value for name, value in zip(self.names, self.values, strict=True)}
        if form == "parts":
            return np.stack([*parts.values()]).astype(label.dtype)
        regions = [np.any([parts[name] for name in region], axis=0) for region in REGIONS.values()]
        return np.stack(regions).astype(label.dtype)

    @property
    def empty_channels(self) -> int:
        """How many channels a label has that is begun."""
        return len(self.names) if self.said else 1
