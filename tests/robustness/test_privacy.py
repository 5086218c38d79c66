"""Identities planted in DICOM and NIfTI headers and in folder names: none of them reaches what is made of the scans."""

import gzip
import logging
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary
from typer.testing import CliRunner

from medaug.cli import app
from medaug.data.dicom.derived import write_derived_series
from medaug.data.dicom.reading import read_series
from medaug.data.files import write_scan
from medaug.phantoms import phantoms
from medaug.stages.pipeline import run_pipeline

NAME, BIRTH, HOME = "Secretname", "19331231", "Jane-Roe-files"
TEXTS = {"PN", "LO", "SH", "ST", "LT", "UT", "UC"}
MEANING = {
    "PatientID", "SeriesDescription", "RescaleType", "StudyID", "AccessionNumber", "Manufacturer", "CodeValue",
    "LongCodeValue", "ContentLabel", "UnitsLabel",
}  # fmt: skip
"""Texts that decide what a series is, or are pseudonyms by design (PatientID)."""
BY_DESIGN = ("config.yaml", "environment.json", "datalist.json", ".source.json")
"""Files of a run folder that name the user's own data folder."""


def identities():
    """A value for every text and date tag of the patient, study and acquisition groups."""
    planted = {}
    for tag, (kind, multiplicity, _, retired, keyword) in DicomDictionary.items():
        if tag >> 16 in (0x0008, 0x0010, 0x0018, 0x0020, 0x0032, 0x0038, 0x0040) and keyword and not retired:
            if kind in TEXTS and keyword not in MEANING and multiplicity == "1":
                planted[keyword] = NAME
            elif kind == "DA" and keyword != "StudyDate" and multiplicity == "1":
                planted[keyword] = BIRTH
    return planted


@pytest.fixture(scope="module")
def series(tmp_path_factory, dicom_series) -> Path:
    """MR of eight heads with tumors, and their labels; every header says who it is of."""
    root = tmp_path_factory.mktemp("disk") / HOME / "study"
    for index, drawn in enumerate(phantoms("head", 8, seed=3, shape=(32, 32, 8), spacing_mm=(6.0, 6.0, 10.0))):
        values, folder = np.rint(drawn.images["flair"]).astype(int), root / f"scan{index}"
        planted = identities() | {"PatientBirthDate": BIRTH}
        dicom_series(
            folder, values, modality="MR", intercept=0, spacing_mm=(6.0, 6.0, 10.0), patient=f"P{index}", tags=planted
        )
        label = (drawn.label > 0).astype(np.uint8)[None]
        write_scan(root / "labels" / f"scan{index}.nii.gz", label, read_series(folder).affine)
    return root


@pytest.fixture(scope="module")
def run(series, tiny_config):
    return run_pipeline(tiny_config(f"data.root={series}", "data.layout=dicom"), series.parent / "runs" / "one")


def unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def with_any(folder: Path, *words: str) -> list[str]:
    """The files below a folder, or the file itself, that hold one of the words; in their names too."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()] if folder.is_dir() else [folder]
    texts = [word.encode() for word in words]
    return [
        path.name for path in files
        if any(word in unpacked(path) or word in path.name.encode() for word in texts)
    ]  # fmt: skip


def test_the_planted_identities_are_there(series):
    header = pydicom.dcmread(next(series.glob("scan0/*.dcm")))
    assert len(identities()) > 150 and str(header.PatientName) == NAME and header.PatientBirthDate == BIRTH


def test_no_name_and_no_birth_date_reaches_a_run_folder(run):
    assert with_any(run.root, NAME, BIRTH) == []


def test_only_the_run_s_own_files_know_where_the_data_lie(run):
    named = with_any(run.root, HOME)
    assert [name for name in named if not name.endswith(BY_DESIGN)] == []


def test_what_is_passed_on_names_no_folder(run, tmp_path):
    result = CliRunner().invoke(app, ["export-results", str(run.root), str(tmp_path / "supplement.zip")])
    assert result.exit_code == 0, result.output
    with zipfile.ZipFile(tmp_path / "supplement.zip") as archive:
        archive.extractall(tmp_path / "supplement")
    for shared in (run.report, run.weights, tmp_path / "supplement"):
        assert with_any(shared, NAME, BIRTH, HOME, str(run.root.parents[2])) == [], shared


def test_a_command_s_log_names_nobody(run, series, tmp_path, caplog):
    words = ["--verbose", "insert", series / "scan0", "-w", run.weights, "-o", tmp_path / "inserted"]
    with caplog.at_level(logging.DEBUG):
        result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    assert NAME not in result.output + caplog.text and BIRTH not in result.output + caplog.text
    assert with_any(tmp_path / "inserted", NAME, BIRTH, HOME) == []


def test_free_texts_of_a_nifti_header_are_not_passed_on(run, tmp_path):
    drawn = next(iter(phantoms("head", 1, seed=9, shape=(32, 32, 8), spacing_mm=(6.0, 6.0, 10.0))))
    image = nibabel.Nifti1Image(drawn.images["flair"].astype(np.float32), drawn.affine)
    for field in ("descrip", "aux_file", "intent_name", "db_name"):
        image.header[field] = NAME.encode()
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", NAME.encode()))
    (tmp_path / HOME).mkdir()
    nibabel.save(image, tmp_path / HOME / "scan.nii.gz")
    out = tmp_path / "inserted"
    scan = str(tmp_path / HOME / "scan.nii.gz")
    result = CliRunner().invoke(app, ["insert", scan, "-w", str(run.weights), "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert with_any(out, NAME, HOME) == [] and any(out.iterdir())


def test_a_deidentified_series_names_nobody_and_another_keeps_its_patient(series, tmp_path):
    pytest.importorskip("dicomanonymizer", reason="the extra deid is not installed")
    source = read_series(series / "scan0")
    facts = {"modality": "MR", "series_description": "MR from MR", "derivation": "translated"}
    write_derived_series(source.array, source, tmp_path / "without", **facts, deidentify=True)
    assert with_any(tmp_path / "without", NAME, BIRTH, HOME, "P0") == []
    write_derived_series(source.array, source, tmp_path / "with", **facts, deidentify=False)
    header = pydicom.dcmread(next((tmp_path / "with").iterdir()))
    assert str(header.PatientName) == NAME and header.PatientID == "P0"
