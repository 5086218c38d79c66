"""A place on the page to look at cases: before, after, their difference and a label, in 2-D and 3-D, without a network.

The viewer is NiiVue (BSD-2-Clause, bundled as `viewer.js` by the folder `viewer/` of the repository; LICENSES.txt).
A stage makes `ViewerCase`s, `encode` turns each into a few kB or MB of text that a run folder can keep, and a
`Viewer` takes as many of them as a page holds. Where a browser cannot show it, and in print, there are still pictures.
"""

from medaug.report.viewer.cases import CASE_LIMIT_BYTES, EncodedCase, Shown, ViewerCase, encode, read_cases, write_cases
from medaug.report.viewer.viewer import PAGE_LIMIT_BYTES, Viewer, script, script_source

__all__ = [
    "CASE_LIMIT_BYTES",
    "PAGE_LIMIT_BYTES",
    "EncodedCase",
    "Shown",
    "Viewer",
    "ViewerCase",
    "encode",
    "read_cases",
    "script",
    "script_source",
    "write_cases",
]
