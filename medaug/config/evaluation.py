"""What is tested, and what is looked at: the sections `evaluation`, `benchmark`, `audit` and `anomaly`.

The reasons for the limits of audits are in docs/audits.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from itertools import chain
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from medaug.evaluation.plan import BudgetName, Measured, Plan, Wishes, plan_of
from medaug.settings import Count, EachOnce, Samples, Section, Seed, Values, Width, Workers

Synthetic = Literal["online", "written", "removed", "accepted"]
"""The synthetic samples of an arm come from there (see `experiment.arms.Arm`)."""
ArmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9+_.-]*$")]
"""Files are named by it."""
Ratio = Annotated[float, Field(gt=0, le=1)]
GANS: dict[str, Synthetic] = {"gan": "online", "gan-offline": "written", "gan-gated": "accepted"}
"""By its name in an arm, where what the GAN makes comes from."""
PLAIN, REFERENCE = "none", "standard"
"""The arms without and with the standard augmentation, and nothing else."""
NO_RIVALS = ("removal", "target-labels")
EACH_RIVAL = "rivals"
"""`rivals+gan` in `evaluation.arms` stands for every arm there that needs no GAN, with the GAN."""


def with_gan(rival: str, gan: str = "gan") -> str:
    """The name of the arm that is this rival and a GAN: `gan` (of `none`), `standard+gan`, `gan+copy-paste`."""
    return {PLAIN: gan, REFERENCE: f"{REFERENCE}+{gan}"}.get(rival, f"{gan}+{rival}")


def rival_of(arm: str) -> str:
    """The arm that this one is without its GAN; its own name, where nothing says so."""
    for gan in GANS:
        if arm in (gan, f"{REFERENCE}+{gan}"):
            return PLAIN if arm == gan else REFERENCE
        if arm.startswith(f"{gan}+"):
            return arm.removeprefix(f"{gan}+")
    return REFERENCE if arm == "removal" else arm


class OwnArmConfig(Section):
    """One transform: before the standard augmentation, on real samples and a share of synthetic ones."""

    transform: str = Field(description="package.module.Name of a MONAI dict transform on image and label")
    args: Values = Field({}, description="of its constructor; MONAI's ask for keys")
    standard: bool = Field(True, description="whether the standard augmentation follows")
    synthetic: Synthetic | None = Field(None, description="where a share of the samples comes from; null: none is")


class PrimaryConfig(Section):
    """A comparison, named before anything is trained."""

    arm: str
    against: str
    metric: str | None = Field(None, description="none: the main one")


class EvaluationConfig(Section):
    """The downstream experiment: the same network, equal updates, with and without synthetic cases."""

    task: Literal["segmentation", "classification", "translation", "none"] = Field(
        "segmentation",
        description="of the downstream network: outline the tumor, or tell whether there is one; "
        "domain ct: segmentation in both domains, translation (compared with registered images), or none",
    )
    arms: Annotated[tuple[str, ...], EachOnce] = Field(
        (REFERENCE, with_gan(REFERENCE)),
        description="rivals+gan: every arm of the list that needs no GAN, with the GAN (not given, where nothing is "
        "inserted online, in domain ct and for classification: standard, standard+gan-offline)",
    )
    own_arms: dict[ArmName, OwnArmConfig] = Field({}, description="a user's, by name; trained after `arms`")
    seeds: Annotated[tuple[Seed, ...], EachOnce] = Field((0, 1, 2), min_length=1)
    synthetic_ratio: float = Field(0.5, ge=0, le=1, description="part of a batch that is synthetic in GAN arms")
    patients: Literal["test", "validation"] = "test"
    primary: PrimaryConfig | None = Field(
        None,
        description="the one comparison that is asked: no other corrects its verdict. none: all are corrected for each "
        "other, and the page begins with the best rival and what a GAN adds to it",
    )
    gan_seeds: bool = Field(
        False,
        description="train a GAN anew for each of `seeds`, with that seed, so that the intervals hold how much its "
        "trainings differ; for arms that insert or remove online. false: one GAN training for all",
    )
    smallest_relevant: float = Field(
        0.01, ge=0, lt=1, description="a gain in the main metric that is no larger is none; not of metrics with a unit"
    )
    backend: Literal["monai", "nnunet"] = Field(
        "monai", description="who trains the network: medaug, or nnU-Net v2 with its own plan (medaug[nnunet])"
    )
    budget: BudgetName = Field(
        "small",
        description="what a network may cost, from which its plan follows: a CPU's minutes, a GPU's hour, or what "
        "nnU-Net spends. What is given below stands in the plan",
    )
    residual: bool = Field(False, description="segmentation: shortcuts around each pair of convolutions")
    channels: tuple[Width, ...] | None = Field(
        None, min_length=3, max_length=12, description="segmentation: width of each level, the finest first"
    )
    classifier_width: int = Field(
        16, ge=4, le=1024, multiple_of=4, description="classification: of the ResNet's first stage"
    )
    updates: Count | None = Field(None, description="of the network; none: the budget's")
    batch_size: Samples | None = Field(None, description="none: the budget's")
    learning_rate: float = Field(2e-3, gt=0, le=10, description="at its highest")
    patch_size: tuple[PositiveInt, ...] | None = Field(
        None,
        description="size of training patches and of the windows that images are segmented in, and of what is "
        "classified; none: the budget's, which is the whole of small slices (classification: whole images)",
    )
    regions: dict[str, Annotated[tuple[str, ...], EachOnce]] | None = Field(
        None,
        min_length=1,
        description="segmentation: what is outlined and scored, name: names of classes, larger regions first; they may "
        "overlap, and are told by a sigmoid each, as nnU-Net's; none: the classes, by a softmax",
    )
    tolerance_mm: float = Field(2.0, gt=0, le=1000, description="of the normalised surface distance")
    size_limits_mm: tuple[float, ...] = Field(
        (10.0, 20.0), description="equivalent diameters between the size classes of lesions, the smallest first"
    )
    workers: Workers = Field(1, description="processes that make samples, and that score large scans; 0: none")

    def planned(self, views: Sequence[Measured]) -> Plan:
        """The plan of the downstream network, for these views to train on."""
        wishes = Wishes(**self.model_dump(include={field.name for field in fields(Wishes)}))
        return plan_of(self.budget, [view.shape for view in views], [view.spacing_mm for view in views], wishes)

    @model_validator(mode="after")
    def _sizes_rise(self) -> EvaluationConfig:
        limits = self.size_limits_mm
        if any(high <= low for low, high in zip((0.0, *limits), limits, strict=False)):
            found = ", ".join(f"{limit:g}" for limit in limits)
            raise ValueError(f"size_limits_mm: found {found}; expected diameters above 0, each larger than the last")
        return self

    @model_validator(mode="after")
    def _all_arms_are_named(self) -> EvaluationConfig:
        """Own arms are trained, too, and `rivals+gan` stands for others."""
        given = dict.fromkeys((*self.arms, *self.own_arms))
        own_gan = [name for name, own in self.own_arms.items() if own.synthetic]
        each = {f"{EACH_RIVAL}+{gan}": gan for gan in GANS}
        rivals = [name for name in given if rival_of(name) == name and name not in (*each, *own_gan, *NO_RIVALS)]
        if not rivals and (asked := [name for name in each if name in given]):
            raise ValueError(
                f"evaluation.arms: found {asked[0]} and no arm without a GAN; expected some, such as {REFERENCE}"
            )
        arms = [[with_gan(rival, each[name]) for rival in rivals] if name in each else [name] for name in given]
        object.__setattr__(self, "arms", tuple(dict.fromkeys(chain(*arms))))  # the model is frozen for everyone else
        if self.primary is not None:
            pair = (self.primary.arm, self.primary.against)
            if unknown := [name for name in pair if name not in self.arms]:
                raise ValueError(
                    f"evaluation.primary: found {', '.join(unknown)}; expected two of evaluation.arms: "
                    f"{', '.join(self.arms)}"
                )
            if len({*pair}) == 1:
                raise ValueError(f"evaluation.primary: found {pair[0]} against itself; expected two arms")
        return self


class AnomalyConfig(Section):
    """How `medaug anomaly` looks for what is not healthy, and what it scores."""

    tile_mm: float | None = Field(
        None, gt=0, le=1000, description="of refilled tiles; none: the lesions' upper quartile"
    )
    passes: int = Field(
        2, ge=1, le=100, description="how often the tiles are refilled, each time from the result before"
    )
    smoothing_mm: float = Field(5.0, ge=0, le=1000, description="standard deviation of the Gaussian over the map")
    only_brighter: bool = Field(False, description="count only what is brighter than the pseudo-healthy image")
    search_steps: int = Field(
        60, ge=0, le=10**6, description="of a latent search, where the weights are of a GAN from noise"
    )
    percentile: float = Field(100.0, gt=0, le=100, description="of the map inside the organ: a slice's score")
    seed: Seed = 0


class BenchmarkConfig(Section):
    """How many labelled patients and how much synthetic data there are, one benchmark group each."""

    labelled: Annotated[tuple[PositiveInt | Literal["all"], ...], EachOnce] = Field(
        ("all",),
        min_length=1,
        description="how many training patients there are, for the GAN and for every arm; the "
        "subsets are nested, and all of them are scored on the same patients",
    )
    ratios: Annotated[tuple[Ratio, ...], EachOnce] | None = Field(
        None, min_length=1, description="synthetic ratios of the arms that have one; none: evaluation.synthetic_ratio"
    )
    cluster: Values = Field(
        {}, description="of --executor: submitit parameters such as slurm_partition, gpus_per_node, timeout_min"
    )


class LimitConfig(Section):
    """Beyond `warn` an audit warns, beyond `fail` it fails; a limit itself still passes."""

    warn: float
    fail: float


class LimitsConfig(Section):
    """The limits of each audit."""

    outside: LimitConfig = Field(LimitConfig(warn=0, fail=0), description="voxels changed outside the mask")
    unchanged: LimitConfig = Field(LimitConfig(warn=0.02, fail=0.1), description="share of insertions without effect")
    lost: LimitConfig = Field(
        LimitConfig(warn=0.2, fail=0.5), description="share of inserted lesions not found, above that of real ones"
    )
    gained: LimitConfig = Field(LimitConfig(warn=0.1, fail=0.3), description="findings beside the mask, an image")
    null_shortcut: LimitConfig = Field(LimitConfig(warn=0.75, fail=0.9), description="AUC of null against untouched")
    fingerprint: LimitConfig = Field(LimitConfig(warn=0.65, fail=0.75), description="AUC of a pattern at fixed places")
    shortcut: LimitConfig = Field(LimitConfig(warn=0.75, fail=0.95), description="AUC of inserted against real")
    removal: LimitConfig = Field(LimitConfig(warn=0.75, fail=0.95), description="AUC of removed against healthy tissue")
    steganography: LimitConfig = Field(LimitConfig(warn=1.5, fail=3), description="cycle error with over without noise")
    seams: LimitConfig = Field(LimitConfig(warn=1.5, fail=2.5), description="steps at the border over those of real")
    checkerboard: LimitConfig = Field(LimitConfig(warn=3, fail=10), description="energy at the stride's frequencies")
    geometry: LimitConfig = Field(
        LimitConfig(warn=0.5, fail=0.3), description="edges of a translation, by the source's"
    )
    hu_bias: LimitConfig = Field(LimitConfig(warn=10, fail=30), description="HU by tissue beside the target's")
    lesion_size: LimitConfig = Field(LimitConfig(warn=1, fail=1.5), description="distance, by that of real with real")
    lesion_contrast: LimitConfig = Field(LimitConfig(warn=1, fail=1.5), description="distance, as in lesion_size")
    lesion_location: LimitConfig = Field(LimitConfig(warn=1, fail=1.5), description="distance, as in lesion_size")
    lesion_parts: LimitConfig = Field(LimitConfig(warn=1, fail=1.5), description="distance, as in lesion_size")
    consistency: LimitConfig = Field(LimitConfig(warn=1, fail=1.5), description="distance, as in lesion_size")
    memorisation: LimitConfig = Field(LimitConfig(warn=0.15, fail=0.3), description="share of copied training lesions")
    diversity: LimitConfig = Field(LimitConfig(warn=1, fail=0.7), description="difference, by that of real with real")
    diversity_in_one_place: LimitConfig = Field(
        LimitConfig(warn=0.2, fail=0.05), description="difference by seed or style, by that of two real lesions"
    )
    frechet: LimitConfig = Field(LimitConfig(warn=1, fail=2), description="squared distance, by that of real with real")

    @model_validator(mode="before")
    @classmethod
    def _partly_given(cls, values: Any) -> Any:
        """One limit given alone leaves the other at its default."""
        if not isinstance(values, dict):
            return values
        return {
            name: cls.model_fields[name].default.model_dump() | given
            if name in cls.model_fields and isinstance(given, dict)
            else given
            for name, given in values.items()
        }


class AuditConfig(Section):
    """The look at patients the GAN never saw."""

    lesions: int = Field(
        150, ge=0, le=10**6, description="insertions into held-out patients for the probe and the audits"
    )
    volumes: int = Field(
        8, ge=0, le=10**4, description="insertions into whole held-out volumes, for the look across slices"
    )
    noise: float = Field(
        0.02, gt=0, le=2, description="standard deviation of the noise on a fake, in window units [-1, 1]"
    )
    limits: LimitsConfig = LimitsConfig()
    seed: Seed = 0
