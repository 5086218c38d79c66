"""A look at a data set before anything is trained on it: `examination` is the door, `scans` reads the files."""
