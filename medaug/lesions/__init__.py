"""Lesion geometry: masks, crops, shapes, the prior of a training fold, and references in new surroundings."""
