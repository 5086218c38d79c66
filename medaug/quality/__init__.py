"""Does a synthetic lesion look like a real one? Measures of contrast and texture, and a real-vs-synthetic probe."""

from medaug.quality.consistency import ZConsistency, z_consistency, z_ratio
from medaug.quality.contrast import lesion_statistics
from medaug.quality.probe import FEATURE_NAMES, ProbeResult, lesion_features, probe_auc

__all__ = [
    "FEATURE_NAMES", "ProbeResult", "ZConsistency", "lesion_features", "lesion_statistics", "probe_auc",
    "z_consistency", "z_ratio",
]  # fmt: skip
