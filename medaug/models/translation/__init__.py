"""Whole images from one domain into the other: one method a file."""
