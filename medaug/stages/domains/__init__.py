"""Stages of a translation between two kinds of image (`domain: ct`)."""
