"""Does a synthetic lesion look like a real one, does a scan look healthy, and is a synthetic CT near the real one?

Measures of contrast and texture, a real-vs-synthetic probe, smoothness from slice to slice, traces of windows and
strides in whole translations, anomaly scores by removal, and for registered images similarity and errors by tissue.
"""

from medaug.quality.anomaly import Anomaly, CropScorer, RemovalScorer, Scorer, level_scores, smoothed_inside
from medaug.quality.consistency import ZConsistency, z_consistency, z_ratio
from medaug.quality.contrast import lesion_statistics
from medaug.quality.hounsfield import bone_dice, tissue_errors
from medaug.quality.probe import FEATURE_NAMES, ProbeResult, lesion_features, probe_auc
from medaug.quality.seams import (
    Difference,
    Drift,
    Tile,
    brightness_drift,
    checkerboard_ratio,
    seam_ratio,
    tiles_of,
    tiling_difference,
)  # fmt: skip
from medaug.quality.similarity import GREY_LEVELS, HOUNSFIELD, IMAGE_METRICS, Pair, Scale, similarity

__all__ = [
    "FEATURE_NAMES", "GREY_LEVELS", "HOUNSFIELD", "IMAGE_METRICS", "Anomaly", "CropScorer", "Difference", "Drift",
    "Pair", "ProbeResult", "RemovalScorer", "Scale", "Scorer", "Tile", "ZConsistency", "bone_dice",
    "brightness_drift", "checkerboard_ratio", "lesion_features", "lesion_statistics", "level_scores", "probe_auc",
    "seam_ratio", "similarity", "smoothed_inside", "tiles_of", "tiling_difference", "tissue_errors",
    "z_consistency", "z_ratio",
]  # fmt: skip
