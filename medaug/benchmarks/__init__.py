"""The benchmark: arms × seeds × folds × labelled patients × synthetic ratios, worked off by any number of processes."""
