"""Lesions: geometry of masks, the prior of a training fold, drawing, growth, and references in new surroundings."""
