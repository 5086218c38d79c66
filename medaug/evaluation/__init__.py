"""The downstream test: the same network for every arm, its scores per patient, and the verdict."""

from medaug.evaluation.classification import ClassificationConfig, build_classifier, train_classifier, tumor_probability
from medaug.evaluation.detection import LesionCounts, lost_and_gained
from medaug.evaluation.frozen import FrozenSegmenter, train_frozen_segmenter
from medaug.evaluation.intervals import Interval, mean_interval
from medaug.evaluation.metrics import METRICS, Metric, score_patient
from medaug.evaluation.pooled import POOLED_METRICS, PooledMetric, Scored, pseudo_values, within_patient
from medaug.evaluation.segmentation import SegmentationConfig, build_segmenter, predict, probability, train_segmenter
from medaug.evaluation.statistics import Comparison, compare, holm, without_verdict

__all__ = [
    "METRICS",
    "POOLED_METRICS",
    "ClassificationConfig",
    "Comparison",
    "FrozenSegmenter",
    "Interval",
    "LesionCounts",
    "Metric",
    "PooledMetric",
    "Scored",
    "SegmentationConfig",
    "build_classifier",
    "build_segmenter",
    "compare",
    "holm",
    "lost_and_gained",
    "mean_interval",
    "predict",
    "probability",
    "pseudo_values",
    "score_patient",
    "train_classifier",
    "train_frozen_segmenter",
    "train_segmenter",
    "tumor_probability",
    "within_patient",
    "without_verdict",
]
