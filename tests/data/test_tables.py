"""Tables that a spreadsheet opens, and what of them comes back."""

import pytest

from medaug.data.atomic import csv_text, read_csv
from medaug.data.cache import file_name
from medaug.errors import DataError


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@sum", "\t=1", "\r=1", "'quoted", "''", "plain", "a,b\nc", "–"])
def test_a_name_that_a_spreadsheet_would_run_is_text_there_and_comes_back(tmp_path, name):
    text = csv_text(["patient", "score"], [[name, -0.5], ["b", "-1.5"]])
    assert not any(line.startswith(("=", "+", "-", "@", "\t")) for line in text.split("\n"))
    (tmp_path / "a.csv").write_bytes(text.encode())
    assert read_csv(tmp_path / "a.csv") == [{"patient": name, "score": "-0.5"}, {"patient": "b", "score": "-1.5"}]


@pytest.mark.parametrize("content", [b"a,b\n1\n", b'a\n"x', b""])
def test_a_table_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.csv: found no readable table"):
        read_csv(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "name", ["-rf", "--", "...", "-", "../x", "a\0b", "\ud800", "\udc80", "x" * 300, "名" * 99, ""]
)
def test_a_name_that_is_written_is_an_ordinary_one(tmp_path, name):
    written = file_name(name)
    (tmp_path / f"{written}.image.source.json").touch()
    assert not written.startswith(("-", ".")) and written.isprintable() and "/" not in written
    assert written != file_name(name + "-")
