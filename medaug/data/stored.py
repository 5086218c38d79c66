"""What is made of a single scan, written as the scan is stored: on its grid, its own values where none changed.

A scan is worked on in float32, which does not hold what files of float64, int32 or scaled whole numbers do. So the file
is read again when an edit of it is written, and only voxels that changed are replaced in what is stored there.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.data.encoding import write_stored
from medaug.data.files import one_channel, to_dtype, to_numpy
from medaug.data.readers import Decoded, decode
from medaug.data.suffixes import NIFTI, suffix_of

NOT_STORABLE = {"bool": "uint8", "float16": "float32"}
"""Types of other formats that NIfTI does not have, and those that hold their values."""


class StoredScan:
    """The file behind a scan (1, *S) of `read_scan`."""

    def __init__(self, image: MetaTensor):
        self.image = image
        self.path = Path(image.meta["path"])

    def write(self, path: Path, image: MetaTensor | torch.Tensor | np.ndarray, dtype: str | None = None) -> None:
        """Writes an image of new values (1, *S) on the scan's grid, a label for example.

        A NIfTI file gets the forms and codes of a NIfTI scan, and its axes: one slice of a volume stays a volume, and
        (X, Y, Z, 1) is (X, Y, Z).

        Raises:
            DataError, RunError: as `write_scan`.
        """
        like = self._decoded.nifti if suffix_of(self.path) in NIFTI else None
        write_stored(path, to_dtype(to_numpy(image)[0], dtype, path), self.image.affine.numpy(), like=like)

    def write_edited(self, path: Path, edited: MetaTensor | torch.Tensor | np.ndarray) -> None:
        """Writes the scan with the voxels in which `edited` (1, *S) differs from it.

        All others keep the stored value, whatever its type and scaling; changed ones are rounded to what the type and
        the scaling can hold.

        Raises:
            DataError, RunError: as `write_scan`.
        """
        decoded = self._decoded
        after = to_numpy(edited)[0]
        changed = after != to_numpy(self.image)[0]
        stored = one_channel(decoded, self.path, self.image.meta["channel"])
        kind = np.dtype(NOT_STORABLE.get(stored.dtype.name, stored.dtype.name))
        stored = stored.astype(kind)
        stored[changed] = to_dtype((after[changed].astype(np.float64) - decoded.intercept) / decoded.slope, kind, path)
        write_stored(
            path,
            stored,
            self.image.affine.numpy(),
            slope=decoded.slope,
            intercept=decoded.intercept,
            like=decoded.nifti,
        )

    @cached_property
    def _decoded(self) -> Decoded:
        return decode(self.path, series_uid=self.image.meta["series_uid"])
