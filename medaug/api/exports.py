"""What other tools read: data sets, MONAI bundles, ONNX, model cards."""

from __future__ import annotations

from pathlib import Path

AnyPath = str | Path
