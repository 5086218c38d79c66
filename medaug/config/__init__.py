"""Pipeline files: their schema (`pipeline`, `data`), what two kinds of image imply, and reading and writing them."""

from medaug.config.pipeline import AnomalyConfig, AuditConfig, EvaluationConfig, PipelineConfig, SynthesisConfig

__all__ = ["AnomalyConfig", "AuditConfig", "EvaluationConfig", "PipelineConfig", "SynthesisConfig"]
