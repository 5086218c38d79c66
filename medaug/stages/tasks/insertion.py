"""The job of inserting tumors: domain A healthy, B with tumors, both from the same scans of training patients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from medaug.audits.findings import Answer, AuditedRun
from medaug.audits.insertion_audits import AUDITS
from medaug.audits.insertions import InsertionRun
from medaug.config import PipelineConfig
from medaug.data.atomic import read_json
from medaug.data.common_grid import common_spacing_mm
from medaug.data.prepared import Prepared, View
from medaug.data.synthetic import SyntheticCase, synthetic_cases
from medaug.errors import DataError
from medaug.evaluation.samples import ViewFolder
from medaug.experiment.arms import check_arms, refuse_own_arms
from medaug.experiment.backends import downstream_kind
from medaug.experiment.cells import failures_path, keep_failures, trained_cells
from medaug.experiment.downstream import Downstream, validation_views
from medaug.experiment.edits import accepted_cases, is_judged, online_edits
from medaug.experiment.held_out import check_provenance, held_out_patients, synthetic_source
from medaug.experiment.records import Cell
from medaug.experiment.summary import scoring_of, write_summary
from medaug.lesions.prior import LesionExample, LesionPrior
from medaug.models.weights import read_facts
from medaug.progress import track
from medaug.report.insertion_sections import insertion_findings, insertion_results
from medaug.report.run_page import Findings, Results
from medaug.runs.folder import RunDir
from medaug.runs.markers import fingerprint
from medaug.runs.provenance import refuse_known
from medaug.splits import Split
from medaug.stages.tasks.insertion_audit import AUDIT_SETTINGS, audit_insertions
from medaug.stages.tasks.insertion_cases import InsertionCases
from medaug.stages.tasks.task import Task, TrainingData
from medaug.training.samples import TumorCropSamples, healthy_views
from medaug.volumes import length_unit

INSERTED = {"lesions", "size_mm", "shape"}
"""Settings of `synthesis` that decide what is inserted online."""


class Insertion(Task):
    """Tumors are inserted, and a network that segments or classifies is trained with and without them."""

    needs_labels = True
    trained_by = ("data", "split", "translator", "crop", "training")

    def check_settings(self) -> None:
        check_arms(self.config)
        scoring_of(self.config)
        downstream_kind(self.config.evaluation).check_settings(self.config)

    def check_prepared(self, run: RunDir) -> None:
        config, split = self.config, run.read_split()
        refuse_own_arms(config.evaluation, run, split)
        held_out, dims = held_out_patients(config.evaluation, split), config.data.spatial_dims
        prepared = Prepared(run.datalist)
        real = ViewFolder(prepared.training_views(split, dims), run.prepared)
        scored = {patient: prepared.views([patient], dims) for patient in held_out}
        kind = downstream_kind(config.evaluation)
        kind.check(real, scored, config.evaluation.patch_size)
        kind.say_plan(config, run, real)

    def scored_patients(self, run: RunDir, patients: set[str]) -> set[str]:
        return patients

    def training_data(self, run: RunDir, split: Split) -> TrainingData:
        config, prepared = self.config, Prepared(run.datalist)
        cases, views = prepared.of(split.train), prepared.training_views(split, config.data.spatial_dims)
        prior = self._prior(run, views)
        healthy = healthy_views(views, config.crop.healthy, config.crop.level_tolerance)
        samples = TumorCropSamples(
            healthy, run.prepared, prior, seed=config.training.seed, parts=len(config.data.class_names)
        )
        domains = config.data.domain("healthy"), config.data.domain("tumor")
        # what transforms write into a label, and leave as it is
        tumor = {value for case in cases for value in case.tumor_values if value}
        marked = {value for case in cases for value in case.label_values if value}
        facts: dict[str, object] = {"tumor_labels": sorted(tumor), "other_labels": sorted(marked - tumor)}
        named, settings = config.data.tumor or {}, {}
        if len(named) > 1:
            facts, settings = facts | {"parts": named}, {"parts": len(named)}
        return TrainingData(domains, views, samples, facts, settings, prior)

    def _prior(self, run: RunDir, views: list[View]) -> LesionPrior:
        """The lesions of the training patients."""
        crop, spacing_mm = self.config.crop, common_spacing_mm(views)
        with_tumor = [view for view in views if view.tumor_voxels]
        if not with_tumor:
            raise DataError("no training patient has a tumor; choose another split.seed, or more training patients")

        def examples() -> Iterator[LesionExample]:
            with track("fit lesion prior", len(with_tumor)) as tracker:
                for view in with_tumor:
                    arrays = view.read(run.prepared)
                    yield LesionExample(
                        image=arrays.image,
                        parts=arrays.classes,
                        organ=arrays.organ,
                        patient=view.patient,
                        case=view.case.case,
                        level=view.level,
                        spacing_mm=spacing_mm,
                    )
                    tracker.advance()

        assert crop.size is not None  # the settings of this job have it
        unit = length_unit(*(view.case for view in views))
        return LesionPrior.fit(
            examples(),
            crop.size,
            spacing_mm,
            min_diameter_mm=crop.min_diameter_mm,
            length_unit=unit,
            most=crop.references,
        )

    def cases(self, run: RunDir) -> InsertionCases:
        return InsertionCases(self.config, run)

    @property
    def audit_settings(self) -> dict[str, object]:
        return self.config.audit.model_dump(include=AUDIT_SETTINGS)

    def audit(self, run: RunDir) -> None:
        audit_insertions(self.config, run)

    def audits(self, run: RunDir) -> tuple[AuditedRun, Mapping[str, Callable[[Any], Answer]]]:
        return InsertionRun(self.config, run), AUDITS

    def evaluated_from(self, run: RunDir) -> list[Any]:
        synthetic = [case.to_json() for case in synthetic_cases(run.synthetic / "datalist.json")]
        drawn = self.config.synthesis.model_dump(mode="json", include=INSERTED)
        return [fingerprint(synthetic), [read_json(run.weights / "model.json")["sha256"], drawn]]

    def evaluate(self, run: RunDir, made_of: str) -> None:
        held_out = held_out_patients(self.config.evaluation, run.read_split())
        downstream = self.downstream(run, synthetic_cases(run.synthetic / "datalist.json"))
        cells = trained_cells(run, self.config.evaluation, made_of, downstream.cell)
        write_summary(run, cells, held_out, downstream.scoring)

    def downstream(self, run: RunDir, synthetic: list[SyntheticCase] | None) -> Downstream:
        """What the cells train and score, on this run's patients.

        Args:
            synthetic: the cases; without them nothing is said of the weights either.
        """
        config, split, prepared = self.config, run.read_split(), Prepared(run.datalist)
        if synthetic is not None:
            check_provenance(synthetic, split)
            for weights in {
                run.of_seed(config, seed).weights for seed in (config.training.seed, *config.evaluation.seeds)
            }:
                refuse_known(read_facts(weights), run, split, f"weights {weights}")
        refuse_own_arms(config.evaluation, run, split)
        records, kind = synthetic or [], downstream_kind(config.evaluation)
        real = ViewFolder(prepared.training_views(split, config.data.spatial_dims), run.prepared)
        inserted = [record for record in records if record.kind == "inserted"]
        parents = {(record.parent.case, record.parent.level) for record in inserted}
        counterparts = [v for v in real.views if (v.case.case, v.level) in parents and not v.tumor_voxels]
        learnt = [record for record in records if record.kind in kind.learns_from]
        written = synthetic_source(learnt, run, config.data)
        accepted = None
        if written is not None and is_judged(config):
            names = accepted_cases(config, records)
            views = [view for view in written.views if view.case.case in names]
            accepted = ViewFolder(views, written.folder) if views else None
        return kind(
            config,
            real,
            written,
            ViewFolder(counterparts, run.prepared),
            prepared.of(held_out_patients(config.evaluation, split)),
            run.prepared,
            accepted=accepted,
            validation=validation_views(config, prepared, split),
            online=online_edits(config, run) if config.learns_online else {},
        )

    def pool_audits(self, run: RunDir, folds: Sequence[RunDir]) -> None:
        """Lesions stay on the pages of the folds, whose generators made them."""

    def results(self, run: RunDir) -> Results:
        return insertion_results(run)

    def findings(self, run: RunDir) -> Findings:
        return insertion_findings(self.config, run)


def downstream_of(config: PipelineConfig, run: RunDir, *, with_synthetic: bool) -> Downstream:
    """What the cells of a benchmark's block train and score; arms without a GAN need no synthetic cases.

    Raises:
        LeakageError: if the synthetic cases or the weights were made from validation or test patients.
    """
    synthetic = synthetic_cases(run.synthetic / "datalist.json") if with_synthetic else None
    return Insertion(config).downstream(run, synthetic)


def evaluated_cell(downstream: Downstream, arm: str, seed: int, path: Path) -> Cell:
    """One cell alone.

    Args:
        path: where the cell will be; it is not written here, but its worst patients are kept beside it.
    """
    return downstream.cell(arm, seed, partial(keep_failures, failures_path(path), downstream))
