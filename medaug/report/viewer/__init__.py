"""A place on the page to look at cases: before, after, their difference and a label, in 2-D and 3-D, without a network.

The viewer is NiiVue (BSD-2-Clause, bundled as `viewer.js` by the folder `viewer/` of the repository; LICENSES.txt).
A stage makes `ViewerCase`s, `encode` turns each into a few kB or MB of text that a run folder can keep, and a
`Viewer` takes as many of them as a page holds. Where a browser cannot show it, and in print, there are still pictures.
"""

from medaug.report.viewer.cases import EncodedCase, Shown, ViewerCase, encode, read_cases, write_cases
from medaug.report.viewer.viewer import Viewer, by_heading, script, script_source

__all__ = ["EncodedCase", "Shown", "Viewer", "ViewerCase", "by_heading", "encode", "read_cases", "script"]
__all__ += ["script_source", "write_cases"]
