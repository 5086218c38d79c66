"""The training cases of a fold, as nnU-Net's data set reads them, and which of them the patch at hand is of.

nnU-Net's data loader reads a case, cuts a patch, and calls the transforms on it, one after the other in one process; it
does not tell them whose patch it is. `TrainingCases` stands in for its data set and remembers that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medaug.nnunet.looks import Look, Plans, windows_of
from medaug.orientation import LPS
from medaug.volumes import Domain, Window


class TrainingCases:
    """nnU-Net's data set of the training cases, and how medaug looks at each.

    Args:
        dataset: nnU-Net's own.
        plans: of the configuration.
        domains, names: by channel, what is seen there and how it is called.
        axes, slicewise: along which weights look (see `orientation.turn_of`).
    """

    def __init__(
        self,
        dataset: Any,
        plans: Plans,
        domains: Sequence[Domain],
        names: Sequence[str],
        axes: str = LPS,
        slicewise: bool = True,
    ):
        self.dataset, self.plans, self.domains, self.names = dataset, plans, domains, names
        self.axes, self.slicewise = axes, slicewise
        self.identifiers: Sequence[str] = dataset.identifiers
        self.current: str | None = None
        self._windows: dict[str, tuple[Window, ...]] = {}

    def load_case(self, identifier: str) -> Any:
        """What nnU-Net's data loader asks for; the next patch is of this case."""
        self.current = identifier
        return self.dataset.load_case(identifier)

    def read(self, identifier: str) -> tuple[Any, Any, Mapping[str, Any]]:
        """(data (C, d0, d1, d2), seg (1, d0, d1, d2), properties), of which only what is indexed is read."""
        data, seg, _, properties = self.dataset.load_case(identifier)
        return data, seg, properties

    def look(self) -> Look | None:
        """How the case of the patch at hand is looked at; None where a channel of it has no contrast."""
        return None if self.current is None else self.look_at(self.current)

    def look_at(self, identifier: str) -> Look | None:
        """The same of any case. Its windows are measured once in every process."""
        data, seg, properties = self.read(identifier)
        if identifier not in self._windows:
            self._windows[identifier] = windows_of(self.plans, self.domains, self.names, data, seg, properties)
        windows = self._windows[identifier]
        if not windows:
            return None
        return self.plans.look(properties, windows, axes=self.axes, slicewise=self.slicewise)
