"""What weights say of their training in `model.json`: whom they learnt from, in which unit, of which sequences."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Size = Annotated[int, Field(ge=1, le=4096)]
Millimetres = Annotated[float, Field(gt=0, le=1000)]


class WeightsFacts(BaseModel):
    """What weights say of their training in model.json; whatever else it holds can be read as an attribute, too.

    Attributes:
        sha256: of the tensors; "" before they are written.
        medaug: the version that trained them.
        picture_spacing_mm: what was said of pictures that store no voxel size.
        training_content: fingerprints of the training scans; none in weights of medaug 0.1.
        sequence, sequences: what was chosen of the data, by name or number; of several, the channels in order.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    sha256: str = ""
    medaug: str = ""
    spacing_mm: Annotated[tuple[Millimetres, ...], Field(min_length=2, max_length=3)] = ()
    picture_spacing_mm: tuple[Millimetres, ...] | None = None
    length_unit: str = "mm"
    training_patients: tuple[str, ...] = ()
    training_content: tuple[str, ...] = ()
    split_hash: str = ""
    axes: Literal["LPS", "LSP", "PSL"] = "LPS"
    sequence: str | int | None = None
    sequences: tuple[str, ...] = ()
    steps: int | None = None
    warnings: tuple[str, ...] = ()

    @field_validator("training_patients", "training_content", mode="before")
    @classmethod
    def _names_somebody(cls, texts: Any) -> Any:
        if isinstance(texts, list | tuple) and all(isinstance(text, str) for text in texts):
            return texts
        raise ValueError(
            "found no lists of texts in training_patients and training_content of their model.json; expected whom they "
            "were trained on. Copy the weights again."
        )


class NnunetFacts(BaseModel):
    """The fold of an nnU-Net data set that weights were trained on.

    Attributes:
        training_cases: by nnU-Net's names, sorted.
        organ: label values of where tumors may lie, where that was said.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    dataset: str
    fold: str
    training_cases: tuple[str, ...]
    organ: tuple[int, ...] = ()


class TranslatorFacts(WeightsFacts):
    """What a translator's weights say beside.

    Attributes:
        domain: "tumor" for insertion, else the kind of image that is translated to.
        patch_size, overlap: of the windows in which images are translated; without a size, whole.
        slices: that the networks see at once.
        tumor_labels, other_labels: values in the training labels, where they are known.
        parts: the label values of each part, by name in the order of the networks' channels; none of one part alone.
        paired_patients: of whom registered pairs were used.
        target_sequence, target_sequences: of the domain that is translated to, as `sequence` and `sequences` are of
            the one that is translated from.
        nnunet: the fold of an nnU-Net data set that was trained on, if it was one.
    """

    domain: str = "tumor"
    patch_size: tuple[Size, ...] | None = None
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    slices: Size = 1
    tumor_labels: tuple[int, ...] = ()
    other_labels: tuple[int, ...] = ()
    parts: dict[str, tuple[int, ...]] = {}
    paired_patients: tuple[str, ...] = ()
    target_sequence: str | int | None = None
    target_sequences: tuple[str, ...] = ()
    nnunet: NnunetFacts | None = None
