"""Does a synthetic lesion look like a real one, and does a scan look healthy?

Measures of contrast and texture, a real-vs-synthetic probe, and anomaly scores by removal.
"""

from medaug.quality.anomaly import Anomaly, CropScorer, RemovalScorer, Scorer, level_scores, smoothed_inside
from medaug.quality.contrast import lesion_statistics
from medaug.quality.probe import FEATURE_NAMES, ProbeResult, lesion_features, probe_auc

__all__ = [
    "FEATURE_NAMES", "Anomaly", "CropScorer", "ProbeResult", "RemovalScorer", "Scorer", "lesion_features",
    "lesion_statistics", "level_scores", "probe_auc", "smoothed_inside",
]  # fmt: skip
