"""Data sets described by a JSON file: MONAI datalists, the Medical Segmentation Decathlon, and nnU-Net (v1, v2).

Paths in them are relative to the JSON file's folder and may not leave it. In the Decathlon a sequence is a volume of
a 4-D file; in nnU-Net it is a file of its own (`case_0000.nii.gz`); in a MONAI datalist it may be either.
"""

from __future__ import annotations

import logging
import os
import re
import reprlib  # what is found may be as long as its file
from dataclasses import replace
from pathlib import Path
from typing import Any

from medaug.data.atomic import JsonObject, read_json
from medaug.data.cases import Found, Lacking, choose_channel, files_in, lacks, make_case, refuse_orphans
from medaug.data.opening import is_scan, stem_of
from medaug.data.records import Case
from medaug.data.synthetic import provenance_of
from medaug.errors import DataError

log = logging.getLogger(__name__)

NNUNET_NAME = re.compile(r"^(?P<case>.+)_(?P<channel>\d{4})$")


def is_datalist(root: Path) -> bool:
    """Whether this is a datalist file or a folder that holds one (`datalist.json`)."""
    return root.suffix == ".json" if root.is_file() else (root / "datalist.json").exists()


def is_msd(root: Path) -> bool:
    """Whether this is a folder with `dataset.json` and `imagesTr/`, or that JSON file itself."""
    folder = root.parent if root.name == "dataset.json" else root
    return (folder / "dataset.json").exists() and (folder / "imagesTr").is_dir()


def find_datalist(root: Path, sequence: str | int | None) -> Found:
    """The cases of a MONAI datalist's "training" list (or of a plain JSON list).

    An entry has "image" (a path, or a list with one file per sequence, null where it lacks one) and may have "label",
    "patient" or "subject", "case", "scan" and "channel". Without "case" it is named after its (first) file; where two
    files have one name (`a/mr.nii.gz`, `b/mr.nii.gz`), after their folders. Names of the sequences may stand in
    "channel_names".
    """
    source = root if root.is_file() else root / "datalist.json"
    content = read_json(source, object)
    entries, names = _entries(content, source), sequence_names(content, source)
    if isinstance(content, dict):
        others = [key for key, value in content.items() if isinstance(value, list) and key != "training" and value]
        if others:
            log.info('%s: only "training" is read; left out: %s', source, ", ".join(others))
    chosen = choose_channel(names, sequence, str(source))
    lists = [entry["image"] if isinstance(entry["image"], list) else [entry["image"]] for entry in entries]
    unnamed = [number for number, entry in enumerate(entries) if not _text(entry.get("case"))]
    firsts = [inside(source, next(filter(None, lists[number]))) for number in unnamed]
    own_names = dict(zip(unnamed, _names_of(firsts, source.parent), strict=True))
    cases: list[Case | Lacking] = []
    for number, (entry, images) in enumerate(zip(entries, lists, strict=True)):
        name = own_names.get(number) or str(entry["case"])
        index, channel = 0, entry.get("channel") if chosen is None else chosen
        if len(images) > 1:
            of_list = names or [str(i) for i in range(len(images))]
            which = choose_channel(of_list, sequence, str(source))
            if which is None:
                raise _bad_entry(source, number, f"{len(images)} images", "one, as the list names one sequence")
            if which >= len(images):
                expected = f"at least {which + 1}, with null in the place of one that is lacking"
                raise _bad_entry(source, number, f"{len(images)} images", expected)
            index, channel = which, None
            if images[which] is None:
                present = [one for one, image in zip(of_list, images, strict=False) if image is not None]
                cases.append(Lacking(name, lacks(Path(f"{source}, entry {number}"), present, of_list[which])))
                continue
        made = make_case(
            name,
            inside(source, images[index]),
            inside(source, entry["label"]) if entry.get("label") else None,
            patient=_text(entry.get("patient", entry.get("subject"))),
            scan=_text(entry.get("scan")),
            channel=channel,
        )
        cases.append(replace(made, synthetic=provenance_of(entry)))
    return cases


def _names_of(images: list[Path], folder: Path) -> list[str]:
    """Each file's own name; the folders to it where it is not the only one, and with it where it differs in those."""
    stems = [stem_of(image) for image in images]
    if len(set(stems)) == len(stems):
        return stems
    folders = [Path(os.path.relpath(image, folder)).parts[:-1] for image in images]
    if len(set(stems)) == 1 and len(set(folders)) == len(folders):
        return ["_".join(parts) or stem for parts, stem in zip(folders, stems, strict=True)]
    return ["_".join((*parts, stem)) for parts, stem in zip(folders, stems, strict=True)]


def find_msd(root: Path, sequence: str | int | None) -> Found:
    """The training cases of a Decathlon or nnU-Net folder; `imagesTs` is not read.

    The sequences' names are "channel_names" (nnU-Net v2) or "modality" (Decathlon, nnU-Net v1).
    """
    source = root if root.is_file() else root / "dataset.json"
    content = read_json(source, object)
    names = sequence_names(content, source)
    if isinstance(content, dict) and "training" in content:
        channel = choose_channel(names, sequence, str(source))
        return [_msd_case(source, entry, channel, names) for entry in _entries(content, source)]
    return _nnunet_cases(source.parent, sequence, names)


def inside(source: Path, text: str, must_exist: bool = True) -> Path:
    """The path of a datalist's or manifest's entry, which has to lie in its folder (links may lead elsewhere).

    Raises:
        DataError: if it leaves the folder, or there is no such file.
    """
    folder = source.parent
    if os.path.relpath(os.path.abspath(folder / text), os.path.abspath(folder)).split(os.sep)[0] == os.pardir:
        found = f"the path {text:.200}, which leaves the folder"
        remedy = "Move the datalist to the data, or the data below it."
        raise DataError.about(source, found, f"a path inside {folder}", remedy)
    path = Path(os.path.normpath(folder / text))
    if must_exist and not _is_there(path):
        raise _missing(source, text)
    return path


def own_file(folder: Path, text: Any, must_exist: bool = True) -> Path:
    """A file that a run's own manifest in `folder` names: it has to lie there, and no link may lead out of it.

    Raises:
        DataError: if it does not, or there is no such file.
    """
    source = folder / "datalist.json"
    if not isinstance(text, str):
        raise DataError.about(source, f"the path {reprlib.repr(text)}", f"a file in {folder}", "Write the set again.")
    path = inside(source, text, must_exist)
    try:
        within = path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):
        raise _missing(source, text) from None
    if not within:
        found = f"the path {text:.200}, a link that leaves the folder"
        remedy = "A run names its own files alone: write the set again."
        raise DataError.about(source, found, f"a file in {folder}", remedy)
    return path


def _msd_case(source: Path, entry: JsonObject, channel: int | None, names: list[str]) -> Case | Lacking:
    label = inside(source, entry["label"]) if entry.get("label") else None
    image = inside(source, entry["image"], must_exist=False)
    case = stem_of(image)
    if not _is_there(image):  # nnU-Net v1 lists `case.nii.gz` and stores `case_0000.nii.gz`
        ending = image.name[len(case) :]
        files = {number: image.with_name(f"{case}_{number:04d}{ending}") for number in range(max(1, len(names)))}
        held = [number for number, file in files.items() if _is_there(file)]
        if not held:
            raise _missing(source, entry["image"])
        if (channel or 0) not in held:
            return _lacking(case, files[channel or 0], held, channel or 0, names)
        image, channel = files[channel or 0], None
    made = make_case(case, image, label, patient=_text(entry.get("patient")), channel=channel)
    return replace(made, synthetic=provenance_of(entry))


def _nnunet_cases(root: Path, sequence: str | int | None, names: list[str]) -> Found:
    """The files `<case>_0000` and so on of nnU-Net v2; without "channel_names" the sequences go by number."""
    labels = {stem_of(path): path for path in files_in(root / "labelsTr") if is_scan(path)}
    images: dict[str, dict[int, Path]] = {}
    for path in filter(is_scan, files_in(root / "imagesTr")):
        match = NNUNET_NAME.match(stem_of(path))
        if not match:
            expected = "`<case>_0000` and so on, or a training list in dataset.json"
            raise DataError.about(path, "a name without a channel number", expected, "Rename the file.")
        images.setdefault(match["case"], {})[int(match["channel"])] = path
    names = names or [str(number) for number in range(1 + max((max(files) for files in images.values()), default=0))]
    channel = choose_channel(names, sequence, str(root / "dataset.json")) or 0
    cases: list[Case | Lacking] = []
    for case, files in images.items():
        if channel in files:
            cases.append(make_case(case, files[channel], labels.get(case)))
        else:
            cases.append(_lacking(case, root / "imagesTr" / f"{case}_{channel:04d}", list(files), channel, names))
    refuse_orphans([labels[case] for case in sorted(labels.keys() - images.keys())], "an image for every label")
    return cases


def _lacking(case: str, file: Path, held: list[int], channel: int, names: list[str]) -> Lacking:
    called = {number: names[number] if number < len(names) else str(number) for number in (*held, channel)}
    return Lacking(case, lacks(file, [called[number] for number in held], called[channel]))


def _entries(content: Any, source: Path) -> list[JsonObject]:
    entries = content.get("training") if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise DataError.about(
            source, 'no list "training"', '{"training": [{"image": ..., "label": ...}, ...]}', "Add the list."
        )
    for number, entry in enumerate(entries):
        image = entry.get("image") if isinstance(entry, dict) else None
        paths = [path for path in image if path is not None] if isinstance(image, list) else [image]
        if not paths or not all(isinstance(path, str) and path for path in paths):
            raise _bad_entry(source, number, f"image {reprlib.repr(image)}", "a path, or a list of paths")
        if entry.get("label") is not None and not isinstance(entry["label"], str):
            raise _bad_entry(source, number, f"label {reprlib.repr(entry['label'])}", "a path")
        for key in ("case", "patient", "subject", "scan"):
            if not isinstance(entry.get(key), str | int | None):
                raise _bad_entry(source, number, f"{key} {reprlib.repr(entry[key])}", "a text or a number")
        channel = entry.get("channel")
        if isinstance(channel, bool) or not isinstance(channel, int | None):
            raise _bad_entry(source, number, f"channel {reprlib.repr(channel)}", "a channel's number, from 0")
    return entries


def sequence_names(content: Any, source: Path) -> list[str]:
    """The sequences' names in order, from {"0": name} or a list; empty if there are none."""
    values = content.get("channel_names", content.get("modality", [])) if isinstance(content, dict) else []
    if isinstance(values, dict):
        if not all(re.fullmatch(r"[0-9]{1,4}", key) for key in values):
            found, expected = f"channel names {reprlib.repr(values)}", '{"0": name, "1": name, ...}'
            raise DataError.about(source, found, expected, "Number the channels from 0.")
        values = [values[key] for key in sorted(values, key=int)]
    return [str(value) for value in (values if isinstance(values, list) else [values])]


def _is_there(path: Path) -> bool:
    """Also of names that no disk takes: too long, with a zero byte, not to be encoded."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _missing(source: Path, text: str) -> DataError:
    return DataError.about(source, f"the file {text:.200} listed, and it is not there", "every listed file", "Add it.")


def _bad_entry(source: Path, number: int, found: str, expected: str) -> DataError:
    return DataError.about(f"{source}, entry {number}", found, expected, "Correct the entry.")
