"""Measures of arrays: one question each, answered by a figure or by a `Finding`."""
