"""What a run has prepared of one kind of image: its cases, and the views that networks look at."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from medaug.data.prepared import View, views_of, without_labels
from medaug.data.records import PreparedCase, prepared_cases


@dataclass(frozen=True)
class Prepared:
    """The cases of a prepared data set; its datalist is read once."""

    datalist: Path

    @property
    def folder(self) -> Path:
        """The folder of their arrays."""
        return self.datalist.parent

    @cached_property
    def cases(self) -> list[PreparedCase]:
        """All of them."""
        return prepared_cases(self.datalist)

    def of(self, patients: Collection[str], *, labelled: bool = False) -> list[PreparedCase]:
        """The cases of these patients; with `labelled` those that have a label."""
        cases = [case for case in self.cases if case.patient in patients]
        return [case for case in cases if case.labelled] if labelled else cases

    def by_patient(self, patients: Collection[str]) -> dict[str, list[PreparedCase]]:
        """The same, by patient, in the order of the datalist."""
        found: dict[str, list[PreparedCase]] = {}
        for case in self.of(patients):
            found.setdefault(case.patient, []).append(case)
        return found

    def views(
        self, patients: Collection[str], spatial_dims: int, *, labelled: bool = False, blind: bool = False
    ) -> list[View]:
        """Every usable view of the cases of these patients.

        Args:
            labelled: those of cases with a label alone.
            blind: no view can read a label, or be there because of one.
        """
        cases = self.of(patients, labelled=labelled)
        return views_of(without_labels(cases) if blind else cases, spatial_dims)

    def whole_views(self, patients: Collection[str]) -> list[View]:
        """Every case of these patients as one view: volumes are not cut into slices."""
        return [view for case in self.of(patients) for view in views_of([case], len(case.shape))]
