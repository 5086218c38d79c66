"""Recognises how a folder of images is laid out and lists its cases.

The cases come in natural order of their names (`slice_2` before `slice_10`). Only names, JSON and DICOM headers are
read here; images are opened in `files.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from medaug.data.atomic import read_json
from medaug.data.case_folders import (
    find_brats,
    find_case_folders,
    find_lgg,
    find_paired_folders,
    is_brats,
    is_case_folders,
    is_lgg,
    is_paired_folders,
)
from medaug.data.cases import Found, by_stem, choose_channel, files_in, joined, make_case, natural_key, refuse_orphans
from medaug.data.datalists import find_datalist, find_msd, is_datalist, is_msd
from medaug.data.dicom.series import LABELS, find_dicom_cases, find_dicom_studies, images_below, kinds_in_studies
from medaug.data.named_files import example_of, find_bids, find_side_by_side, is_bids, is_side_by_side
from medaug.data.records import Case
from medaug.data.synthetic import with_provenance
from medaug.data.visits import with_patients
from medaug.errors import ConfigError, DataError, MedaugError, SequenceError

log = logging.getLogger(__name__)

Sequence = str | int | None

LISTS = ("msd", "datalist")
"""Layouts that say themselves what belongs to them."""
NAMED = ("images-labels", "bids", "brats", "case-folders", "kaggle-lgg", "side-by-side")
"""Layouts known by the names of their files, not by folders alone."""


@dataclass(frozen=True)
class Layout:
    """One way to lay out a data set: how it looks, whether a folder is one, and how its cases are found.

    `find_one_of` finds them where the sequence is one of several, if that is another way.
    """

    name: str
    looks_like: str
    matches: Callable[[Path], bool]
    find: Callable[[Path, Sequence], Found]
    find_one_of: Callable[[Path, Sequence], Found] | None = None


def find_cases(
    root: str | Path,
    *,
    layout: str = "auto",
    sequence: Sequence = None,
    sequences: tuple[str | int, ...] | None = None,
    missing: str | None = None,
    patient_regex: str | None = None,
) -> list[Case]:
    """Lists the cases of a data set, in a fixed order.

    Args:
        root: the folder, or a MONAI datalist (`.json`).
        layout: a key of `LAYOUTS`, or "auto" to recognise it.
        sequence: which sequence of several: by name where the layout has names, or by channel number.
        sequences: several of them instead, which become the image's channels in this order.
        missing: "zero" leaves a sequence that a case lacks empty; None refuses the case.
        patient_regex: whose scan it is, by its name (see `visits.with_patients`).

    Raises:
        DataError: if the folder is missing, empty or incomplete, or a path of a datalist leaves its folder.
        ConfigError: for an unknown layout or sequence, or none chosen where there are several.
    """
    check_root(root)
    root = Path(root)
    with _readable(root):
        name = recognise(root) if layout == "auto" else layout
        if name not in LAYOUTS:
            raise ConfigError(f"unknown layout {name!r}; choose one of auto, {', '.join(LAYOUTS)}")
        if root.is_file() and name not in LISTS:
            raise DataError.about(root, "a file", f"a folder in the layout {name}", "Point to the folder.")
        wanted = (sequence,) if sequences is None else sequences
        find = (LAYOUTS[name].find_one_of if sequences is not None else None) or LAYOUTS[name].find
        found = [find(root, one) for one in wanted]
        for of_one in found:
            _check_unique(of_one, root)
        cases = joined(found, root, fill=missing == "zero")
        if not cases:
            remedy = "Check the folder, or name its layout."
            raise DataError.about(root, f"no cases in the layout {name}", LAYOUTS[name].looks_like, remedy)
        if both := mixture_in(root, name, cases):
            log.warning("%s: %s.", root, both)
        cases = sorted(with_provenance(cases), key=lambda case: natural_key(case.case))
        return with_patients(cases, root, patient_regex)


def sequences_in(root: Path, layout: str = "auto") -> list[str]:
    """The names of the sequences of a data set, in order; empty where there is one, or nothing names them.

    Raises:
        DataError: as `find_cases`.
    """
    check_root(root)
    with _readable(root):
        name = recognise(root) if layout == "auto" else layout
        if name == "dicom":
            return kinds_in_studies(root)
        try:
            find_cases(root, layout=name)
        except SequenceError as error:
            return error.names
    return []


def mixture_in(root: Path, layout: str, cases: list[Case]) -> str | None:
    """Which of DICOM and other images in one folder the layout reads; None where all are of one kind."""
    if layout in LISTS or not root.is_dir():
        return None
    dicom, others = images_below(root)
    read = {file.image for case in cases for file in case.sequences}
    unread = others if layout == "dicom" else [file for file in dicom if str(file) not in read]
    if not (dicom and others and unread):
        return None
    unread_kind = f"these (labels belong in {LABELS}/)" if layout == "dicom" else "the DICOM"
    return (
        f"the folder holds {len(dicom)} DICOM file(s) and {len(others)} image(s) that are no DICOM, such as "
        f"{others[0].name}; the layout {layout} does not read {unread_kind}. Give another layout, or the folder of one"
    )


def check_root(root: str | Path) -> None:
    """Refuses a path with nothing there: what `find_cases` checks first, at no cost.

    Raises:
        DataError: if there is neither a folder nor a file, or it may not be looked for.
    """
    with _readable(root):
        if not Path(root).exists():
            raise DataError.about(root, "no such folder", "a data set", "Check the path.")


def recognise(root: str | Path) -> str:
    """The name of the layout that a folder or datalist file has.

    Raises:
        DataError: if it has none of them, listing what was looked for.
    """
    root = Path(root)
    found = next((layout.name for layout in LAYOUTS.values() if layout.matches(root)), None)
    if found is None:
        content = "an empty folder" if root.is_dir() and not any(root.iterdir()) else "no layout that medaug knows"
        listed = "; ".join(f"{layout.name} ({layout.looks_like})" for layout in LAYOUTS.values())
        raise DataError.about(root, content, f"one of: {listed}", _way_out(root))
    return found


def _way_out(root: Path) -> str:
    """The nearest layout: that of a folder inside, or a datalist of what lies here."""
    for folder in filter(Path.is_dir, files_in(root)):
        for layout in LAYOUTS.values():
            if layout.matches(folder):
                return f"Point to {folder}, which is in the layout {layout.name}."
    example = example_of(root) if root.is_dir() else None
    if example is None:
        return "Point to the folder that directly holds these."
    return f"The nearest is a datalist; write {root / 'datalist.json'} so, with all cases: {example}"


@contextmanager
def _readable(root: str | Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        place, found = error.filename or root, "a folder that may not be read"
        raise DataError.about(place, found, "a readable data set", "Check its permissions.") from error


def _find_images_labels(root: Path, sequence: Sequence) -> Found:
    """Optional beside the folders: channels.json [name, ...]."""
    images, labels = by_stem(files_in(root / "images")), by_stem(files_in(root / "labels"))
    beside = root / "channels.json"
    names = read_json(beside, list, 'channels.json is ["<name>", ...].') if beside.exists() else []
    orphans = sorted(labels.keys() - images.keys(), key=natural_key)
    refuse_orphans([labels[stem] for stem in orphans], "the same name in images/ and labels/")
    channel = choose_channel([str(name) for name in names], sequence, str(root))
    return [make_case(stem, path, labels.get(stem), channel=channel) for stem, path in images.items()]


def _is_dicom(root: Path) -> bool:
    """Whether there is DICOM, and no other images with labels or sequences in a layout of their own."""
    dicom, others = images_below(root)
    return bool(dicom) and not (others and any(_is_complete(LAYOUTS[name], root) for name in NAMED))


def _is_complete(layout: Layout, root: Path) -> bool:
    try:
        found = layout.find(root, None) if layout.matches(root) else []
        return any(isinstance(case, Case) and case.label is not None for case in found)
    except SequenceError:
        return True
    except MedaugError:
        return False


def _find_dicom(root: Path, sequence: Sequence) -> Found:
    """Labels, if any, are `labels/<case>.nii.gz`."""
    return find_dicom_cases(root, by_stem(files_in(root / LABELS)), sequence)


def _find_studies(root: Path, sequence: Sequence) -> Found:
    """Labels as those of series, by the names of the studies."""
    return find_dicom_studies(root, by_stem(files_in(root / LABELS)), sequence)


def _is_images_labels(root: Path) -> bool:
    return (root / "images").is_dir() and (root / "labels").is_dir()


def _check_unique(listed: Found, root: Path) -> None:
    seen: dict[str, str] = {}
    for case in (one for one in listed if isinstance(one, Case)):
        if case.case in seen:
            found = f"two cases named {case.case} ({seen[case.case]} and {case.path})"
            remedy = 'Rename one of them, or in a datalist give each entry its own "case".'
            raise DataError.about(root, found, "unique names", remedy)
        seen[case.case] = case.path


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("msd", "dataset.json with imagesTr/ and labelsTr/ (Decathlon, nnU-Net)", is_msd, find_msd),
        Layout("datalist", "a MONAI datalist .json, or a folder with datalist.json", is_datalist, find_datalist),
        Layout(
            "dicom",
            "DICOM series in any folders, with labels/<case>.nii.gz or none",
            _is_dicom,
            _find_dicom,
            _find_studies,
        ),
        Layout("images-labels", "images/ and labels/ with equal names", _is_images_labels, _find_images_labels),
        Layout("bids", "sub-*/[ses-*/]anat/sub-*_FLAIR.nii.gz, labels in derivatives/ or beside", is_bids, find_bids),
        Layout("brats", "<case>/<case>_flair.nii.gz with _seg", is_brats, find_brats),
        Layout(
            "case-folders",
            "<case>/imaging.nii.gz with segmentation.nii.gz (KiTS), <case>/mr.nii.gz and ct.nii.gz (SynthRAD)",
            is_case_folders,
            find_case_folders,
        ),
        Layout(
            "paired-folders",
            "<patient>/<kind>/<slice>.png, equal names in every kind (MRI/ and CT/)",
            is_paired_folders,
            find_paired_folders,
        ),
        Layout("kaggle-lgg", "<patient>/<slice>.tif with <slice>_mask.tif", is_lgg, find_lgg),
        Layout(
            "side-by-side",
            "volume-0.nii with segmentation-0.nii (LiTS), or <name>.png with <name>_mask.png",
            is_side_by_side,
            find_side_by_side,
        ),
    )
}
