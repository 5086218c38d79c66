"""The labelled training scans as the other domain would show them: same labels, other appearance.

The image is in the target's unit, the label has class numbers as in the source. A scan is there `synthesis.styles`
times where the method knows styles, once otherwise.
"""

from __future__ import annotations

from functools import cached_property

from medaug.audits.scans import translated_image
from medaug.config import PipelineConfig
from medaug.data.cache import file_name
from medaug.data.prepared import Prepared, View
from medaug.data.synthetic import SyntheticCase
from medaug.errors import DataError
from medaug.models.weights import Weights, load_weights
from medaug.runs.folder import RunDir
from medaug.stages.tasks.task import Cases
from medaug.transforms import TranslateDomain


class TranslationCases(Cases):
    """Every labelled training scan, in each style."""

    def __init__(self, config: PipelineConfig, run: RunDir):
        self.config, self.run, self.settings = config, run, config.synthesis
        self.entries = Prepared(run.datalist).of(run.read_split().train, labelled=True)
        if not self.entries:
            raise DataError(
                "no training patient of data has a label; expected some, to train the network of the test on"
            )
        self.styles = self.settings.styles if self.weights.translator.style_dim else 1

    @cached_property
    def weights(self) -> Weights:
        return load_weights(self.run.weights).on(self.config.accelerator, self.config.precision)

    def __len__(self) -> int:
        return len(self.entries) * self.styles

    def name(self, index: int) -> str:
        case, style = divmod(index, self.styles)
        return file_name(f"translated-{style:02d}-{self.entries[case].case}")

    def make(self, index: int) -> SyntheticCase:
        entry, seed = self.entries[index // self.styles], self.settings.seed + index % self.styles
        view = View(entry, None, 0)
        image, windows = translated_image(entry, self.run.prepared, TranslateDomain(self.weights, "a2b", seed=seed))
        label = view.classes(self.run.prepared)
        images = {"image": (image, (str(image.dtype),) * len(image)), "label": (label[None], ("uint8",))}
        return self.written(self.name(index), "translated", view, images, self.weights, seed=seed, windows=windows)
