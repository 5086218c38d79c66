"""Does a synthetic lesion look like a real one, does a scan look healthy, and is a synthetic CT near the real one?

Measures of contrast and texture, a real-vs-synthetic probe, smoothness from slice to slice, traces of windows and
strides in whole translations, anomaly scores by removal, and for registered images similarity and errors by tissue.
"""

from medaug.audits.measures.anomaly import Anomaly, CropScorer, RemovalScorer, Scorer, level_scores, smoothed_inside
from medaug.audits.measures.cases import Insertion, LesionView, Limits, Segment
from medaug.audits.measures.consistency import ZConsistency, z_consistency, z_ratio
from medaug.audits.measures.contrast import lesion_statistics
from medaug.audits.measures.finding import Finding, Verdict, judged, skipped
from medaug.audits.measures.hounsfield import bone_dice, tissue_errors
from medaug.audits.measures.intervals import over_patients
from medaug.audits.measures.probe import FEATURE_NAMES, ProbeResult, lesion_features, probe_auc
from medaug.audits.measures.seams import (
    Difference,
    Drift,
    Tile,
    brightness_drift,
    checkerboard_ratio,
    seam_ratio,
    tiles_of,
    tiling_difference,
)
from medaug.audits.measures.similarity import GREY_LEVELS, HOUNSFIELD, IMAGE_METRICS, Pair, Scale, similarity

__all__ = [
    "Finding",
    "Insertion",
    "LesionView",
    "Limits",
    "Segment",
    "Verdict",
    "judged",
    "over_patients",
    "skipped",
    "FEATURE_NAMES",
    "GREY_LEVELS",
    "HOUNSFIELD",
    "IMAGE_METRICS",
    "Anomaly",
    "CropScorer",
    "Difference",
    "Drift",
    "Pair",
    "ProbeResult",
    "RemovalScorer",
    "Scale",
    "Scorer",
    "Tile",
    "ZConsistency",
    "bone_dice",
    "brightness_drift",
    "checkerboard_ratio",
    "lesion_features",
    "lesion_statistics",
    "level_scores",
    "probe_auc",
    "seam_ratio",
    "similarity",
    "smoothed_inside",
    "tiles_of",
    "tiling_difference",
    "tissue_errors",
    "z_consistency",
    "z_ratio",
]
