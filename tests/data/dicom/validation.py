"""Another's opinion on DICOM files, and real ones to ask about."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

DATA = Path(os.environ.get("MEDAUG_DATA", Path(__file__).parents[4] / "shared" / "data"))


def errors_of(file):
    """What dciodvfy (Debian's dicom3tools) calls an error in a file; skips the test where there is no dciodvfy."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("no dciodvfy; install Debian's dicom3tools")
    done = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, timeout=60, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert lines, "dciodvfy said nothing, not even the kind of file"
    return [line for line in lines if line.startswith("Error")]


def real_series(name):
    """A folder with one real series, or a real slice; skips the test where there is none."""
    path = DATA / name if name == "ct_contrast" else DATA / "dicom" / name
    if not path.is_dir():
        pytest.skip(f"no {name}; set MEDAUG_DATA to a folder with dicom/ and ct_contrast/")
    return sorted(path.rglob("*.dcm"))[0] if name == "ct_contrast" else path
