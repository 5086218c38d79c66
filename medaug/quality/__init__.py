"""Does a synthetic lesion look like a real one, and does a scan look healthy?

Measures of contrast and texture, a real-vs-synthetic probe, smoothness from slice to slice, traces of windows and
strides in whole translations, and anomaly scores by removal.
"""

from medaug.quality.anomaly import Anomaly, CropScorer, RemovalScorer, Scorer, level_scores, smoothed_inside
from medaug.quality.consistency import ZConsistency, z_consistency, z_ratio
from medaug.quality.contrast import lesion_statistics
from medaug.quality.probe import FEATURE_NAMES, ProbeResult, lesion_features, probe_auc
from medaug.quality.seams import (
    Difference,
    Drift,
    Tile,
    TilingReport,
    brightness_drift,
    checkerboard_ratio,
    seam_ratio,
    tiles_of,
    tiling_difference,
    tiling_report,
)  # fmt: skip

__all__ = [
    "FEATURE_NAMES", "Anomaly", "CropScorer", "Difference", "Drift", "ProbeResult", "RemovalScorer", "Scorer", "Tile",
    "TilingReport", "ZConsistency", "brightness_drift", "checkerboard_ratio", "lesion_features", "lesion_statistics",
    "level_scores", "probe_auc", "seam_ratio", "smoothed_inside", "tiles_of", "tiling_difference", "tiling_report",
    "z_consistency", "z_ratio",
]  # fmt: skip
