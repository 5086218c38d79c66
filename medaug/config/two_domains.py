"""What a pipeline file need not say of a translation between two kinds of image (`domain: ct`).

`data` is domain A, `target` domain B. Values are the plain dicts of a pipeline file, before they are checked.
"""

from __future__ import annotations

from typing import Any

OF_THE_FILES = ("layout", "sequence")
"""Keys of `data` that say nothing about the files of another folder."""
PHANTOMS_A: dict[str, Any] = {"sequence": "mr"}
PHANTOMS_B: dict[str, Any] = {"sequence": "contrast", "modality": "CT"}
PHANTOMS = {"anatomy": "abdomen", "shape": [96, 96, 24], "spacing_mm": [4.0, 4.0, 8.0]}
SEGMENTER_TERMS = ("segmentation_weight", "round_trip_weight", "label_input")
"""Settings of a translator that look through a frozen segmenter."""


def segmenter_terms(settings: dict[str, Any]) -> list[str]:
    """Those that these settings of a translator ask for."""
    return [term for term in SEGMENTER_TERMS if settings.get(term, 0) > 0]


def with_two_domains(values: dict[str, Any]) -> dict[str, Any]:
    """Settings of a two-domain pipeline with everything filled in that follows from the rest.

    Whole images are translated (`mask_guided: false`). What `target` does not give is as in `data`, but for layout and
    sequence where it has a `root` of its own. Without `data.root` both are built-in phantoms: an MR-like abdomen and
    its contrast CT.
    """
    values = dict(values)
    values["translator"] = {"mask_guided": False} | dict(values.get("translator") or {})
    data, target = dict(values.get("data") or {}), dict(values.get("target") or {})
    on_phantoms = data.get("root") is None and target.get("root") is None
    if on_phantoms:
        data = PHANTOMS_A | data
        data["phantoms"] = PHANTOMS | dict(data.get("phantoms") or {})
        target = PHANTOMS_B | target
    elif not target:
        return values | {"data": data}
    own_root = target.get("root") not in (None, data.get("root"))
    inherited = {key: value for key, value in data.items() if not (own_root and key in OF_THE_FILES)}
    return values | {"data": data, "target": inherited | target}
