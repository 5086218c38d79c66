"""The commands as functions: the same names (dashes are underscores), the same options, and results in place of print.

`medaug train-cycle --data BraTS/ --max-steps 2000` is `medaug.train_cycle(data="BraTS/", max_steps=2000)`. They are the
functions of `medaug.cli`, and raise the classes of `medaug.errors` for whatever they refuse. Nothing heavy is imported
before one is called. Two of the names are also packages: `medaug.api.report` and `medaug.api.phantoms` are reached
through here only.
"""

from medaug.cli.data import doctor, init, phantoms
from medaug.cli.exports import export, export_bundle, export_onnx, model_card, nnunet_path
from medaug.cli.finished import audit, compare_runs, export_results, report, reproduce
from medaug.cli.images import compare, synth_ct
from medaug.cli.runs import benchmark, prepare, run, sample, synthesize, train_cycle, train_gan
from medaug.cli.scans import anomaly, grow, insert, remove, replace, styles

__all__ = [
    "anomaly",
    "audit",
    "benchmark",
    "compare",
    "compare_runs",
    "doctor",
    "export",
    "export_bundle",
    "export_onnx",
    "export_results",
    "grow",
    "init",
    "insert",
    "model_card",
    "nnunet_path",
    "phantoms",
    "prepare",
    "remove",
    "replace",
    "report",
    "reproduce",
    "run",
    "sample",
    "styles",
    "synth_ct",
    "synthesize",
    "train_cycle",
    "train_gan",
]
