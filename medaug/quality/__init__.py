"""Does a synthetic lesion look like a real one, and does a scan look healthy?

Measures of contrast and texture, a real-vs-synthetic probe, smoothness from slice to slice, and anomaly scores by
removal.
"""

from medaug.quality.anomaly import Anomaly, CropScorer, RemovalScorer, Scorer, level_scores, smoothed_inside
from medaug.quality.consistency import ZConsistency, z_consistency, z_ratio
from medaug.quality.contrast import lesion_statistics
from medaug.quality.probe import FEATURE_NAMES, ProbeResult, lesion_features, probe_auc

__all__ = [
    "FEATURE_NAMES", "Anomaly", "CropScorer", "ProbeResult", "RemovalScorer", "Scorer", "ZConsistency",
    "lesion_features", "lesion_statistics", "level_scores", "probe_auc", "smoothed_inside", "z_consistency", "z_ratio",
]  # fmt: skip
