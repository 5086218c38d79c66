"""The downstream test: the same segmentation network for every arm, its scores per patient, and the verdict."""

from medaug.evaluation.frozen import FrozenSegmenter, train_frozen_segmenter
from medaug.evaluation.metrics import METRICS, Metric, score_patient
from medaug.evaluation.segmentation import SegmentationConfig, build_segmenter, predict, probability, train_segmenter
from medaug.evaluation.statistics import Comparison, Interval, compare, holm, mean_interval

__all__ = [
    "METRICS",
    "Comparison",
    "FrozenSegmenter",
    "Interval",
    "Metric",
    "SegmentationConfig",
    "build_segmenter",
    "compare",
    "holm",
    "mean_interval",
    "predict",
    "probability",
    "score_patient",
    "train_frozen_segmenter",
    "train_segmenter",
]
