"""One offline HTML page per run, and the pictures and plots on it.

`page` holds the plain data of a page and renders it; `figures` draws plots and `pictures` draws image grids, both as
PNG bytes. Nothing here reads a run folder: the stages above fill a `ReportPage` and call `render`.
"""

from medaug.report.page import Figure, ReportPage, Section, Table, Verdict, render, to_html

__all__ = ["Figure", "ReportPage", "Section", "Table", "Verdict", "render", "to_html"]
