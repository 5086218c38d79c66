"""A run folder whose own files were damaged: used, or refused with a line that names the file."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug import api
from medaug.errors import MedaugError

from .fuzzing import fuzzed, parts, refused

FILES = (
    "split.json", "environment.json", "prepared/datalist.json", "train/weights/model.json", "synthetic/datalist.json",
    "evaluation/summary.json", "audit/realism.json",
)  # fmt: skip


@settings(fuzzed, max_examples=max(4, fuzzed.max_examples // 20))  # each draws a page
@given(data=st.data(), name=st.sampled_from(FILES))
def test_a_key_that_a_run_s_file_lacks_is_not_missed_or_named(copy_of_run, data, name):
    path = copy_of_run.root / name
    intact = path.read_text()
    content = json.loads(intact)
    holder = data.draw(st.sampled_from([part for part in parts(content) if part and isinstance(part, dict)]))
    del holder[data.draw(st.sampled_from(sorted(holder)))]
    path.write_text(json.dumps(content))
    try:
        refused(lambda: api.report(copy_of_run.root), Path(name).name)
    finally:
        path.write_text(intact)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("text", ["[]", "{}"])
def test_a_run_s_file_that_holds_something_else_is_refused_by_name(copy_of_run, name, text):
    (copy_of_run.root / name).write_text(text)
    with pytest.raises(MedaugError, match=Path(name).name):
        api.report(copy_of_run.root)
