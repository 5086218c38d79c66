"""Lesion geometry: masks, crops, shapes, the prior of a training fold, and references in new surroundings."""

from medaug.lesions.body import body_of, find_body, find_foreground
from medaug.lesions.crops import CropBox, box_around, extract
from medaug.lesions.geometry import (
    component_boxes,
    components,
    contrast,
    equivalent_diameter_mm,
    grow,
    largest_component,
    relative_location,
    ring,
    volume_ml,
)
from medaug.lesions.growing import GrowingLesion, draw_growing, let_grow
from medaug.lesions.growth import Growth, GrowthPlan
from medaug.lesions.mass_effect import Displacement, MassEffect, displacement
from medaug.lesions.organ import find_organ
from medaug.lesions.placing import draw_level
from medaug.lesions.prior import Lesion, LesionExample, LesionPrior, ReferenceLesion
from medaug.lesions.reference import lesion_for_mask, match_surroundings, sections

__all__ = [
    "CropBox",
    "Displacement",
    "GrowingLesion",
    "Growth",
    "GrowthPlan",
    "Lesion",
    "LesionExample",
    "LesionPrior",
    "MassEffect",
    "ReferenceLesion",
    "body_of",
    "box_around",
    "component_boxes",
    "components",
    "contrast",
    "displacement",
    "draw_growing",
    "draw_level",
    "equivalent_diameter_mm",
    "extract",
    "find_body",
    "find_foreground",
    "find_organ",
    "grow",
    "largest_component",
    "lesion_for_mask",
    "let_grow",
    "match_surroundings",
    "relative_location",
    "ring",
    "sections",
    "volume_ml",
]
