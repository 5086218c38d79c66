"""A set with Croissant metadata (ML Commons, version 1.0): the folders of `datalists`, `cases.csv`, `croissant.json`.

The record set `cases` is read from `cases.csv`: a row a case with its paths, patient, part of the split, kind, and for
synthetic cases the patients it was made from.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medaug.data.atomic import write_json, write_text
from medaug.data.tables import csv_text
from medaug.errors import ConfigError
from medaug.exports.cases import ExportSet
from medaug.exports.datalists import image_path, label_path, write_datalist

TABLE = "cases.csv"
COLUMNS = {
    "case": "Unique name",
    "image": "Path of the image",
    "label": "Path of the label, empty where there is none",
    "patient": "Running number of the patient, of a synthetic case that of its parent",
    "split": "train, validation or test",
    "kind": "real, or what the synthesis did",
    "made_from_patients": "Numbers of the patients a synthetic case was made from, with blanks between",
}


def write_croissant(found: ExportSet, out: Path) -> None:
    """The images, and metadata that `mlcroissant.Dataset(jsonld=...)` reads.

    Raises:
        ConfigError: if mlcroissant is not installed.
    """
    croissant = croissant_library()
    write_datalist(found, out)
    table = _table(found)
    write_text(out / TABLE, table)
    metadata = croissant.Metadata(
        name=found.name,
        description=found.description,
        version="1.0.0",
        date_published=datetime.now(UTC),
        distribution=[_table_file(croissant, table), *_file_sets(croissant)],
        record_sets=[croissant.RecordSet(id="cases", name="cases", fields=_fields(croissant))],
    )
    write_json(out / "croissant.json", metadata.to_json())


def croissant_library() -> Any:
    """Of the extra `croissant`.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        import mlcroissant
    except ImportError:
        raise ConfigError(
            '--to croissant needs mlcroissant, which is not installed: pip install "medaug[croissant]"'
        ) from None
    return mlcroissant


def _table(found: ExportSet) -> str:
    rows = []
    for case in found.cases:
        made_from = "" if case.is_real else " ".join(sorted(case.sources))
        label = label_path(case) if case.labelled else ""
        rows.append([case.name, image_path(case), label, case.patient, case.part, case.kind, made_from])
    return csv_text(list(COLUMNS), rows)


def _table_file(croissant: Any, table: str) -> Any:
    return croissant.FileObject(
        id=TABLE,
        name=TABLE,
        content_url=TABLE,
        encoding_formats=["text/csv"],
        sha256=hashlib.sha256(table.encode()).hexdigest(),
    )


def _file_sets(croissant: Any) -> list[Any]:
    return [
        croissant.FileSet(
            id=kind,
            name=kind,
            description=f"NIfTI {kind}",
            includes=[f"{kind}/*.nii.gz"],
            encoding_formats=["application/gzip"],
        )
        for kind in ("images", "labels")
    ]


def _fields(croissant: Any) -> list[Any]:
    return [
        croissant.Field(
            id=f"cases/{column}",
            name=column,
            description=what,
            data_types=[croissant.DataType.TEXT],
            source=croissant.Source(file_object=TABLE, extract=croissant.Extract(column=column)),
        )
        for column, what in COLUMNS.items()
    ]
