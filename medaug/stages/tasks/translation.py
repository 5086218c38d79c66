"""The job of translating between two kinds of image: domain A from `data`, B from `target`, without its labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from medaug.audits.findings import Answer, AuditedRun
from medaug.audits.measures.lost_and_gained import frozen_segmenter
from medaug.audits.translations import AUDITS, TranslationRun
from medaug.config.synthesis import SEGMENTER_TERMS, segmenter_terms
from medaug.data.atomic import read_json
from medaug.data.prepared import Prepared, View
from medaug.data.synthetic import synthetic_cases
from medaug.errors import DataError
from medaug.evaluation.detection import LEAST_VOXELS
from medaug.evaluation.samples import ViewFolder
from medaug.experiment.arms import check_arms
from medaug.experiment.summary import scoring_of
from medaug.models.methods import TRANSLATORS
from medaug.report.run_page import Findings, Results
from medaug.report.translation_sections import translation_findings, translation_results
from medaug.runs.folder import RunDir
from medaug.runs.markers import essential, fingerprint
from medaug.splits import Split
from medaug.stages.tasks import across_domains, translation_scores
from medaug.stages.tasks.task import Task, TrainingData
from medaug.stages.tasks.translation_audit import audit_translations, pool_translations
from medaug.stages.tasks.translation_cases import TranslationCases
from medaug.training.domains import DomainSamples, Side, registered_pairs


class Translation(Task):
    """Images are translated, and scored against real ones, or by a network that is trained on them."""

    needs_labels = False
    trained_by = ("data", "split", "translator", "crop", "training", "target", "pairing", "segmenter")

    @property
    def stages(self) -> tuple[str, ...]:
        """Only networks are trained on written translations; without an evaluation there is nothing to score."""
        left_out = {"segmentation": (), "translation": ("synthesize",), "none": ("synthesize", "evaluate")}
        return tuple(name for name in super().stages if name not in left_out[self.config.evaluation.task])

    @property
    def trains_networks(self) -> bool:
        """Whether the evaluation is of networks, rather than of the images themselves."""
        return self.config.evaluation.task == "segmentation"

    def check_settings(self) -> None:
        if self.trains_networks:
            check_arms(self.config)
            scoring_of(self.config)

    def check_prepared(self, run: RunDir) -> None:
        if self.trains_networks:
            across_domains.check_labels(self.config, run)

    def scored_patients(self, run: RunDir, patients: set[str]) -> set[str]:
        """The scored patients; where networks segment, those with labels in the test set that has fewer of them."""
        if not self.trains_networks:
            return patients
        tests = (Prepared(path).of(patients, labelled=True) for path in (run.datalist, run.datalist_b))
        return min(({case.patient for case in cases} for cases in tests), key=len)

    def training_data(self, run: RunDir, split: Split) -> TrainingData:
        config, dims = self.config, self.config.data.spatial_dims
        assert config.target is not None  # the settings of this job have it
        segmenter = self._segmenter(run, split)
        a = Side(Prepared(run.datalist).views(split.train, dims), run.prepared)
        b = Side(Prepared(run.datalist_b).views(split.train, dims, blind=True), run.prepared_b)
        if config.pairing.tumor_share is not None:
            assert segmenter is not None  # it is trained for this
            a = a._replace(shows=[view.tumor_voxels > 0 for view in a.views])
            b = b._replace(shows=[_shows_tumor(view, b, segmenter) for view in b.views])
        method, _ = TRANSLATORS[config.translator.method]
        paired = self._paired_patients(a, b, method.needs_pairs)
        reads_labels = segmenter_terms(config.translator.settings)
        all_labelled = all(view.case.labelled for view in a.views)
        samples = DomainSamples(
            a,
            b,
            registered_pairs(a.views, b.views, paired),
            share=1.0 if method.needs_pairs else config.pairing.share,
            crop_size=config.crop.size,
            seed=config.training.seed,
            classes=len(config.data.class_names) if reads_labels and all_labelled else 0,
            slices=config.data.slices,
            tumor_share=config.pairing.tumor_share,
            body=method.reads_body,
        )
        name_a, name_b = config.domain_names
        domains = config.data.domain(name_a), config.target.domain(name_b)
        facts = {
            "target_sequence": config.target.sequence,
            "target_sequences": list(map(str, config.target.sequences or ())),
            "paired_patients": paired,
            "body": "auto",
        }
        attached = segmenter if reads_labels else None
        return TrainingData(domains, [*a.views, *b.views], samples, facts, segmenter=attached)

    def _segmenter(self, run: RunDir, split: Split) -> nn.Module | None:
        """The frozen network of segmentation terms, label input and `tumor_share`, trained on A's training labels.

        Raises:
            DataError: if none of them has a labelled tumor, or an image lacks the label that `label_input` reads.
        """
        config, prepared = self.config, Prepared(run.datalist)
        if not segmenter_terms(config.translator.settings) and config.pairing.tumor_share is None:
            return None
        # held-out images need a label, too: the audit translates them
        unlabelled = [case for case in prepared.cases if not case.labelled]
        if config.translator.settings.get("label_input", 0) and unlabelled:
            raise DataError.about(
                unlabelled[0].image,
                "an image without a label",
                "one for every image of data, because translator.label_input reads it",
                "Add the label, move the image away, or set translator.label_input to 0.",
            )
        labelled = prepared.views(split.train, config.data.spatial_dims, labelled=True)
        if not any(view.tumor_voxels for view in labelled):
            raise DataError(
                f"translator.{', '.join(SEGMENTER_TERMS)}, pairing.tumor_share: no training patient of data has a "
                "label with anything in it; expected labels to train the segmenter on. Add them, check "
                "data.tumor_labels and data.classes, or leave these out."
            )
        return frozen_segmenter(config, ViewFolder(labelled, run.prepared), config.crop.size)

    def _paired_patients(self, a: Side, b: Side, needs_pairs: bool) -> list[str]:
        """The training patients that count as registered, drawn by seed among those in both domains."""
        pairing, method = self.config.pairing, self.config.translator.type
        in_a, in_b = ({view.patient for view in side.views} for side in (a, b))
        both, wanted = sorted(in_a & in_b), pairing.paired
        if needs_pairs and in_a ^ in_b:
            raise DataError(
                f"translator.type '{method}' learns from pairs only; found training patients in one domain alone: "
                f"{', '.join(sorted(in_a ^ in_b))}. Add their other image, move them away, or train "
                "translator.type=cyclegan."
            )
        if wanted is None:
            wanted = "all" if needs_pairs else 0
        count = len(both) if wanted == "all" else wanted
        if count > len(both) or (wanted == "all" and not both):
            raise DataError(
                f"pairing.paired is {wanted}; found {len(both)} training patient(s) with the same name in data and "
                "target. Lower pairing.paired, or give the two domains' files of a patient one patient name."
            )
        order = np.random.RandomState(pairing.seed).permutation(len(both))
        return sorted(both[i] for i in order[:count])

    def cases(self, run: RunDir) -> TranslationCases:
        return TranslationCases(self.config, run)

    @property
    def audit_settings(self) -> dict[str, object]:
        return essential(self.config.audit)

    def audit(self, run: RunDir) -> None:
        audit_translations(self.config, run)

    def audits(self, run: RunDir) -> tuple[AuditedRun, Mapping[str, Callable[[Any], Answer]]]:
        return TranslationRun(self.config, run), AUDITS

    def pool_audits(self, run: RunDir, folds: Sequence[RunDir]) -> None:
        pool_translations(run, folds)

    def evaluated_from(self, run: RunDir) -> list[Any]:
        if self.trains_networks:
            return [fingerprint([case.to_json() for case in synthetic_cases(run.synthetic / "datalist.json")])]
        return [read_json(run.weights / "model.json")["sha256"], read_json(run.split)["hash"]]

    def evaluate(self, run: RunDir, made_of: str) -> None:
        evaluation = across_domains if self.trains_networks else translation_scores
        evaluation.evaluate(self.config, run, made_of)

    def results(self, run: RunDir) -> Results:
        return translation_results(run)

    def findings(self, run: RunDir) -> Findings:
        return translation_findings(self.config, run)


@torch.inference_mode()
def _shows_tumor(view: View, side: Side, segmenter: nn.Module) -> bool:
    image = torch.from_numpy(view.normalized(side.folder).astype(np.float32))[None]
    return int((segmenter(image) > 0).sum()) >= LEAST_VOXELS
